"""Runs an orderer on one archive until it is bought, and kills itself where it is told: `Class.method:when:nth`."""

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from typing import Any

from sweeps import look_once

from roadvault_common.events.bus import Bus
from roadvault_common.sql.db import Database
from roadvault_crust_orderer.buying.purchase_store import PurchaseStore
from roadvault_crust_orderer.config import OrdererSettings
from roadvault_crust_orderer.markets.chain import Chain
from roadvault_crust_orderer.service import Orderer
from roadvault_crust_orderer.store import OrdererStore
from roadvault_crust_orderer.watching.watching_store import WatchingStore

CLASSES = {cls.__name__: cls for cls in (Chain, OrdererStore, PurchaseStore, WatchingStore, Bus)}
_LONG_SECONDS = 600
"""Nothing in flight is waited for so long."""


def kill_at(point: str) -> None:
    """Have the process end, as by kill -9, right before or right after the method's nth call."""
    name, when, nth = point.split(":")
    owner, method = name.split(".")
    real: Callable[..., Awaitable[Any]] = getattr(CLASSES[owner], method)
    calls = 0

    async def deadly(*args: object, **kwargs: object) -> object:
        nonlocal calls
        calls += 1
        if (when, calls) == ("before", int(nth)):
            os.kill(os.getpid(), signal.SIGKILL)
        result = await real(*args, **kwargs)
        if calls == int(nth):
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(CLASSES[owner], method, deadly)


async def attend() -> None:
    """Buy what the archive needs, until there is nothing left to do for now; then look at it."""
    settings = OrdererSettings()
    async with (
        Database.open(settings.database_url) as db,
        Bus.open(settings.redis_url, "crust-orderer") as bus,
        Chain.open(settings.crust_url, settings.seed(), settings.crust_timeout_seconds) as chain,
    ):
        orderer = Orderer(settings, db, bus, chain, lambda: None)
        while await orderer.buying.take_turn() < _LONG_SECONDS:
            await asyncio.sleep(0.02)
        while not await look_once(orderer.watching):
            await asyncio.sleep(0.02)


def main() -> None:
    """Die at the point that the argument names."""
    kill_at(sys.argv[1])
    asyncio.run(attend())
