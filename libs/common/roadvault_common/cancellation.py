"""Cancellations that a library swallows.

Drivers wait with asyncio.wait_for, which before Python 3.12 swallows a cancellation that comes together with the answer
or an error (CPython gh-86296): a task that was told to stop would go on.
"""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

T = TypeVar("T")


def cancellations() -> int:
    """Count how often the current task was told to stop."""
    task = asyncio.current_task()
    return task.cancelling() if task else 0


def stop_if_cancelled(before: int) -> None:
    """Raise the cancellation that came since `before` was counted.

    Raises:
        CancelledError: There was one.
    """
    if cancellations() > before:
        raise asyncio.CancelledError


async def heeding(answer: Awaitable[T]) -> T:
    """Return a driver's answer, or raise its error, unless the current task was told to stop meanwhile.

    Raises:
        CancelledError: It was.
    """
    before = cancellations()
    try:
        return await answer
    finally:
        stop_if_cancelled(before)
