"""One payment for each need, wherever the orderer is killed: a real kill around every call it makes."""

import asyncio
import inspect
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from chaos.orderer_child import CLASSES
from forked import AwaitedFork
from pydantic import SecretStr
from servers_devnet import Devnet
from sweeps import look_once

from roadvault_common.events.bus import Bus
from roadvault_common.sql.db import Database, Row
from roadvault_common.work.outcome import Done
from roadvault_crust_orderer.config import OrdererSettings
from roadvault_crust_orderer.markets.chain import Chain
from roadvault_crust_orderer.service import Orderer

CID = "bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi"
OFF_THE_PATH = {
    "Bus.dead_letter",
    "Bus.listen",
    "Bus.ping",
    "Bus.streams",
    "Chain.ping",
    "OrdererStore.call_back",
    "PurchaseStore.close_refused",
    "PurchaseStore.last_block",
    *(f"OrdererStore.{name}" for name in ("turn_in_flight", "next_renewal", "next_new", "seconds_to_turn", "stand_in")),
    "OrdererStore.latest",
    "OrdererStore.note_expired",
    "PurchaseStore.set_aside",
    "PurchaseStore.settle_void",
}
"""What the purchase of a new archive does not call, and what sees whose turn it is. Everything else that is awaited is
a point to die at."""
FAST_BLOCKS = {"block_seconds": 0.05}
FAST = {**FAST_BLOCKS, "file_duration_blocks": 400}


def _points() -> list[str]:
    methods = {
        f"{owner}.{name}"
        for owner, cls in CLASSES.items()
        for name, member in inspect.getmembers(cls, inspect.iscoroutinefunction)
        if not name.startswith("_")
    }
    return [f"{method}:{when}" for method in sorted(methods - OFF_THE_PATH) for when in ("before", "after")]


@dataclass
class Place:
    """An archive to buy, an orderer that is killed, and one that comes after it."""

    db: Database
    devnet: Devnet
    orderer: Orderer
    environment: dict[str, str]
    zip_id: int

    async def kill_at(self, point: str) -> None:
        environment = {**os.environ, **self.environment}
        child = AwaitedFork("chaos.orderer_child", [point], environment, Path(os.devnull))
        assert await asyncio.wait_for(child.wait(), 30) == -signal.SIGKILL, "the point was never reached"

    async def go_on(self) -> None:
        """Let the dead one's lease run out, and attend until there is nothing left to do, or a person is asked."""
        async with asyncio.timeout(30):
            while (await self.row())["order_failed_at"] is None:
                await self.db.execute("UPDATE zip_ipfs_info SET order_due = UTC_TIMESTAMP(6)")
                if isinstance(await self.orderer.buying.ordering.work(self.zip_id), Done):
                    await self.db.execute("UPDATE zip_ipfs_info SET watch_due = UTC_TIMESTAMP(6)")
                    await look_once(self.orderer.watching)
                    break
                await asyncio.sleep(0.05)

    async def row(self) -> Row:
        row = await self.db.fetch_one("SELECT * FROM zip_ipfs_info")
        assert row is not None
        return row

    async def purchases(self) -> list[Row]:
        return await self.db.fetch_all("SELECT status, term, in_flight FROM order_info ORDER BY order_id")


@pytest.fixture
async def place(database_url: str, redis_url: str, devnet: Devnet) -> AsyncIterator[Place]:
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
        yield Place(db, devnet, Orderer(settings, db, bus, chain, lambda: None), environment, zip_id)


@pytest.mark.parametrize("devnet_server", [FAST], indirect=True)
@pytest.mark.parametrize("point", _points())
async def test_a_kill_costs_nothing(point: str, place: Place) -> None:
    await place.kill_at(f"{point}:1")
    await place.go_on()
    assert place.devnet.orders() == 1
    assert await place.purchases() == [{"status": 1, "term": 1, "in_flight": None}]
    row = await place.row()
    assert (row["status"], row["order_token"], row["watch_token"]) == (1, None, None)


async def nothing_final(place: Place) -> None:
    # The era begins at the finalized head: until the killed child has signed, it must not be over.
    place.devnet.turn(hold_finality=True, block_seconds=0.5)


async def near_its_end(place: Place) -> None:
    await place.go_on()
    place.devnet.turn(set_replicas={"cid": CID, "count": 60}, make_blocks=310)
    await place.db.execute("UPDATE zip_ipfs_info SET order_due = UTC_TIMESTAMP(6)")


async def refused(place: Place) -> None:
    place.devnet.turn(dispatch_error="032002")


async def never_taken(place: Place) -> None:
    place.devnet.turn(refuse_submissions={"code": 1010, "text": "Invalid Transaction"}, block_seconds=0.02)


async def under_the_floor(place: Place) -> None:
    await place.go_on()
    place.devnet.turn(set_replicas={"cid": CID, "count": 5}, make_blocks=3)
    await place.db.execute("UPDATE zip_ipfs_info SET dropped_at = UTC_TIMESTAMP(6), order_due = UTC_TIMESTAMP(6)")


async def vanished(place: Place) -> None:
    await place.go_on()
    place.devnet.turn(close_file=CID, make_blocks=3)
    await place.db.execute("UPDATE zip_ipfs_info SET order_due = UTC_TIMESTAMP(6)")


@dataclass(frozen=True)
class Scene:
    """Something that an orderer has to do later on, where it is killed, and the states of the purchases at the end."""

    prepare: Callable[[Place], Awaitable[None]]
    points: tuple[str, ...]
    statuses: tuple[int, ...]
    then: dict[str, object] = field(default_factory=dict)
    """What the network is told after the kill."""


SCENES = (
    Scene(
        nothing_final,
        ("Chain.find:after:2", "Chain.submit:before:2", "Chain.submit:after:3"),
        (1,),
        {"hold_finality": False, **FAST_BLOCKS},
    ),
    Scene(
        near_its_end,
        (
            "PurchaseStore.record:after:1",
            "Chain.submit:after:1",
            "PurchaseStore.settle_bought:after:1",
        ),
        (1, 1),
    ),
    Scene(
        refused,
        tuple(
            f"PurchaseStore.{name}:{when}:1"
            for name in ("settle_void", "close_refused")
            for when in ("before", "after")
        ),
        (2,),
        {"dispatch_error": ""},
    ),
    Scene(
        never_taken,
        ("PurchaseStore.settle_void:before:1", "PurchaseStore.settle_void:after:1"),
        (3, 1),
        {"refuse_submissions": None},
    ),
    Scene(under_the_floor, ("OrdererStore.call_back:before:1", "OrdererStore.call_back:after:1"), (1, 1)),
    Scene(vanished, ("OrdererStore.note_expired:before:1", "OrdererStore.note_expired:after:1"), (1, 1)),
)


@pytest.mark.parametrize("devnet_server", [FAST], indirect=True)
@pytest.mark.parametrize(
    ("scene", "point"),
    [pytest.param(scene, point, id=f"{scene.prepare.__name__}-{point}") for scene in SCENES for point in scene.points],
)
async def test_a_kill_later_on_costs_nothing(scene: Scene, point: str, place: Place) -> None:
    await scene.prepare(place)
    await place.kill_at(point)
    place.devnet.turn(**scene.then)
    for _ in range(2):  # once it is over, there is nothing more to buy
        await place.go_on()
    assert tuple(purchase["status"] for purchase in await place.purchases()) == scene.statuses
    assert place.devnet.orders() == scene.statuses.count(1)
    assert ((await place.row())["order_failed_at"] is not None) == (2 in scene.statuses)
