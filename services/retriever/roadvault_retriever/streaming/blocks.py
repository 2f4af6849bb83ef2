"""The blocks of files that are being watched, in clear: read once however many want them, kept while there is room.

They lie as the archive's blocks on the network do, so that one of these costs one of those. Whoever wants a block that
is on its way waits for that; when nobody wants it any more, it is not waited for.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable

from prometheus_client import Counter, Gauge

from roadvault_retriever.streaming.source import Source

BLOCK_BYTES = 1 << 20
_KEPT_SECONDS = 600.0
"""So long a block is kept that nobody wants: it is a piece of a video, in clear."""

KEPT = Gauge("roadvault_stream_cache_bytes", "Bytes of videos that are kept in memory")
WANTED = Counter("roadvault_stream_blocks", "Blocks of videos that were wanted: read, or found here", ["how"])
for _how in ("read", "found"):
    WANTED.labels(_how)

Key = tuple[int, int, int]
"""A file, and where in it the block begins and ends."""


class _Flight:
    """A block on its way, and how many wait for it."""

    def __init__(self, task: asyncio.Task[bytes]) -> None:
        self.task = task
        self.waiting = 0


class Blocks:
    """What one process has of files in clear: at most so many bytes, whoever watches what."""

    def __init__(self, most_bytes: int) -> None:
        self.most_bytes = most_bytes
        self.watchers = 0
        """How many read now, each with its own place."""
        self._bytes = 0
        self._kept: OrderedDict[Key, tuple[bytes, float]] = OrderedDict()
        self._flights: dict[Key, _Flight] = {}

    async def get(self, key: Key, read: Callable[[], Awaitable[bytes]]) -> bytes:
        """Return a block; `read` brings it if it is not here and not on its way."""
        found = self._kept.pop(key, None)
        if found is not None:
            WANTED.labels("found").inc()
            self._kept[key] = found[0], time.monotonic()
            return found[0]
        flight = self._flights.get(key)
        WANTED.labels("found" if flight else "read").inc()
        if flight is None:
            flight = self._flights[key] = _Flight(asyncio.ensure_future(self._bring(key, read)))
        flight.waiting += 1
        try:
            return await asyncio.shield(flight.task)
        finally:
            flight.waiting -= 1
            if not flight.waiting and not flight.task.done():
                self._flights.pop(key, None)
                flight.task.cancel()

    async def _bring(self, key: Key, read: Callable[[], Awaitable[bytes]]) -> bytes:
        mine = asyncio.current_task()
        try:
            data = await read()
        finally:
            if key in self._flights and self._flights[key].task is mine:
                del self._flights[key]
        self._kept[key] = data, time.monotonic()
        self._bytes += len(data)
        self._trim(self.most_bytes)
        return data

    async def tidy(self) -> None:
        """Forget what nobody has wanted for long."""
        while self._kept and time.monotonic() - next(iter(self._kept.values()))[1] > _KEPT_SECONDS:
            self._forget()
        self._trim(self.most_bytes)

    def _trim(self, most: int) -> None:
        while self._bytes > most:
            self._forget()
        KEPT.set(self._bytes)

    def _forget(self) -> None:
        _, (data, _) = self._kept.popitem(last=False)
        self._bytes -= len(data)


class Shared:
    """A source whose blocks all who read it share; many small reads cost what one large one does."""

    def __init__(self, source: Source, blocks: Blocks) -> None:
        self.source = source
        self.size = source.size
        """Bytes."""
        self._blocks = blocks
        self._before = source.start % BLOCK_BYTES
        """Bytes of the first block that are the file before it in the archive."""

    def block_at(self, position: int) -> tuple[int, int]:
        """Return where the block with a byte of the file begins and ends in the file."""
        begin = (position + self._before) // BLOCK_BYTES * BLOCK_BYTES - self._before
        return max(begin, 0), min(begin + BLOCK_BYTES, self.size)

    async def block(self, begin: int, end: int) -> bytes:
        """Return a block.

        Raises:
            Refused, TransientError: As `Source.read` does.
        """
        await self.source.see()
        return await self._blocks.get((self.source.file_id, begin, end), lambda: self.source.read(begin, end - begin))

    async def read(self, offset: int, size: int) -> bytes:
        """Return `size` bytes from `offset` on, or as many as there are.

        Raises:
            Refused, TransientError: As `Source.read` does.
        """
        end, found = min(offset + size, self.size), bytearray()
        while offset < end:
            begin, behind = self.block_at(offset)
            piece = (await self.block(begin, behind))[offset - begin : end - begin]
            found += piece
            offset += len(piece)
        return bytes(found)
