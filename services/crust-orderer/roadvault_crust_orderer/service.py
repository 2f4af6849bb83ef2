"""The orderer: buys storage for archives and watches it.

A purchase is recorded before it is sent, and settled (`settling.py`) before anything else is done about its archive.
"""

from collections.abc import Callable, Sequence

import structlog
from prometheus_client import Gauge, Histogram

from roadvault_common.events.bus import Bus
from roadvault_common.sql.db import Database
from roadvault_common.work.breakers import Breaker
from roadvault_common.work.lease import ORDER, Lease
from roadvault_common.work.outcome import Done, Failed, Outcome, Wait
from roadvault_common.work.stage import Worker
from roadvault_crust_orderer import planner, readiness, renewals_store
from roadvault_crust_orderer.config import OrdererSettings
from roadvault_crust_orderer.markets.market import FileInfo, Head, Market, Offer
from roadvault_crust_orderer.planner import Buy, Need, Purse, Stop, decide, renewal_block, runway_days
from roadvault_crust_orderer.proof.evidence_store import counted, note_counted
from roadvault_crust_orderer.settling import MARKET_CLOSED, NO_MONEY, Settler, explained
from roadvault_crust_orderer.store import NOT_ORDERED, Archive, OrdererStore

log = structlog.get_logger()

PLANCK = 10**12
"""Planck in one CRU."""
BALANCE = Gauge("roadvault_crust_balance_cru", "What the account can spend, CRU")
PRICE = Gauge("roadvault_crust_price_cru", "Price of the last order that was quoted, with its fee, CRU")
SPENT_TODAY = Gauge("roadvault_crust_spent_today_cru", "Committed to purchases since midnight UTC, CRU")
RUNWAY = Gauge("roadvault_crust_runway_days", "Days that the balance lasts at the present spending")
UNKNOWN = float("nan")
for gauge in (BALANCE, PRICE, RUNWAY):  # no alert takes what is not known for nothing left
    gauge.set(UNKNOWN)
REPLICAS = Histogram(
    "roadvault_replicas", "Replicas of an archive, each time it is checked", buckets=(0, 1, 4, 10, 25, 50, 100, 200)
)
_SOON_DAYS, _SOON_PART = 30, 4
"""A file that vanishes so soon after its order, or within so large a part of its term, was closed by the market, which
does that when the size is not the declared one: bought again once, then a person is asked."""
_ANOTHER = "another order of this account is not final yet"
_NO_MONEY_SECONDS = 3600
"""How long a renewal rests that could not be paid in its block: each try costs a fee."""


class Orderer:
    """Attends to archives; `ordering` is the stage's worker. One purchase at a time for each account.

    `on_enough` is called when an archive has enough replicas for its proof. `needs` are the breakers of database and
    market that the process has already.
    """

    def __init__(
        self,
        settings: OrdererSettings,
        db: Database,
        bus: Bus,
        market: Market,
        on_enough: Callable[[], None],
        needs: Sequence[Breaker] | None = None,
    ) -> None:
        self._settings = settings
        self._bus = bus
        self._market = market
        self.on_enough = on_enough
        self._db = db
        self._store = OrdererStore(db)
        self._policy = settings.policy()
        self._missing: dict[int, int] = {}
        """By archive, the finalized height at which the market first did not know its CID."""
        self._settler = Settler(self._store, market, bus, settings.crust_poll_seconds)
        self.ordering = Worker(
            ORDER,
            self._attend,
            db,
            bus,
            lease_seconds=settings.lease_seconds,
            concurrency=1,
            needs=readiness.breakers(db, market) if needs is None else needs,
        )

    async def _attend(self, lease: Lease) -> Outcome:
        """Do what the archive needs now: settle its purchase, buy, renew, or just look."""
        unsettled = await self._store.unsettled(lease.row_id)
        if unsettled is not None:
            waiting = await self._settler.settle(unsettled)
            if waiting is not None:
                return waiting
        archive = await self._store.archive(lease.row_id, await self._market.identity())
        refused = await self._refused(lease, archive)
        if refused is not None:
            return refused
        head = await self._market.head()
        info = await self._market.file(archive.cid, head)
        await self._note_evidence(lease, archive, info, head)
        doubt = self._doubt(archive, info, head)
        if doubt is not None:
            return self._settler.wait(doubt)
        if info is None:
            lost = await self._lost(lease, archive, head)
            return lost or await self._buy(lease, archive, None, head, self._anew(archive))
        need = await self._need(lease, archive, info, head)
        if need is None:
            return await self._watch(lease, archive, info, head)
        return await self._buy(lease, archive, info, head, need)

    async def _refused(self, lease: Lease, archive: Archive) -> Outcome | None:
        """Report the refusal of the archive's latest purchase, once, whoever found it; None if there is none."""
        refusal = await self._store.refusal(archive.zip_id)
        if refusal is None or refusal.error == MARKET_CLOSED:  # whether it is still closed is asked before buying
            return None
        outcome: Outcome = Failed(explained(refusal))
        if refusal.error in NO_MONEY and archive.bought_at is not None:
            outcome = Wait(explained(refusal), after=_NO_MONEY_SECONDS)
        await self._store.close_refused(lease, refusal, outcome)
        if isinstance(outcome, Failed):
            log.error("failed", reason=outcome.reason)
            await self._bus.dead_letter(ORDER.name, outcome.reason, row=archive.zip_id)
        return outcome

    async def _note_evidence(self, lease: Lease, archive: Archive, info: FileInfo | None, head: Head) -> None:
        """Write down what the answer is worth as evidence for the archive, or against it, before anything is bought."""
        if _behind(archive, head):
            return
        count = counted(info, head, await self._market.identity(), self._settings.replica_threshold)
        if await note_counted(self._db, lease, count):
            log.info("enough replicas", replicas=count.replicas, block=count.block)
            self.on_enough()

    def _doubt(self, archive: Archive, info: FileInfo | None, head: Head) -> str | None:
        """Return why the market's answer is no ground to spend money on, or None."""
        if _behind(archive, head):
            return f"the node's finalized head {head.height} is before the order's block {archive.bought_at}"
        if info is not None:
            self._missing.pop(archive.zip_id, None)
        elif archive.terms and not self._missing_again(archive.zip_id, head):
            return "the market does not know the CID any more; looking once more"
        return None

    async def _lost(self, lease: Lease, archive: Archive, head: Head) -> Outcome | None:
        """Return what has to come before buying a CID that the market does not know, or None."""
        if archive.bought_at is not None:
            await self._store.note_expired(archive.zip_id)
            # A person's retry sets the status back: then it is bought once more.
            if self._closed_twice(archive, head) and archive.status != NOT_ORDERED:
                return Failed(
                    f"the market forgot the CID twice, both times within {_SOON_DAYS} days of an order: it closes files"
                    " whose size is not the declared one; compare cumulativeSize and dag_size before you retry"
                )
        if not archive.gone:
            return None
        if archive.dropped:
            log.error("the market does not know the CID and local copies are gone; fetching back", cid=archive.cid)
            await self._store.call_back(lease, archive)
        reason = "the market does not know the CID any more; it is bought again once the archive is fetched back"
        if archive.restore_failure is not None:
            reason += f", which failed and has to be retried first: {archive.restore_failure}"
        return Wait(reason, after=self._settings.crust_check_seconds)

    def _closed_twice(self, archive: Archive, head: Head) -> bool:
        """Tell whether a CID vanished soon after an order that had itself followed soon after another."""
        if archive.bought_at is None or archive.bought_before is None:
            return False
        soon = min(self._policy.blocks(_SOON_DAYS), head.term // _SOON_PART)
        return max(head.height - archive.bought_at, archive.bought_at - archive.bought_before) <= soon

    def _anew(self, archive: Archive) -> Need:
        """Return the need for a CID that the market does not know: what was bought before is urgent."""
        return Need(archive.dag_size, None if archive.bought_at is None else 0)

    async def _need(self, lease: Lease, archive: Archive, info: FileInfo, head: Head) -> Need | None:
        """Return what an archive that the market knows needs another order for, or None."""
        left = head.term if info.expires is None else max(info.expires - head.height, 0)
        renewal = Need(archive.dag_size, left)
        if self._blocks_to_renewal(archive, info, head) <= 0 or 0 < archive.terms < archive.terms_wanted:
            return renewal
        if archive.dropped and info.replicas < self._settings.replica_floor:
            log.error("replicas fell under the floor; fetching back, ordering again", replicas=info.replicas)
            await self._store.call_back(lease, archive)
            return renewal
        if self._overdue(archive, info, head):
            log.warning("still under the replica threshold; ordering once more", replicas=info.replicas)
            return Need(archive.dag_size, extra=True)
        return None

    def _missing_again(self, zip_id: int, head: Head) -> bool:
        """Tell whether a CID was missing at an earlier head already: one odd answer does not cost an order."""
        return head.height > self._missing.setdefault(zip_id, head.height)

    def _blocks_to_renewal(self, archive: Archive, info: FileInfo, head: Head) -> int:
        """Return how many blocks there are until the order should be renewed; it does not run before a replica."""
        if info.expires is None:
            return 1
        return renewal_block(archive.zip_id, info.expires, info.expires - head.term, self._policy) - head.height

    def _overdue(self, archive: Archive, info: FileInfo, head: Head) -> bool:
        """Tell whether the re-order policy wants a second order, which is the last, for one under the threshold."""
        days = self._settings.crust_reorder_days
        if days is None or archive.dropped or self._enough(info):
            return False
        if archive.bought_at is None or archive.bought_before is not None:
            return False
        return head.height - archive.bought_at >= self._policy.blocks(days)

    def _enough(self, info: FileInfo) -> bool:
        return info.replicas > self._settings.replica_threshold

    async def _watch(self, lease: Lease, archive: Archive, info: FileInfo, head: Head) -> Outcome:
        settings = self._settings
        REPLICAS.observe(info.replicas)
        settled = self._enough(info) or archive.dropped
        seconds = settings.crust_watch_seconds if settled else settings.crust_check_seconds
        until_renewal = self._blocks_to_renewal(archive, info, head) * settings.crust_block_seconds
        again = min(seconds, until_renewal) if info.expires is not None else seconds
        left = None if info.expires is None else (info.expires - head.height) * settings.crust_block_seconds
        await self._store.close_watched(lease, info, head.height, left, again=again)
        return Done(again_after=again)

    async def _buy(self, lease: Lease, archive: Archive, info: FileInfo | None, head: Head, need: Need) -> Outcome:
        if info is not None and info.expires is not None and info.expires <= head.height:
            log.error("the order has run out; buying again", cid=archive.cid)
            await self._store.note_expired(archive.zip_id)
        other = await self._store.in_flight(self._market.account)
        if other is not None and await self._settler.settle(other) is not None:
            return self._settler.wait(_ANOTHER)
        offer = await self._market.offer(archive.cid, archive.dag_size)
        objection = await self._objection(archive, info, head, offer, need)
        if objection is not None:
            # What is merely wanted keeps no archive from being watched.
            return await self._watch(lease, archive, info, head) if need.extra and info is not None else objection
        signed = await self._market.sign(archive.cid, archive.dag_size)
        market = await self._market.identity()
        purchase = await self._store.record(lease, archive, signed, offer.total, market, offer.fee)
        if purchase is None:
            return self._settler.wait(_ANOTHER)
        refusal = await self._settler.send(purchase)
        log.info("order sent", order_id=purchase.order_id, nonce=signed.nonce, price=offer.total, refusal=refusal)
        return self._settler.not_final(refusal)

    async def _objection(
        self, archive: Archive, info: FileInfo | None, head: Head, offer: Offer, need: Need
    ) -> Outcome | None:
        """Return why not to buy now, or None; nothing is spent by asking."""
        _show(offer)
        if not offer.market_open:
            return Wait("the market is closed", after=self._settings.crust_check_seconds)
        if archive.dag_size >= offer.largest:
            return Failed(f"{archive.dag_size} bytes are too many: the market takes less than {offer.largest}")
        if info is not None and info.size > archive.dag_size:
            return Failed(f"the market knows this CID with {info.size} bytes: it takes no order for {archive.dag_size}")
        match decide(need, offer.total, await self._purse(offer, head), self._policy):
            case Stop(reason):
                return Failed(f"{reason} ({self._market.account})")
            case planner.Wait(reason, seconds):
                log.warning("not buying now", reason=reason, kind=need.kind.value)
                return Wait(reason, after=min(seconds, self._settings.crust_check_seconds))
            case Buy(warning):
                if warning is not None:
                    log.error("buying over a limit", reason=warning)
                return None

    async def _purse(self, offer: Offer, head: Head) -> Purse:
        settings = self._settings
        soon = head.height + self._policy.blocks(settings.crust_reserve_days)
        return Purse(
            offer.balance,
            await self._store.spent(0),
            _planck(settings.crust_daily_limit_cru),
            _planck(settings.crust_most_per_gib_cru),
            offer.cost(await renewals_store.until(self._db, soon)),
        )

    async def sample(self) -> None:
        """Quote an order like the latest archive's, for the metrics.

        Raises:
            RoadVaultError: It can't be read now; what was read before is left as it was.
        """
        SPENT_TODAY.set(await self._store.spent(0) / PLANCK)
        latest = await self._store.latest()
        if latest is None:
            return
        offer = await self._market.offer(*latest)
        _show(offer)
        month = (await self._market.head()).height + self._policy.blocks(30)
        renewals = offer.cost(await renewals_store.until(self._db, month))
        days = runway_days(offer.balance, await self._store.spent(7), renewals)
        RUNWAY.set(float("inf") if days is None else days)


def _behind(archive: Archive, head: Head) -> bool:
    """Tell whether a node's head is from before the archive's latest order: it tells nothing of the present."""
    return archive.bought_at is not None and head.height < archive.bought_at


def _show(offer: Offer) -> None:
    """Show a price and what there is to pay it with; a pinning service tells neither."""
    known = offer.total > 0
    BALANCE.set(offer.balance / PLANCK if known else UNKNOWN)
    PRICE.set(offer.total / PLANCK if known else UNKNOWN)


def _planck(cru: float | None) -> int | None:
    return None if cru is None else int(cru * PLANCK)
