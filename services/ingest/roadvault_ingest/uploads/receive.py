"""Takes an upload's body: streamed to disk in constant memory, hashed on the way, durable at the end."""

import asyncio
import re
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from aiohttp import StreamReader
from aiohttp.http_exceptions import HttpProcessingError

from roadvault_common.files.new_file import NewFile
from roadvault_common.files.vault import Vault
from roadvault_ingest.config import IngestSettings
from roadvault_ingest.problems import Problem, TooSlow, WrongHash
from roadvault_ingest.uploads.disk import Disk, Sink
from roadvault_ingest.uploads.form import Form
from roadvault_ingest.uploads.names import checked_name

T = TypeVar("T")

Room = Callable[[int], Awaitable[None]]
"""Sees to it that an upload of that many bytes has room on the disk; raises NoRoom if it has not."""

CHUNK_BYTES = 1 << 18
"""What is handed to the threads that write and hash; less of it is written at the end, on the same way as the sync."""
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Received:
    """An upload that is durable on the disk; `path` is relative to the data directory, `size` bytes."""

    name: str
    path: str
    size: int
    sha256: str


class Incoming(NewFile):
    """One upload on its way to disk, under a random name; `relative` is its path below the data directory."""

    def __init__(self, vault: Vault) -> None:
        self.relative = vault.new_upload()
        super().__init__(vault.root / self.relative)


class Body:
    """A request's body as it comes in, from a client that is not too slow.

    It may let us wait for `upload_stall_seconds` at a time, and in all for so long and what its bytes take at
    `upload_bytes_per_second`: so one stall is forgiven, a trickle is not. What we ourselves let it wait does not count.
    """

    def __init__(self, content: StreamReader, settings: IngestSettings) -> None:
        self._content = content
        self._stall_seconds = settings.upload_stall_seconds
        self._bytes_per_second = settings.upload_bytes_per_second
        self._came, self._waited = 0, 0.0

    async def read(self) -> bytes:
        """Return what has come since; nothing at the end.

        Raises:
            TooSlow: The client is.
            Problem: The body can't be read.
        """
        if self._content.at_eof():
            return b""
        left = self._stall_seconds + self._came / self._bytes_per_second - self._waited
        started = time.monotonic()
        try:
            data = await timely(self._content.readany(), min(left, self._stall_seconds))
        except TooSlow:
            if left >= self._stall_seconds:
                raise
            raise TooSlow(f"the body came at less than {self._bytes_per_second:.0f} bytes a second") from None
        self._waited += time.monotonic() - started
        self._came += len(data)
        return data


async def receive(body: Body, form: Form, incoming: Incoming, disk: Disk, room: Room) -> Received:
    """Read the parts `file`, `filename` and, if the client likes, `sha256`, in any order.

    Without a `filename`, or with an empty one, the file is called what its own part says: a form without scripts.

    Raises:
        Problem: The body is not what it should be. The caller discards `incoming`.
        DiskFull: There is no room for the file.
    """
    rest = await _stream(body, form, incoming, disk, room)
    if not form.size:
        raise form.missing_file()
    name = checked_name(form.filename)
    await disk.finish(incoming, rest)
    sha256 = incoming.sha256
    expected = form.fields.get("sha256", "").strip().lower()
    if expected and not _SHA256.fullmatch(expected):
        raise Problem("sha256 must be 64 hex digits")
    if expected and expected != sha256:
        raise WrongHash(f"the file that arrived has SHA-256 {sha256}, not the one that was announced")
    return Received(name, incoming.relative, incoming.size, sha256)


async def _stream(body: Body, form: Form, incoming: Incoming, disk: Disk, room: Room) -> list[bytes]:
    """Write the file as it comes in; return what is left to be written: all of it if it is short."""
    sink: Sink | None = None
    pieces: list[bytes] = []
    length = 0
    try:
        while not form.over and (data := await body.read()):
            found = form.feed(data)
            pieces += found
            length += sum(map(len, found))
            if length >= CHUNK_BYTES:
                await room(form.size)
                sink = sink or disk.sink(incoming)
                await sink.add(pieces)
                pieces, length = [], 0
        pieces += form.feed(b"")
        await room(form.size)
    finally:
        if sink is not None:
            await asyncio.shield(sink.finish())
    return pieces


async def timely(awaitable: Awaitable[T], seconds: float) -> T:
    """Return what comes next of a request's body.

    Raises:
        TooSlow: Nothing came for that long.
        Problem: It can't be read: aiohttp has a mixed bag of errors for bodies that are malformed or end early.
    """
    try:
        async with asyncio.timeout(seconds):
            return await awaitable
    except TimeoutError:
        raise TooSlow(f"nothing arrived for {seconds:.0f} s") from None
    except (HttpProcessingError, ValueError, LookupError, RuntimeError) as error:
        detail = error.message if isinstance(error, HttpProcessingError) else str(error)
        raise Problem(f"the body is malformed or ends early: {' '.join(detail.split())[:200]}") from None
