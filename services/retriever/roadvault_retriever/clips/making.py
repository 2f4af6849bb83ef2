"""Makes clips: a video's bytes go into the sandbox as it asks for them, and the clip's come out of it onto the disk."""

import asyncio
from contextlib import aclosing

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from roadvault_common.errors import PermanentError
from roadvault_common.files.ledger import Ledger
from roadvault_common.files.new_file import NewFile
from roadvault_common.files.room import Reservation
from roadvault_common.files.span import Span, milliseconds
from roadvault_common.files.vault import Vault
from roadvault_common.plain import plain
from roadvault_common.work.lease import Lease
from roadvault_retriever.store import Made, Wanted
from roadvault_retriever.streaming.blocks import Blocks, Shared
from roadvault_retriever.streaming.source import Sources
from roadvault_video import sandbox
from roadvault_video.sandbox import Kind, Limits, UnreadableVideo

ROOM_BYTES = 64 << 20
"""Reserved at the beginning, and each time that it is full: how long a clip gets nobody knows before."""
_SECONDS, _MEMORY_BYTES = 120, 512 << 20
"""Of processor time: an hour of small packets, or 4 GiB of large ones, take some 10 seconds where one is fast."""
_INDEX_BYTES = 256 << 20
"""Of a video that may be read besides what comes out: indexes grow with the video."""
_DROPPED, _WORDS = 10, 60


class NoClip(PermanentError):
    """The file has no such clip."""


class _Note(BaseModel):
    """What the sandbox says at the end: either why there is no clip, or what it is."""

    model_config = ConfigDict(strict=True)

    refused: str | None = None
    begin: int = Field(0, ge=0)
    end: int = Field(0, ge=0)
    recorded: int | None = Field(None, ge=0, lt=1 << 43)
    dropped: list[str] = []


class _Watched:
    """A video whose reading is progress."""

    def __init__(self, source: Shared, lease: Lease) -> None:
        self._source = source
        self._lease = lease
        self.size = source.size

    async def read(self, offset: int, size: int) -> bytes:
        data = await self._source.read(offset, size)
        self._lease.progress(len(data))
        return data


class _Target:
    """The clip on the disk, and its room, which grows with it by as much as it had at first."""

    def __init__(self, file: NewFile, ledger: Ledger, room: Reservation, lease: Lease) -> None:
        self._file, self._ledger, self._room, self._lease = file, ledger, room, lease
        self._more, self._full = room.size, ROOM_BYTES

    async def write(self, data: bytes) -> None:
        if self._file.size + len(data) > self._full:
            await self._ledger.grow(self._room, self._more)
            self._full += ROOM_BYTES
        await asyncio.to_thread(self._file.write, data)
        self._lease.progress(len(data))


class Clips:
    """Makes clips of files, wherever they are."""

    def __init__(self, vault: Vault, ledger: Ledger, sources: Sources, cached: Blocks, most_bytes: int) -> None:
        self._vault = vault
        self._ledger = ledger
        self._sources = sources
        self._cached = cached
        self._most_bytes = most_bytes

    async def make(self, lease: Lease, wanted: Wanted, span: Span, path: str, room: Reservation) -> tuple[str, Made]:
        """Write a clip to the new file `path`, for which there is `room`; nothing is left behind on any error.

        Return where its bytes came from, too: the farthest of such places.

        Raises:
            NoClip: There is none.
            UnreadableVideo: The file can't be parsed as a video.
            TransientError: It can't be read now, or there is too little room.
        """
        video = await self._sources.open(wanted.file_id)
        source = _Watched(Shared(video, self._cached), lease)
        file = NewFile(self._vault.path(path))
        try:
            note = await self._cut(source, wanted, span, _Target(file, self._ledger, room, lease))
            await asyncio.to_thread(file.finish)
        except BaseException:
            await asyncio.shield(asyncio.to_thread(file.discard))
            raise
        note.dropped = [plain(one)[:_WORDS] for one in note.dropped[:_DROPPED]]
        told = note.model_dump_json(exclude={"refused"})
        made = Made(span.name(wanted.file_name), file.size, file.sha256, told)
        return video.farthest or wanted.nearest, made  # if all of it was in memory, where it would be looked for

    async def _cut(self, source: _Watched, wanted: Wanted, span: Span, target: _Target) -> _Note:
        limits = Limits(_SECONDS, _MEMORY_BYTES, _INDEX_BYTES, self._most_bytes + _INDEX_BYTES)
        recorded = None if wanted.recorded_at is None else milliseconds(wanted.recorded_at)
        args: dict[str, object] = {**span._asdict(), "recorded": recorded, "largest": self._most_bytes}
        note = None
        async with aclosing(sandbox.run("roadvault_video.clip", source, limits, args)) as messages:
            async for kind, data in messages:
                if kind is Kind.NOTE:
                    note = _read(data)
                else:
                    await target.write(data)
        if note is None:
            raise UnreadableVideo("nothing is said of the clip")
        if note.refused is not None:
            words = f"file {wanted.file_id} has no such clip: {plain(note.refused)}"
            raise NoClip(words, code="no_clip", file=wanted.file_id)
        return note


def _read(data: bytes) -> _Note:
    try:
        return _Note.model_validate_json(data)
    except ValidationError as error:
        raise UnreadableVideo("what is said of the clip makes no sense") from error
