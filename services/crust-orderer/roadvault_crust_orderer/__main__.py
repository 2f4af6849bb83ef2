"""Wires the orderer together and runs it."""

from contextlib import AbstractAsyncContextManager, AsyncExitStack
from functools import partial

import structlog

from roadvault_common import metrics
from roadvault_common.archive import master_keys
from roadvault_common.archive.crypto import MasterKeys
from roadvault_common.events.bus import Bus
from roadvault_common.files.identity import NoDirectory
from roadvault_common.history.heartbeats import Heart
from roadvault_common.ipfs.witness import open_way
from roadvault_common.loops import repeat
from roadvault_common.process import app, log
from roadvault_common.sql.audits import Place
from roadvault_common.sql.db import Database
from roadvault_common.web import w3auth
from roadvault_common.web.health import Check
from roadvault_common.work import audit_gauges, breakers, gauges
from roadvault_common.work.breakers import Breakers
from roadvault_common.work.stages import AUDIT, ORDER, PROVE, WATCH
from roadvault_crust_orderer import readiness
from roadvault_crust_orderer.buying.money import PLANCK
from roadvault_crust_orderer.buying.purchase_store import PurchaseStore
from roadvault_crust_orderer.config import OrdererSettings
from roadvault_crust_orderer.handlers import HANDLERS
from roadvault_crust_orderer.markets.chain import Chain
from roadvault_crust_orderer.markets.market import Market
from roadvault_crust_orderer.markets.pinning import PinningMarket
from roadvault_crust_orderer.proof.audit import Auditor
from roadvault_crust_orderer.proof.proof import Prover
from roadvault_crust_orderer.service import Orderer
from roadvault_crust_orderer.watching.overview import Overview

_PART_OF_LEASE = 3 / 4
"""What one call may take of the lease under which it is made: after the call there is progress, or an outage."""


async def serve() -> None:
    """Run the orderer until it is told to stop."""
    settings = OrdererSettings()
    log.configure("crust-orderer", settings)
    async with AsyncExitStack() as stack:
        db = await stack.enter_async_context(Database.open(settings.database_url))
        bus = await stack.enter_async_context(
            Bus.open(settings.redis_url, "crust-orderer", settings.event_reclaim_seconds)
        )
        market = await stack.enter_async_context(_market(settings))
        structlog.get_logger().info("orders are paid for by", account=market.account, market=settings.market)
        way = await stack.enter_async_context(open_way(settings, db))
        keys = MasterKeys(settings.master_keys)
        needs = readiness.breakers(db, market)
        prover = Prover(settings, db, bus, keys, way, market, needs)
        orderer = Orderer(settings, db, bus, market, prover.proving.nudge, needs)
        auditor = Auditor(settings, db, bus, keys, way, prover.needs, orderer.buying.nudge, prover.uses)
        away = Breakers(*prover.needs, *prover.uses, breakers.redis(bus))
        handlers = app.bind(HANDLERS, orderer)
        overview = Overview(db, market, settings.replica_floor)
        samples: dict[str, metrics.Sample] = {
            "rows": gauges.rows(db, [WATCH, ORDER, PROVE, AUDIT]),
            "events": bus.lag(handlers),
            "outages": away.sample(db, "crust-orderer", settings.sweep_seconds),
            "master keys": partial(master_keys.measure, db, keys),
            "archives": overview.archives,
            "audits": audit_gauges.gauges(db, Place.NETWORK, settings),
            "chain": overview.head,
            "money": orderer.money.sample,
        }
        jobs: list[app.Job] = [
            partial(bus.listen, handlers, concurrency=settings.event_concurrency),
            partial(orderer.watching.sweep, seconds=settings.sweep_seconds),
            partial(orderer.buying.sweep, seconds=settings.sweep_seconds),
            partial(repeat, orderer.buying.stand_in, seconds=max(settings.sweep_seconds, 10)),
            partial(prover.proving.sweep, seconds=settings.sweep_seconds),
            partial(auditor.auditing.sweep, seconds=settings.sweep_seconds),
            partial(metrics.watch, samples=samples, seconds=settings.sweep_seconds),
        ]
        checks: dict[str, Check] = {
            "market": partial(readiness.check, market, PurchaseStore(db)),
            "master keys": master_keys.check(db, keys),
        }
        heart = Heart(db, "crust-orderer", [overview.facts, orderer.money.facts])
        await app.run(settings, db, jobs, checks, breakers=away, identity=NoDirectory(db), heart=heart)


def _market(settings: OrdererSettings) -> AbstractAsyncContextManager[Market]:
    seconds, call_seconds = settings.crust_timeout_seconds, settings.lease_seconds * _PART_OF_LEASE
    if settings.market == "chain":
        tip = int(settings.crust_tip_cru * PLANCK)
        return Chain.open(settings.crust_url, settings.seed(), seconds, tip, call_seconds)
    origins = [origin.strip() for origin in settings.pinning_origins.split(",") if origin.strip()]
    bearer = settings.pinning_token or w3auth.token(settings.seed())
    return PinningMarket.open(settings.pinning_url or "", bearer, origins, min(seconds, call_seconds))


def main() -> None:
    """Start the process (console script `roadvault-crust-orderer`)."""
    app.main(serve)


if __name__ == "__main__":
    main()
