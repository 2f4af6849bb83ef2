"""The orderer: one part looks at all archives on the market, the other buys what they need."""

from collections.abc import Callable, Sequence

from roadvault_common.events.bus import Bus
from roadvault_common.sql.db import Database
from roadvault_common.work.breakers import Breaker
from roadvault_crust_orderer import readiness
from roadvault_crust_orderer.buying.buyer import Buyer
from roadvault_crust_orderer.buying.money import Money
from roadvault_crust_orderer.buying.needs import Needs
from roadvault_crust_orderer.config import OrdererSettings
from roadvault_crust_orderer.markets.market import Market
from roadvault_crust_orderer.watching.watcher import Watcher


class Orderer:
    """Who watches, who buys, and what there is to buy with.

    `on_enough` is called when an archive has enough replicas for its proof. `breakers` are those of database and market
    that the process has already.
    """

    def __init__(
        self,
        settings: OrdererSettings,
        db: Database,
        bus: Bus,
        market: Market,
        on_enough: Callable[[], None],
        breakers: Sequence[Breaker] | None = None,
    ) -> None:
        breakers = readiness.breakers(db, market) if breakers is None else breakers
        needs = Needs(settings)
        self.money = Money(settings, db, market)
        self.watching = Watcher(settings, db, bus, market, needs, on_enough, breakers)
        self.buying = Buyer(settings, db, bus, market, needs, self.money, on_enough, breakers)
        self.watching.on_need, self.buying.on_bought = self.buying.nudge, self.watching.nudge
