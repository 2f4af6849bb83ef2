"""One run of something slow for all who ask for it at about the same time."""

import asyncio
from collections.abc import Awaitable, Callable

_GATHER_SECONDS = 0.2
"""How long a run waits for more callers before it begins."""


class SharedRun:
    """Calls `work` once for all callers that come before it begins; later ones share the next run."""

    def __init__(self, work: Callable[[], Awaitable[None]]) -> None:
        self._work = work
        self._lock = asyncio.Lock()
        self._next: asyncio.Task[None] | None = None

    async def __call__(self) -> None:
        """Return when a run that began after this call has ended; raise what it raised."""
        if self._next is None:
            self._next = asyncio.create_task(self._run())
        # A caller that is cancelled must not take the others' run with it.
        await asyncio.shield(self._next)

    async def _run(self) -> None:
        await asyncio.sleep(_GATHER_SECONDS)
        async with self._lock:
            self._next = None
            await self._work()
