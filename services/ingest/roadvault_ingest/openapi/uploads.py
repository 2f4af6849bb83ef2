"""Uploading a file with one request."""

from roadvault_ingest.openapi.parts import (
    BYTES,
    NUMBER,
    SHA256,
    TEXT,
    Node,
    body,
    ok,
    operation,
    parameter,
    record,
    refused,
    told,
)
from roadvault_ingest.openapi.schemas import SAID
from roadvault_ingest.problems import NoLength, NoRoom, TooLarge, TooSlow, WrongHash, WrongType

_TAG = "upload"
IDEMPOTENCY_KEY = parameter(
    "Idempotency-Key",
    "header",
    {"type": "string", "minLength": 1, "maxLength": 255},
    "The client's own word for this upload: sent again with the same word and bytes it is the same file.",
)
_HASH = told(SHA256, "The file is refused unless it has this SHA-256.")
_FILE = {**told(BYTES, "The bytes of the file, as they are; not empty."), "minLength": 1}
_QUERY = [parameter(name, "query", schema, schema["description"]) for name, schema in SAID.items()]
_RESPONSES = {
    **ok(
        record(fileID=NUMBER),
        "File and row are durable.",
        Repr_Digest="The SHA-256 of what was taken (RFC 9530).",
    ),
    **refused(TooSlow, NoLength, TooLarge, WrongType, WrongHash, NoRoom),
}
_FORM: Node = {
    "type": "object",
    "required": ["file"],
    "properties": {
        "file": _FILE,
        "filename": told(TEXT, "What it is called: a plain name; without it as in the header of the part `file`."),
        "sha256": _HASH,
        **SAID,
    },
}


def _plain(name: str) -> Node:
    return operation(
        name,
        _TAG,
        "The body is the file, of any type, with a length or in chunks. `curl -T` does it.",
        _RESPONSES,
        requestBody=body({"application/octet-stream": {"schema": _FILE}}),
        parameters=[
            *_QUERY,
            parameter("sha256", "query", SHA256, _HASH["description"]),
            *(
                parameter(digest, "header", TEXT, "RFC 9530; sha-256 and sha-512 are checked, others passed over.")
                for digest in ("Repr-Digest", "Content-Digest")
            ),
            IDEMPOTENCY_KEY,
        ],
    )


PATHS: Node = {
    "/api/open/upload": {
        "post": operation(
            "upload",
            _TAG,
            "The parts come in any order, others are passed over. What is known of it may stand in the query, too.",
            _RESPONSES,
            requestBody=body({"multipart/form-data": {"schema": _FORM}}),
            parameters=[*_QUERY, IDEMPOTENCY_KEY],
        )
    },
    "/api/open/upload/{name}": {
        "parameters": [
            parameter("name", "path", {"type": "string", "minLength": 1, "maxLength": 255}, "What the file is called.")
        ],
        "put": _plain("putUpload"),
        "post": _plain("postUpload"),
    },
}
