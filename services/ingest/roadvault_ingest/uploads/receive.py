"""Takes an upload's body: streamed to disk in constant memory, hashed on the way, durable at the end."""

import asyncio
import re
import time
from collections.abc import Awaitable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple, TypeVar

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from roadvault_common.files.copy_store import Copied
from roadvault_common.files.facts import NOTHING, Facts
from roadvault_common.files.new_file import NewFile
from roadvault_common.files.vault import Vault
from roadvault_ingest.config import IngestSettings
from roadvault_ingest.problems import Problem, TooSlow, WrongHash
from roadvault_ingest.uploads import facts
from roadvault_ingest.uploads.disk import Disk
from roadvault_ingest.uploads.form import Form
from roadvault_ingest.uploads.names import checked_name
from roadvault_ingest.uploads.wire import Buffers, Patience, Room, Wire, from_thread, taken_over

T = TypeVar("T")

CHUNK_BYTES = 1 << 18
"""What is handed to a thread to be written and hashed; less of it is written at the end, together with the sync."""
WIRE_BYTES = 4 << 20
"""An upload of which so much is still to come is worth a thread, and a connection that takes no other afterwards."""
_ASKED = web.RequestKey("asked", bool)
"""Of a request, that its client waits to be asked for the body."""
_SHA256 = re.compile(r"[0-9a-f]{64}")


class Key(NamedTuple):
    """A hash by which an upload is known when it comes again, within so many seconds."""

    key: str
    seconds: float


@dataclass(frozen=True)
class Received:
    """An upload that is durable on the disk; `path` is relative to the data directory, `size` bytes."""

    name: str
    path: str
    size: int
    sha256: str
    peer: str = ""
    """The address that it came from."""
    facts: Facts = NOTHING
    """What is known of it besides."""
    keys: tuple[Key, ...] = ()
    upload: str | None = None
    """Of one that came in several requests, its id."""
    who: Mapping[str, str] = field(default_factory=dict)
    """What the custody log says of who sent it, besides."""
    copy: Copied | None = None
    """What another store has of it."""
    trace: str | None = None
    """The `traceparent` of its request, while traces are on."""


async def expect(request: web.Request) -> None:
    """Ask for a body (Expect: 100-continue) only once it is read: what is refused before need not be sent."""
    request[_ASKED] = True


class Incoming(NewFile):
    """One upload on its way to disk, under a random name; `relative` is its path below the data directory."""

    def __init__(self, vault: Vault) -> None:
        self.relative = vault.new_upload()
        super().__init__(vault.root / self.relative)


class Body:
    """A request's body as it comes in, from a client that is not too slow."""

    def __init__(self, request: web.Request, settings: IngestSettings) -> None:
        self._request = request
        self._content = request.content
        self._patience = Patience(settings)
        self._came = 0
        self.taken_over = False
        """Whether the connection can take no other request."""

    async def read(self) -> bytes:
        """Return what has come since; nothing at the end.

        Raises:
            TooSlow: The client is.
            Problem: The body can't be read.
        """
        if self._content.at_eof():
            return b""
        if self._request.pop(_ASKED, None) and self._request.transport is not None:
            self._request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if self._content.exception() is not None and (data := self._ahead()):
            return data
        started = time.monotonic()
        try:
            data = await timely(self._content.readany(), self._patience.left)
        except TooSlow:
            raise self._patience.end() from None
        self._patience.note(time.monotonic() - started, len(data))
        self._came += len(data)
        return data

    @property
    def length(self) -> int | None:
        """How long it is; None if that is not said."""
        return self._request.content_length if self._request.body_exists else 0

    @property
    def left(self) -> int:
        """How many bytes of it are still to be read; 0 if that is not known."""
        return (self._request.content_length or self._came) - self._came

    def _ahead(self) -> bytes:
        """Return what aiohttp has read ahead, also when it gives out no more since the client has hung up."""
        error, self._content._exception = self._content._exception, None  # noqa: SLF001 - nothing else gives it out
        try:
            data = self._content.read_nowait()
        finally:
            self._content._exception = error  # noqa: SLF001
        self._patience.note(0, len(data))
        self._came += len(data)
        return data

    @contextmanager
    def from_the_wire(self) -> Iterator[tuple[bytes, Wire]]:
        """Give what aiohttp has read ahead, and the connection for the rest."""
        ahead = self._ahead()
        self.taken_over = True
        with taken_over(self._request, self.left, self._patience) as wire:
            yield ahead, wire


async def receive(body: Body, form: Form, incoming: Incoming, disk: Disk, room: Room) -> Received:
    """Read the parts `file`, `filename` and, if the client likes, `sha256` and what is known of it, in any order.

    Without a `filename`, or with an empty one, the file is called what its own part says: a form without scripts.

    Raises:
        Problem: The body is not what it should be. The caller discards `incoming`.
        DiskFull: There is no room for the file.
    """
    rest = await _stream(body, form, incoming, disk, room)
    if not form.size:
        raise form.missing_file()
    name, known = checked_name(form.filename), facts.read(form.fields)
    await disk.finish(incoming, rest)
    sha256 = incoming.sha256
    check_sha256(form.fields, sha256)
    return Received(name, incoming.relative, incoming.size, sha256, facts=known)


def expected_sha256(fields: Mapping[str, str]) -> str:
    """Return the SHA-256 that a client says its file has, in lower case; "" if it does not say.

    Raises:
        Problem: It is none.
    """
    expected = fields.get("sha256", "").strip().lower()
    if expected and not _SHA256.fullmatch(expected):
        raise Problem("sha256 must be 64 hex digits")
    return expected


def check_sha256(fields: Mapping[str, str], sha256: str) -> None:
    """See that a file has the hash that its client says it has, if it says so.

    Raises:
        WrongHash: It has another.
    """
    if expected_sha256(fields) not in {"", sha256}:
        raise WrongHash(f"the file that arrived has SHA-256 {sha256}, not the one that was announced")


async def _stream(body: Body, form: Form, incoming: Incoming, disk: Disk, room: Room) -> list[bytes]:
    """Write the file as it comes in; return what is left to be written: all of it if it is short."""
    pieces: list[bytes] = []
    length = 0
    while not form.over and (data := await body.read()):
        found = form.feed(data)
        pieces += found
        length += sum(map(len, found))
        if length < CHUNK_BYTES:
            continue
        with disk.lend() if _worth_it(body, form, incoming) else nullcontext() as buffers:
            if buffers is not None:
                return await _skim(body, form, incoming, pieces, room, disk, buffers)
        await room(form.size)
        await disk.write(incoming, pieces)
        pieces, length = [], 0
    pieces += form.feed(b"")
    await room(form.size)
    return pieces


def _worth_it(body: Body, form: Form, incoming: Incoming) -> bool:
    return not incoming.size and body.left >= WIRE_BYTES and form.lends


async def _skim(
    body: Body, form: Form, incoming: Incoming, pieces: list[bytes], room: Room, disk: Disk, buffers: Buffers
) -> list[bytes]:
    """Have a thread write the rest of the file as it comes from the wire; then read the form's end."""
    with body.from_the_wire() as (ahead, wire):
        first = b"".join((*pieces, form.lend(), ahead))
        if disk.direct:
            incoming.bypass_cache(on=True)
        known, ask = form.size, from_thread(room)
        end = await disk.run(partial(wire.skim, first, form.mark, incoming, buffers, ask), wire.stop)
        form.pass_by(incoming.size - known)
        rest: list[bytes] = []
        while end:
            rest += form.feed(end)
            end = b"" if form.over else await disk.run(wire.read, wire.stop)
        return rest + form.feed(b"")


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
