"""The objects that answers are made of."""

from roadvault_common.files.facts import CAMERA_LENGTH, TAGS
from roadvault_common.sql.states import ArchiveStatus
from roadvault_ingest.openapi.parts import (
    COUNT,
    FLAG,
    NUMBER,
    REQUEST_STATES,
    SHA256,
    TEXT,
    TIME,
    Node,
    array,
    maybe,
    record,
    ref,
    told,
)
from roadvault_ingest.problems import errors
from roadvault_ingest.states import STATES

_ARCHIVE_STATES = [status.name.lower().replace("_", " ") for status in ArchiveStatus]
STATE = told({"type": "string", "enum": [*STATES]}, "Where the file stands.")
SAID: Node = {
    "camera": told({"type": "string", "maxLength": CAMERA_LENGTH}, "Which camera recorded it."),
    "recordedAt": told(TEXT, "When the recording began: ISO 8601 with a zone, or seconds since 1970."),
    "lat": told({"type": "number", "minimum": -90, "maximum": 90}, "Degrees (WGS 84); together with `lon`."),
    "lon": told({"type": "number", "minimum": -180, "maximum": 180}, "Degrees (WGS 84); together with `lat`."),
    "tags": told(TEXT, f"Up to {TAGS} words, divided by commas."),
}
"""What a client may say of a file, as it sends it."""
_DEGREES: Node = {"type": "number"}
_KNOWN: Node = {
    "camera": maybe(TEXT),
    "recordedAt": maybe(TIME),
    "lat": maybe(_DEGREES),
    "lon": maybe(_DEGREES),
    "tags": array(TEXT),
    "found": told(maybe(ref("Found")), "What was found in it, if it is a video and was looked at."),
}
_FILE: Node = {
    "fileID": NUMBER,
    "filename": TEXT,
    "size": told(COUNT, "Bytes."),
    "sha256": SHA256,
    "received": TIME,
    **_KNOWN,
}
_SECONDS: Node = {"type": "number", "minimum": 0}
SPAN: Node = {
    name: told({"type": ["number", "string"]}, f"{which} Seconds of the video, or ISO 8601 with a zone.")
    for name, which in (("from", "Where a clip begins, at the latest."), ("to", "Where it ends, at the earliest."))
}
_CALLBACK = record(fileID=NUMBER, fileUrl=told({"type": "string", "format": "uri"}, "The link."))
_NEXT = "What to send as `after` for the next page; null behind the last."

SCHEMAS: Node = {
    "Error": record(
        code=told({"type": "integer"}, "The HTTP status."),
        status=told({"type": "integer"}, "The same."),
        error=told({"type": "string", "enum": [*errors()]}, "What programs go by: these words never change."),
        message=told(TEXT, "What is wrong, for people; it may change."),
        result={"type": "null"},
    ),
    "Listed": record(**_FILE, state=STATE, zipID=maybe(NUMBER)),
    "Found": record(
        camera=told(maybe(TEXT), "The file's `camera` counts, if there is one; else this."),
        recordedAt=told(maybe(TIME), "Likewise."),
        duration=told(maybe(_SECONDS), "Seconds."),
        **dict.fromkeys(("container", "videoCodec", "audioCodec"), maybe(TEXT)),
        width=told(maybe(COUNT), "Pixels, before it is turned."),
        height=maybe(COUNT),
        rotation=told(maybe(COUNT), "Degrees by which it is turned to be shown, clockwise."),
        frameRate=told(maybe(_SECONDS), "Frames in a second."),
        lat=maybe(_DEGREES),
        lon=maybe(_DEGREES),
    ),
    "Files": record(files=array(ref("Listed")), next=told(maybe(TEXT), _NEXT)),
    "File": record(
        **_FILE,
        folderID=NUMBER,
        closed=maybe(TIME),
        state=STATE,
        reason=told(maybe(TEXT), "Why it stands there, if something failed or ended."),
        ends=told(maybe(TIME), "When its archive ends."),
        ended=maybe(TIME),
        onHold=FLAG,
        uploadKept=FLAG,
        archive=maybe(ref("Archive")),
        requests=array(ref("Request")),
    ),
    "Archive": record(
        zipID=NUMBER,
        state={"type": "string", "enum": _ARCHIVE_STATES},
        reason=maybe(TEXT),
        size=COUNT,
        cid=maybe(TEXT),
        dagSize=maybe(COUNT),
        offset=told(maybe(COUNT), "Where the file begins in the archive, in bytes."),
        orderedOnBlock=maybe(COUNT),
        pricePlanck=maybe(TEXT),
        replicas=maybe(COUNT),
        expiresOnBlock=maybe(COUNT),
        **dict.fromkeys(("expires", "packed", "pinned", "ordered", "replicated", "proven"), maybe(TIME)),
        localCopyKept=FLAG,
        provenBy=maybe(TEXT),
        **dict.fromkeys(("counted", "audited", "dropped"), maybe(TIME)),
        countedOnBlock=maybe(COUNT),
        auditedBytes=maybe(COUNT),
        auditProblem=maybe(TEXT),
    ),
    "Request": record(
        downloadID=NUMBER,
        cbUrl=told(TEXT, "Empty where a person asked on a page, which has the link."),
        state={"type": "string", "enum": REQUEST_STATES},
        reason=maybe(TEXT),
        source=maybe(TEXT),
        **dict.fromkeys(("requested", "extracted", "calledBack", "linkExpires"), maybe(TIME)),
        clip=maybe(ref("Clip")),
    ),
    "Clip": record(
        **SPAN,
        begins=told(maybe(_SECONDS), "Where it begins, in seconds of the video: at a key frame."),
        ends=maybe(_SECONDS),
        recorded=told(maybe(TIME), "When that was, if it is known when the recording began."),
        leftOut=told(maybe(array(TEXT)), "Streams that an MP4 can't hold."),
        size=maybe(COUNT),
        sha256=maybe(SHA256),
    ),
    "Batch": record(
        batchID=NUMBER,
        state=TEXT,
        reason=maybe(TEXT),
        cbUrl=TEXT,
        files=COUNT,
        counts={"type": "object", "additionalProperties": COUNT, "description": "Files by their state."},
        **dict.fromkeys(("requested", "cancelled", "ended", "calledBack"), maybe(TIME)),
        requests=array(ref("BatchFile")),
        next=told(maybe(NUMBER), _NEXT),
    ),
    "BatchFile": record(fileID=NUMBER, downloadID=maybe(NUMBER), state=TEXT, reason=maybe(TEXT)),
    "Line": record(
        line=told(maybe(COUNT), "Its number; null for some seconds, until it is chained."),
        at=TIME,
        act=TEXT,
        of={"type": "string", "enum": ["file", "archive"]},
        zipID=maybe(NUMBER),
        facts={"type": "object"},
        hash=maybe(TEXT),
    ),
    "Receipt": {"type": "object", "description": "A receipt: architecture/receipts.md has its format."},
    "Upload": record(offset=COUNT, length=maybe(COUNT), fileID=maybe(NUMBER)),
    "FileCallback": {
        **_CALLBACK,
        "properties": {
            **_CALLBACK["properties"],
            "clip": told(record(**SPAN), "If it is a clip: as it was asked for."),
        },
    },
    "BatchCallback": {
        **record(batchID=NUMBER, files=COUNT, done=COUNT, failed=COUNT, cancelled=COUNT),
        "description": "All requests of a batch have ended.",
    },
}
