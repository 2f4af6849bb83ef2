"""What there is to spend, and what things cost: for whoever buys, and for the operator to see."""

from prometheus_client import Gauge

from roadvault_common.sql.db import Database
from roadvault_crust_orderer.buying import renewals_store
from roadvault_crust_orderer.buying.planner import Purse, runway_days
from roadvault_crust_orderer.buying.purchase_store import PurchaseStore
from roadvault_crust_orderer.config import OrdererSettings
from roadvault_crust_orderer.markets.market import Head, Market, Offer
from roadvault_crust_orderer.store import OrdererStore

PLANCK = 10**12
"""Planck in one CRU."""
BALANCE = Gauge("roadvault_crust_balance_cru", "What the account can spend, CRU")
PRICE = Gauge("roadvault_crust_price_cru", "Price of the last order that was quoted, with its fee, CRU")
SPENT_TODAY = Gauge("roadvault_crust_spent_today_cru", "Committed to purchases since midnight UTC, CRU")
RUNWAY = Gauge("roadvault_crust_runway_days", "Days that the balance lasts at the present spending")
UNKNOWN = float("nan")
for gauge in (BALANCE, PRICE, RUNWAY):  # no alert takes what is not known for nothing left
    gauge.set(UNKNOWN)


class Money:
    """The account's purse, and its gauges."""

    def __init__(self, settings: OrdererSettings, db: Database, market: Market) -> None:
        self._settings = settings
        self._policy = settings.policy()
        self._db = db
        self._archives = OrdererStore(db)
        self._purchases = PurchaseStore(db)
        self._market = market

    async def purse(self, offer: Offer, head: Head) -> Purse:
        """Return what can be spent while things cost what the offer says."""
        show(offer)
        settings = self._settings
        soon = head.height + self._policy.blocks(settings.crust_reserve_days)
        return Purse(
            offer.balance,
            await self._purchases.spent(0),
            _planck(settings.crust_daily_limit_cru),
            _planck(settings.crust_most_per_gib_cru),
            offer.cost(await renewals_store.until(self._db, soon)),
        )

    async def sample(self) -> None:
        """Quote an order like the latest archive's, for the metrics.

        Raises:
            RoadVaultError: It can't be read now; what was read before is left as it was.
        """
        SPENT_TODAY.set(await self._purchases.spent(0) / PLANCK)
        latest = await self._archives.latest()
        if latest is None:
            return
        offer = await self._market.offer(*latest)
        show(offer)
        month = (await self._market.head()).height + self._policy.blocks(30)
        renewals = offer.cost(await renewals_store.until(self._db, month))
        days = runway_days(offer.balance, await self._purchases.spent(7), renewals)
        RUNWAY.set(float("inf") if days is None else days)


def show(offer: Offer) -> None:
    """Show a price and what there is to pay it with; a pinning service tells neither."""
    known = offer.total > 0
    BALANCE.set(offer.balance / PLANCK if known else UNKNOWN)
    PRICE.set(offer.total / PLANCK if known else UNKNOWN)


def _planck(cru: float | None) -> int | None:
    return None if cru is None else int(cru * PLANCK)
