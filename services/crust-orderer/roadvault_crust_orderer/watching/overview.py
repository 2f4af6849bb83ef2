"""Looks at all archives at once, and at the chain, so that nothing lapses in silence: metrics, and nothing else."""

import time

from prometheus_client import Gauge

from roadvault_common.errors import Value
from roadvault_common.sql.db import Database
from roadvault_common.sql.states import ArchiveStatus
from roadvault_crust_orderer.markets.market import Market
from roadvault_crust_orderer.watching.overview_store import OverviewStore

HEAD_AGE = Gauge(
    "roadvault_finalized_head_age_seconds",
    "Time since the finalized head was last seen to move, or the market to answer",
)
SOONEST_EXPIRY = Gauge(
    "roadvault_soonest_expiry_seconds",
    "Time until the first live order ends, as last estimated; negative if past",
)
EXPIRED = Gauge("roadvault_archives_expired", "Archives whose order has run out or vanished, up to 10 000")
UNDER_FLOOR = Gauge(
    "roadvault_archives_under_floor", "Archives that have left here, with fewer replicas than the floor, up to 10 000"
)
OLDEST_UNREPLICATED = Gauge(
    "roadvault_oldest_unreplicated_seconds",
    "Time since the oldest archive came to IPFS that is kept here until the network is proven to hold it; 0 if none is",
)
ARCHIVES = Gauge(
    "roadvault_archives", "Archives by the state of their order; all but `live` are counted up to 10 000", ["state"]
)
STORED = Gauge("roadvault_stored_bytes", "Bytes of the archives that have an order in force, each rounded up to MiB")
_COUNTED = (
    ArchiveStatus.NOT_ORDERED,
    ArchiveStatus.ORDERED,
    ArchiveStatus.ORDER_FAILED,
    ArchiveStatus.EXPIRED,
)
"""States of which few archives are; what has ended only becomes more, and is nobody's work."""
_UNKNOWN = float("nan")
for gauge in (SOONEST_EXPIRY, EXPIRED, UNDER_FLOOR, OLDEST_UNREPLICATED, STORED):  # 0 would say that all is well
    gauge.set(_UNKNOWN)


class Overview:
    """Two samples, of the archives and of the chain; `floor` is the least number of replicas."""

    def __init__(self, db: Database, market: Market, floor: int) -> None:
        self._store = OverviewStore(db)
        self._market = market
        self._floor = floor
        self._height = -1
        self._moved = time.monotonic()
        HEAD_AGE.set_function(self._head_age)

    async def archives(self) -> None:
        """Look at the rows; this goes on while the market is away.

        Raises:
            DatabaseUnavailable: They can't be read now.
        """
        ends = await self._store.soonest_expiry()
        SOONEST_EXPIRY.set(_UNKNOWN if ends is None else ends)
        live, stored = await self._store.stored()
        ARCHIVES.labels("live").set(live)
        STORED.set(stored)
        for state in _COUNTED:
            ARCHIVES.labels(state.name.lower()).set(await self._store.in_state(state))
        EXPIRED.set(await self._store.expired())
        UNDER_FLOOR.set(await self._store.under(self._floor))
        OLDEST_UNREPLICATED.set(await self._store.oldest_unreplicated())

    async def head(self) -> None:
        """Look whether the market answers, and its finalized head moves.

        Raises:
            ChainUnavailable: It does not answer.
        """
        await self._market.ping()  # a pinning service's height is the clock's, and moves whatever happens
        height = (await self._market.head()).height
        if height > self._height:
            self._height, self._moved = height, time.monotonic()

    async def facts(self) -> dict[str, Value | None]:
        """Return what was last seen of the chain."""
        known = self._height >= 0
        return {
            "chain_height": self._height if known else None, "chain_age_seconds": round(self._head_age(), 1),
        }  # fmt: skip

    def _head_age(self) -> float:
        """Return the seconds since the head was last seen to move, or since the start."""
        return time.monotonic() - self._moved
