"""Buys storage, one purchase at a time for each account: renewals first, of those what ends first, then what is new.

A purchase is recorded before it is sent, and settled (`settling.py`) before anything else is done about its archive.
"""

import asyncio
import time
from collections.abc import Callable, Sequence

import structlog

from roadvault_common.errors import TransientError, brief
from roadvault_common.events.bus import Bus
from roadvault_common.history import heartbeats
from roadvault_common.loops import pause_until
from roadvault_common.sql.db import Database
from roadvault_common.work import reasons
from roadvault_common.work.breakers import Breaker
from roadvault_common.work.lease import Lease
from roadvault_common.work.outcome import Done, Failed, Outcome, Wait
from roadvault_common.work.reasons import Reason
from roadvault_common.work.stages import ORDER
from roadvault_common.work.worker import Worker
from roadvault_crust_orderer.buying import planner
from roadvault_crust_orderer.buying.money import Money
from roadvault_crust_orderer.buying.needs import SOON_DAYS, Needs, behind
from roadvault_crust_orderer.buying.planner import Buy, Need, Stop, decide
from roadvault_crust_orderer.buying.purchase_store import Purchase, PurchaseStore
from roadvault_crust_orderer.buying.settling import MARKET_CLOSED, NO_MONEY, Settler, explained
from roadvault_crust_orderer.config import OrdererSettings
from roadvault_crust_orderer.markets.market import EntryUnreadable, FileInfo, Head, Market, Offer
from roadvault_crust_orderer.proof.evidence_store import counted, note_counted
from roadvault_crust_orderer.store import NOBODY, NOT_ORDERED, Archive, OrdererStore

log = structlog.get_logger()

_ANOTHER = Reason("another_order", "another order of this account is not final yet")
_OTHER_ACCOUNT = Reason("other_account", "another account buys for this archive")
_NO_MONEY_SECONDS = 3600
"""How long a renewal rests that could not be paid in its block: each try costs a fee."""
_AFTER_TROUBLE = 1.0
"""Seconds until the next look where the database is away, or somebody else has the archive whose turn it is."""


class Buyer:
    """Buys what archives need; `ordering` is the stage's worker.

    `on_enough` is called when an archive has enough replicas for its proof, `on_bought` when it has to be looked at.
    """

    def __init__(
        self,
        settings: OrdererSettings,
        db: Database,
        bus: Bus,
        market: Market,
        needs: Needs,
        money: Money,
        on_enough: Callable[[], None],
        breakers: Sequence[Breaker],
    ) -> None:
        self._settings = settings
        self._bus = bus
        self._market = market
        self._needs = needs
        self._money = money
        self._on_enough = on_enough
        self.on_bought: Callable[[], None] = lambda: None
        self._db = db
        self._store = OrdererStore(db)
        self._purchases = PurchaseStore(db)
        self._policy = settings.policy()
        self._settler = Settler(self._purchases, market, bus, settings.crust_poll_seconds)
        self._nudge = asyncio.Event()
        self._leaves_until = float("-inf")
        """Until then what is nobody's yet is left to other accounts, monotonic."""
        self.ordering = Worker(
            ORDER,
            self._attend,
            db,
            bus,
            lease_seconds=settings.lease_seconds,
            concurrency=1,
            needs=breakers,
        )

    def nudge(self) -> None:
        """Have the buyer see whose turn it is at once."""
        self._nudge.set()

    async def sweep(self, closing: asyncio.Event, seconds: float) -> None:
        """Attend to one archive after the other, looking at least every `seconds`, until `closing` is set."""
        while not closing.is_set():
            self._nudge.clear()
            try:
                wait = await self.take_turn()
            except TransientError as error:
                log.warning("buying will go on", error=brief(error))
                wait = _AFTER_TROUBLE
            await pause_until(closing, self._nudge, min(wait, seconds))

    async def stand_in(self) -> None:
        """Buy for accounts whose orderers were not heard for long, such as one that was replaced."""
        seconds = self._settings.crust_stand_in_seconds
        beats = await heartbeats.all(self._db)
        heard = {str(beat.facts.get("account")) for beat in beats if beat.seconds_silent < seconds}
        while taken := await self._store.stand_in(self._market.account, heard, seconds):
            log.warning("buying for an account whose orderer is away", archives=taken)
            self.nudge()

    async def take_turn(self) -> float:
        """Attend to the archive whose turn it is; return in how many seconds there may be another.

        Raises:
            TransientError: The database is away.
        """
        zip_id, wait = await self._next()
        if zip_id is None:
            return wait
        return _AFTER_TROUBLE if await self.ordering.work(zip_id) is None else 0

    async def _next(self) -> tuple[int | None, float]:
        """Return whose turn it is, or None and for how many seconds it is nobody's.

        Nobody can buy before what is in flight is settled, and its own archive settles it, unless that rests for long.
        """
        flying = await self._store.turn_in_flight(self._market.account)
        if flying is not None and flying.seconds <= self._settings.lease_seconds:
            wait = min(flying.seconds, self._settings.crust_poll_seconds)
            return (flying.zip_id, 0) if wait <= 0 else (None, wait)
        payers = [self._market.account]
        if (leaves := self._leaves_until - time.monotonic()) <= 0:
            payers.append(NOBODY)
        zip_id = await self._store.next_renewal(payers) or await self._store.next_new(payers)
        if zip_id is not None:
            return zip_id, 0
        wait = await self._store.seconds_to_turn(payers)
        return None, wait if leaves <= 0 else min(wait, leaves)

    async def _attend(self, lease: Lease) -> Outcome:
        """Settle the archive's purchase, then buy what it needs; who looks has found that it may need something."""
        unsettled = await self._purchases.unsettled(lease.row_id)
        if unsettled is not None:
            waiting = await self._settler.settle(unsettled)
            if waiting is not None:
                return waiting
        archive = await self._store.archive(lease.row_id, await self._market.identity())
        refused = Done() if archive.over or archive.lost else await self._refused(lease, archive)
        if refused is not None:
            return refused
        head = await self._market.head()
        info = await self._market.file(archive.cid, head)
        await self._note_evidence(lease, archive, info, head)
        doubt = self._needs.doubt(archive, info, head)
        if doubt is not None:
            return self._settler.wait(doubt)
        if info is None:
            lost = await self._lost(lease, archive, head)
            return lost or await self._buy(lease, archive, None, head, self._needs.anew(archive))
        need = self._needs.of(archive, info, head)
        if need is None:
            return await self._rest(lease, archive, info, head)
        if self._needs.under_floor(archive, info):
            log.error("replicas fell under the floor; fetching back, ordering again", replicas=info.replicas)
            await self._store.call_back(lease, archive)
        return await self._buy(lease, archive, info, head, need)

    async def _rest(self, lease: Lease, archive: Archive, info: FileInfo, head: Head) -> Outcome:
        """Leave an archive that needs nothing to who looks, until its renewal."""
        again = self._needs.seconds_to_renewal(archive, info, head)
        await self._store.close_rested(lease, again)
        self.on_bought()
        return Done(again_after=again)

    async def _refused(self, lease: Lease, archive: Archive) -> Outcome | None:
        """Report the refusal of the archive's latest purchase, once, whoever found it; None if there is none."""
        refusal = await self._purchases.refusal(archive.zip_id)
        if refusal is None or refusal.error == MARKET_CLOSED:  # whether it is still closed is asked before buying
            return None
        outcome: Outcome = Failed(explained(refusal))
        if refusal.error in NO_MONEY and archive.bought_at is not None:
            outcome = Wait(explained(refusal), after=_NO_MONEY_SECONDS)
        await self._purchases.close_refused(lease, refusal, outcome)
        if isinstance(outcome, Failed):
            log.error("failed", reason=outcome.reason.words)
            await self._bus.dead_letter(ORDER.name, outcome.reason.words, row=archive.zip_id)
        return outcome

    async def _note_evidence(self, lease: Lease, archive: Archive, info: FileInfo | None, head: Head) -> None:
        """Write down what the answer is worth as evidence for the archive, or against it, before anything is bought."""
        if behind(archive, head):
            return
        count = counted(info, head, await self._market.identity(), self._settings.replica_threshold)
        if await note_counted(self._db, lease, count):
            log.info("enough replicas", replicas=count.replicas, block=count.block)
            self._on_enough()

    async def _lost(self, lease: Lease, archive: Archive, head: Head) -> Outcome | None:
        """Return what has to come before buying a CID that the market does not know, or None."""
        if archive.bought_at is not None:
            await self._store.note_expired(archive.zip_id)
            # A person's retry sets the status back: then it is bought once more.
            if self._needs.closed_twice(archive, head) and archive.status != NOT_ORDERED:
                words = (
                    f"the market forgot the CID twice, both times within {SOON_DAYS} days of an order: it closes files"
                    " whose size is not the declared one; compare cumulativeSize and dag_size before you retry"
                )
                return Failed(Reason("forgotten_twice", words, days=SOON_DAYS))
        if not archive.gone:
            return None
        if archive.dropped:
            log.error("the market does not know the CID and local copies are gone; fetching back", cid=archive.cid)
            await self._store.call_back(lease, archive)
        reason = Reason(
            "market_forgot",
            "the market does not know the CID any more; it is bought again once the archive is fetched back",
        )
        if archive.restore_failure is not None:
            failed = f"which failed and has to be retried first: {reasons.words(archive.restore_failure)}"
            reason = Reason("restore_failed", f"{reason}, {failed}")
        return Wait(reason, after=self._settings.crust_check_seconds)

    async def _buy(self, lease: Lease, archive: Archive, info: FileInfo | None, head: Head, need: Need) -> Outcome:
        if info is not None and info.expires is not None and info.expires <= head.height:
            log.error("the order has run out; buying again", cid=archive.cid)
            await self._store.note_expired(archive.zip_id)
        other = await self._purchases.in_flight(self._market.account)
        if other is not None and not await self._is_settled(other):
            return self._settler.wait(_ANOTHER)
        offer = await self._market.offer(archive.cid, archive.dag_size)
        objection: Wait | Failed | None = Wait(_OTHER_ACCOUNT, after=self._settings.crust_check_seconds)
        if archive.payer in {NOBODY, self._market.account}:
            objection = await self._objection(archive, info, head, offer, need)
        if objection is not None:
            return await self._not_bought(archive, objection, need)
        if not await self._store.pay_for(lease, self._market.account):
            return Wait(_OTHER_ACCOUNT, after=self._settings.crust_check_seconds)
        signed = await self._market.sign(archive.cid, archive.dag_size)
        market = await self._market.identity()
        purchase = await self._purchases.record(lease, archive, signed, offer.total, market, offer.fee)
        if purchase is None:
            return self._settler.wait(_ANOTHER)
        refusal = await self._settler.send(purchase)
        log.info("order sent", order_id=purchase.order_id, nonce=signed.nonce, price=offer.total, refusal=refusal)
        return self._settler.not_final(purchase, refusal)

    async def _not_bought(self, archive: Archive, objection: Wait | Failed, need: Need) -> Outcome:
        """Return what becomes of an archive that this account may not buy for now."""
        if need.extra:  # what is merely wanted asks nobody
            return Wait(objection.reason, after=self._settings.crust_check_seconds)
        if archive.payer == NOBODY and await self._others_pay():
            self._leaves_until = time.monotonic() + self._settings.crust_check_seconds
            return Wait(objection.reason, after=_AFTER_TROUBLE)
        return objection

    async def _others_pay(self) -> bool:
        """Tell whether there is an orderer of another account, which can buy what is nobody's yet."""
        own = self._market.account
        return any(beat.lives and beat.facts.get("account", own) != own for beat in await heartbeats.all(self._db))

    async def _is_settled(self, other: Purchase) -> bool:
        """Settle another archive's purchase, and tell whether it is."""
        try:
            return await self._settler.settle(other) is None
        except EntryUnreadable as error:
            log.warning("what became of an order can't be told", order_id=other.order_id, error=brief(error))
            return False

    async def _objection(
        self, archive: Archive, info: FileInfo | None, head: Head, offer: Offer, need: Need
    ) -> Wait | Failed | None:
        """Return why not to buy now, or None; nothing is spent by asking."""
        purse = await self._money.purse(offer, head)
        seconds = self._settings.crust_check_seconds
        if not offer.market_open:
            return Wait(Reason("market_closed", "the market is closed"), after=seconds)
        if archive.dag_size >= offer.largest:
            words = f"{archive.dag_size} bytes are too many: the market takes less than {offer.largest}"
            return Failed(Reason("too_large", words, size_bytes=archive.dag_size, most_bytes=offer.largest))
        if info is not None and info.size > archive.dag_size:
            words = f"the market knows this CID with {info.size} bytes: it takes no order for {archive.dag_size}"
            return Failed(Reason("other_size", words, size_bytes=archive.dag_size, market_bytes=info.size))
        match decide(need, offer.total, purse, self._policy):
            case Stop(reason):
                return Failed(reason.again(f"{reason} ({self._market.account})"))
            case planner.Wait(reason, wait):
                log.warning("not buying now", reason=reason.words, kind=need.kind.value)
                return Wait(reason, after=min(wait, seconds))
            case Buy(warning):
                if warning is not None:
                    log.error("buying over a limit", reason=warning)
                return None
