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


class File(TypedDict):
    """Where a file stands."""

    fileID: int
    filename: str
    size: int
    sha256: str
    received: str
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
