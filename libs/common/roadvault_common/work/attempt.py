"""One attempt at the work on a row: begun as a task of its own and watched, until it ends or has to be cut.

It is cut when it hangs, takes too long, or has lost its lease, or as the service stops. So the work is cancelled by its
watcher alone, and the watcher by the service alone.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable

import structlog

from roadvault_common.errors import Ended, LeaseLost, Outage, PermanentError, TransientError, Waiting
from roadvault_common.sql.db import Database
from roadvault_common.work import lease as leases
from roadvault_common.work import reasons
from roadvault_common.work.lease import Lease
from roadvault_common.work.outcome import Done, Failed, Outcome, Retry, Wait
from roadvault_common.work.reasons import Reason

log = structlog.get_logger()

Do = Callable[[Lease], Awaitable[Outcome]]

_PULSES = 4
"""Looks at the progress in one length of the lease; as many without any mean that the work hangs."""
_MOMENT_SECONDS = (5.0, 15.0)
"""Between these, a row waits whose attempt met an outage; if that lasts, its breaker is open by then."""


async def attempt(db: Database, lease: Lease, do: Do) -> tuple[Outcome, BaseException | None]:
    """Have the work on a row done; return what it came to, and the error by which it ended, if any.

    Raises:
        LeaseLost: Somebody else has the row.
        CancelledError: The service stops; the work has ended.
    """
    with leases.under(lease):
        work = asyncio.ensure_future(do(lease))
    cut: Reason | None = None
    try:
        cut = await _watch(db, lease, work)
    finally:
        await _stop(lease, work)
    error = asyncio.CancelledError() if work.cancelled() else work.exception()
    if error is None:
        return work.result(), None
    return (Retry(cut), None) if cut is not None else (_meaning(error), error)


async def _watch(db: Database, lease: Lease, work: asyncio.Future[Outcome]) -> Reason | None:
    """Extend the lease while there is progress, until the work ends; return why it has to be cut, if it has to be.

    Raises:
        LeaseLost: Somebody else has the row.
    """
    deadline, seen, quiet = time.monotonic() + lease.stage.deadline, 0, 0
    while True:
        left = deadline - time.monotonic()
        await asyncio.wait({work}, timeout=max(min(lease.seconds / _PULSES, left), 0))
        if work.done():
            return None
        if time.monotonic() >= deadline:
            seconds = lease.stage.deadline
            return Reason("too_long", f"not done within {seconds:.0f} s", seconds=seconds)
        if lease.closed:
            continue
        quiet = quiet + 1 if lease.done == seen else 0
        seen = lease.done
        if 0 < quiet < _PULSES:
            continue
        # Where work hangs this is the last time: for the outcome to be written before somebody else begins.
        if not await _extended(db, lease):
            raise leases.lost(lease)
        if quiet == _PULSES:
            log.warning("work hangs")
            return Reason("hung", f"no progress for {lease.seconds:.0f} s", seconds=lease.seconds)


async def _extended(db: Database, lease: Lease) -> bool:
    try:
        return await leases.extend(db, lease) or lease.closed
    except TransientError:
        return True  # the lease lasts a while yet; the next pulse may get through


async def _stop(lease: Lease, work: asyncio.Future[Outcome]) -> None:
    """See the work's end; until it has ended it is told to stop, again and again where its clean-up hangs.

    Raises:
        CancelledError: The service stops as well.
    """
    lease.over, stopped = True, False
    while not work.done():
        work.cancel()
        try:
            await asyncio.wait({work}, timeout=lease.seconds / _PULSES)
        except asyncio.CancelledError:
            stopped = True
    if stopped:
        raise asyncio.CancelledError


def _meaning(error: BaseException) -> Outcome:
    """Return what it means for a row that the work on it ended with an error.

    Raises:
        LeaseLost: That is the error: nothing is written.
    """
    reason = reasons.of(error)
    match error:
        case LeaseLost():
            raise error
        case Outage():
            return Wait(reason, moment())
        case Waiting():
            return Wait(reason)
        case TransientError():
            return Retry(reason)
        case Ended():
            return Done()
        case PermanentError():
            return Failed(reason)
        case _:
            log.error("unexpected error", exc_info=error)
            return Retry(reason)


def moment() -> float:
    """Return a short time to wait, in seconds."""
    return random.uniform(*_MOMENT_SECONDS)  # noqa: S311 - jitter
