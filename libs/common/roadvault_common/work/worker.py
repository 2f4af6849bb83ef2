"""Work on the rows of one stage: claim, do, close. A sweep and an event handler call the same `Worker.work`."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

import structlog

from roadvault_common import metrics
from roadvault_common.errors import LeaseLost, Outage, TransientError, Waiting, brief
from roadvault_common.events.bus import Bus
from roadvault_common.loops import pause_until
from roadvault_common.sql.db import Database, Transaction
from roadvault_common.stores import MAIN
from roadvault_common.work import backlog, reasons, traced
from roadvault_common.work import lease as leases
from roadvault_common.work.attempt import Do, attempt, moment
from roadvault_common.work.breakers import Breaker
from roadvault_common.work.gauges import show_stage
from roadvault_common.work.lease import Lease
from roadvault_common.work.outcome import Done, Failed, Outcome, Retry, Wait
from roadvault_common.work.reasons import Reason
from roadvault_common.work.repair import note_failed
from roadvault_common.work.stages import Stage

log = structlog.get_logger()

_AFTER_TROUBLE = 1.0
"""Seconds before a sweep looks again when the database is away or a due row waits for a slot."""


class Worker:
    """Does one stage's work on its rows, at most `concurrency` at once.

    `do` works on one row and returns its outcome. It may close the lease itself, in the transaction that writes its
    results; otherwise the outcome is written here. While something that the stage `needs` is away no row is taken; what
    it only `uses` now and then keeps no row waiting that can do without. An attempt that went wrong does not count if
    one of these breakers then finds its domain away. Of a local stage the rows of `store` are taken.
    """

    def __init__(  # noqa: PLR0913 - all that a stage's work is made of
        self,
        stage: Stage,
        do: Do,
        db: Database,
        bus: Bus,
        *,
        lease_seconds: float,
        concurrency: int,
        store: str = MAIN,
        needs: Sequence[Breaker] = (),
        uses: Sequence[Breaker] = (),
    ) -> None:
        self.stage = stage
        self._do = do
        self._db = db
        self._bus = bus
        self._lease_seconds = lease_seconds
        self._concurrency = concurrency
        self._store = store
        self._needs, self._breakers = needs, [*needs, *uses]
        self.rests: Callable[[], Awaitable[float]] | None = None
        """Returns for how many seconds the sweep is to begin nothing."""
        self._slots = asyncio.Semaphore(concurrency)
        self._nudge = asyncio.Event()
        self._closing = asyncio.Event()
        """The service's own, once the sweep runs; then no further row is claimed."""
        show_stage(stage)

    async def work(self, row_id: int) -> Outcome | None:
        """Work on the row if it is due and free, and what it needs is there; return how it ended, or None.

        Raises:
            TransientError: It was not claimed, because the service is told to stop or the database is away.
        """
        async with self._slots:
            if self._closing.is_set():
                raise TransientError(f"{self.stage.name} {row_id}: not begun, the service is told to stop")
            if await self._resting():
                return None  # it stays due
            trials, outcome = [breaker for breaker in self._needs if breaker.begin()], None
            try:
                outcome = await self._claim_and_work(row_id)
            finally:
                for breaker in trials:
                    breaker.end(found_out=outcome is not None)
            return outcome

    async def _claim_and_work(self, row_id: int) -> Outcome | None:
        try:
            lease = await leases.claim(self._db, self.stage, row_id, self._lease_seconds, self._store)
        except Outage as outage:
            await self._met(outage)
            raise
        if lease is None:
            return None
        with (
            structlog.contextvars.bound_contextvars(**{self.stage.key: row_id, "stage": self.stage.name}),
            metrics.STAGE_SECONDS.labels(self.stage.name).time(),
        ):
            async with traced.attempt(self._db, lease) as span:
                outcome = await self._attempt(lease)
                traced.ended(span, outcome)
        metrics.STAGE_OUTCOMES.labels(self.stage.name, type(outcome).__name__.lower()).inc()
        if not isinstance(outcome, Done) or outcome.again_after is not None:
            self.nudge()
        return outcome

    async def _resting(self) -> list[Breaker]:
        """Return the breakers of what is needed that let nothing through now; a rest that is over ends with a look."""
        return [breaker for breaker in self._needs if not await breaker.admits()]

    def nudge(self) -> None:
        """Have the sweep look at once."""
        self._nudge.set()

    async def _attempt(self, lease: Lease) -> Outcome:
        if lease.attempt > self.stage.max_attempts:
            return await self._close(lease, Failed(self._given_up(lease)))
        try:
            outcome, error = await attempt(self._db, lease, self._do)
            outcome = await self._weighed(outcome, error)
        except asyncio.CancelledError:  # the service stops
            await self._hand_back(lease)
            raise
        except LeaseLost as lost:
            log.warning("lease lost", error=brief(lost))
            return Retry(reasons.of(lost))
        return outcome if lease.closed else await self._close(lease, outcome)

    async def _weighed(self, outcome: Outcome, error: BaseException | None) -> Outcome:
        """Return the outcome, or a short wait if something is away: then the row has nothing to do with it."""
        if isinstance(error, Outage):
            await self._met(error)
        elif isinstance(outcome, Retry) or (isinstance(error, Waiting) and isinstance(outcome, Wait)):
            outages = [await breaker.suspect() for breaker in self._breakers]
            if outage := next(filter(None, outages), None):
                return Wait(reasons.of(outage).again(f"{brief(outage)}; before that: {outcome.reason.words}"), moment())
        return outcome

    async def _met(self, outage: Outage) -> None:
        for breaker in self._breakers:
            if breaker.domain == outage.domain:
                await breaker.met(outage)

    async def _hand_back(self, lease: Lease) -> None:
        if lease.closed:
            return
        with suppress(LeaseLost, TransientError):
            async with asyncio.timeout(5), self._db.transaction() as tx:
                await leases.hand_back(tx, lease)

    async def _close(self, lease: Lease, outcome: Outcome) -> Outcome:
        match outcome:
            case Wait(reason, after):
                log.debug("waiting", reason=reason.words, after=after)
            case Retry(reason, after):
                log.warning("will be tried again", reason=reason.words, after=after, attempt=lease.attempt)
            case Failed(reason):
                log.error("failed", reason=reason.words, attempt=lease.attempt)
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
                await self._bus.dead_letter(self.stage.name, outcome.reason.words, row=lease.row_id)
        return outcome

    async def _write(self, tx: Transaction, lease: Lease, outcome: Outcome) -> None:
        await leases.close(tx, lease, outcome)
        if isinstance(outcome, Failed):
            await note_failed(tx, self.stage, lease.row_id)

    def _given_up(self, lease: Lease) -> Reason:
        """Return why the attempts are over: what the last of them met."""
        attempts = self.stage.max_attempts
        last = reasons.parse(lease.reason) or Reason("worker_died", "the worker died each time", attempts=attempts)
        told = last.again(f"given up after {attempts} attempts; the last: {last.words}")
        return told if told.code else Reason("given_up", told.words, attempts=attempts)

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
                    if isinstance(error, Outage):
                        await self._met(error)
                    wait = min(seconds, _AFTER_TROUBLE)
                await pause_until(closing, self._nudge, wait)

    async def _start_due(
        self, group: asyncio.TaskGroup, running: dict[int, asyncio.Task[None]], seconds: float
    ) -> float:
        """Start work on due rows while there are slots; return how long to wait before looking again."""
        free = self._concurrency - len(running)
        if free <= 0:
            return seconds  # the end of any of them nudges
        resting = await self._resting()
        if resting:
            return min(seconds, max(_AFTER_TROUBLE, *(breaker.rest_seconds for breaker in resting)))
        if self.rests is not None and (rest := await self.rests()) > 0:
            return min(seconds, rest)
        rows = await backlog.due_rows(self._db, self.stage, self._concurrency, self._store)
        started = [row_id for row_id in rows if row_id not in running][:free]
        for row_id in started:
            running[row_id] = group.create_task(self._work_from_sweep(row_id, running))
        upcoming = await backlog.seconds_to_next(self._db, self.stage, self._store)
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
