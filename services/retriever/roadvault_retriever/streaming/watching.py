"""One watcher's way through a file: what it takes, and a little ahead of it; troubles that pass are waited for."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Self

from prometheus_client import Gauge

from roadvault_common.errors import TransientError
from roadvault_retriever.streaming.blocks import BLOCK_BYTES, Blocks, Shared

WATCHERS = Gauge("roadvault_stream_watchers", "Answers with a piece of a video that are under way")

_PIECE_BYTES = 1 << 16
_AHEAD_BYTES = 1 << 19
"""The next block is on its way once so few bytes are left of the one that is being taken. With the part of the first
one that nobody asked for, and what sockets hold on the way to the client, less than 4 MiB come in vain."""
_FIRST_SECONDS = 15.0
"""For the first block; then whoever waits is told, and may ask again."""
_PAUSES = (0.2, 0.5, 1.0, 2.0)
"""Seconds before what could not be had is asked for again; the last one again and again."""


class Watch:
    """Takes the bytes from `begin` up to `end` of a file, in order. To be used with `async with`."""

    def __init__(self, file: Shared, blocks: Blocks, begin: int, end: int, stall_seconds: float) -> None:
        self._file = file
        self._blocks = blocks
        self._position = begin
        self._end = end
        self._stall_seconds = stall_seconds
        self._ahead: dict[tuple[int, int], asyncio.Task[bytes]] = {}

    async def __aenter__(self) -> Self:
        WATCHERS.inc()
        self._blocks.watchers += 1
        return self

    async def __aexit__(self, *_: object) -> None:
        WATCHERS.dec()
        self._blocks.watchers -= 1
        for task in self._ahead.values():
            task.cancel()
        await asyncio.gather(*self._ahead.values(), return_exceptions=True)

    async def first(self) -> None:
        """Have the first block come.

        Raises:
            Refused: The file is not there.
            TransientError: It can't be had now.
        """
        await self._insist(*self._file.block_at(self._position), _FIRST_SECONDS)

    async def pieces(self) -> AsyncGenerator[memoryview, None]:
        """Yield the bytes; while one is being taken, what comes next is on its way.

        Raises:
            Refused: The file ended meanwhile.
            TransientError: Nothing came for so long.
        """
        while self._position < self._end:
            begin, behind = self._file.block_at(self._position)
            block = memoryview(await self._insist(begin, behind, self._stall_seconds))
            while self._position < min(behind, self._end):
                self._look_ahead(behind)
                size = min(_PIECE_BYTES, behind - self._position, self._end - self._position)
                yield block[self._position - begin : self._position - begin + size]
                self._position += size

    def _look_ahead(self, begin: int) -> None:
        """Have the blocks from `begin` on come that will be wanted soon, if there is room for all who watch."""
        if self._blocks.watchers * 3 * BLOCK_BYTES > self._blocks.most_bytes:
            return
        while begin < min(self._position + _AHEAD_BYTES, self._end):
            span = self._file.block_at(begin)
            if span not in self._ahead:
                self._ahead[span] = asyncio.create_task(self._file.block(*span))
                self._ahead[span].add_done_callback(_heed)
            begin = span[1]

    async def _insist(self, begin: int, end: int, seconds: float) -> bytes:
        """Return a block, however often it can't be had, until nothing came for too long."""
        now = asyncio.get_running_loop().time
        last, tries = now() + seconds, 0
        while True:
            task = self._ahead.pop((begin, end), None)
            try:
                return await (task or self._file.block(begin, end))
            except TransientError:
                if now() >= last:
                    raise
            await asyncio.sleep(_PAUSES[min(tries, len(_PAUSES) - 1)])
            tries += 1


def _heed(task: asyncio.Task[bytes]) -> None:
    """Take notice of what went wrong ahead: whoever gets there asks again."""
    if not task.cancelled():
        task.exception()
