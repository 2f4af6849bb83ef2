"""An orderer on a devnet and a real database: what its tests stand on."""

from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from pydantic import SecretStr
from servers_devnet import Devnet
from substrateinterface import SubstrateInterface
from sweeps import look_once

from roadvault_common.events.bus import Bus
from roadvault_common.sql.db import Database, Row
from roadvault_common.work.outcome import Done, Outcome, Wait
from roadvault_crust_orderer.config import OrdererSettings
from roadvault_crust_orderer.markets.chain import Chain
from roadvault_crust_orderer.markets.node import Node
from roadvault_crust_orderer.service import Orderer

CID = "bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzd{}"
SIZE = 5_000_000
MANY = 250
STRANGER = "5FHneW46xGXgs5mUiveU4sbTyGBzmstUspZC92UhjJM694ty"


async def balance(chain: Chain) -> int:
    """Return what the account can spend."""
    return await chain._account.call(Node.balance)


@dataclass
class Shop:
    """An orderer and its database, whatever the market."""

    db: Database
    orderer: Orderer

    async def archive(self, number: int = 0, size: int = SIZE) -> int:
        return await self.db.transact(
            lambda tx: tx.insert(
                "INSERT INTO zip_ipfs_info (folder_id, zip_name, `key`, iv, size, files, cid, dag_size, order_due)"
                " VALUES (%s, 'a', 'k', 'i', %s, 1, %s, %s, UTC_TIMESTAMP(6))",
                (number + 1, size, CID.format(number), size),
            )
        )

    async def attend(self, zip_id: int) -> Outcome:
        """Let the archive's time come: what it needs is bought."""
        await self.db.execute(
            "UPDATE zip_ipfs_info SET order_due = UTC_TIMESTAMP(6), order_failed_at = NULL WHERE zip_id = %s", (zip_id,)
        )
        for breaker in self.orderer.buying.ordering._needs:
            breaker.close()  # its rest is over, and the row itself finds out
        outcome = await self.orderer.buying.ordering.work(zip_id)
        assert outcome is not None
        return outcome

    async def row(self, zip_id: int) -> Row:
        row = await self.db.fetch_one("SELECT * FROM zip_ipfs_info WHERE zip_id = %s", (zip_id,))
        assert row is not None
        return row

    async def purchases(self) -> list[Row]:
        return await self.db.fetch_all("SELECT * FROM order_info ORDER BY order_id")


@dataclass
class Desk(Shop):
    """An orderer at a devnet, and hands to move time."""

    devnet: Devnet
    chain: Chain

    async def attend(self, zip_id: int) -> Outcome:
        """Let it be attended to, then looked at; return what buying came to."""
        outcome = await super().attend(zip_id)
        await self.look(zip_id)
        return outcome

    async def look(self, zip_id: int) -> Row:
        """Let the orderer look at the archive at the head of now, and at no other; return its row then."""
        await self.db.execute("UPDATE zip_ipfs_info SET watch_due = IF(zip_id = %s, UTC_TIMESTAMP(6), NULL)", (zip_id,))
        assert await self.look_at_due() == 1
        return await self.row(zip_id)

    async def look_at_due(self) -> int:
        """Let the orderer look at what is due, at the head of now; return how many there were."""
        self.orderer.watching._head = None
        for breaker in self.orderer.watching.breakers:
            breaker.close()
        return await look_once(self.orderer.watching)

    async def bought(self, zip_id: int) -> None:
        assert isinstance(await self.attend(zip_id), Wait)
        self.devnet.final()
        assert isinstance(await self.attend(zip_id), Done)


OpenDesk = Callable[..., AbstractAsyncContextManager[Desk]]


@pytest.fixture
def open_desk(database_url: str, redis_url: str, devnet: Devnet) -> OpenDesk:
    @asynccontextmanager
    async def opened(seed: str = "//Alice", **overrides: Any) -> AsyncIterator[Desk]:  # noqa: ANN401 - any setting
        values = {
            "database_url": database_url,
            "redis_url": redis_url,
            "crust_url": devnet.url,
            "crust_seed": seed,
            "master_keys": "unused",
        }
        settings = OrdererSettings.model_validate({**values, **overrides})
        async with (
            Database.open(database_url) as db,
            Bus.open(SecretStr(redis_url), "crust-orderer") as bus,
            Chain.open(
                settings.crust_url, settings.seed(), settings.crust_timeout_seconds, 0, settings.lease_seconds * 3 / 4
            ) as chain,
        ):
            yield Desk(db, Orderer(settings, db, bus, chain, lambda: None), devnet, chain)

    return opened


@pytest.fixture
async def desk(open_desk: OpenDesk) -> AsyncIterator[Desk]:
    async with open_desk() as opened:
        yield opened


@contextmanager
def calls(monkeypatch: pytest.MonkeyPatch) -> Iterator[Counter[str]]:
    """Count the calls of the node, by method."""
    seen: Counter[str] = Counter()
    ask = SubstrateInterface.rpc_request

    def counted(self: SubstrateInterface, method: str, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - as it is
        seen[method] += 1
        return ask(self, method, *args, **kwargs)

    with monkeypatch.context() as patched:
        patched.setattr(SubstrateInterface, "rpc_request", counted)
        yield seen


async def stock(desk: Desk, count: int = MANY, replicas: int = 60) -> list[int]:
    """Let there be archives that were bought, and files of theirs on the market; all are to be looked at."""
    desk.devnet.turn(add_files={"cid": CID, "count": count, "size": SIZE, "replicas": replicas})
    desk.devnet.final()
    archives = [await desk.archive(number) for number in range(count)]
    await desk.db.execute(
        "INSERT INTO order_info (zip_id, term, account, in_flight, status, cid, declared_size, nonce, era_birth,"
        " era_death, extrinsic_hash, extrinsic, price, block) SELECT zip_id, 1, 'a', NULL, 1, cid, 1, 0, 0, 1, zip_id,"
        " 'x', 1, 1 FROM zip_ipfs_info"
    )
    await desk.db.execute(
        "UPDATE zip_ipfs_info SET order_due = NULL, watch_due = UTC_TIMESTAMP(6) - INTERVAL zip_id SECOND, status = 1"
    )
    return archives
