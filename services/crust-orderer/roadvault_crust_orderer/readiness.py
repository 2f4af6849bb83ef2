"""Whether the market can be worked with: for `/readyz`, and for its breaker."""

from functools import partial

from roadvault_common.errors import ChainUnavailable, Domain
from roadvault_common.sql.db import Database
from roadvault_common.work import breakers as kinds
from roadvault_common.work.breakers import Breaker
from roadvault_crust_orderer.buying.purchase_store import PurchaseStore
from roadvault_crust_orderer.markets.market import Market


async def check(market: Market, store: PurchaseStore) -> None:
    """See that the market answers, and that it has the past in which our orders were placed.

    Raises:
        ChainUnavailable: Not so; until it is, nothing is bought for the archives in question.
    """
    identity, height = await market.ping()
    ordered = await store.last_block(identity)
    if ordered is not None and height < ordered:
        raise ChainUnavailable(
            f"the finalized head {height} is before block {ordered}, in which an order is: the node lags behind, or"
            " its chain has lost its past",
            code="head_behind",
            head=height,
            block=ordered,
        )


def breakers(db: Database, market: Market) -> list[Breaker]:
    """Make the breakers of what buying and proving need."""
    return [kinds.database(db), Breaker(Domain.MARKET, partial(check, market, PurchaseStore(db)))]
