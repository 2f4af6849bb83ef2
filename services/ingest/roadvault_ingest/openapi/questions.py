"""What is asked about files, and the document itself."""

from roadvault_ingest.lists.filters import LARGEST_PAGE, PAGE
from roadvault_ingest.openapi.parts import (
    COUNT,
    NUMBER,
    TEXT,
    Node,
    answer,
    array,
    ok,
    operation,
    parameter,
    record,
    ref,
    refused,
)
from roadvault_ingest.openapi.schemas import STATE
from roadvault_ingest.problems import NoReceipt, NotFound

_TAG = "ask"
_MOMENT: Node = {"type": "string", "examples": ["2026-11-28T08:30:00+08:00"]}
_WORD: Node = {"type": "string", "minLength": 1}
FILTERS = [
    parameter("name", "query", _WORD, "What their names begin with."),
    parameter("camera", "query", _WORD, "Their camera."),
    parameter("recordedFrom", "query", _MOMENT, "Recorded then or later."),
    parameter("recordedTo", "query", _MOMENT, "Recorded before."),
    parameter("receivedFrom", "query", _MOMENT, "Received then or later."),
    parameter("receivedTo", "query", _MOMENT, "Received before."),
    parameter("state", "query", STATE, STATE["description"]),
    parameter("archive", "query", {**COUNT, "maximum": 10**18 - 1}, "The archive's number."),
    parameter("tag", "query", _WORD, "One of their tags."),
]
_FILE = parameter("file_id", "path", NUMBER, "The file's number.")
LIMIT: Node = {"type": "integer", "minimum": 1, "maximum": LARGEST_PAGE}

PATHS: Node = {
    "/api/open/files": {
        "get": operation(
            "listFiles",
            _TAG,
            "A page may be short, or empty, and have a `next` all the same.",
            {**ok(ref("Files")), **refused()},
            parameters=[
                *FILTERS,
                parameter("order", "query", {"type": "string", "enum": ["newest", "oldest"]}, "newest if not set."),
                parameter("limit", "query", LIMIT, f"Files on a page; {PAGE} if not set."),
                parameter("after", "query", TEXT, "The `next` of an earlier answer."),
            ],
        )
    },
    "/api/open/file/{file_id}": {
        "parameters": [_FILE],
        "get": operation("file", _TAG, "And why, if something failed.", {**ok(ref("File")), **refused(NotFound)}),
    },
    "/api/open/file/{file_id}/custody": {
        "parameters": [_FILE],
        "get": operation(
            "custody",
            _TAG,
            "Up to 100 lines, the first first.",
            {**ok(record(lines=array(ref("Line")))), **refused(NotFound)},
            parameters=[parameter("before", "query", COUNT, "Lines before this one.")],
        ),
    },
    "/api/open/file/{file_id}/receipt": {
        "parameters": [_FILE],
        "get": operation(
            "receipt",
            _TAG,
            "The receipt itself: keep its bytes as they are.",
            {
                **answer(
                    200,
                    "The receipt.",
                    {"Content_Disposition": "Its name."},
                    {"application/json": {"schema": ref("Receipt")}},
                ),
                **refused(NotFound, NoReceipt),
            },
        ),
    },
    "/api/openapi.json": {
        "get": operation(
            "document",
            _TAG,
            "OpenAPI 3.1; /api has it for people.",
            {**answer(200, "It.", {}, {"application/json": {"schema": {"type": "object"}}}), **refused()},
        )
    },
}
