"""The orderer: buys storage for archives and watches it.

A purchase is recorded before it is sent, and looked for on the finalized chain before anything else is done about it:
until the head has passed its era, the same bytes are sent again, never a second purchase.
"""

from collections.abc import Callable

import structlog
from prometheus_client import Gauge, Histogram

from roadvault_common.bus import Bus
from roadvault_common.db import Database
from roadvault_common.events import OrderPlaced
from roadvault_common.lease import ORDER, Lease
from roadvault_common.outcome import Done, Failed, Outcome, Retry
from roadvault_common.stage import Worker
from roadvault_crust_orderer.config import OrdererSettings
from roadvault_crust_orderer.market import FileInfo, Head, Included, Market, Offer
from roadvault_crust_orderer.node import UNKNOWN_RESULT
from roadvault_crust_orderer.planner import Buy, Need, Purse, Stop, Wait, decide, renewal_block, runway_days
from roadvault_crust_orderer.store import NEVER_INCLUDED, REFUSED, Archive, OrdererStore, Purchase

log = structlog.get_logger()

PLANCK = 10**12
"""Planck in one CRU."""
BALANCE = Gauge("roadvault_crust_balance_cru", "What the account can spend, CRU")
PRICE = Gauge("roadvault_crust_price_cru", "Price of the last order that was quoted, with its fee, CRU")
SPENT_TODAY = Gauge("roadvault_crust_spent_today_cru", "Committed to purchases since midnight UTC, CRU")
RUNWAY = Gauge("roadvault_crust_runway_days", "Days that the balance lasts at the present spending")
REPLICAS = Histogram(
    "roadvault_replicas", "Replicas of an archive, each time it is checked", buckets=(0, 1, 4, 10, 25, 50, 100, 200)
)
_REFUSALS = {
    "PinFailed": "the pinning service could not fetch it; see that it reaches our IPFS node, then retry",
    "FileTooLarge": "the market does not take archives of this size; make folders smaller",
    "FileSizeNotCorrect": "the market knows this CID with a larger size than the one declared",
    "InsufficientCurrency": "the account can't pay for the order; send CRU to it, then retry",
    "InsufficientBalance": "the account can't pay for the order; send CRU to it, then retry",
}
_MARKET_CLOSED = "PlaceOrderNotAvailable"


class Orderer:
    """Attends to archives; `ordering` is the stage's worker. One purchase at a time for each account.

    `on_enough` is called when an archive has enough replicas for its proof.
    """

    def __init__(
        self, settings: OrdererSettings, db: Database, bus: Bus, market: Market, on_enough: Callable[[], None]
    ) -> None:
        self._settings = settings
        self._bus = bus
        self._market = market
        self.on_enough = on_enough
        self._store = OrdererStore(db)
        self._policy = settings.policy()
        self._price = 0
        """The last quote, planck."""
        self._missing: dict[int, int] = {}
        """By archive, the finalized height at which the market first did not know its CID."""
        self._searched: dict[int, int] = {}
        """By order id, the finalized height up to which its extrinsic is known not to be there."""
        self.ordering = Worker(
            ORDER,
            self._attend,
            db,
            bus,
            lease_seconds=settings.lease_seconds,
            concurrency=1,
        )

    async def _attend(self, lease: Lease) -> Outcome:
        """Do what the archive needs now: settle its purchase, buy, renew, or just look."""
        archive = await self._store.archive(lease.row_id)
        unsettled = await self._store.unsettled(archive.zip_id)
        if unsettled is not None:
            waiting = await self._settle(unsettled)
            if waiting is not None:
                return waiting
            archive = await self._store.archive(lease.row_id)
        head = await self._market.head()
        info = await self._market.file(archive.cid, head)
        doubt = self._doubt(archive, info, head)
        if doubt is not None:
            return self._wait(doubt)
        if info is None or await self._to_be_bought(lease, archive, info, head):
            return await self._buy(lease, archive, info, head)
        return await self._watch(lease, archive, info, head)

    def _doubt(self, archive: Archive, info: FileInfo | None, head: Head) -> str | None:
        """Return why the market's answer is no ground to spend money on, or None."""
        if archive.bought_at is not None and head.height < archive.bought_at:
            return f"the node's finalized head {head.height} is before the order's block {archive.bought_at}"
        if info is not None:
            self._missing.pop(archive.zip_id, None)
        elif archive.terms and not self._missing_again(archive.zip_id, head):
            return "the market does not know the CID any more; looking once more"
        return None

    async def _to_be_bought(self, lease: Lease, archive: Archive, info: FileInfo, head: Head) -> bool:
        """Tell whether an archive that the market knows needs another order."""
        if self._blocks_to_renewal(archive, info, head) <= 0 or 0 < archive.terms < archive.terms_wanted:
            return True
        if archive.dropped and info.replicas < self._settings.replica_floor:
            log.error("replicas fell under the floor; fetching back, ordering again", replicas=info.replicas)
            await self._store.call_back(lease, archive)
            return True
        if self._overdue(archive, info, head):
            log.warning("still under the replica threshold; ordering once more", replicas=info.replicas)
            return True
        return False

    def _missing_again(self, zip_id: int, head: Head) -> bool:
        """Tell whether a CID was missing at an earlier head already: one odd answer does not cost an order."""
        first = self._missing.setdefault(zip_id, head.height)
        if head.height <= first:
            return False
        del self._missing[zip_id]
        return True

    def _blocks_to_renewal(self, archive: Archive, info: FileInfo, head: Head) -> int:
        """Return how many blocks there are until the order should be renewed; it does not run before a replica."""
        if info.expires is None:
            return 1
        return renewal_block(archive.zip_id, info.expires, archive.bought_at, self._policy) - head.height

    def _overdue(self, archive: Archive, info: FileInfo, head: Head) -> bool:
        """Tell whether the re-order policy wants another order for an archive that stays under the threshold."""
        days = self._settings.crust_reorder_days
        if days is None or archive.replicated or info.replicas > self._settings.replica_threshold:
            return False
        return archive.bought_at is not None and head.height - archive.bought_at >= self._policy.blocks(days)

    async def _watch(self, lease: Lease, archive: Archive, info: FileInfo, head: Head) -> Outcome:
        settings = self._settings
        REPLICAS.observe(info.replicas)
        enough = info.replicas > settings.replica_threshold
        seconds = settings.crust_watch_seconds if enough or archive.replicated else settings.crust_check_seconds
        until_renewal = self._blocks_to_renewal(archive, info, head) * settings.crust_block_seconds
        again = min(seconds, until_renewal) if info.expires is not None else seconds
        left = None if info.expires is None else (info.expires - head.height) * settings.crust_block_seconds
        await self._store.close_watched(lease, info, head.height, left, replicated=enough, again=again)
        if enough and not archive.replicated:
            log.info("enough replicas", replicas=info.replicas, block=head.height)
            self.on_enough()
        return Done(again_after=again)

    async def _buy(self, lease: Lease, archive: Archive, info: FileInfo | None, head: Head) -> Outcome:
        if archive.terms and (info is None or (info.expires or head.height) <= head.height):
            log.error("the order has run out or vanished; buying again", cid=archive.cid)
            await self._store.note_expired(archive.zip_id)
        other = await self._store.in_flight(self._market.account)
        if other is not None and await self._settle(other) is not None:
            return self._wait("another order of this account is not final yet")
        offer = await self._market.offer(archive.cid, archive.dag_size)
        objection = await self._objection(archive, info, head, offer)
        if objection is not None:
            return objection
        signed = await self._market.sign(archive.cid, archive.dag_size)
        purchase = await self._store.record(lease, archive, signed, offer.total)
        if purchase is None:
            return self._wait("another order of this account is not final yet")
        refusal = await self._market.submit(purchase.extrinsic)
        log.info("order sent", order_id=purchase.order_id, nonce=signed.nonce, price=offer.total, refusal=refusal)
        return self._not_final(refusal)

    async def _objection(self, archive: Archive, info: FileInfo | None, head: Head, offer: Offer) -> Outcome | None:
        """Return why not to buy now, or None; nothing is spent by asking."""
        BALANCE.set(offer.balance / PLANCK)
        PRICE.set(offer.total / PLANCK)
        self._price = offer.total
        if not offer.market_open:
            return Retry("the market is closed", after=self._settings.crust_check_seconds, counts=False)
        if archive.dag_size >= offer.largest:
            return Failed(f"{archive.dag_size} bytes are too many: the market takes less than {offer.largest}")
        # What is expired or vanished has no blocks left: nothing is more urgent.
        left = max((info.expires or 0) - head.height, 0) if info is not None else 0
        need = Need(archive.dag_size, left if archive.terms else None)
        match decide(need, offer.total, await self._purse(offer, head), self._policy):
            case Stop(reason):
                return Failed(f"{reason} ({self._market.account})")
            case Wait(reason, seconds):
                log.warning("not buying now", reason=reason, renewal=need.renewal)
                return Retry(reason, after=min(seconds, self._settings.crust_check_seconds), counts=False)
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
            await self._store.renewals_until(soon) * offer.total,
        )

    async def _settle(self, purchase: Purchase) -> Outcome | None:
        """Find out what became of a purchase; None once that is known, and written down, else what to wait for."""
        head = await self._market.head()
        first = self._searched.get(purchase.order_id, purchase.era_birth - 1) + 1
        last = min(head.height, purchase.era_death)
        included = await self._market.find(purchase.extrinsic_hash, first, last)
        if included is None and head.height < purchase.era_death:
            self._searched[purchase.order_id] = last
            refusal = await self._market.submit(purchase.extrinsic)
            return self._not_final(refusal)
        self._searched.pop(purchase.order_id, None)
        if included is None:
            log.warning("order never included; its era is over", order_id=purchase.order_id)
            await self._store.settle_void(purchase, NEVER_INCLUDED, "its era ended without it", None)
            return None
        if included.error is not None and not await self._in_force(purchase, included, head):
            log.error("order refused", order_id=purchase.order_id, error=included.error, block=included.block)
            await self._store.settle_void(purchase, REFUSED, included.error, included)
            return self._refused(included.error)
        if await self._store.settle_bought(purchase, included.block):
            log.info("order placed", order_id=purchase.order_id, zip_id=purchase.zip_id, block=included.block)
            await self._bus.emit(OrderPlaced(zip_id=purchase.zip_id, order_id=purchase.order_id))
        return None

    async def _in_force(self, purchase: Purchase, included: Included, head: Head) -> bool:
        """Where the node has forgotten the block's events, let the files map tell whether the order counts."""
        if included.error != UNKNOWN_RESULT:
            return False
        info = await self._market.file(purchase.cid, head)
        return info is not None and (info.expires is None or info.expires > included.block)

    def _refused(self, error: str) -> Outcome:
        if error == _MARKET_CLOSED:
            return Retry("the market is closed", after=self._settings.crust_check_seconds, counts=False)
        return Failed(f"{error}: {_REFUSALS.get(error, 'the market refused the order; look the name up, then retry')}")

    def _not_final(self, refusal: str | None) -> Retry:
        # A node refuses what it has in a block already, too: only the finalized chain tells.
        return self._wait("the order is not final yet" + (f"; the node says: {refusal}" if refusal else ""))

    def _wait(self, reason: str) -> Retry:
        return Retry(reason, after=self._settings.crust_poll_seconds, counts=False)

    async def sample(self) -> None:
        """Read balance, spending and runway for the metrics."""
        balance = await self._market.balance()
        BALANCE.set(balance / PLANCK)
        SPENT_TODAY.set(await self._store.spent(0) / PLANCK)
        if self._price:
            month = (await self._market.head()).height + self._policy.blocks(30)
            renewals = await self._store.renewals_until(month)
            days = runway_days(balance, await self._store.spent(7), renewals, self._price)
            RUNWAY.set(float("inf") if days is None else days)


def _planck(cru: float | None) -> int | None:
    return None if cru is None else int(cru * PLANCK)
