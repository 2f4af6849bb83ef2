"""Asking for files, and what is called back."""

from roadvault_ingest.lists.filters import PAGE
from roadvault_ingest.openapi.parts import (
    COUNT,
    NUMBER,
    TEXT,
    Node,
    array,
    body,
    ok,
    operation,
    parameter,
    record,
    ref,
    refused,
    told,
)
from roadvault_ingest.openapi.questions import FILTERS, LIMIT
from roadvault_ingest.openapi.schemas import SPAN
from roadvault_ingest.problems import BadClip, Gone, NotFound, TooLarge, TooMany, TooSlow

_TAG = "request"
_CB_URL = told({"type": "string", "format": "uri"}, "http or https; called byte for byte.")
_ONE: Node = {**record(fileID=NUMBER, cbUrl=_CB_URL), "properties": {"fileID": NUMBER, "cbUrl": _CB_URL, **SPAN}}
# That it is one of the two is said in words: generators make no class of a oneOf beside properties.
_MANY: Node = {
    "type": "object",
    "required": ["cbUrl"],
    "properties": {
        "fileIDs": {**array(NUMBER), "minItems": 1},
        "filter": {
            "type": "object",
            "minProperties": 1,
            "additionalProperties": False,
            "properties": {one["name"]: told(one["schema"], one["description"]) for one in FILTERS},
        },
        "cbUrl": _CB_URL,
        **SPAN,
    },
}
_BATCH = parameter("batch_id", "path", {**NUMBER, "maximum": 10**18 - 1}, "The batch's number.")
_PAGE = [
    parameter("after", "query", COUNT, "The `next` of an earlier answer."),
    parameter("limit", "query", LIMIT, f"Files; {PAGE} if not set."),
]


def _callback(name: str, schema: str, description: str) -> Node:
    headers = {"webhook-id": "Of each repetition the same.", "webhook-timestamp": "", "webhook-signature": ""}
    signed = "Standard Webhooks: there if callbacks are signed."
    return {
        "{$request.body#/cbUrl}": {
            "post": operation(
                name,
                _TAG,
                description,
                {"2XX": {"description": "Taken."}, "410": {"description": "No more of these, please."}},
                parameters=[parameter(one, "header", TEXT, text or signed) for one, text in headers.items()],
                requestBody=body({"application/json": {"schema": ref(schema)}}),
            )
        }
    }


_FILE_CALLBACK = _callback(
    "fileReady", "FileCallback", "The file is there. Repeated until it is answered with 2xx, or given up."
)

PATHS: Node = {
    "/api/open/downFile": {
        "post": operation(
            "downFile",
            _TAG,
            "Asking for the same file and `cbUrl` again joins the request that is open. With `from` and `to` an MP4 of"
            " what lies between them is made. A form, or a query, with the same fields is taken as well.",
            {**ok({"type": "string", "const": "ok"}), **refused(BadClip, NotFound, Gone, TooSlow, TooLarge, TooMany)},
            requestBody=body({"application/json": {"schema": _ONE}}),
            callbacks={"fileReady": _FILE_CALLBACK},
        )
    },
    "/api/open/downFiles": {
        "post": operation(
            "downFiles",
            _TAG,
            "Either `fileIDs` or `filter`. Each file has its own callback, and the batch one when all have ended.",
            {
                **ok(record(batchID=NUMBER, files=told(COUNT, "How many files it is of."))),
                **refused(BadClip, NotFound, TooSlow, TooLarge, TooMany),
            },
            requestBody=body({"application/json": {"schema": _MANY}}),
            callbacks={
                "fileReady": _FILE_CALLBACK,
                "batchEnded": _callback("batchEnded", "BatchCallback", "All requests of the batch have ended."),
            },
        )
    },
    "/api/open/batch/{batch_id}": {
        "parameters": [_BATCH],
        "get": operation(
            "batch",
            _TAG,
            "How its files stand, by their numbers.",
            {**ok(ref("Batch")), **refused(NotFound)},
            parameters=_PAGE,
        ),
        "delete": operation(
            "cancelBatch",
            _TAG,
            "What has not ended is cancelled, soon; what others have asked for goes on.",
            {**ok(ref("Batch")), **refused(NotFound)},
        ),
    },
}
