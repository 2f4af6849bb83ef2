"""Takes a long upload to disk while it comes in: one thread writes, another hashes, a third has the disk take it."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence

from roadvault_common.vault import NewFile

_FLUSH_BYTES = 64 << 20
"""So little is left for the sync at the end that the client waits for."""


class Sink:
    """One upload's way to disk. `share` says how many bytes may wait in memory for each of its threads, right now."""

    def __init__(self, file: NewFile, share: Callable[[], int]) -> None:
        self._file = file
        self._share = share
        self._lanes = (Lane(file.append), Lane(file.hash))
        self._flushed = 0
        self._flushing: asyncio.Future[None] | None = None

    async def add(self, pieces: Sequence[bytes]) -> None:
        """Have more of it written and hashed.

        Raises:
            DiskFull: There was no room for what came before.
        """
        for lane in self._lanes:
            await lane.add(pieces, self._share())
        if self._file.size - self._flushed >= _FLUSH_BYTES:
            if self._flushing is not None:
                await self._flushing
            self._flushed = self._file.size
            self._flushing = asyncio.ensure_future(asyncio.to_thread(self._file.flush))

    async def finish(self) -> None:
        """Wait until no thread has the file in hand; raise what went wrong in one of them."""
        ends = [lane.finish() for lane in self._lanes]
        results = await asyncio.gather(*ends, *filter(None, [self._flushing]), return_exceptions=True)
        for error in results:
            if error is not None:
                raise error


class Lane:
    """Does one thing to each piece, in order, in a thread that it has for as long as there are any."""

    def __init__(self, work: Callable[[bytes], None]) -> None:
        self._work = work
        self._waiting = deque[bytes]()
        self._added = self._done = 0
        self._running: asyncio.Future[None] | None = None

    async def add(self, pieces: Sequence[bytes], most: int) -> None:
        """Add pieces; wait until all is done if more than `most` bytes are not."""
        self._waiting += pieces
        self._added += sum(map(len, pieces))
        if self._running is not None and (self._running.done() or self._added - self._done > most):
            await self._running
            self._running = None
        if self._running is None and self._waiting:
            self._running = asyncio.ensure_future(asyncio.to_thread(self._run))

    def _run(self) -> None:
        while self._waiting:
            piece = self._waiting.popleft()
            self._work(piece)
            self._done += len(piece)

    async def finish(self) -> None:
        """Wait until all is done."""
        if self._running is not None:
            await self._running
        # A piece may have come as the thread had just found that there were no more.
        if self._waiting:
            await asyncio.to_thread(self._run)
