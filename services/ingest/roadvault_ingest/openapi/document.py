"""The whole document."""

from collections import defaultdict

from roadvault_common.build import VERSION
from roadvault_ingest.openapi import questions, requests, tus, uploads
from roadvault_ingest.openapi.parts import BYTES, TEXT, Node, answer, operation, parameter
from roadvault_ingest.openapi.schemas import SCHEMAS
from roadvault_ingest.pages.words import ENGLISH

TAGS = ("upload", "resumable", "request", "ask", "link")
_PLAIN = {"text/plain": {"schema": TEXT}}
_LINK_HEADERS = {
    "Content_Disposition": "The file's name, in both forms (RFC 6266).",
    "Accept_Ranges": "bytes",
    "ETag": "The file's SHA-256.",
    "Last_Modified": "When it was brought back.",
    "Repr_Digest": "The SHA-256 of the whole file (RFC 9530), also beside a range.",
}
_FILE = {"application/octet-stream": {"schema": BYTES}}
_CONDITIONS = ("Range", "If-Range", "If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since")


def _link(name: str, content: Node | None) -> Node:
    return operation(
        name,
        "link",
        "As an attachment under its name and type. Errors are a line of plain text.",
        {
            **answer(200, "The file.", _LINK_HEADERS, content),
            **answer(206, "The range that was asked for.", _LINK_HEADERS | {"Content_Range": "Which."}, content),
            **answer(304, "The client has it.", {}),
            **answer(403, "No link of ours, or one that is over.", {}, _PLAIN),
            **answer(404, "Its file is no longer here.", {}, _PLAIN),
            **answer(412, "It is not the file that the conditions want.", {}, _PLAIN),
            **answer(416, "The file has no such bytes.", {}, _PLAIN),
            **answer(503, "Not possible now.", {"Retry_After": "Seconds."}, _PLAIN),
        },
        parameters=[parameter(one, "header", TEXT, "RFC 9110.") for one in _CONDITIONS],
    )


_LINKS: Node = {
    "/d/{token}": {
        "servers": [{"url": "https://files.example", "description": "The door, as ROADVAULT_PUBLIC_URL names it."}],
        "parameters": [parameter("token", "path", TEXT, "Of a link that was called back.")],
        "get": _link("link", _FILE),
        "head": _link("linkHead", None),
    }
}


def _paths() -> Node:
    paths: defaultdict[str, Node] = defaultdict(dict)
    for some in (uploads.PATHS, tus.PATHS, requests.PATHS, questions.PATHS, _LINKS):
        for path, operations in some.items():
            paths[path] |= operations
    return dict(paths)


DOCUMENT: Node = {
    "openapi": "3.1.0",
    "info": {
        "title": "RoadVault",
        "version": VERSION,
        "description": ENGLISH["api_intro"],
        "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
    },
    "servers": [{"url": "/", "description": "Ingest, port 7001."}],
    "tags": [{"name": tag, "description": ENGLISH[f"api_tag_{tag}"]} for tag in TAGS],
    "paths": _paths(),
    "components": {
        "schemas": SCHEMAS,
        "securitySchemes": {
            "token": {
                "type": "http",
                "scheme": "bearer",
                "description": "Where ROADVAULT_AUTH is on: a token of `roadvault token create`.",
            }
        },
    },
    "security": [{}, {"token": []}],
}
