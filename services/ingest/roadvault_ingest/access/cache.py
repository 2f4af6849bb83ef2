"""What was looked up a moment ago: no request waits for the database each time, and what is revoked ends soon."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

V = TypeVar("V")

SECONDS = 3.0
"""For so long an answer counts, from when it was asked for: who was revoked is refused by then, on all processes."""
_MOST = 4096
_ASKED_AT_ONCE = 8
"""Questions to the database at a time: strangers who try tokens are not to take all its connections."""


class Cache(Generic[V]):
    """Keeps what is there; what is not there is asked for each time. One asks for all who ask the same meanwhile."""

    def __init__(self, ask: Callable[[bytes], Awaitable[V | None]]) -> None:
        self._ask = ask
        self._known: dict[bytes, tuple[V, float]] = {}
        self._asking: dict[bytes, asyncio.Task[V | None]] = {}
        self._room = asyncio.Semaphore(_ASKED_AT_ONCE)

    async def get(self, key: bytes) -> V | None:
        """Return what `key` stands for.

        Raises:
            DatabaseUnavailable: Nobody knows now; what was known before counts no more.
        """
        found = self._known.get(key)
        if found is not None and time.monotonic() < found[1]:
            return found[0]
        task = self._asking.get(key)
        if task is None:
            task = self._asking[key] = asyncio.create_task(self._look(key))
        return await asyncio.shield(task)

    def forget(self, key: bytes) -> None:
        """Have it asked for anew, here."""
        self._known.pop(key, None)

    async def _look(self, key: bytes) -> V | None:
        try:
            async with self._room:
                until = time.monotonic() + SECONDS
                value = await self._ask(key)
            self._known.pop(key, None)
            if value is not None:
                while len(self._known) >= _MOST:
                    del self._known[next(iter(self._known))]
                self._known[key] = value, until
            return value
        finally:
            del self._asking[key]
