"""Work on the rows of one stage: claim, do, close. A sweep and an event handler call the same `Worker.work`."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress

import structlog

from roadvault_common import metrics
from roadvault_common.errors import LeaseLost, Outage, PermanentError, TransientError, brief
from roadvault_common.events.bus import Bus
from roadvault_common.sql.db import Database, Transaction
from roadvault_common.web.health import Check
from roadvault_common.work import lease as leases
from roadvault_common.work.gauges import show_stage
from roadvault_common.work.lease import Lease, Stage
from roadvault_common.work.outcome import Done, Failed, Outcome, Retry
from roadvault_common.work.repair import note_failed

log = structlog.get_logger()

Do = Callable[[Lease], Awaitable[Outcome]]

_AFTER_TROUBLE = 1.0
"""Seconds before a sweep looks again when the database is away or a due row waits for a slot."""


_PULSES = 4
"""Looks at the progress in one length of the lease; as many without any mean that the work hangs."""
_OUTAGE_SECONDS = (5.0, 15.0)
"""Between these, a row waits for a server or a disk that fails everybody."""


class Worker:
    """Does one stage's work on its rows, at most `concurrency` at once.

    `do` works on one row and returns its outcome. It may close the lease itself, in the transaction that writes its
    results; otherwise the outcome is written here. An attempt that went wrong does not count if `well` then raises an
    Outage: a server that the work needs can do nothing for anybody.
    """

    def __init__(
        self,
        stage: Stage,
        do: Do,
        db: Database,
        bus: Bus,
        *,
        lease_seconds: float,
        concurrency: int,
        well: Check | None = None,
    ) -> None:
        self.stage = stage
        self._do = do
        self._db = db
        self._bus = bus
        self._lease_seconds = lease_seconds
        self._concurrency = concurrency
        self._well = well
        self._slots = asyncio.Semaphore(concurrency)
        self._nudge = asyncio.Event()
        self._closing = asyncio.Event()
        """The service's own, once the sweep runs; then no further row is claimed."""
        show_stage(stage)

    async def work(self, row_id: int) -> Outcome | None:
        """Work on the row if it is due and free; return how it ended, or None if it was not claimable.

        Raises:
            TransientError: It was not claimed, because the service is told to stop or the database is away.
        """
        async with self._slots:
            if self._closing.is_set():
                raise TransientError(f"{self.stage.name} {row_id}: not begun, the service is told to stop")
            lease = await leases.claim(self._db, self.stage, row_id, self._lease_seconds)
            if lease is None:
                return None
            with (
                structlog.contextvars.bound_contextvars(**{self.stage.key: row_id, "stage": self.stage.name}),
                metrics.STAGE_SECONDS.labels(self.stage.name).time(),
            ):
                outcome = await self._attempt(lease)
            metrics.STAGE_OUTCOMES.labels(self.stage.name, type(outcome).__name__.lower()).inc()
            if not isinstance(outcome, Done) or outcome.again_after is not None:
                self.nudge()
            return outcome

    def nudge(self) -> None:
        """Have the sweep look at once."""
        self._nudge.set()

    async def _attempt(self, lease: Lease) -> Outcome:
        if lease.attempt > self.stage.max_attempts:
            reason = f"given up after {self.stage.max_attempts} attempts; the last: {await self._last_reason(lease)}"
            return await self._close(lease, Failed(reason))
        pulse = asyncio.create_task(self._pulse(lease, asyncio.current_task()))
        written = False
        try:
            async with asyncio.timeout(self.stage.deadline):
                with leases.under(lease):
                    outcome = await self._do(lease)
            written = lease.closed
        except asyncio.CancelledError:
            if not await self._cancelled(lease):
                return Retry("the lease has passed to another worker")
            outcome = Retry(f"no progress for {lease.seconds:.0f} s")
        except TimeoutError:
            outcome = Retry(f"not done within {self.stage.deadline:.0f} s")
        except LeaseLost as error:
            log.warning("lease lost", error=brief(error))
            return Retry(brief(error))
        except Outage as error:
            outcome = _waiting(brief(error))
        except TransientError as error:
            outcome = Retry(brief(error))
        except PermanentError as error:
            outcome = Failed(brief(error))
        except Exception as error:
            log.exception("unexpected error")
            outcome = Retry(brief(error))
        finally:
            pulse.cancel()
            with suppress(asyncio.CancelledError):
                await pulse
            lease.lost = True  # a thread that still runs for this lease stops at its next progress
        return outcome if written else await self._close(lease, await self._excused(outcome))

    async def _excused(self, outcome: Outcome) -> Outcome:
        """Return the outcome; one that would count against the row does not if a server is to blame."""
        if self._well is not None and isinstance(outcome, Retry) and outcome.counts:
            try:
                await self._well()
            except Outage as error:
                return _waiting(f"{brief(error)}; before that: {outcome.reason}")
        return outcome

    async def _pulse(self, lease: Lease, task: asyncio.Task[object] | None) -> None:
        """Extend the lease while there is progress; stop the work once the lease is no longer ours, or work hangs.

        Work that was told to stop and hangs in its clean-up is told again at each pulse.
        """
        seen = quiet = 0
        while True:
            await asyncio.sleep(lease.seconds / _PULSES)
            if lease.closed or task is None:
                return
            if not lease.cuts:
                quiet = quiet + 1 if lease.done == seen else 0
                seen = lease.done
                if 0 < quiet < _PULSES:
                    continue
                # Where work hangs this is the last time: for the outcome to be written before somebody else begins.
                lease.lost = not await self._extended(lease)
                lease.stalled = quiet == _PULSES
            if lease.lost or lease.stalled:
                lease.cuts += 1
                task.cancel()

    async def _extended(self, lease: Lease) -> bool:
        try:
            return await leases.extend(self._db, lease) or lease.closed
        except TransientError:
            return True  # the lease lasts a while yet; the next pulse may get through

    async def _cancelled(self, lease: Lease) -> bool:
        """Tell why the work was cut short: True if it hung, False if the lease was lost.

        Raises:
            CancelledError: The service shuts down; the row was handed back.
        """
        task = asyncio.current_task()
        if task is not None and lease.cuts and min(task.uncancel() for _ in range(lease.cuts)) == 0:
            log.warning("lease lost" if lease.lost else "work hangs")
            return not lease.lost
        if not lease.closed:
            with suppress(LeaseLost, TransientError):
                async with asyncio.timeout(5), self._db.transaction() as tx:
                    await leases.hand_back(tx, lease)
        raise asyncio.CancelledError

    async def _close(self, lease: Lease, outcome: Outcome) -> Outcome:
        match outcome:
            case Retry(reason, counts=False):
                log.debug("waiting", reason=reason)
            case Retry(reason, after):
                log.warning("will be tried again", reason=reason, after=after, attempt=lease.attempt)
            case Failed(reason):
                log.error("failed", reason=reason, attempt=lease.attempt)
            case Done():
                pass
        try:
            await self._db.transact(lambda tx: self._write(tx, lease, outcome))
        except LeaseLost as error:
            log.warning("lease lost", error=brief(error))
        except TransientError as error:
            # Nothing is lost: the lease runs out, and the row is due again.
            log.warning("the outcome could not be written", error=brief(error))
        else:
            if isinstance(outcome, Failed):
                await self._bus.dead_letter(self.stage.name, outcome.reason, row=lease.row_id)
        return outcome

    async def _write(self, tx: Transaction, lease: Lease, outcome: Outcome) -> None:
        await leases.close(tx, lease, outcome)
        if isinstance(outcome, Failed):
            await note_failed(tx, self.stage, lease.row_id)

    async def _last_reason(self, lease: Lease) -> str:
        row = await leases.failure(self._db, self.stage, lease.row_id)
        return str(row["reason"]) if row and row["reason"] else "the worker died each time"

    async def sweep_once(self) -> int:
        """Work on the rows that are due now, a batch at most; return how many there were."""
        rows = await leases.due_rows(self._db, self.stage, self._concurrency * 25)
        await asyncio.gather(*(self.work(row_id) for row_id in rows))
        return len(rows)

    async def sweep(self, closing: asyncio.Event, seconds: float) -> None:
        """Work on rows as they become due, looking at least every `seconds`, until `closing` is set."""
        self._closing = closing
        running: dict[int, asyncio.Task[None]] = {}
        async with asyncio.TaskGroup() as group:
            while not closing.is_set():
                self._nudge.clear()
                try:
                    wait = await self._start_due(group, running, seconds)
                except TransientError as error:
                    log.warning("sweep will look again", stage=self.stage.name, error=brief(error))
                    wait = min(seconds, _AFTER_TROUBLE)
                await self._pause(closing, wait)

    async def _start_due(
        self, group: asyncio.TaskGroup, running: dict[int, asyncio.Task[None]], seconds: float
    ) -> float:
        """Start work on due rows while there are slots; return how long to wait before looking again."""
        free = self._concurrency - len(running)
        if free <= 0:
            return seconds  # the end of any of them nudges
        rows = await leases.due_rows(self._db, self.stage, self._concurrency)
        started = [row_id for row_id in rows if row_id not in running][:free]
        for row_id in started:
            running[row_id] = group.create_task(self._work_from_sweep(row_id, running))
        upcoming = await leases.seconds_to_next(self._db, self.stage)
        if upcoming is None:
            return seconds
        return min(upcoming if upcoming > 0 else _AFTER_TROUBLE, seconds)

    async def _work_from_sweep(self, row_id: int, running: dict[int, asyncio.Task[None]]) -> None:
        try:
            await self.work(row_id)
        except TransientError as error:
            if not self._closing.is_set():
                log.warning("row stays due", stage=self.stage.name, row=row_id, error=brief(error))
                await asyncio.sleep(_AFTER_TROUBLE)
        finally:
            del running[row_id]
            self._nudge.set()

    async def _pause(self, closing: asyncio.Event, seconds: float) -> None:
        """Wait until the time is over, the service closes, or there is a reason to look sooner."""
        waits = [asyncio.create_task(closing.wait()), asyncio.create_task(self._nudge.wait())]
        try:
            await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in waits:
                task.cancel()


def _waiting(reason: str) -> Retry:
    log.warning("waiting for a server or the disk", error=reason)
    return Retry(reason, random.uniform(*_OUTAGE_SECONDS), counts=False)  # noqa: S311 - jitter
