"""What became of a purchase: looked for on the finalized chain before anything else is done about it.

Until the head has passed its era the same bytes are sent again, never a second purchase.
"""

from collections import Counter

import structlog

from roadvault_common.events.bus import Bus
from roadvault_common.events.kinds import OrderPlaced
from roadvault_common.work.outcome import Failed, Outcome, Retry, Wait
from roadvault_common.work.reasons import Reason
from roadvault_crust_orderer.buying.purchase_store import Purchase, PurchaseStore, Refusal
from roadvault_crust_orderer.markets.market import EntryUnreadable, Head, Included, Market
from roadvault_crust_orderer.store import NEVER_INCLUDED, REFUSED

log = structlog.get_logger()

_ERAS_AT_ONCE = 2
"""Eras in a row that may end with the node not taking an order; then its archive rests, and the attempt counts."""
_REST_SECONDS = 300
MARKET_CLOSED = "PlaceOrderNotAvailable"
NO_MONEY = frozenset({"InsufficientCurrency", "InsufficientBalance", "Token.NoFunds"})
_SEND_CRU = "the account can't pay for the order; send CRU to it, then retry"
_LOOK_THERE = "the market's files do not show the order as paid; look at the account's transfers, then retry"
_REFUSALS = {
    "PinFailed": "the pinning service could not fetch it; see that it reaches our IPFS node, then retry",
    "FileTooLarge": "the market does not take archives of this size; make folders smaller",
    "FileSizeNotCorrect": "the market knows this CID with a larger size than the one declared",
    "StateDiscarded": f"no node knows any more how it ended, and {_LOOK_THERE}",
    "BodyDiscarded": f"no node has the blocks any more in which it can be, and {_LOOK_THERE}",
    "EventsUnreadable": f"its block has events that this version can't read, and {_LOOK_THERE}",
    **dict.fromkeys(NO_MONEY, _SEND_CRU),
}


def explained(refusal: Refusal) -> Reason:
    """Return what a refusal means, and what to do."""
    advice = _REFUSALS.get(refusal.error, "the market refused the order; look the name up, then retry")
    words = f"{refusal.error}: {advice} (order {refusal.order_id})"
    return Reason("order_refused", words, order=refusal.order_id, error=refusal.error)


class Settler:
    """Settles purchases, whichever archive's turn finds them in flight. `poll_seconds` lie between two looks."""

    def __init__(self, store: PurchaseStore, market: Market, bus: Bus, poll_seconds: float) -> None:
        self._store = store
        self._market = market
        self._bus = bus
        self._poll_seconds = poll_seconds
        self._searched: dict[int, int] = {}
        """By order id, the finalized height up to which its extrinsic is known not to be there."""
        self._refused: dict[int, str] = {}
        """By order id, why the node did not take its bytes the last time that they were sent."""
        self._eras_refused: Counter[int] = Counter()
        """By archive, how many eras in a row ended with the node not taking the order."""

    async def settle(self, purchase: Purchase) -> Outcome | None:
        """Find out what became of a purchase; None once that is known, and written down, else what to wait for.

        A refusal is left to the purchase's own archive: see `PurchaseStore.refusal`.
        """
        if purchase.market not in (None, await self._market.identity()):
            return await self._made_elsewhere(purchase)
        head = await self._market.head()
        try:
            included = await self._look(purchase, head)
        except EntryUnreadable:
            if head.height >= purchase.era_death:  # its own archive waits on, and a person is asked in the end
                await self._store.set_aside(purchase)
            raise
        if (included is None or not included.known) and head.height < purchase.era_death:
            return self.not_final(purchase, await self.send(purchase))
        self._searched.pop(purchase.order_id, None)
        if included is None:
            return await self._never_included(purchase)
        if included.error is not None:
            log.error("order refused", order_id=purchase.order_id, error=included.error, block=included.block)
            await self._store.settle_void(purchase, REFUSED, included.error, included)
        elif await self._store.settle_bought(purchase, included.block, included.block_hash):
            log.info("order placed", order_id=purchase.order_id, zip_id=purchase.zip_id, block=included.block)
            await self._bus.emit(OrderPlaced(zip_id=purchase.zip_id, order_id=purchase.order_id))
        return None

    async def send(self, purchase: Purchase) -> str | None:
        """Send a purchase that is recorded, or send it again; return why the node does not take it, or None."""
        refusal = await self._market.submit(purchase.extrinsic)
        if refusal is None:
            self._refused.pop(purchase.order_id, None)
        else:
            self._refused[purchase.order_id] = refusal
        return refusal

    async def _never_included(self, purchase: Purchase) -> Retry | None:
        """Settle a purchase whose era is over; where a node takes no order of the archive, others get their turn."""
        refusal = self._refused.pop(purchase.order_id, None)
        log.warning("order never included; its era is over", order_id=purchase.order_id, refusal=refusal)
        reason = "its era ended without it" + (f"; the node said: {refusal}" if refusal else "")
        await self._store.settle_void(purchase, NEVER_INCLUDED, reason, None)
        eras = self._eras_refused[purchase.zip_id] = self._eras_refused[purchase.zip_id] + 1 if refusal else 0
        if eras < _ERAS_AT_ONCE:
            return None
        words = (
            f"the node has taken no order of this archive for {eras} eras: {refusal}; see that the account has money,"
            " and that no other program uses it"
        )
        return Retry(Reason("not_taken", words, order=purchase.order_id), after=_REST_SECONDS)

    def not_final(self, purchase: Purchase, refusal: str | None) -> Wait:
        """Return the outcome of having sent an order: a node refuses what it has in a block already, too."""
        words = "the order is not final yet" + (f"; the node says: {refusal}" if refusal else "")
        return self.wait(Reason("not_final", words, order=purchase.order_id))

    def wait(self, reason: Reason) -> Wait:
        """Return the outcome of waiting for what takes a few blocks."""
        return Wait(reason, after=self._poll_seconds)

    async def _look(self, purchase: Purchase, head: Head) -> Included | None:
        """Look for a purchase's extrinsic; where no node can tell how it ended, at the market's files."""
        first = self._searched.get(purchase.order_id, purchase.era_birth - 1) + 1
        last = min(head.height, purchase.era_death)
        included = await self._market.find(purchase.extrinsic_hash, first, last)
        if included is None:
            self._searched[purchase.order_id] = last
        elif not included.known and await self._in_force(purchase, included, head):
            return Included(included.block, None)
        return included

    async def _in_force(self, purchase: Purchase, included: Included, head: Head) -> bool:
        """Tell whether the market has the file with a term that only this purchase, or a later one, can have begun."""
        info = await self._market.file(purchase.cid, head)
        return info is not None and (info.expires is None or info.expires >= included.block + head.term)

    async def _made_elsewhere(self, purchase: Purchase) -> Failed:
        """Leave a purchase alone that another chain or service has to tell about; the account may go on here."""
        await self._store.set_aside(purchase)
        log.error("an order was made at another market", order_id=purchase.order_id, market=purchase.market)
        words = (
            f"order {purchase.order_id} was sent to another market ({purchase.market}) and may be paid there: set"
            " ROADVAULT_MARKET, ROADVAULT_CRUST_URL or ROADVAULT_PINNING_URL back to it, then retry; or give it up, by"
            f" status = {NEVER_INCLUDED}, term = NULL on its row of order_info, then retry to buy here"
        )
        return Failed(Reason("another_market", words, order=purchase.order_id))
