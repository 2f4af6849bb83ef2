"""How many archives the orderer looks at on the market in a second, where each answer of the node takes 100 ms."""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path

import structlog
from bench.measure import OURS, Measure, Target, timed
from free_ports import pick_free
from pydantic import SecretStr
from servers_devnet import Devnet, running_devnet
from servers_orderer import CID, Desk, stock
from servers_process import Running

from roadvault_common.events.bus import Bus
from roadvault_common.sql.db import Database
from roadvault_common.sql.migrate import migrate
from roadvault_crust_orderer.config import OrdererSettings
from roadvault_crust_orderer.markets.chain import Chain
from roadvault_crust_orderer.service import Orderer
from roadvault_stack.mariadb import MariaDB
from roadvault_stack.redis_server import Redis as RedisServer

_ANSWER_SECONDS = 0.1
_ALLOWED, _ALLOWED_RATE = "10^6 archives in 6 h", 1_000_000 / (6 * 3600)
_DUE = "SELECT COUNT(*) FROM zip_ipfs_info WHERE watch_due <= UTC_TIMESTAMP(6)"
_UNDER_WAY = "SELECT COUNT(*) FROM zip_ipfs_info WHERE watch_token IS NOT NULL"
_LOOK_SECONDS = 0.05


def measure(directory: Path, archives: int, runs: int) -> Measure:
    """Let the stage look at archives that are all due; figures are archives a second until each is written down."""
    result = Measure(
        f"{archives} archives looked at on the market, 100 ms for each answer of the node",
        "archives/s",
        more_is_better=True,
        targets=[Target(_ALLOWED, 1)],
    )
    with _servers(directory) as (mariadb, redis, devnet):
        asyncio.run(_measure(result, mariadb.url(), redis.url(), devnet, archives, runs))
    return result


@contextmanager
def _servers(directory: Path) -> Iterator[tuple[MariaDB, RedisServer, Devnet]]:
    ports = pick_free(2)
    mariadb, redis = MariaDB(directory / "mariadb", ports[0], "bench"), RedisServer(directory / "redis", ports[1])
    with ExitStack() as stack:
        for running in (Running(mariadb), Running(redis)):
            stack.callback(running.stop)
            running.start()
        migrate(mariadb.url(), lambda _: None)
        yield mariadb, redis, stack.enter_context(running_devnet(directory / "devnet", block_seconds=6)).server


async def _measure(result: Measure, database: str, redis: str, devnet: Devnet, archives: int, runs: int) -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    async with _desk(database, redis, devnet) as desk:
        await stock(desk, archives)
        await desk.chain.files([CID.format(0)], await desk.chain.head_to_look_at())  # the connection, and the runtime
        devnet.turn(answer_seconds=_ANSWER_SECONDS)
        for _ in range(runs):
            result.add(OURS, archives / await _look_at_all(desk))
            result.add(_ALLOWED, _ALLOWED_RATE)


@asynccontextmanager
async def _desk(database: str, redis: str, devnet: Devnet) -> AsyncIterator[Desk]:
    values = {
        "database_url": database,
        "redis_url": redis,
        "crust_url": devnet.url,
        "crust_seed": "//Alice",
        "master_keys": "unused",
    }
    settings = OrdererSettings.model_validate(values)
    async with (
        Database.open(settings.database_url) as db,
        Bus.open(SecretStr(redis), "crust-orderer") as bus,
        Chain.open(settings.crust_url, settings.seed(), settings.crust_timeout_seconds, 0, 30) as chain,
    ):
        yield Desk(db, Orderer(settings, db, bus, chain, lambda: None), devnet, chain)


async def _look_at_all(desk: Desk) -> float:
    await desk.db.execute("UPDATE zip_ipfs_info SET watch_due = UTC_TIMESTAMP(6)")
    closing = asyncio.Event()
    with timed() as seconds:
        sweeping = asyncio.create_task(desk.orderer.watching.sweep(closing, 10))
        # What is under way is due when its lease runs out.
        while await desk.db.fetch_value(_DUE) or await desk.db.fetch_value(_UNDER_WAY):
            await asyncio.sleep(_LOOK_SECONDS)
    closing.set()
    desk.orderer.watching.nudge()
    await sweeping
    return seconds()
