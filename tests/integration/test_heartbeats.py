"""Heartbeats: each process says in the database that it lives, and what it alone knows."""

import asyncio
from collections.abc import Mapping
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from servers_devnet import Devnet
from servers_services import Services

from roadvault_common.errors import IpfsAway, Value
from roadvault_common.history import days, heartbeats
from roadvault_common.history.heartbeats import Heart
from roadvault_common.sql.db import Database
from roadvault_common.work import backlog


async def knows() -> Mapping[str, Value | None]:
    return {"kubo_peers": 12, "kubo_version": "0.43.0", "runway_days": None}


async def is_away() -> Mapping[str, Value | None]:
    raise IpfsAway("away")


async def hangs() -> Mapping[str, Value | None]:
    await asyncio.sleep(60)
    return {}


async def test_a_beat_says_what_is_known(db: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heartbeats, "_ASK_SECONDS", 0.05)
    heart = Heart(db, "pinner", [knows, is_away, hangs, heartbeats.disk(tmp_path)])
    for redis in (1, 0):
        await heart.beat(redis=redis)
    (beat,) = await heartbeats.all(db)
    assert beat.service == "pinner"
    assert beat.facts == {
        "kubo_peers": 12,
        "kubo_version": "0.43.0",
        "disk_free_bytes": beat.facts["disk_free_bytes"],
        "disk_total_bytes": beat.facts["disk_total_bytes"],
        "redis": 0,
        "store": "main",
    }
    assert beat.version
    assert beat.started_at <= beat.heard_at
    assert beat.seconds_silent < 5
    assert beat.lives
    await heart.end()
    (end,) = await heartbeats.all(db)
    known = {name: value for name, value in beat.facts.items() if name != "redis"}
    assert (end.facts, end.stopped, end.lives) == ({**known, "stopped": 1}, True, False)


async def test_who_writes_nothing_is_looked_at(db: Database) -> None:
    answers = [
        (200, {"ready": True, "version": "0.1.0", "up_seconds": 3600.5, "away": {}}),
        (503, {"ready": False, "version": "0.1.0", "up_seconds": 3600.5}),
        (200, {"ready": True, "version": "x" * 5000, "up_seconds": 1}),
        (200, {"ready": True, "version": "0.1.0", "up_seconds": "for ever"}),
        (302, {}),
    ]

    async def readyz(_: web.Request) -> web.Response:
        status, body = answers.pop(0)
        return web.json_response(body, status=status, headers={"Location": "/elsewhere"})

    app = web.Application()
    app.add_routes([web.get("/readyz", readyz)])
    async with TestServer(app) as server:
        url = f"http://{server.host}:{server.port}/"
        await heartbeats.look_at(db, "door", url)
        (beat,) = await heartbeats.all(db)
        assert (beat.service, beat.instance, beat.version) == ("door", f"{server.host}:{server.port}", "0.1.0")
        assert 3600 <= (beat.heard_at - beat.started_at).total_seconds() < 3602
        assert beat.facts == {"ready": 1}
        await heartbeats.look_at(db, "door", url)
        (last,) = await heartbeats.all(db)
        assert last.facts == {"ready": 0}
        while answers:
            await heartbeats.look_at(db, "door", url)
    await heartbeats.look_at(db, "door", url)  # nobody answers
    assert [beat.heard_at for beat in await heartbeats.all(db)] == [last.heard_at]


async def test_who_is_silent_for_a_day_goes(db: Database) -> None:
    await db.execute(
        "INSERT INTO heartbeat_info (service, instance, version, started_at, heard_at, facts) SELECT 'packer', seq,"
        " '0', UTC_TIMESTAMP(6), UTC_TIMESTAMP(6) - INTERVAL seq HOUR, '{}' FROM seq_20_to_30"
    )
    assert [round(beat.seconds_silent / 3600) for beat in await heartbeats.all(db)] == [20, 21, 22, 23]
    await Heart(db, "ingest").beat()
    assert [beat.service for beat in await heartbeats.all(db)] == ["ingest", *["packer"] * 4]
    assert await db.fetch_value("SELECT COUNT(*) FROM heartbeat_info") == 5


async def test_the_orderer_says_how_many_replicas_are_enough(db: Database) -> None:
    assert await heartbeats.replica_threshold(db) == heartbeats.DEFAULT_THRESHOLD

    async def tells() -> Mapping[str, Value | None]:
        return {"replica_threshold": 7, "balance_planck": 10**30}

    await Heart(db, "crust-orderer", [tells]).beat()
    assert await heartbeats.replica_threshold(db) == 7
    (beat,) = await heartbeats.all(db)
    assert beat.facts["balance_planck"] == 10**30
    for zip_id, status, replicas in ((1, 3, 8), (2, 3, 7), (3, 1, 0), (4, 0, 0), (5, 5, 1)):
        await db.execute(
            "INSERT INTO zip_ipfs_info (zip_id, folder_id, zip_name, `key`, iv, size, files, status, replicas,"
            " pinned_at) VALUES (%s, %s, 'x', 'k', '', 1, 1, %s, %s, UTC_TIMESTAMP(6) - INTERVAL 1 HOUR)",
            (zip_id, zip_id, status, replicas),
        )
    numbers = dict(await backlog.pipeline(db))["replicate"]
    assert (numbers.waiting, numbers.failed, numbers.least, numbers.most, numbers.need) == (2, 0, 0, 7, 7)
    assert 3600 <= numbers.oldest_seconds < 3700


FACTS = {
    "ingest": {"redis", "away", "disk_free_bytes", "disk_total_bytes"},
    "pinner": {"redis", "away", "disk_free_bytes", "disk_total_bytes", "kubo_version", "kubo_peers"},
    "crust-orderer": {"redis", "away", "chain_height", "chain_age_seconds", "account", "replica_threshold"},
}


async def test_services_say_that_they_live_and_that_they_stop(services: Services, devnet: Devnet, db: Database) -> None:
    door = services("door")
    running = [
        services("ingest", door_url=door.url),
        services("pinner"),
        services("crust-orderer", crust_url=devnet.url, crust_seed="//Alice"),
    ]
    for service in (door, *running):
        await service.start()
    async with asyncio.timeout(40):
        while not {*FACTS, "door"} <= {beat.service for beat in await heartbeats.all(db)}:
            await asyncio.sleep(0.1)
        while not all(FACTS.get(beat.service, set()) <= beat.facts.keys() for beat in await heartbeats.all(db)):
            await asyncio.sleep(0.1)
    told = {beat.service: beat.facts for beat in await heartbeats.all(db)}
    assert (told["door"], told["pinner"]["redis"], told["pinner"]["away"]) == ({"ready": 1}, 1, "")
    assert (await days.last(db, 1))[0].disk_total_bytes
    for service in running:
        service.terminate()
    for service in running:
        await service.ended(20)
    stopped = {beat.service for beat in await heartbeats.all(db) if beat.stopped}
    assert stopped == set(FACTS)
