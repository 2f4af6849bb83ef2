"""Redis behind Sentinels, all real: its master dies, hangs, is cut off; events go on at the next one within seconds."""

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest
from chaos.crowd import upload
from pydantic import SecretStr
from servers_process import Running
from servers_sentinel import SECONDS, Guarded, Node, hearing
from servers_services import Service, Services

from roadvault_common.errors import RedisUnavailable
from roadvault_common.events import bus as bus_module
from roadvault_common.events.bus import Bus
from roadvault_common.events.kinds import FolderSealed
from roadvault_common.sql.db import Database
from roadvault_common.work import backlog, outage_store
from roadvault_common.work.stages import STAGES


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bus_module, "_AWAY_SECONDS", 0.2)


async def test_events_go_on_at_the_next_master_when_one_is_killed(duo: Guarded) -> None:
    async with hearing(duo.url) as heard:
        old = duo.master
        await asyncio.to_thread(old.kill)
        with pytest.raises(RedisUnavailable, match="Redis can't be reached"):
            await heard.bus.ping()
        await heard.hears(2)
        await heard.bus.ping()
        assert duo.master is not old


async def test_events_go_on_at_the_next_master_when_one_stands_still(duo: Guarded) -> None:
    async with hearing(duo.url) as heard:
        old = duo.master
        with old.suspended():
            await heard.hears(2)
            await heard.bus.ping()
        await asyncio.to_thread(duo.heal)  # which also demotes it
        await heard.hears(3)
        with old.server.client() as client:
            assert client.role()[0] == b"slave"


async def test_a_master_that_was_cut_off_is_left_though_it_answers_and_so_does_its_sentinel(
    duo: Guarded,
) -> None:
    """The first Sentinel of the URL is on its side, and says that all is well."""
    async with hearing(duo.url) as heard:
        with duo.split() as old:
            await heard.bus.ping()  # as breakers and /readyz do
            async with Bus.open(SecretStr(duo.url), "pinner") as other:
                heard.bus = other
                await heard.hears(2)
            async with asyncio.timeout(SECONDS):
                while (await asyncio.to_thread(clients_of, old)) > 0:
                    await asyncio.sleep(0.05)


def clients_of(node: Running[Node]) -> int:
    """Count who is connected and had last to do with streams."""
    with node.server.client() as client:
        return sum(one["cmd"].startswith("x") for one in client.client_list())


async def test_events_go_on_when_what_was_last_written_is_lost_and_with_it_the_group(duo: Guarded) -> None:
    """Redis replicates after it has answered: the next master's streams went back in time."""
    old, new = duo.master, duo.replica
    with duo.without(old, "replica"):
        async with hearing(duo.url) as heard:
            for number in range(2, 20):
                assert await heard.bus.emit(FolderSealed(zip_id=number))
            with new.server.client() as client:
                assert client.exists(FolderSealed.stream) == 0
            await asyncio.to_thread(old.kill)
            await heard.hears(20)


async def test_a_sentinel_that_is_gone_and_one_that_hangs_keep_nobody_waiting(duo: Guarded) -> None:
    hangs, gone, _ = duo.watchers
    await asyncio.to_thread(gone.kill)
    async with Bus.open(SecretStr(duo.url), "pinner") as bus:
        assert await bus.emit(FolderSealed(zip_id=1))
    await asyncio.to_thread(gone.start)
    with hangs.suspended():
        async with Bus.open(SecretStr(duo.url), "pinner") as bus:
            async with asyncio.timeout(0.9):
                assert await bus.emit(FolderSealed(zip_id=1))


async def test_what_is_wrong_is_said(duo: Guarded) -> None:
    for url, words in (
        (
            duo.url.replace("/rv/", "/another/"),
            "3 Sentinels name no master another: ResponseError: No such master",
        ),
        ("redis+sentinel://127.0.0.1:9,127.0.0.1:10/rv/0", "2 Sentinels name no master rv: ConnectionError: Error 111"),
    ):
        async with Bus.open(SecretStr(url), "pinner") as bus:
            assert not await bus.emit(FolderSealed(zip_id=1))
            with pytest.raises(RedisUnavailable, match=words):
                await bus.ping()


class Load:
    """Clients that upload without pause, and what they were told."""

    def __init__(self, url: str, db: Database) -> None:
        self._url, self._db = url, db
        self.taken = list[int]()
        self.slowest = 0.0

    @asynccontextmanager
    async def on(self) -> AsyncIterator[None]:
        async with aiohttp.ClientSession(raise_for_status=True) as http:
            clients = [asyncio.create_task(self._upload(http)) for _ in range(3)]
            yield
            assert not [one for one in clients if one.done()]
            for one in clients:
                one.cancel()

    async def _upload(self, http: aiohttp.ClientSession) -> None:
        while True:
            began = time.monotonic()
            self.taken.append(await upload(http, self._url, os.urandom(2000)))
            self.slowest = max(self.slowest, time.monotonic() - began)
            await asyncio.sleep(0.2)

    async def pinned(self) -> None:
        """Wait until what is taken from now on has been packed and pinned."""
        last = self.taken[-1]
        async with asyncio.timeout(SECONDS):
            while not await self._db.fetch_one(_PINNED, (last + 10,)):
                await asyncio.sleep(0.05)


_PINNED = (
    "SELECT 1 FROM file_upload_info file JOIN zip_ipfs_info zip ON zip.folder_id = file.folder_id"
    " WHERE file.file_id = %s AND zip.cid IS NOT NULL"
)


async def is_away(*of: Service) -> bool:
    """Tell whether all of these say that Redis is away; they are ready in any case."""
    async with aiohttp.ClientSession(raise_for_status=True) as http:
        for one in of:
            async with http.get(f"{one.url}/readyz") as answer:
                if "redis" not in (await answer.json())["away"]:
                    return False
    return True


async def test_work_goes_on_under_load_whatever_becomes_of_the_master(
    duo: Guarded, services: Services, database_url: str
) -> None:
    common = {"redis_url": duo.url, "sweep_seconds": 0.5}
    ingest = services("ingest", **common, folder_files=10)
    others = [services(name, **common, event_reclaim_seconds=5) for name in ("packer", "pinner")]
    await asyncio.gather(*(one.start() for one in (ingest, *others)))
    async with Database.open(database_url, size=2) as db:
        load = Load(ingest.url, db)
        async with load.on():
            await asyncio.sleep(0.5)
            await load.pinned()
            gone = duo.watchers[1:]
            for one in (duo.master, *gone):  # one Sentinel alone promotes nobody
                await asyncio.to_thread(one.kill)
            async with asyncio.timeout(SECONDS):
                while not await is_away(ingest, *others):
                    await asyncio.sleep(0.05)
            await asyncio.gather(*(asyncio.to_thread(one.start) for one in gone))
            await load.pinned()
            await asyncio.to_thread(duo.heal, flush=False)
            with duo.master.suspended():
                await load.pinned()
            await asyncio.to_thread(duo.heal, flush=False)
            with duo.split():
                await load.pinned()
            await asyncio.to_thread(duo.heal, flush=False)
        async with asyncio.timeout(SECONDS):
            while any([await is_away(one) for one in (ingest, *others)]):
                await asyncio.sleep(0.05)
        assert len(set(load.taken)) == len(load.taken)
        known = await db.fetch_all("SELECT file_id FROM file_upload_info")
        assert set(load.taken) <= {row["file_id"] for row in known}
        for stage in STAGES:
            assert await backlog.count_failed(db, stage) == 0
        assert not await outage_store.away(db)
    assert load.slowest < 5
