"""Records uploads: those that end while a transaction is under way share the next one, and its sync of the disk."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from roadvault_common.errors import Outage
from roadvault_ingest.store import IngestStore, Limits
from roadvault_ingest.uploads.placed import Placed
from roadvault_ingest.uploads.receive import Received

_MOST = 64
"""Uploads in one transaction."""

_Waiting = tuple[Received, asyncio.Future[Placed]]

Announce = Callable[[Sequence[tuple[Received, Placed]]], Awaitable[None]]
"""Does what follows a transaction: events are sent, files tagged; never fails."""


class Recorder:
    """Records the uploads of one ingest worker in its open folder; announces them before their clients know."""

    def __init__(self, store: IngestStore, worker: str, limits: Limits, announce: Announce) -> None:
        self._store = store
        self._worker = worker
        self._limits = limits
        self._announce = announce
        self._announcing: set[asyncio.Task[None]] = set()
        self._waiting: list[_Waiting] = []
        self._running: asyncio.Task[None] | None = None

    async def record(self, received: Received) -> Placed:
        """Record an upload; return once it is durable.

        Raises:
            CommitUnknown: As `IngestStore.add_files`.
        """
        future: asyncio.Future[Placed] = asyncio.get_running_loop().create_future()
        self._waiting.append((received, future))
        if self._running is None:
            self._running = asyncio.create_task(self._run())
        return await future

    async def _run(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting[:_MOST], self._waiting[_MOST:]
                await self._record(batch)
        finally:
            self._running = None

    async def _record(self, batch: list[_Waiting]) -> None:
        try:
            placed = await self._store.add_files(self._worker, [received for received, _ in batch], self._limits)
        except asyncio.CancelledError:
            for _, future in batch:
                future.cancel()
            raise
        except Exception as error:  # noqa: BLE001 - it is for those who wait
            await self._fail(batch, error)
        else:
            # Meanwhile the next transaction is under way: a Redis that is slow holds up nobody else.
            task = asyncio.create_task(self._finish(batch, placed))
            self._announcing.add(task)
            task.add_done_callback(self._announcing.discard)

    async def _finish(self, batch: list[_Waiting], placed: Sequence[Placed]) -> None:
        done = list(zip(batch, placed, strict=True))
        fresh = [(received, where) for (received, _), where in done if not where.twice]
        try:
            if fresh:
                await self._announce(fresh)
        finally:
            for (_, future), where in done:
                if not future.done():
                    future.set_result(where)

    async def _fail(self, batch: list[_Waiting], error: Exception) -> None:
        if len(batch) > 1 and not isinstance(error, Outage):
            # One of them is to blame: the others must not fail with it.
            for one in batch:
                await self._record([one])
            return
        for _, future in batch:
            if not future.done():
                future.set_exception(error)
