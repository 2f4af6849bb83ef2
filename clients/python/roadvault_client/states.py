"""What the API tells of a file. These are its JSON objects as they are; times are ISO 8601 in UTC, sizes bytes."""

from typing import Any, Literal, TypedDict

Stage = Literal["packed", "pinned", "ordered", "replicated", "proven", "dropped"]
"""How far a file's archive has come, one after the other."""


class Archive(TypedDict):
    """The archive that a file is in. A stage that it has not come through is None."""

    zipID: int
    state: str
    reason: str | None
    size: int
    cid: str | None
    dagSize: int | None
    orderedOnBlock: int | None
    replicas: int | None
    localCopyKept: bool
    packed: str | None
    pinned: str | None
    ordered: str | None
    replicated: str | None
    proven: str | None
    provenBy: str | None
    dropped: str | None


ClipMade = TypedDict(
    "ClipMade",
    {
        "from": float | str,
        "to": float | str,
        "begins": float | None,
        "ends": float | None,
        "recorded": str | None,
        "leftOut": list[str] | None,
        "size": int | None,
        "sha256": str | None,
    },
)
"""The clip that a request is for: what was asked for, and what was made, once it is."""


class Request(TypedDict):
    """A request for a file."""

    downloadID: int
    cbUrl: str
    state: str
    reason: str | None
    requested: str
    extracted: str | None
    calledBack: str | None
    linkExpires: str | None
    clip: ClipMade | None


class Found(TypedDict):
    """What was found in a video; the camera and time that its client said count more."""

    camera: str | None
    recordedAt: str | None
    duration: float | None
    container: str | None
    videoCodec: str | None
    audioCodec: str | None
    width: int | None
    height: int | None
    rotation: int | None
    frameRate: float | None
    lat: float | None
    lon: float | None


class File(TypedDict):
    """Where a file stands."""

    fileID: int
    filename: str
    size: int
    sha256: str
    received: str
    found: Found | None
    folderID: int
    state: str
    reason: str | None
    uploadKept: bool
    archive: Archive | None
    requests: list[Request]


class Line(TypedDict):
    """A line of the custody log; its number is None until it is chained."""

    line: int | None
    at: str
    act: str
    of: str
    zipID: int | None
    facts: dict[str, Any]
    hash: str | None


class Listed(TypedDict):
    """A file in a list; its archive's number is None before it is packed."""

    fileID: int
    filename: str
    size: int
    sha256: str
    received: str
    camera: str | None
    recordedAt: str | None
    lat: float | None
    lon: float | None
    tags: list[str]
    found: Found | None
    state: str
    zipID: int | None


class Page(TypedDict):
    """Some files of a list; without `next` it is over."""

    files: list[Listed]
    next: str | None


class BatchBegun(TypedDict):
    """A batch that was taken, and of how many files it is."""

    batchID: int
    files: int


class BatchRequest(TypedDict):
    """What has become of one file of a batch."""

    fileID: int
    downloadID: int | None
    state: str
    reason: str | None


class Batch(TypedDict):
    """Where a batch stands: how many of its files in each state, and some of its requests."""

    batchID: int
    state: str
    reason: str | None
    cbUrl: str
    files: int
    counts: dict[str, int]
    requested: str
    cancelled: str | None
    ended: str | None
    calledBack: str | None
    requests: list[BatchRequest]
    next: int | None
