"""One client's dead host does not hold up the others' callbacks."""

import asyncio
from contextlib import suppress
from typing import Any

import pytest
from clocks import Clock
from prometheus_client import REGISTRY
from pydantic import SecretStr
from servers_receiver import FOREVER, LOOPBACK, Receiver, receiver

from roadvault_common.events.bus import Bus
from roadvault_common.sql.db import Database
from roadvault_common.web.links import Links
from roadvault_common.work import breakers, outage_store
from roadvault_common.work.outcome import Done, Retry, Wait
from roadvault_common.work.stages import CALLBACK
from roadvault_notifier import hosts
from roadvault_notifier.config import NotifierSettings
from roadvault_notifier.hosts import Hosts
from roadvault_notifier.service import Notifier
from roadvault_notifier.webhook import CallbackNotTaken, Callbacks, ClientAway

MANY = 2000
"""Callbacks for a host that hangs, all due before those of another one."""
OK = b"HTTP/1.1 200 OK\r\n\r\n"


async def _notifier(database_url: str, redis_url: str, db: Database, bus: Bus) -> Notifier:
    values: dict[str, Any] = {
        "database_url": database_url,
        "redis_url": redis_url,
        "link_secret": "a secret for signing links",
        "public_url": "http://files.example/",
    }
    settings = NotifierSettings.model_validate(values)
    return Notifier(settings, db, bus, Links(settings.link_secret), Callbacks(LOOPBACK, 0.5, None, None))


async def _requests(db: Database, client: Receiver, count: int, hours_ago: int = 0) -> None:
    await db.execute(
        "INSERT INTO download_info (file_id, cb_url, cb_place, status, path, extracted_at, callback_due)"  # noqa: S608 - a number
        " SELECT 7, CONCAT(%s, seq), %s, 1, 'downloads/1/x', UTC_TIMESTAMP(6) - INTERVAL %s HOUR, UTC_TIMESTAMP(6)"
        f" FROM seq_1_to_{count}",
        (f"http://127.0.0.1:{client.port}/", f"127.0.0.1:{client.port}", hours_ago),
    )


async def test_many_callbacks_for_a_host_that_hangs_hold_up_nobody_else(database_url: str, redis_url: str) -> None:
    async with (
        Database.open(database_url) as db,
        Bus.open(SecretStr(redis_url), "notifier") as bus,
        receiver(FOREVER) as hanging,
        receiver(OK) as honest,
    ):
        notifier = await _notifier(database_url, redis_url, db, bus)
        await _requests(db, hanging, MANY)
        await _requests(db, honest, 5)
        closing = asyncio.Event()
        sweep = asyncio.create_task(notifier.calling.sweep(closing, seconds=1))
        async with asyncio.timeout(60):
            while len(honest.asked) < 5:
                await asyncio.sleep(0.02)
        asked, away = len(hanging.asked), notifier.hosts.away()
        closing.set()
        await sweep
        # It had its share of the four slots, two, and was then called once after each rest, of 2, 4, 8 … seconds.
        assert 2 <= asked <= 6
        assert [one.name for one in away] == [f"127.0.0.1:{hanging.port}"]
        assert await db.fetch_value("SELECT SUM(callback_attempts) FROM download_info") == 0


async def test_a_host_that_is_away_counts_only_once_its_file_was_kept_for_its_time(
    database_url: str, redis_url: str
) -> None:
    async with Database.open(database_url) as db, Bus.open(SecretStr(redis_url), "notifier") as bus:
        notifier = await _notifier(database_url, redis_url, db, bus)
        async with receiver(FOREVER) as client:
            for hours in (167, 0, 169):
                await _requests(db, client, 1, hours)
            first = await notifier.calling.work(1)
            assert isinstance(first, Wait)
            assert "timed out" in first.reason
            assert len(client.asked) == 1
            assert await notifier.calling.work(2) is None  # put off with it
            await db.execute("UPDATE download_info SET callback_due = UTC_TIMESTAMP(6) WHERE download_id = 2")
            fresh, old = await notifier.calling.work(2), await notifier.calling.work(3)
        assert isinstance(fresh, Wait)
        assert isinstance(old, Retry)
        assert "waiting for the client's host" in fresh.reason
        assert len(client.asked) == 1
        rows = await db.fetch_all(
            "SELECT callback_attempts AS n, link_expires_at IS NULL AS uncalled FROM download_info ORDER BY download_id"
        )
        assert [(row["n"], row["uncalled"]) for row in rows] == [(0, False), (0, True), (1, True)]


async def test_a_host_that_is_away_is_called_more_often_than_a_callback_is_tried_and_takes_it_once_it_is_there(
    database_url: str, redis_url: str, clock: Clock
) -> None:
    async with Database.open(database_url) as db, Bus.open(SecretStr(redis_url), "notifier") as bus:
        notifier = await _notifier(database_url, redis_url, db, bus)
        note = notifier.breakers.sample(db, "notifier", 10)
        async with receiver(OK) as client:
            gone = client.port
        await db.execute(
            "INSERT INTO file_upload_info (file_id, file_name, file_type, size, sha256, folder_id)"
            " VALUES (7, 'a', '', 1, 'x', 1)"
        )
        async with receiver(OK) as client:
            await _requests(db, client, 1)
            there = await db.fetch_one("SELECT cb_url, cb_place FROM download_info")
            assert there is not None
            place = f"127.0.0.1:{gone}"
            await db.execute("UPDATE download_info SET cb_url = %s, cb_place = %s", (f"http://{place}/", place))
            for _ in range(CALLBACK.max_attempts + 1):
                outcome = await notifier.calling.work(1)
                assert isinstance(outcome, Wait)
                assert "connection refused" in outcome.reason
                clock.now += 1200
                await db.execute("UPDATE download_info SET callback_due = UTC_TIMESTAMP(6)")
            await note()
            (seen,) = await outage_store.away(db)
            assert (seen["domain"], seen["name"], seen["service"]) == ("callback host", place, "notifier")
            assert list(notifier.breakers.states()) == [f"callback host {place}"]
            assert _gauge("roadvault_breaker_open") == 1
            assert _gauge("roadvault_breaker_open_seconds") == 1200 * (CALLBACK.max_attempts + 1)
            await db.execute("UPDATE download_info SET cb_url = %s, cb_place = %s", tuple(there.values()))
            assert await notifier.calling.work(1) == Done()
        clock.now += 7200
        await note()  # nothing waits for the other one any more
        assert await outage_store.away(db) == []
        assert (_gauge("roadvault_breaker_open"), _gauge("roadvault_breaker_open_seconds")) == (0, 0)


def _gauge(name: str) -> float | None:
    return REGISTRY.get_sample_value(name, {"domain": "callback host"})


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(breakers, "time", clock)
    return clock


def _end(known: Hosts, place: str, error: Exception | None = None) -> None:
    with suppress(CallbackNotTaken), known.calling(place):
        if error is not None:
            raise error


def test_a_rest_grows_with_each_silence_and_ends_with_an_answer(clock: Clock) -> None:
    known, rests = Hosts(4), []
    for _ in range(11):
        _end(known, "a:80", ClientAway())
        before = clock.now
        while known.wait("a:80") is not None:
            clock.now += 0.5
        rests.append(clock.now - before)
    assert rests == [2, 4, 8, 16, 32, 64, 128, 256, 512, 600, 600]
    with known.calling("a:80"):
        assert known.wait("a:80") is not None  # one call finds out
        assert known.wait("b:80") is None
    assert known.wait("a:80") is None
    _end(known, "a:80", ClientAway())
    assert len(known.away()) == 1
    clock.now += 2
    assert len(known.away()) == 1  # its rest is over, and nobody has seen it back
    _end(known, "a:80", CallbackNotTaken("answered 500"))
    assert known._hosts == {}


def test_a_host_has_its_share_of_the_slots(clock: Clock) -> None:
    for slots, share in ((1, 1), (2, 2), (4, 2), (16, 4)):
        known = Hosts(slots)
        calls = [known.calling("a:80") for _ in range(share)]
        for call in calls:
            assert known.wait("a:80") is None
            call.__enter__()
        wait = known.wait("a:80")
        assert wait is not None
        assert wait < 2
        assert known.wait("b:80") is None
        for call in calls:
            call.__exit__(None, None, None)
        assert known._hosts == {}
    assert clock.now == 1000


def test_a_host_has_no_more_of_the_slots_for_having_many_ports(clock: Clock) -> None:
    known = Hosts(4)
    _end(known, "a:1", ClientAway())
    assert known.wait("a:2") is None  # another port of it may be another client's, and does not rest
    with known.calling("a:2"), known.calling("a:3"):
        assert known.wait("a:4") is not None
        assert known.wait("b:4") is None
    assert known.wait("a:4") is None
    assert clock.now == 1000


def test_no_more_silent_hosts_are_remembered_than_there_is_room_for(clock: Clock) -> None:
    known = Hosts(4)
    for number in range(hosts._MOST + 5):
        clock.now += 0.001
        _end(known, f"{number}.example:80", ClientAway())
    assert len(known._hosts) == hosts._MOST
    assert len(known.away()) == hosts._SHOWN
    assert known.wait("0.example:80") is None
    assert known.wait(f"{hosts._MOST}.example:80") is not None


async def test_an_answer_that_is_no_callback_taken_lets_nobody_rest(database_url: str, redis_url: str) -> None:
    async with (
        Database.open(database_url) as db,
        Bus.open(SecretStr(redis_url), "notifier") as bus,
        receiver(b"HTTP/1.1 500 X\r\n\r\n") as failing,
    ):
        await db.execute(
            "INSERT INTO file_upload_info (file_id, file_name, file_type, size, sha256, folder_id)"
            " VALUES (7, 'a', '', 1, 'x', 1)"
        )
        notifier = await _notifier(database_url, redis_url, db, bus)
        await _requests(db, failing, 3)
        for download_id in (1, 2, 3):
            assert not isinstance(await notifier.calling.work(download_id), Done)
        assert len(failing.asked) == 3
