"""Three real nodes of a Galera cluster: one is written to, and another takes over whatever becomes of it."""

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager, suppress
from functools import partial
from pathlib import Path

import aiohttp
import pytest
from lease_rows import new_folder, worker
from servers_faults import proxy_to
from servers_galera import Galera
from servers_ingest import Door, Open
from servers_services import Services

from roadvault_common.errors import TransientError
from roadvault_common.events.bus import Bus
from roadvault_common.sql import db as db_module
from roadvault_common.sql import writer
from roadvault_common.sql.db import Database, Transaction
from roadvault_common.work import lease as leases
from roadvault_common.work.lease import Lease
from roadvault_common.work.outcome import Done, Outcome
from roadvault_stack.ports import HOST

pytestmark = pytest.mark.timeout(180)
AT = "SELECT @@wsrep_node_name"
_NOT_KNOWN = "is not known"


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "_BACK_SECONDS", 1.0)
    monkeypatch.setattr("roadvault_ingest.uploads.intake._LOOK_SECONDS", 0.5)


async def until(what: Callable[[], Awaitable[bool]], seconds: float = 60) -> None:
    async with asyncio.timeout(seconds):
        while True:
            with suppress(TransientError):
                if await what():
                    return
            await asyncio.sleep(0.1)


class Load:
    """Uploads, and rows that are worked on, all the while; it keeps books of what it was told."""

    def __init__(self, door: Door, bus: Bus) -> None:
        self._door = door
        self._db = door.db
        self._worker = worker(door.db, bus, self._do, lease_seconds=3)
        self.taken: dict[str, tuple[int, str]] = {}
        """By name: its number, and its hash."""
        self.refused: set[str] = set()
        self.unknown: set[str] = set()
        self.folders: list[int] = []

    async def upload(self, mine: str) -> None:
        for number in range(1_000_000):
            name, content = f"{mine} {number}.mp4", os.urandom(3000 + number)
            status, body = await self._door.upload(content, name)
            if status == 200:
                self.taken[name] = body["result"]["fileID"], hashlib.sha256(content).hexdigest()
            else:
                assert status == 503, body
                (self.unknown if _NOT_KNOWN in body["message"] else self.refused).add(name)
                await asyncio.sleep(0.1)
            await asyncio.sleep(0.02)

    async def work(self) -> None:
        while True:
            with suppress(TransientError):
                self.folders.append(folder := await new_folder(self._db))
                await self._worker.work(folder)
            await asyncio.sleep(0.05)

    async def _do(self, lease: Lease) -> Outcome:
        async def effect(tx: Transaction) -> None:
            await leases.close(tx, lease, Done())
            await tx.execute("UPDATE folder_info SET files = files + 1 WHERE folder_id = %s", (lease.row_id,))

        await self._db.transact(effect)
        return Done()

    async def all_is_well(self) -> None:
        """See that nothing that was promised is lost, nothing was done twice, and nothing has failed."""
        rows = {row["file_name"]: row for row in await self._db.fetch_all("SELECT * FROM file_upload_info")}
        files = {str(path.relative_to(self._door.vault.root)): path for path in self._door.files_on_disk()}
        for name, (file_id, sha256) in self.taken.items():
            row = rows[name]
            assert (row["file_id"], row["sha256"]) == (file_id, sha256)
            assert hashlib.sha256(files[row["path"]].read_bytes()).hexdigest() == sha256
        assert not self.refused & rows.keys(), "the client was told that it was not taken, and it was"
        assert {row["path"] for row in rows.values()} <= files.keys(), "rows without their file"
        assert len(files) - len(rows) <= len(self.unknown)
        await until(self._all_done)
        done = await self._db.fetch_all("SELECT folder_id, files FROM folder_info WHERE open_slot IS NULL")
        assert {row["files"] for row in done} == {1}
        assert {row["folder_id"] for row in done} >= set(self.folders)

    async def _all_done(self) -> bool:
        rows = await self._db.fetch_all("SELECT folder_id FROM folder_info WHERE pack_due IS NOT NULL")
        for row in rows:
            await self._worker.work(row["folder_id"])
        failed = await self._db.fetch_value("SELECT COUNT(*) FROM folder_info WHERE pack_failed_at IS NOT NULL")
        assert failed == 0
        return not rows

    async def goes_on(self) -> None:
        """Wait until some more uploads were taken and some more rows done."""
        uploads, folders = len(self.taken) + 10, len(self.folders) + 10

        async def more() -> bool:
            return len(self.taken) >= uploads and len(self.folders) >= folders

        await until(more)


@asynccontextmanager
async def load(door: Door, bus: Bus) -> AsyncIterator[Load]:
    """Have load run; in the end all is well."""
    books = Load(door, bus)
    tasks = [asyncio.create_task(books.upload(f"camera {number}")) for number in range(3)]
    tasks.append(asyncio.create_task(books.work()))
    try:
        yield books
    finally:
        for task in tasks:
            task.cancel()
        ends = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(end, asyncio.CancelledError) for end in ends), ends
    await asyncio.sleep(0.5)  # what was under way is recorded to its end
    await books.all_is_well()


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


async def moved(db: Database, where: str) -> bool:
    return str(await db.fetch_value(AT)) == where


@pytest.mark.parametrize("fault", FAULTS)
async def test_another_node_takes_over_and_gives_back(
    galera: Galera, galera_url: str, open_door: Open, bus: Bus, fault: str
) -> None:
    async with (
        open_door(database_url=galera_url, folder_bytes=1 << 30) as door,
        Database.open(galera_url) as other,
        load(door, bus) as books,
    ):
        await books.goes_on()
        assert await moved(door.db, "galera-0")
        assert await moved(other, "galera-0")
        gone = FAULTS[fault](galera)
        await asyncio.to_thread(gone.__enter__)
        try:
            for one in (door.db, other):
                await until(partial(moved, one, "galera-1"))
            await books.goes_on()
        finally:
            await asyncio.to_thread(gone.__exit__, None, None, None)
        for one in (door.db, other):
            await until(partial(moved, one, "galera-0"))
        await books.goes_on()


async def test_who_alone_cant_reach_a_node_goes_to_another_and_two_are_written_to(
    galera: Galera, galera_url: str, open_door: Open, bus: Bus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(db_module, "_READ_SECONDS", 5)
    first = f"{HOST}:{galera.nodes[0].server.port}"
    with proxy_to(galera.nodes[0].server.port, tmp_path / "toxiproxy.json") as (port, proxies):
        mine = galera_url.replace(first, f"{HOST}:{port}")
        async with (
            open_door(database_url=mine, folder_bytes=1 << 30) as door,
            Database.open(galera_url) as other,
            load(door, bus) as books,
        ):
            await books.goes_on()
            # Answers stay away first, those to COMMITs among them; then the line is cut, as is who comes anew.
            with proxies.toxic("database", "timeout", "downstream", timeout=0):
                await until(partial(moved, door.db, "galera-1"))
                assert await moved(other, "galera-0")
                elsewhere = asyncio.create_task(Load(door, bus).work())
                await books.goes_on()
                elsewhere.cancel()
            await until(partial(moved, door.db, "galera-0"))
            await books.goes_on()


async def test_without_two_of_three_nothing_is_written_and_all_goes_on_after(
    galera: Galera, galera_url: str, open_door: Open, bus: Bus
) -> None:
    async with open_door(database_url=galera_url, folder_bytes=1 << 30) as door, load(door, bus) as books:
        await books.goes_on()
        with galera.nodes[0].suspended(), galera.nodes[1].suspended():
            await asyncio.sleep(1)  # those that were recorded get their answers
            before = len(books.taken)
            await asyncio.sleep(8)
            assert len(books.taken) == before
        await books.goes_on()


async def test_a_service_goes_on_without_the_first_node_and_says_so(
    galera: Galera, galera_url: str, services: Services, tmp_path: Path
) -> None:
    ingest = services("ingest", database_url=galera_url, data_dir=tmp_path / "data", database_connections=4)
    await ingest.start()
    async with aiohttp.ClientSession() as http:

        async def taken() -> bool:
            async with http.put(f"{ingest.url}/api/open/upload/a.mp4", data=b"some bytes") as answer:
                return answer.status == 200

        async def shown(number: int) -> bool:
            async with http.get(f"{ingest.url}/metrics") as answer:
                return f"roadvault_database_server {number}.0" in await answer.text()

        assert await taken()
        assert await shown(0)
        await asyncio.to_thread(galera.nodes[0].kill)
        await until(taken)
        assert await shown(1)
        assert await ingest.readiness() == 200
