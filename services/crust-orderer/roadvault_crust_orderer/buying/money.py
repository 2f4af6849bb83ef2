"""What there is to spend, and what things cost: for whoever buys, and for the operator to see."""

from prometheus_client import Gauge

from roadvault_common.errors import Value
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
SPENT_TODAY = Gauge("roadvault_crust_spent_today_cru", "Committed to purchases of the account since midnight UTC, CRU")
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
        self._offer: Offer | None = None
        self._spent: int | None = None
        self._runway: float | None = None

    async def purse(self, offer: Offer, head: Head) -> Purse:
        """Return what can be spent while things cost what the offer says."""
        show(offer)
        settings = self._settings
        soon = head.height + self._policy.blocks(settings.crust_reserve_days)
        return Purse(
            offer.balance,
            await self._purchases.spent(self._market.account, 0),
            _planck(settings.crust_daily_limit_cru),
            _planck(settings.crust_most_per_gib_cru),
            offer.cost(await renewals_store.until(self._db, soon, self._market.account)),
        )

    async def facts(self) -> dict[str, Value | None]:
        """Return what was last seen of what there is to spend, planck; a pinning service tells neither."""
        told = dict[str, Value | None](
            market=self._settings.market,
            account=self._market.account,
            replica_threshold=self._settings.replica_threshold,
            spent_today_planck=self._spent,
            daily_limit_planck=_planck(self._settings.crust_daily_limit_cru),
            gib_limit_planck=_planck(self._settings.crust_most_per_gib_cru),
            reserve_days=self._settings.crust_reserve_days,
            block_seconds=self._settings.crust_block_seconds,
            runway_days=self._runway,
        )
        if (offer := self._offer) is not None:
            told["market_open"] = int(offer.market_open)
        if offer is not None and offer.total > 0:
            told |= {
                "balance_planck": offer.balance,
                "price_planck": offer.total,
                "mebibyte_planck": offer.per_mebibyte,
                "flat_planck": offer.flat + offer.fee,
            }
        return told

    async def sample(self) -> None:
        """Quote an order like the latest archive's, for the metrics.

        Raises:
            RoadVaultError: It can't be read now; what was read before is left as it was.
        """
        self._spent = await self._purchases.spent(self._market.account, 0)
        SPENT_TODAY.set(self._spent / PLANCK)
        latest = await self._archives.latest()
        if latest is None:
            return
        self._offer = offer = await self._market.offer(*latest)
        show(offer)
        month = (await self._market.head()).height + self._policy.blocks(30)
        renewals = offer.cost(await renewals_store.until(self._db, month, self._market.account))
        days = runway_days(offer.balance, await self._purchases.spent(self._market.account, 7), renewals)
        self._runway = days
        RUNWAY.set(float("inf") if days is None else days)


def show(offer: Offer) -> None:
    """Show a price and what there is to pay it with; a pinning service tells neither."""
    known = offer.total > 0
    BALANCE.set(offer.balance / PLANCK if known else UNKNOWN)
    PRICE.set(offer.total / PLANCK if known else UNKNOWN)


def _planck(cru: float | None) -> int | None:
    return None if cru is None else int(cru * PLANCK)
