"""The bus on a real Redis: doorbells that may be lost, never data; nothing goes round and round."""

import asyncio
import math
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest
from prometheus_client import REGISTRY
from pydantic import SecretStr
from redis.asyncio import Redis
from servers_process import Running

from roadvault_common.errors import TransientError
from roadvault_common.events import bus as bus_module
from roadvault_common.events.bus import Bus, Handler
from roadvault_common.events.kinds import DEAD_LETTERS, Event, FolderSealed, ZipPinned, ZipReplicated
from roadvault_stack.redis_server import Redis as RedisServer


@pytest.fixture
async def bus(redis_url: str) -> AsyncIterator[Bus]:
    async with Bus.open(SecretStr(redis_url), "pinner") as opened:
        yield opened


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    client = Redis.from_url(redis_url)
    yield client
    await client.aclose()


class Heard:
    """Collects events, and closes the bus after so many."""

    def __init__(self, expected: int) -> None:
        self.events: list[Event] = []
        self.closing = asyncio.Event()
        self._expected = expected

    async def __call__(self, event: Event) -> None:
        self.events.append(event)
        if len(self.events) >= self._expected:
            self.closing.set()


async def listen(bus: Bus, heard: Heard) -> None:
    async with asyncio.timeout(20):
        await bus.listen({FolderSealed: heard}, heard.closing, concurrency=4)


async def test_events_are_heard_and_acknowledged(bus: Bus, redis: Redis) -> None:
    for number in range(10):
        assert await bus.emit(FolderSealed(zip_id=number))
    heard = Heard(10)
    await listen(bus, heard)
    assert sorted(event.model_dump()["zip_id"] for event in heard.events) == list(range(10))
    assert (await redis.xpending("folder.sealed", "pinner"))["pending"] == 0


async def test_a_task_that_is_cancelled_while_it_sends_events_stops(bus: Bus) -> None:
    async def send() -> None:
        for number in range(1000):
            await bus.emit(FolderSealed(zip_id=number))

    for turns in range(60):
        sending = asyncio.create_task(send())
        for _ in range(turns):
            await asyncio.sleep(0)
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending


async def test_what_does_not_parse_goes_to_the_dead_letters(bus: Bus, redis: Redis) -> None:
    await redis.xadd("folder.sealed", {"event": '{"zip_id": "many"}'})
    await redis.xadd("folder.sealed", {"other": "field"})
    await redis.xadd("folder.sealed", {"event": b"\xff\xfe"})
    await bus.emit(FolderSealed(zip_id=7))
    heard = Heard(1)
    await listen(bus, heard)
    assert heard.events == [FolderSealed(zip_id=7)]
    assert await redis.xlen(DEAD_LETTERS) == 3
    assert (await redis.xpending("folder.sealed", "pinner"))["pending"] == 0


async def test_entries_of_a_dead_consumer_are_reclaimed(bus: Bus, redis: Redis) -> None:
    bus._reclaim_ms = 10
    await bus.emit(FolderSealed(zip_id=1))
    await redis.xgroup_create("folder.sealed", "pinner", id="0")
    assert await redis.xreadgroup("pinner", "dead", {"folder.sealed": ">"})
    heard = Heard(1)
    await listen(bus, heard)
    assert heard.events == [FolderSealed(zip_id=1)]


async def test_all_that_a_dead_consumer_had_is_taken_over_without_a_pause(bus: Bus, redis: Redis) -> None:
    bus._reclaim_ms = 60_000
    for number in range(40):
        await bus.emit(FolderSealed(zip_id=number))
    await redis.xgroup_create("folder.sealed", "pinner", id="0")
    await redis.xreadgroup("pinner", "dead", {"folder.sealed": ">"})
    entries: Any = await redis.xrange("folder.sealed")
    await redis.xclaim("folder.sealed", "pinner", "dead", 0, [entry for entry, _ in entries], idle=3_600_000)
    heard = Heard(40)
    await listen(bus, heard)
    assert len(heard.events) == 40


async def test_what_is_in_hand_is_not_taken_over_from_ourselves(bus: Bus, redis: Redis) -> None:
    bus._reclaim_ms = 10
    closing, seen = asyncio.Event(), list[int]()

    async def handler(event: FolderSealed) -> None:
        seen.append(event.zip_id)
        await asyncio.sleep(2.5)  # the listener looks twice meanwhile
        closing.set()

    await bus.emit(FolderSealed(zip_id=5))
    async with asyncio.timeout(20):
        await bus.listen({FolderSealed: handler}, closing, concurrency=4)
    assert seen == [5]
    assert (await redis.xpending("folder.sealed", "pinner"))["pending"] == 0


async def test_an_event_whose_handler_met_trouble_comes_again(bus: Bus, redis: Redis) -> None:
    bus._reclaim_ms = 10
    closing, seen = asyncio.Event(), list[int]()

    async def handler(event: FolderSealed) -> None:
        seen.append(event.zip_id)
        if len(seen) == 1:
            raise TransientError("the database is away")
        closing.set()

    await bus.emit(FolderSealed(zip_id=5))
    async with asyncio.timeout(20):
        await bus.listen({FolderSealed: handler}, closing, concurrency=1)
    assert seen == [5, 5]
    assert (await redis.xpending("folder.sealed", "pinner"))["pending"] == 0


async def test_what_was_read_and_not_begun_stays_pending_once_the_service_closes(bus: Bus, redis: Redis) -> None:
    for number in range(10):
        await bus.emit(FolderSealed(zip_id=number))
    closing, seen = asyncio.Event(), list[int]()

    async def handler(event: FolderSealed) -> None:
        seen.append(event.zip_id)
        closing.set()

    async with asyncio.timeout(20):
        await bus.listen({FolderSealed: handler}, closing, concurrency=1)
    assert seen == [0]
    assert (await redis.xpending("folder.sealed", "pinner"))["pending"] == 9


async def test_counters_begin_at_zero_and_an_unknown_lag_is_not_none(bus: Bus, redis: Redis) -> None:
    closing = asyncio.Event()
    closing.set()
    handlers: Mapping[type[Event], Handler] = {ZipReplicated: Heard(1)}
    await bus.listen(handlers, closing, concurrency=1)
    for end in ("handled", "retried", "dead_lettered"):
        labels = {"stream": "zip.replicated", "end": end}
        assert REGISTRY.get_sample_value("roadvault_events_total", labels) == 0
    await redis.xgroup_create("zip.replicated", "pinner", id="0", mkstream=True)
    entries = [await redis.xadd("zip.replicated", {"event": "x"}) for _ in range(3)]
    assert await _lag(bus, handlers) == 3
    await redis.xdel("zip.replicated", entries[1])  # Redis can't tell any more how many are left to read
    assert math.isnan(await _lag(bus, handlers))


async def _lag(bus: Bus, handlers: Mapping[type[Event], Handler]) -> float:
    await bus.lag(handlers)()
    lag = REGISTRY.get_sample_value("roadvault_stream_lag_events", {"stream": "zip.replicated"})
    assert lag is not None
    return lag


async def test_an_emit_without_redis_fails_quickly_and_quietly() -> None:
    async with Bus.open(SecretStr("redis://127.0.0.1:9/0"), "pinner") as bus:
        async with asyncio.timeout(5):
            assert not await bus.emit(ZipPinned(zip_id=1))


async def test_a_redis_that_hangs_holds_up_one_event_and_not_each(
    bus: Bus, redis_server: Running[RedisServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bus_module, "_AWAY_SECONDS", 0.5)
    assert await bus.emit(ZipPinned(zip_id=1))
    with redis_server.suspended():
        async with asyncio.timeout(2):
            for number in range(100):
                assert not await bus.emit(ZipPinned(zip_id=number))
    async with asyncio.timeout(5):
        while not await bus.emit(ZipPinned(zip_id=1)):
            await asyncio.sleep(0.05)


async def test_listening_goes_on_after_redis_was_away_and_lost_all(
    bus: Bus, redis_server: Running[RedisServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bus_module, "_AWAY_SECONDS", 0.05)
    first, heard = asyncio.Event(), Heard(2)

    async def handler(event: FolderSealed) -> None:
        first.set()
        await heard(event)

    task = asyncio.create_task(bus.listen({FolderSealed: handler}, heard.closing, concurrency=1))
    await bus.emit(FolderSealed(zip_id=1))
    async with asyncio.timeout(20):
        await first.wait()
        await asyncio.to_thread(redis_server.stop)
        await asyncio.to_thread(redis_server.start)  # not durable: streams and groups are gone
        while not await bus.emit(FolderSealed(zip_id=2)):
            await asyncio.sleep(0.05)
        await task
    assert heard.events == [FolderSealed(zip_id=1), FolderSealed(zip_id=2)]
