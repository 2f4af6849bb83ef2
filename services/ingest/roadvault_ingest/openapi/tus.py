"""Uploads that go on where they stopped: tus 1.0, whose own text says more."""

from typing import Any

from roadvault_ingest.openapi.parts import BYTES, TEXT, Node, answer, body, ok, operation, parameter, ref, refused
from roadvault_ingest.openapi.uploads import IDEMPOTENCY_KEY
from roadvault_ingest.problems import (
    Conflict,
    Forbidden,
    Gone,
    Locked,
    NoRoom,
    NotFound,
    TooLarge,
    TooMany,
    WrongChecksum,
    WrongHash,
    WrongType,
    WrongVersion,
)

_TAG = "resumable"
_COUNT: Node = {"type": "string", "pattern": "^[0-9]{1,18}$"}
_RESUMABLE = parameter(
    "Tus-Resumable", "header", {"type": "string", "enum": ["1.0.0"]}, "The protocol's version.", required=True
)
_CHECKSUM = parameter("Upload-Checksum", "header", TEXT, "sha1, sha256 or md5, and the hash of the body in base64.")
_LENGTH = parameter("Upload-Length", "header", _COUNT, "Bytes of the whole file.")
_METHOD = "Stands for the method, where a network lets only POST through."
_SPOKEN = {"Tus_Resumable": "The version that is spoken."}
_WHERE: dict[str, Any] = {"Upload_Offset": "Bytes that are durable.", **_SPOKEN}
_BYTES = {"application/offset+octet-stream": {"schema": BYTES}}
_FINDS = (NotFound, Gone, Conflict, Locked, WrongVersion)
_TAKES = (*_FINDS, TooLarge, WrongType, WrongHash, WrongChecksum, NoRoom)
_OPTIONS = answer(
    204,
    "Understood here.",
    {
        "Tus_Version": "Versions.",
        "Tus_Extension": "Extensions.",
        "Tus_Max_Size": "Bytes of the largest file.",
        "Tus_Checksum_Algorithm": "Algorithms.",
        **_SPOKEN,
    },
)
_GO_ON: Node = {
    "parameters": [
        _RESUMABLE,
        parameter("Upload-Offset", "header", _COUNT, "Bytes that have come before.", required=True),
        _LENGTH,
        _CHECKSUM,
    ],
    "requestBody": body(_BYTES),
}
_WENT_ON = answer(204, "Taken. The last answer has RoadVault-File-ID, the number of the file.", _WHERE)


def _options(name: str) -> Node:
    return operation(name, _TAG, "Without Tus-Resumable.", {**_OPTIONS, **refused()})


PATHS: Node = {
    "/api/open/files": {
        "options": _options("tusOptions"),
        "post": operation(
            "tusBegin",
            _TAG,
            "The body may be empty, or the first bytes. `Upload-Metadata` has `filename`, and may have `sha256` and"
            " what is known of the file. Location says where it goes on.",
            {
                **answer(201, "Begun.", {"Location": "The upload's URL.", **_WHERE}),
                **refused(*_TAKES, TooMany, Forbidden, "wrong_method"),
            },
            parameters=[
                _RESUMABLE,
                _LENGTH,
                parameter("Upload-Defer-Length", "header", {"type": "string", "enum": ["1"]}, "Not known yet."),
                parameter("Upload-Concat", "header", TEXT, "partial: a part; final;URL URL: the file that parts make."),
                parameter("Upload-Metadata", "header", TEXT, "Names, and values in base64, divided by commas."),
                _CHECKSUM,
                IDEMPOTENCY_KEY,
            ],
            requestBody=body(_BYTES, required=False),
        ),
    },
    "/api/open/files/{upload_id}": {
        "parameters": [
            parameter("upload_id", "path", {"type": "string", "pattern": "^[0-9a-f]{32}$"}, "Of the upload's URL.")
        ],
        "options": _options("tusOptionsOfOne"),
        "head": operation(
            "tusHead",
            _TAG,
            "Where it goes on. An upload that is whole has RoadVault-File-ID.",
            {**answer(200, "It stands there.", _WHERE), **refused(*_FINDS)},
            parameters=[_RESUMABLE],
        ),
        "get": operation(
            "uploadState",
            _TAG,
            "For people and programs that don't speak tus.",
            {**ok(ref("Upload"), **_SPOKEN), **refused(*_FINDS)},
        ),
        "patch": operation("tusPatch", _TAG, "The next bytes.", {**_WENT_ON, **refused(*_TAKES, Forbidden)}, **_GO_ON),
        "post": operation(
            "tusPatchByPost",
            _TAG,
            "For networks that let neither through: as PATCH, or as the method that is named.",
            {**_WENT_ON, **refused(*_TAKES, Forbidden, "wrong_method")},
            parameters=[
                *_GO_ON["parameters"],
                parameter("X-HTTP-Method-Override", "header", {"type": "string", "enum": ["PATCH", "DELETE"]}, _METHOD),
            ],
            requestBody=_GO_ON["requestBody"],
        ),
        "delete": operation(
            "tusDelete",
            _TAG,
            "Gives it up: what has come is removed. One that is whole stays.",
            {**answer(204, "Removed.", _SPOKEN), **refused(*_FINDS, Forbidden)},
            parameters=[_RESUMABLE],
        ),
    },
}
