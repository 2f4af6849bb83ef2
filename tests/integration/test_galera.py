"""Three real nodes of a Galera cluster: one is written to, and another takes over whatever becomes of it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager, suppress
from functools import partial

import pytest
from servers_galera import Galera

from roadvault_common.errors import CommitUnknown, DatabaseUnavailable
from roadvault_common.sql import writer
from roadvault_common.sql.db import Database

OPEN_FOLDER = "INSERT INTO folder_info (open_slot, close_at) VALUES (%s, UTC_TIMESTAMP(6))"
AT = "SELECT @@wsrep_node_name"


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "_BACK_SECONDS", 1.0)


async def at(db: Database) -> str:
    return str(await db.fetch_value(AT))


async def until(what: Callable[[], Awaitable[bool]], seconds: float = 40) -> None:
    async with asyncio.timeout(seconds):
        while True:
            with suppress(DatabaseUnavailable):
                if await what():
                    return
            await asyncio.sleep(0.1)


class Load:
    """Writes a row again and again, and remembers which were acknowledged, and of which nobody knows."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self.written: set[str] = set()
        self.unknown: set[str] = set()
        self.under_way = ""

    async def run(self) -> None:
        for number in range(1_000_000):
            slot = self.under_way = f"slot {number}"
            try:
                await self._db.execute(OPEN_FOLDER, (slot,))
                self.written.add(slot)
            except CommitUnknown:
                self.unknown.add(slot)
            except DatabaseUnavailable:
                await asyncio.sleep(0.05)
            await asyncio.sleep(0.005)


@asynccontextmanager
async def load(db: Database) -> AsyncIterator[Load]:
    """Write all the while; in the end what was acknowledged is there, and nothing else but what is not known."""
    writes = Load(db)
    task = asyncio.create_task(writes.run())
    try:
        yield writes
    finally:
        task.cancel()
        await asyncio.wait([task])
    assert task.cancelled(), task.exception()
    rows = {row["open_slot"] for row in await db.fetch_all("SELECT open_slot FROM folder_info")}
    assert rows >= writes.written
    assert rows <= writes.written | writes.unknown | {writes.under_way}


@contextmanager
def killed(galera: Galera) -> Iterator[None]:
    """Its place in the cluster's history is lost with it: it gets a copy of another node, while load runs."""
    galera.nodes[0].kill()
    yield
    galera.start()


FAULTS: dict[str, Callable[[Galera], AbstractContextManager[None]]] = {
    "killed": killed,
    "paused": lambda galera: galera.nodes[0].suspended(),
    "cut off": lambda galera: galera.cut_off(0),
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_another_node_takes_over_and_gives_back(galera: Galera, galera_url: str, fault: str) -> None:
    async with Database.open(galera_url) as db, Database.open(galera_url) as other, load(db) as writes:
        await asyncio.sleep(0.3)
        assert await at(db) == await at(other) == "galera-0"
        gone = FAULTS[fault](galera)
        await asyncio.to_thread(gone.__enter__)
        try:
            for one in (db, other):
                await until(partial(moved, one, "galera-1"))
            before = len(writes.written)
            await until(partial(more, writes, before + 20))
        finally:
            await asyncio.to_thread(gone.__exit__, None, None, None)
        for one in (db, other):
            await until(partial(moved, one, "galera-0"))
        before = len(writes.written)
        await until(partial(more, writes, before + 20))


async def moved(db: Database, where: str) -> bool:
    return await at(db) == where


async def more(writes: Load, number: int) -> bool:
    return len(writes.written) >= number
