"""Many files with the Python client: lists, and batches of requests."""

import asyncio
import io
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from servers_ingest import Door
from servers_services import Services
from servers_talk import Talk

from roadvault_client import AsyncClient, Client, Facts, Filter, Refused, receive

NOON = datetime(2026, 11, 28, 12, tzinfo=UTC)


async def listed(talk: Talk, url: str, of: Filter | None = None, **how: Any) -> list[Any]:  # noqa: ANN401
    if talk.kind is AsyncClient:
        async with AsyncClient(url) as client:
            return [file async for file in client.files(of, **how)]

    def block() -> list[Any]:
        with Client(url) as client:
            return list(client.files(of, **how))

    return await asyncio.to_thread(block)


async def test_files_are_found_by_what_is_known_of_them(door: Door, talk: Talk) -> None:
    for number in range(7):
        facts = Facts(f"gate {number % 2}", NOON + timedelta(minutes=number), 31.2, 121.5, ("night", "rain"))
        await talk(door.url, "upload", io.BytesIO(b"frames"), f"{number}.mp4", facts=facts)
    files = await listed(talk, door.url, page_size=2)
    assert [file["filename"] for file in files] == [f"{number}.mp4" for number in reversed(range(7))]
    assert (files[0]["camera"], files[0]["tags"], files[0]["lat"]) == ("gate 0", ["night", "rain"], 31.2)
    some = Filter(camera="gate 0", recorded_from=NOON + timedelta(minutes=2), tag="rain")
    found = await listed(talk, door.url, some, oldest_first=True)
    assert [file["filename"] for file in found] == ["2.mp4", "4.mp4", "6.mp4"]
    with pytest.raises(Refused, match="state must be one of"):
        await listed(talk, door.url, Filter(state="gold"))
    with pytest.raises(ValueError, match="time zone"):
        await listed(talk, door.url, Filter(recorded_from=datetime(2026, 11, 28)))  # noqa: DTZ001 - the point


async def test_clips_are_asked_for_by_seconds_or_by_the_clock(door: Door, talk: Talk) -> None:
    uploaded = await talk(door.url, "upload", io.BytesIO(b"frames"), "a.mp4")
    url, file_id = "http://127.0.0.1:9/", uploaded.file_id
    await talk(door.url, "request", file_id, url, clip=(63.5, 74))
    await talk(door.url, "request", file_id, url, clip=(NOON, NOON + timedelta(seconds=1.5)))
    begun = await talk(door.url, "request_many", [file_id], url, clip=(1, 2))
    clips = [one["clip"] for one in (await talk(door.url, "file", file_id))["requests"]]
    clock = {"from": "2026-11-28T12:00:00Z", "to": "2026-11-28T12:00:01.500Z"}
    assert [{name: one[name] for name in ("from", "to")} for one in clips] == [clock, {"from": 63.5, "to": 74}]
    assert clips[0]["sha256"] is None
    row = await door.db.fetch_one("SELECT clip_from, clip_to FROM batch_info WHERE batch_id = %s", (begun["batchID"],))
    assert row == {"clip_from": 1000, "clip_to": 2000}
    with pytest.raises(Refused, match="from must lie before to") as refused:
        await talk(door.url, "request", file_id, url, clip=(2, 1))
    assert refused.value.status == 400
    with pytest.raises(ValueError, match="time zone"):
        await talk(door.url, "request", file_id, url, clip=(NOON, NOON.replace(tzinfo=None)))


async def test_many_are_asked_for_at_once(services: Services, talk: Talk) -> None:
    door, ingest = services("door"), services("ingest")
    notifier = services("notifier", public_url=door.public_url)
    await asyncio.gather(*(one.start() for one in (ingest, door, services("retriever"), notifier)))
    numbers = [
        (await talk(ingest.url, "upload", io.BytesIO(b"frames"), "a.mp4", facts=Facts(camera="gate 7"))).file_id
        for _ in range(3)
    ]
    with receive(None) as receiver:
        for wanted in (numbers, Filter(camera="gate 7")):
            begun = await talk(ingest.url, "request_many", wanted, receiver.url)
            assert begun["files"] == 3
            ended = await asyncio.to_thread(receiver.wait_batch, begun["batchID"], 60)
            assert (ended.files, ended.done) == (3, 3)
            assert {one.file_id for one in receiver.all(0.1)} == set(numbers)  # type: ignore[union-attr]
            batch = await talk(ingest.url, "batch", begun["batchID"])
            assert (batch["state"], len(batch["requests"])) == ("called back", 3)
        assert (await talk(ingest.url, "cancel", begun["batchID"]))["counts"] == {"called back": 3}
