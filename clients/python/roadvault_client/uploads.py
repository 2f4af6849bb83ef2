"""Uploads: in one request, or resumably (tus 1.0)."""

import base64
import os
import secrets
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import PurePath
from typing import BinaryIO

from roadvault_client.core import LATER, Core
from roadvault_client.errors import ConnectionFailed, Gone, NotFound, NotRoadVault, RoadVaultError, refused
from roadvault_client.source import Form, Progress, Rest, Source
from roadvault_client.steps import Answer, Call, Sleep, Steps, work

RESUMABLE_BYTES = 4 << 20
"""From this size on uploads are resumable unless it is said otherwise: below, one request is less than three."""
_TUS = {"Tus-Resumable": "1.0.0"}
_CREATED = 201
_FILE_ID = "RoadVault-File-ID"
_LOOK_AGAIN = {*LATER, 404, 409, 410}
"""Answers to a piece after which it is asked how far the upload has come: that tells, too, if it is no more."""


@dataclass(frozen=True)
class Facts:
    """What is known of a file besides its name; degrees are WGS 84."""

    camera: str | None = None
    recorded_at: datetime | None = None
    lat: float | None = None
    lon: float | None = None
    tags: tuple[str, ...] = ()

    def fields(self) -> dict[str, str]:
        """Return them as the API names them.

        Raises:
            ValueError: `recorded_at` has no time zone, or a tag has a comma.
        """
        if self.recorded_at is not None and self.recorded_at.tzinfo is None:
            raise ValueError("recorded_at needs a time zone: 2026-11-28T08:30 is another moment in each")
        if any("," in tag for tag in self.tags):
            raise ValueError("a tag can't have a comma")
        fields = {
            "camera": self.camera,
            "recordedAt": None if self.recorded_at is None else self.recorded_at.isoformat(),
            "lat": None if self.lat is None else str(self.lat),
            "lon": None if self.lon is None else str(self.lon),
            "tags": ",".join(self.tags) or None,
        }
        return {name: value for name, value in fields.items() if value is not None}


@dataclass(frozen=True)
class Uploaded:
    """A file that RoadVault has, durably; `size` is bytes."""

    file_id: int
    name: str
    size: int
    sha256: str


@dataclass
class Ticket:
    """What makes an upload the same upload when it is begun again, by another process, too: keep it before."""

    key: str = field(default_factory=lambda: secrets.token_urlsafe(24))
    """Whatever is uploaded under it is one file."""
    url: str | None = None
    """Where a resumable upload goes on; not known before it has begun."""
    keep: Callable[["Ticket"], object] | None = None
    """Is called when `url` is known, or is another one."""


@dataclass(frozen=True)
class _What:
    """What is uploaded."""

    source: Source
    name: str
    fields: dict[str, str]
    progress: Progress | None
    ticket: Ticket


def upload(
    core: Core,
    source: "str | os.PathLike[str] | BinaryIO",
    name: str | None = None,
    *,
    facts: Facts | None = None,
    sha256: str | None = None,
    progress: Progress | None = None,
    resumable: bool | None = None,
    ticket: Ticket | None = None,
) -> Steps[Uploaded]:
    """Upload a file; it is durable, and its SHA-256 was checked by the server, when this returns.

    Args:
        core: The server.
        source: A path, or an open file, which is read from where it stands. What can't be sought in, such as a pipe,
            is sent in one request, once.
        name: What the file is called; of a path its last part.
        facts: What is known of it besides.
        sha256: Of the file, where that is known already; a resumable upload then reads it once.
        progress: Is told how many bytes were sent, and of how many, for each piece.
        resumable: Whether to go on where it broke off; else all is sent again. None: if it has 4 MiB or more.
        ticket: For an upload that another process may have begun.

    Raises:
        WrongHash: The file was changed while it was read.
        Refused: The server does not take it.
        ConnectionFailed: It is away.
        ValueError: What is to be uploaded is not said clearly.
    """
    if name is None and isinstance(source, str | os.PathLike):
        name = PurePath(source).name
    if name is None:
        raise ValueError("say what the file is to be called")
    fields = {} if facts is None else facts.fields()
    opened = yield from work(lambda: Source.open(source))
    with closing(opened):
        what = _What(opened, name, fields, progress, ticket or Ticket())
        if resumable is None:
            resumable = what.ticket.url is not None or (opened.size or 0) >= RESUMABLE_BYTES
        if not resumable:
            return (yield from _in_one(core, what, sha256))
        if opened.size is None:
            raise ValueError("what can't be sought in can't be uploaded resumably")
        known = sha256 or (yield from work(opened.sha256))
        file_id = yield from _Resumable(core, what, opened.size, known).run()
        return Uploaded(file_id, name, opened.size, known)


def _in_one(core: Core, what: _What, sha256: str | None) -> Steps[Uploaded]:
    form = Form(what.source, what.name, what.fields, what.progress, sha256)
    headers = core.ours(**form.headers, **{"Idempotency-Key": what.ticket.key})
    result = yield from core.ask(Call("POST", core.api("upload"), headers, body=form))
    return Uploaded(result["fileID"], what.name, form.size, form.sha256)


class _Resumable:
    """One resumable upload. It is tried as long as it gets on."""

    def __init__(self, core: Core, what: _What, size: int, sha256: str) -> None:
        self._core = core
        self._what = what
        self._size = size
        self._sha256 = sha256
        self._failures = 0
        self._furthest = 0

    def run(self) -> Steps[int]:
        ticket = self._what.ticket
        while True:
            try:
                if ticket.url is None:
                    answer = yield from self._create(ticket)
                else:
                    answer = yield from self._core.send(Call("HEAD", ticket.url, self._headers()))
            except (NotFound, Gone) as error:  # it has expired
                yield from self._failed(error)
                ticket.url = None
                continue
            file_id = _file_id(answer)
            if file_id is None and ticket.url is not None:
                fresh = answer.status == _CREATED and "Upload-Offset" not in answer.headers
                offset = 0 if fresh else int(self._core.header(answer, "Upload-Offset"))
                file_id = yield from self._send(ticket.url, offset)
            if file_id is not None:
                return file_id

    def _create(self, ticket: Ticket) -> Steps[Answer]:
        """Begin an upload, or find the one that was begun with this key."""
        told = {"filename": self._what.name, "sha256": self._sha256, **self._what.fields}
        metadata = ",".join(f"{name} {base64.b64encode(value.encode()).decode()}" for name, value in told.items())
        headers = self._headers(**{
            "Upload-Length": str(self._size),
            "Upload-Metadata": metadata,
            "Idempotency-Key": self._what.ticket.key,
        })  # fmt: skip
        answer = yield from self._core.send(Call("POST", self._core.api("files"), headers))
        ticket.url = self._core.beside(self._core.header(answer, "Location"))
        if ticket.keep is not None:
            yield from work(partial(ticket.keep, ticket))
        return answer

    def _send(self, url: str, offset: int) -> Steps[int | None]:
        """Send the rest; return the file's number, or None if it has to be asked how far that came."""
        headers = self._headers(**{
            "Upload-Offset": str(offset), "Content-Length": str(self._size - offset),
            "Content-Type": "application/offset+octet-stream",
        })  # fmt: skip
        if offset > self._furthest:
            self._furthest, self._failures = offset, 0
        try:
            rest = Rest(self._what.source, offset, self._what.progress)
            answer: Answer = yield Call("PATCH", url, headers, body=rest if offset < self._size else b"")
        except ConnectionFailed as error:
            yield from self._failed(error)
            return None
        if 200 <= answer.status < 300:  # noqa: PLR2004 - a redirect is an error
            if _file_id(answer) is None and int(self._core.header(answer, "Upload-Offset")) <= offset:
                raise NotRoadVault("the upload does not get on, and nothing says why")
            return _file_id(answer)
        problem = refused(answer.status, answer.headers, answer.content)
        if answer.status not in _LOOK_AGAIN:
            raise problem
        yield from self._failed(problem)
        return None

    def _failed(self, error: RoadVaultError) -> Steps[None]:
        self._failures += 1
        if self._failures >= self._core.retries.attempts:
            raise error
        yield Sleep(self._core.retries.pause(self._failures, error))

    def _headers(self, **more: str) -> dict[str, str]:
        return self._core.ours(**_TUS, **more)


def _file_id(answer: Answer) -> int | None:
    return int(answer.headers[_FILE_ID]) if _FILE_ID in answer.headers else None
