"""One request at a time for each upload: a client that comes again has lost its connection, whatever we still see."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from roadvault_ingest.problems import Conflict

T = TypeVar("T")


class Turns:
    """What is in hand in this process, by uploads' ids."""

    def __init__(self) -> None:
        self._in_hand: dict[str, asyncio.Task[Any]] = {}

    async def run(self, upload_id: str, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Do something to an upload; what was in hand is told to end, and waited for.

        Raises:
            Conflict: Another request came meanwhile, for which this one ended.
        """
        while (before := self._in_hand.get(upload_id)) is not None:
            if not before.cancelling():
                before.cancel()
            await asyncio.wait({before})
        task = self._in_hand[upload_id] = asyncio.create_task(work())
        task.add_done_callback(lambda _: self._in_hand.pop(upload_id, None))
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            this = asyncio.current_task()
            if task.cancelled() and this is not None and not this.cancelling():
                raise Conflict("another request goes on with this upload: ask for its offset") from None
            task.cancel()
            await asyncio.wait({task})
            raise
