"""One payment for each need, wherever the orderer is killed: a real kill around every call it makes."""

import asyncio
import inspect
import os
import signal
import sys
from pathlib import Path

import pytest
from chaos.orderer_child import CLASSES
from pydantic import SecretStr
from servers_devnet import Devnet

from roadvault_common.bus import Bus
from roadvault_common.db import Database
from roadvault_common.outcome import Done
from roadvault_crust_orderer.chain import Chain
from roadvault_crust_orderer.config import OrdererSettings
from roadvault_crust_orderer.service import Orderer

CID = "bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi"
OFF_THE_PATH = {
    "Bus.dead_letter",
    "Bus.listen",
    "Chain.balance",
    "Chain.ping",
    "OrdererStore.call_back",
    "OrdererStore.note_expired",
    "OrdererStore.settle_void",
}
"""What the purchase of a new archive does not call. Everything else that is awaited is a point to die at."""


def _points() -> list[str]:
    methods = {
        f"{owner}.{name}"
        for owner, cls in CLASSES.items()
        for name, member in inspect.getmembers(cls, inspect.iscoroutinefunction)
        if not name.startswith("_")
    }
    return [f"{method}:{when}" for method in sorted(methods - OFF_THE_PATH) for when in ("before", "after")]


@pytest.mark.parametrize("devnet_server", [{"block_seconds": 0.05}], indirect=True)
@pytest.mark.parametrize("point", _points())
async def test_a_kill_costs_nothing(point: str, database_url: str, redis_url: str, devnet: Devnet) -> None:
    environment = {
        "ROADVAULT_DATABASE_URL": database_url,
        "ROADVAULT_REDIS_URL": redis_url,
        "ROADVAULT_CRUST_URL": devnet.url,
        "ROADVAULT_CRUST_SEED": "//Alice",
        "ROADVAULT_MASTER_KEYS": "unused",
        "ROADVAULT_CRUST_POLL_SECONDS": "0.05",
    }
    settings = OrdererSettings.model_validate(
        {name.removeprefix("ROADVAULT_").lower(): value for name, value in environment.items()}
    )
    async with (
        Database.open(database_url) as db,
        Bus.open(SecretStr(redis_url), "crust-orderer") as bus,
        Chain.open(settings.crust_url, settings.seed(), 10) as chain,
    ):
        zip_id = await db.transact(
            lambda tx: tx.insert(
                "INSERT INTO zip_ipfs_info (folder_id, zip_name, `key`, iv, size, files, cid, dag_size, order_due)"
                " VALUES (1, 'a', 'k', 'i', 5000000, 1, %s, 5000000, UTC_TIMESTAMP(6))",
                (CID,),
            )
        )
        child = await asyncio.create_subprocess_exec(
            sys.executable, Path(__file__).with_name("orderer_child.py"), str(zip_id), point,
            env={**os.environ, **environment}, stderr=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        assert await asyncio.wait_for(child.wait(), 30) == -signal.SIGKILL, "the point was never reached"

        orderer = Orderer(settings, db, bus, chain, lambda: None)
        async with asyncio.timeout(30):
            while True:
                # The dead one's lease runs out.
                await db.execute("UPDATE zip_ipfs_info SET order_due = UTC_TIMESTAMP(6)")
                if isinstance(await orderer.ordering.work(zip_id), Done):
                    break
                await asyncio.sleep(0.05)
        assert devnet.orders() == 1
        purchases = await db.fetch_all("SELECT status, term, in_flight FROM order_info")
        assert purchases == [{"status": 1, "term": 1, "in_flight": None}]
        row = await db.fetch_one("SELECT status, order_token FROM zip_ipfs_info")
        assert row == {"status": 1, "order_token": None}
