"""One thread that talks to one node at a time. What hangs is left behind, with its thread and its connection."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Any, TypeVar

import structlog

from roadvault_common.errors import ChainUnavailable
from roadvault_common.work import lease as leases
from roadvault_crust_orderer.markets.node import Node

log = structlog.get_logger()

_MOST_LEFT_BEHIND = 8
"""Threads that may hang at once. Each ends with its socket's timeout, unless a node sends a byte now and then."""
_CLOSE_SECONDS = 1.0

T = TypeVar("T")


class Line:
    """Calls have `seconds` each, with the wait for those before them, whatever sockets and nodes do."""

    def __init__(self, node: Node, seconds: float) -> None:
        self.node = node
        self._seconds = seconds
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="chain")
        self._left_behind: list[Future[Any]] = []
        self.waiting = 0
        """Calls that are under way, or wait for those before them."""

    async def call(self, work: Callable[[Node], T]) -> T:
        """Do `work` on the thread; that it was answered is progress of the lease that it was asked under.

        Raises:
            ChainUnavailable: No node answered in time, or as `work` has it.
        """
        self._left_behind = [left for left in self._left_behind if not left.done()]
        if len(self._left_behind) >= _MOST_LEFT_BEHIND:
            raise ChainUnavailable(f"{len(self._left_behind)} calls of Crust nodes hang")
        node, running = self.node, self._thread.submit(work, self.node)
        self.waiting += 1
        try:
            async with asyncio.timeout(self._seconds):
                result = await asyncio.wrap_future(running)
        except TimeoutError:
            if node is self.node:
                self._leave_behind(running)
            raise ChainUnavailable(f"no Crust node has answered within {self._seconds:.0f} s") from None
        finally:
            self.waiting -= 1
        leases.note_progress()
        return result

    def _leave_behind(self, running: Future[Any]) -> None:
        log.warning("a call of a Crust node hangs; going on with a new connection")
        self._left_behind.append(running)
        self._thread.shutdown(wait=False)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="chain")
        self.node = self.node.over(self.node.endpoints.anew())

    async def close(self) -> None:
        """Close the connection, unless a call holds it; the thread ends by itself."""
        closing = self._thread.submit(self.node.endpoints.close)
        self._thread.shutdown(wait=False)
        with suppress(TimeoutError):
            async with asyncio.timeout(_CLOSE_SECONDS):
                await asyncio.wrap_future(closing)
