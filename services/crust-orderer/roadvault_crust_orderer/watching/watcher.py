"""Looks at archives on the market, many at a time, and writes down what is found; what it means to buy is the buyer's.

Looks have no order among them, and share a head for the time of a block.
"""

import asyncio
import random
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

import structlog
from prometheus_client import Histogram

from roadvault_common import metrics
from roadvault_common.errors import Outage, TransientError, brief
from roadvault_common.events.bus import Bus
from roadvault_common.loops import pause_until
from roadvault_common.sql.db import Database
from roadvault_common.work import backlog, batches, reasons, traced
from roadvault_common.work import lease as leases
from roadvault_common.work.audit_gauges import next_in
from roadvault_common.work.breakers import Breaker
from roadvault_common.work.gauges import show_stage
from roadvault_common.work.lease import Lease
from roadvault_common.work.outcome import Done, Failed, Outcome, Retry, Wait
from roadvault_common.work.stages import WATCH
from roadvault_crust_orderer.buying.needs import Needs, behind
from roadvault_crust_orderer.config import OrdererSettings
from roadvault_crust_orderer.markets.market import FileInfo, Found, Head, Market
from roadvault_crust_orderer.proof.evidence_store import counted
from roadvault_crust_orderer.store import Archive, OrdererStore
from roadvault_crust_orderer.watching.watching_store import Look, Seen, WatchingStore

log = structlog.get_logger()

REPLICAS = Histogram(
    "roadvault_replicas", "Replicas of an archive, each time it is checked", buckets=(0, 1, 4, 10, 25, 50, 100, 200)
)
TOGETHER = 100
"""Archives in one look. With 200 replicas each, as many as the market keeps, that is 6 MB of an answer; a node's limit
is 15 MB."""
_AT_ONCE = 3
"""Looks under way at once: while one is written down, the market is asked for the next."""
_PULSES = 4
"""Times in the length of a lease that it is extended, if an answer has come since."""
_AFTER_TROUBLE = 1.0
_OUTAGE_SECONDS = (5.0, 15.0)
"""Between these, archives wait for a market that is away."""


class Watcher:
    """Looks at archives that are due.

    `on_enough` is called when one has enough replicas for its proof, `on_need` when there may be something to buy.
    """

    def __init__(
        self,
        settings: OrdererSettings,
        db: Database,
        bus: Bus,
        market: Market,
        needs: Needs,
        on_enough: Callable[[], None],
        breakers: Sequence[Breaker],
    ) -> None:
        self._settings = settings
        self._db = db
        self._bus = bus
        self._market = market
        self._needs = needs
        self._on_enough = on_enough
        self.breakers = breakers
        self.on_need: Callable[[], None] = lambda: None
        self._archives = OrdererStore(db)
        self._store = WatchingStore(db)
        self._head: tuple[Head, float] | None = None
        """The head, and when it was asked for (monotonic, seconds)."""
        self._nudge = asyncio.Event()
        show_stage(WATCH)

    def nudge(self) -> None:
        """Have the sweep look at once."""
        self._nudge.set()

    async def sweep(self, closing: asyncio.Event, seconds: float) -> None:
        """Look at archives as they become due, at least every `seconds`, until `closing` is set."""
        slots = asyncio.Semaphore(_AT_ONCE)
        async with asyncio.TaskGroup() as group:
            while not closing.is_set():
                self._nudge.clear()
                await slots.acquire()
                wait = await self._begin(group, slots)
                await pause_until(closing, self._nudge, min(wait, seconds))

    async def _begin(self, group: asyncio.TaskGroup, slots: asyncio.Semaphore) -> float:
        """Begin a look at what is due; return in how many seconds the next may begin."""
        if [breaker for breaker in self.breakers if not await breaker.admits()]:
            slots.release()
            return _AFTER_TROUBLE  # archives stay due
        try:
            batch = await batches.claim(self._db, WATCH, TOGETHER, self._settings.lease_seconds)
            upcoming = None if batch else await backlog.seconds_to_next(self._db, WATCH)
        except TransientError as error:
            log.warning("archives will be looked at later", error=brief(error))
            slots.release()
            return _AFTER_TROUBLE
        if batch:
            group.create_task(self._work(batch)).add_done_callback(lambda _: self._end(slots))
            return 0
        slots.release()
        # What is due and was not claimed has gone to somebody else.
        return float("inf") if upcoming is None else max(upcoming, _AFTER_TROUBLE)

    def _end(self, slots: asyncio.Semaphore) -> None:
        slots.release()
        self.nudge()  # some of what was looked at may be due again soon

    async def _work(self, batch: Sequence[Lease]) -> None:
        trials = [breaker for breaker in self.breakers if breaker.begin()]
        try:
            await self._look_at(batch)
        finally:
            for breaker in trials:
                breaker.end()

    async def _keep(self, batch: Sequence[Lease]) -> None:
        """Extend the leases as long as answers come: for all of them a market may take longer."""
        lease, seen = batch[0], 0
        while True:
            await asyncio.sleep(lease.seconds / _PULSES)
            if lease.done != seen:
                seen = lease.done
                with suppress(TransientError):  # the leases last a while yet
                    await batches.extend(self._db, batch)

    async def _look_at(self, batch: Sequence[Lease]) -> None:
        keeping = asyncio.create_task(self._keep(batch))
        try:
            with metrics.STAGE_SECONDS.labels(WATCH.name).time(), leases.under(batch[0]):
                async with traced.look(self._db, batch):
                    looks = await self._looks(batch)
                    found = await self._store.close(looks)
        except asyncio.CancelledError:
            with suppress(TransientError):
                async with asyncio.timeout(5):
                    await self._hand_back(batch)
            raise
        except TransientError as error:  # the leases run out, and what is due is due again
            log.warning("what was looked at could not be written", error=brief(error))
            return
        finally:
            keeping.cancel()
        await self._tell(looks, found)

    async def _tell(self, looks: Sequence[Look], found: set[int]) -> None:
        """Tell the others what there is to do, once it is written."""
        for look in looks:
            outcome = look.outcome
            metrics.STAGE_OUTCOMES.labels(WATCH.name, type(outcome).__name__.lower()).inc()
            if look.seen is not None and look.seen.info is not None:
                REPLICAS.observe(look.seen.info.replicas)
            if isinstance(outcome, Failed):
                log.error("failed", stage=WATCH.name, zip_id=look.lease.row_id, reason=outcome.reason.words)
                await self._bus.dead_letter(WATCH.name, outcome.reason.words, row=look.lease.row_id)
        if found:
            log.info("enough replicas", archives=len(found))
            self._on_enough()
        if any(look.buy_in is not None and look.buy_in <= 0 for look in looks):
            self.on_need()

    async def _hand_back(self, batch: Sequence[Lease]) -> None:
        async with self._db.transaction() as tx:
            for row_id in await batches.hold(tx, batch):
                lease = next(lease for lease in batch if lease.row_id == row_id)
                await leases.hand_back(tx, lease)

    async def _looks(self, batch: Sequence[Lease]) -> list[Look]:
        try:
            head = await self._recent_head()
            market = await self._market.identity()
            archives = await self._archives.archives([lease.row_id for lease in batch], market)
            files = await self._market.files([archive.cid for archive in archives], head)
        except Outage as error:
            log.warning("waiting for the market", error=brief(error))
            for breaker in self.breakers:
                if breaker.domain == error.domain:
                    await breaker.met(error)
            wait = random.uniform(*_OUTAGE_SECONDS)  # noqa: S311 - jitter
            return [Look(lease, Wait(reasons.of(error), after=wait)) for lease in batch]
        known = {archive.zip_id: archive for archive in archives}
        return [self._look(lease, known.get(lease.row_id), files, head, market) for lease in batch]

    async def _recent_head(self) -> Head:
        """Return a finalized head that is not older than a block."""
        now = time.monotonic()
        if self._head is None or now - self._head[1] >= self._settings.crust_block_seconds:
            self._head = await self._market.head_to_look_at(), now
        return self._head[0]

    def _look(self, lease: Lease, archive: Archive | None, files: dict[str, Found], head: Head, market: str) -> Look:
        if archive is None:
            return Look(lease, Done())  # it is not on IPFS any more
        if archive.over:
            return Look(lease, Done(), over=True)
        info = files[archive.cid]
        if isinstance(info, TransientError):
            log.error("the market says nothing of an archive", cid=archive.cid, error=brief(info))
            return Look(lease, _unseen(lease, info))
        doubt = self._needs.doubt(archive, info, head)
        left = None
        if info is not None and info.expires is not None:
            left = (info.expires - head.height) * self._settings.crust_block_seconds
        count = counted(info, head, market, self._settings.replica_threshold)
        seen = None if behind(archive, head) else Seen(info, head, count, left)
        if doubt is not None:
            return Look(lease, Wait(doubt, after=self._settings.crust_poll_seconds), seen)
        if info is None:
            again = self._settings.crust_check_seconds if archive.terms else None
            return Look(lease, Done(again_after=again), seen, buy_in=None if archive.lost else 0)
        return self._watch(lease, archive, info, seen, head)

    def _watch(self, lease: Lease, archive: Archive, info: FileInfo, seen: Seen | None, head: Head) -> Look:
        needs, settings = self._needs, self._settings
        rests = needs.of(archive, info, head) is None
        settled = needs.enough(info) or archive.dropped
        again = settings.crust_watch_seconds if settled else settings.crust_check_seconds
        buy_in = needs.seconds_to_renewal(archive, info, head) if rests else 0
        audit_in = next_in(settings) if info.replicas else None
        return Look(lease, Done(again_after=again), seen, buy_in, audit_in=audit_in)


def _unseen(lease: Lease, error: TransientError) -> Outcome:
    """Return what it means that something went wrong with one archive alone: only answers without sense are counted."""
    reason = reasons.of(error)
    if isinstance(error, Outage):
        return Wait(reason)
    return Failed(reason.again(f"given up: {reason}")) if lease.attempt >= WATCH.max_attempts else Retry(reason)
