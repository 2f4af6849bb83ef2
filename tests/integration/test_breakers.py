"""Breakers: while something is away no row is taken and nothing is counted; all see it; and it goes on by itself."""

import asyncio

import pytest
from clocks import Clock
from lease_rows import new_folder, row
from prometheus_client import REGISTRY
from pydantic import SecretStr
from servers_process import Running
from sweeps import sweep_once

from roadvault_common.errors import DatabaseUnavailable, DiskFull, Domain, IpfsAway, TransientError
from roadvault_common.events.bus import Bus
from roadvault_common.events.kinds import FolderSealed
from roadvault_common.sql.db import Database
from roadvault_common.work import breakers, outage_store
from roadvault_common.work.breakers import Breaker, Breakers
from roadvault_common.work.lease import Lease
from roadvault_common.work.outcome import Done, Outcome, Retry, Wait
from roadvault_common.work.stages import PACK
from roadvault_common.work.worker import Worker
from roadvault_stack.redis_server import Redis as RedisServer


class Node:
    """A server that is there or away, and who asked for it."""

    def __init__(self) -> None:
        self.away = True
        self.asked = 0
        self.begun = list[int]()
        self.breaker = Breaker(Domain.IPFS, self.probe)

    async def probe(self) -> None:
        self.asked += 1
        await asyncio.sleep(0)
        if self.away:
            raise IpfsAway("no answer")

    async def do(self, lease: Lease) -> Outcome:
        self.begun.append(lease.row_id)
        if self.away:
            raise IpfsAway("no answer")
        return Done()


@pytest.fixture
def node() -> Node:
    return Node()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(breakers, "time", clock)
    return clock


async def test_many_rows_wait_untouched_and_one_finds_out_that_all_may_go_on(
    db: Database, bus: Bus, node: Node, clock: Clock
) -> None:
    folders = [await new_folder(db) for _ in range(20)]
    one = Worker(PACK, node.do, db, bus, lease_seconds=60, concurrency=4, needs=[node.breaker])
    assert isinstance(await one.work(folders[0]), Wait)
    assert node.breaker.reason == "no answer"
    assert [await one.work(folder) for folder in folders] == [None] * 20  # as for events
    assert (node.begun, node.asked) == ([folders[0]], 1)
    for folder in folders[1:]:
        state = await row(db, folder)
        assert (state["pack_attempts"], state["pack_token"], state["pack_reason"]) == (0, None, None)

    clock.now += 1
    assert await asyncio.gather(*(one.work(folder) for folder in folders)) == [None] * 20
    assert node.asked == 2  # one asks for all
    node.away = False
    assert await one.work(folders[1]) is None  # the rest has grown
    clock.now += 2
    await sweep_once(one)
    assert (len(node.begun), node.breaker.open_seconds) == (2, 0)  # half-open: one is let through, and closes it
    await sweep_once(one)
    assert sorted(node.begun) == folders  # the first one has its own short rest
    assert (await row(db, folders[0]))["pack_attempts"] == 0


async def test_an_outage_that_the_row_let_through_meets_again_opens_it_again_for_as_long_as_it_was_away(
    db: Database, bus: Bus, clock: Clock
) -> None:
    folder, away = await new_folder(db), Breaker(Domain.DISK)

    async def do(_: Lease) -> Outcome:
        raise DiskFull("no room")

    one = Worker(PACK, do, db, bus, lease_seconds=60, concurrency=1, needs=[away])
    rests = []
    for _ in range(6):
        await db.execute("UPDATE folder_info SET pack_due = UTC_TIMESTAMP(6)")
        assert isinstance(await one.work(folder), Wait)
        rests.append(away.rest_seconds)
        clock.now += away.rest_seconds
    assert rests == [1, 2, 4, 8, 15, 15]
    assert away.open_seconds == sum(rests)
    assert (await row(db, folder))["pack_attempts"] == 0


async def test_an_outage_that_its_probe_does_not_find_keeps_only_its_own_row_waiting(
    db: Database, bus: Bus, node: Node
) -> None:
    first, second = await new_folder(db), await new_folder(db)

    async def do(lease: Lease) -> Outcome:
        node.away = False
        if lease.row_id == first:
            raise IpfsAway("hung up once")
        return Done()

    one = Worker(PACK, do, db, bus, lease_seconds=60, concurrency=1, needs=[node.breaker])
    assert isinstance(await one.work(first), Wait)
    assert await one.work(second) == Done()


async def test_the_sweep_rests_and_goes_on_by_itself(db: Database, bus: Bus, node: Node) -> None:
    folders, closing = [await new_folder(db) for _ in range(3)], asyncio.Event()
    one = Worker(PACK, node.do, db, bus, lease_seconds=60, concurrency=1, needs=[node.breaker])
    sweeping = asyncio.create_task(one.sweep(closing, seconds=30))
    async with asyncio.timeout(30):
        while node.asked < 2:
            await asyncio.sleep(0.02)
        node.away = False
        await db.execute("UPDATE folder_info SET pack_due = UTC_TIMESTAMP(6)")
        while len(set(node.begun)) < 3:
            await asyncio.sleep(0.02)
    closing.set()
    await sweeping
    assert len(node.begun) == 4
    assert {(await row(db, folder))["pack_attempts"] for folder in folders} == {0}


async def test_an_event_for_a_row_that_rests_is_done_with_and_the_row_stays_due(
    db: Database, bus: Bus, node: Node
) -> None:
    folder, closing = await new_folder(db), asyncio.Event()
    one = Worker(PACK, node.do, db, bus, lease_seconds=60, concurrency=1, needs=[node.breaker])
    node.breaker.open(IpfsAway("no answer"))
    heard = asyncio.Event()

    async def handle(event: FolderSealed) -> None:
        assert await one.work(event.zip_id) is None
        heard.set()

    await bus.emit(FolderSealed(zip_id=folder))
    listening = asyncio.create_task(bus.listen({FolderSealed: handle}, closing, concurrency=1))
    async with asyncio.timeout(20):
        await heard.wait()
    closing.set()
    await listening
    assert (await bus._redis.xpending("folder.sealed", "test"))["pending"] == 0
    assert (await row(db, folder))["pack_attempts"] == 0


async def test_a_database_that_is_away_is_met_by_the_sweep(bus: Bus) -> None:
    async def gone() -> None:
        raise DatabaseUnavailable("no server")

    async def do(_: Lease) -> Outcome:
        return Done()

    away = Breaker(Domain.DATABASE, gone)
    async with Database.open("mysql://a:b@127.0.0.1:1/c") as nowhere:
        one, closing = Worker(PACK, do, nowhere, bus, lease_seconds=60, concurrency=1, needs=[away]), asyncio.Event()
        sweeping = asyncio.create_task(one.sweep(closing, seconds=30))
        async with asyncio.timeout(20):
            while away.reason is None:
                await asyncio.sleep(0.02)
        closing.set()
        await sweeping


async def test_what_is_away_is_written_down_for_all_and_no_longer_than_it_is(db: Database, node: Node) -> None:
    own = Breakers(node.breaker, Breaker(Domain.DISK))
    note = own.sample(db, "pinner", 10)
    await note()
    assert await outage_store.away(db) == []
    node.breaker.open(IpfsAway("no answer"))
    await note()
    (seen,) = await outage_store.away(db)
    assert (seen["domain"], seen["service"], seen["reason"], seen["name"]) == ("ipfs", "pinner", "no answer", "")
    assert list(own.states()) == ["ipfs"]
    assert REGISTRY.get_sample_value("roadvault_breaker_open", {"domain": "ipfs"}) == 1
    assert (REGISTRY.get_sample_value("roadvault_breaker_open_seconds", {"domain": "ipfs"}) or 0) > 0
    assert REGISTRY.get_sample_value("roadvault_breaker_open", {"domain": "disk"}) == 0

    await db.execute("UPDATE outage_info SET stale_at = UTC_TIMESTAMP(6) - INTERVAL 1 SECOND")  # the process died
    assert await outage_store.away(db) == []
    await note()
    assert len(await outage_store.away(db)) == 1

    node.away, node.breaker.look_at = False, 0
    await note()  # asks the probe by itself, though nothing is due
    assert await outage_store.away(db) == []
    assert REGISTRY.get_sample_value("roadvault_breaker_open", {"domain": "ipfs"}) == 0
    (count,) = await db.fetch_all("SELECT COUNT(*) AS n FROM outage_info")
    assert count["n"] == 0


async def test_what_is_away_is_seen_by_the_second_look_though_no_work_meets_it(
    db: Database, node: Node, clock: Clock
) -> None:
    glances = 0

    async def glance() -> None:
        nonlocal glances
        glances += 1
        await node.probe()

    breaker = Breaker(Domain.IPFS, node.probe, glance=glance)
    note = Breakers(breaker).sample(db, "pinner", 10)
    seen = []
    for away in (True, False, True, True):  # what is back at the next look is forgotten
        node.away = away
        await note()
        seen.append(breaker.reason)
    assert seen == [None, None, None, "no answer"]
    assert [row["domain"] for row in await outage_store.away(db)] == ["ipfs"]
    assert glances == node.asked == 4
    node.away = False
    clock.now += 1
    await note()
    assert (breaker.reason, await outage_store.away(db)) == (None, [])
    assert (glances, node.asked) == (4, 5)  # only the probe tells that it is back


async def test_redis_is_seen_to_be_away_though_no_work_needs_it(db: Database) -> None:
    async with Bus.open(SecretStr("redis://127.0.0.1:1/0"), "test") as nowhere:
        note = Breakers(breakers.redis(nowhere)).sample(db, "ingest", 10)
        for _ in range(2):
            await note()
    (seen,) = await outage_store.away(db)
    assert (seen["domain"], seen["service"]) == ("redis", "ingest")


async def test_redis_is_seen_to_be_there_again_without_a_restart(
    db: Database, bus: Bus, redis_server: Running[RedisServer], clock: Clock
) -> None:
    own = Breakers(breakers.redis(bus))
    note = own.sample(db, "ingest", 10)
    await asyncio.to_thread(redis_server.stop)
    await note()
    await note()
    assert (list(own.states()), len(await outage_store.away(db))) == (["redis"], 1)
    clock.now += 1
    await note()
    assert own.states()["redis"]["seconds"] == 1
    await asyncio.to_thread(redis_server.start)
    clock.now += 2
    await note()
    assert (own.states(), await outage_store.away(db)) == ({}, [])
    assert REGISTRY.get_sample_value("roadvault_breaker_open", {"domain": "redis"}) == 0


async def test_a_probe_that_finds_something_else_away_excuses_the_row_and_blames_nobody(db: Database, bus: Bus) -> None:
    folder = await new_folder(db)

    async def asks_the_database_first() -> None:
        raise DatabaseUnavailable("no server")

    async def do(_: Lease) -> Outcome:
        raise TransientError("no answer")

    market = Breaker(Domain.MARKET, asks_the_database_first)
    outcome = await Worker(PACK, do, db, bus, lease_seconds=60, concurrency=1, needs=[market]).work(folder)
    assert isinstance(outcome, Wait)
    for _ in range(3):
        await market.look()
    assert market.reason is None
    assert isinstance(await Worker(PACK, do, db, bus, lease_seconds=60, concurrency=1).work(folder), type(None) | Retry)
