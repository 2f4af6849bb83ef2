"""What a service does again and again, until it is told to stop."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from roadvault_common.errors import TransientError, brief

log = structlog.get_logger()


async def repeat(work: Callable[[], Awaitable[None]], closing: asyncio.Event, seconds: float) -> None:
    """Do `work` now and `seconds` after it ended, until `closing` is set; a server or disk in trouble skips a turn."""
    while not closing.is_set():
        try:
            await work()
        except (TransientError, OSError) as error:
            name = getattr(getattr(work, "func", work), "__name__", "work")
            log.warning("will be done later", work=name, error=brief(error))
        await pause(closing, seconds)


async def pause(closing: asyncio.Event, seconds: float) -> None:
    """Wait for `seconds`, or until `closing` is set."""
    try:
        async with asyncio.timeout(seconds):
            await closing.wait()
    except TimeoutError:
        return


async def pause_until(closing: asyncio.Event, nudge: asyncio.Event, seconds: float) -> None:
    """Wait for `seconds`, until `closing` is set, or until there is a reason to look sooner."""
    waits = [asyncio.create_task(event.wait()) for event in (closing, nudge)]
    try:
        await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in waits:
            task.cancel()
