"""What comes twice is one file, and leaves nothing on the disk."""

import asyncio
import os
from collections.abc import Sequence
from typing import Any

import aiohttp
import pytest
from servers_ingest import Door, Open
from tus_requests import Client

from roadvault_ingest.uploads.intake import Intake
from roadvault_ingest.uploads.placed import Placed
from roadvault_ingest.uploads.receive import Received

CONTENT = os.urandom(300_000)
KEY = {"Idempotency-Key": '"8e03978e-40d5-43e8-bc93-6894a57f9324"'}


async def by_put(door: Door, content: bytes, headers: dict[str, str], name: str = "a.mp4") -> tuple[int, int | None]:
    url = f"{door.url}/api/open/upload/{name}"
    async with door.http.put(url, data=content, headers=headers) as response:
        return response.status, ((await response.json())["result"] or {}).get("fileID")


async def by_form(door: Door, content: bytes, headers: dict[str, str]) -> tuple[int, int | None]:
    form = aiohttp.FormData({"filename": "a.mp4"})
    form.add_field("file", content, filename="x")
    async with door.http.post(f"{door.url}/api/open/upload", data=form, headers=headers) as response:
        return response.status, ((await response.json())["result"] or {}).get("fileID")


async def by_tus(door: Door, content: bytes, headers: dict[str, str]) -> tuple[int, int | None]:
    tus = Client(door.http, door.url)
    begun = await tus.begin(len(content), None, headers)
    if begun.status != 201:
        return begun.status, None
    answered = begun
    if begun.offset < len(content):
        answered = await tus.patch(tus.at(begun), begun.offset, content[begun.offset :])
    file_id = answered.headers.get("RoadVault-File-ID")
    return {201: 200, 204: 200}.get(answered.status, answered.status), None if file_id is None else int(file_id)


WAYS: Any = [by_put, by_form, by_tus]


async def one_file(door: Door) -> bool:
    return await door.count("file_upload_info") == 1 and len(door.files_on_disk()) == 1


@pytest.mark.parametrize("first", WAYS)
@pytest.mark.parametrize("second", WAYS)
async def test_the_same_key_gives_the_same_file_whichever_way(door: Door, first: Any, second: Any) -> None:  # noqa: ANN401
    assert await first(door, CONTENT, KEY) == (200, 1)
    assert await second(door, CONTENT, KEY) == (200, 1)
    assert await one_file(door)
    status, _ = await second(door, CONTENT[:-1], KEY)
    assert status == 422
    assert await one_file(door)
    assert (await second(door, CONTENT, {"Idempotency-Key": "another"}))[0] == 200
    assert await door.count("file_upload_info") == 2


async def test_a_key_leads_to_an_upload_whose_length_was_not_known_when_it_was_begun(door: Door) -> None:
    tus = Client(door.http, door.url)
    url = await tus.begun(None, KEY)
    for said in ({}, {"Upload-Length": "9"}):
        begun = await tus.begin(None, None, KEY)
        assert (begun.status, tus.at(begun)) == (201, url), begun.text
        assert (await tus.patch(url, begun.offset, b"123", said)).status == 204
    begun = await tus.begin(None, None, KEY)
    assert (begun.status, tus.at(begun), begun.offset) == (201, url, 6), begun.text
    assert (await tus.patch(url, 6, b"123")).file_id == (await tus.begin(None, None, KEY)).file_id
    for other in (await tus.begin(None, None, KEY, name="b.mp4"), await tus.begin(8, None, KEY)):
        assert other.status == 422
    part = await tus.begin(9, None, {**KEY, "Upload-Concat": "partial"})
    assert part.status == 422, part


async def test_at_the_same_moment_and_over_two_ingests(open_door: Open) -> None:
    async with open_door() as door, open_door() as other:
        sent = [by_put(one, CONTENT, KEY) for one in (door, other) * 8]
        sent += [by_form(one, CONTENT, KEY) for one in (door, other) * 4]
        sent += [by_tus(one, CONTENT, KEY) for one in (door, other) * 2]
        answers = await asyncio.gather(*sent)
        # Two that go on with the same resumable upload may get into each other's way; both are told.
        assert set(answers[:24]) == {(200, answers[0][1])}
        assert {status for status, _ in answers[24:]} <= {200, 409, 423}
        assert await door.count("file_upload_info") == 1
        open_uploads = await door.db.fetch_value("SELECT COUNT(*) FROM upload_info WHERE file_id IS NULL")
        assert len(door.files_on_disk()) == 1 + open_uploads


async def test_one_key_with_different_bytes_at_the_same_moment(door: Door) -> None:
    contents = [CONTENT[:size] for size in (100, 200, 300_000)] * 5
    answers = await asyncio.gather(*(by_put(door, content, KEY) for content in contents))
    assert [status for status, _ in answers].count(200) == 5
    assert {status for status, _ in answers} == {200, 422}
    assert await one_file(door)


async def test_also_when_the_first_answer_was_lost(open_door: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    async def hangs(_: Sequence[tuple[Received, Placed]]) -> None:
        await asyncio.sleep(3600)

    async with open_door() as door:
        intake: Intake = door.ingest._intake
        monkeypatch.setattr(intake._recorder, "_announce", hangs)
        lost = asyncio.create_task(by_put(door, CONTENT, KEY))
        async with asyncio.timeout(10):
            while not await door.count("file_upload_info"):
                await asyncio.sleep(0.02)
        lost.cancel()
    async with open_door() as door:
        assert await by_put(door, CONTENT, KEY) == (200, 1)
        assert await one_file(door)


async def test_a_key_counts_for_its_time_and_is_then_forgotten(door: Door) -> None:
    assert await by_put(door, CONTENT, KEY) == (200, 1)
    await door.db.execute("UPDATE upload_key_info SET expires_at = UTC_TIMESTAMP(6)")
    status, second = await by_put(door, CONTENT[:10], KEY)
    assert (status, second != 1) == (200, True)
    await door.db.execute("UPDATE upload_key_info SET expires_at = UTC_TIMESTAMP(6)")
    await door.ingest.sweep_uploads()
    assert await door.count("upload_key_info") == 0


async def test_two_keys_are_refused(door: Door) -> None:
    headers = [("Idempotency-Key", "a"), ("Idempotency-Key", "b")]
    for way in (by_put, by_form):
        assert await way(door, CONTENT, headers) == (400, None)  # type: ignore[arg-type]
    assert door.files_on_disk() == []


async def test_keys_that_are_none(door: Door) -> None:
    for key in (" ", "k" * 256):
        assert (await by_put(door, CONTENT, {"Idempotency-Key": key}))[0] == 400
    assert await door.nothing_is_left()


async def test_without_the_setting_the_same_bytes_are_two_files(door: Door) -> None:
    assert [await by_put(door, CONTENT, {}) for _ in range(2)] == [(200, 1), (200, 2)]


async def test_name_bytes_and_camera_within_the_window_are_the_same_file(open_door: Open) -> None:
    async with open_door(same_upload_seconds=60) as door:
        assert await by_put(door, CONTENT, {}, "a.mp4?camera=7") == (200, 1)
        assert await by_put(door, CONTENT, KEY, "a.mp4?camera=7") == (200, 1)
        assert await by_put(door, CONTENT, KEY, "a.mp4?camera=7") == (200, 1)
        assert await by_put(door, CONTENT, KEY, "other.mp4") == (200, 1)  # the key counts first
        others = [await by_put(door, CONTENT, {}, name) for name in ("a.mp4", "b.mp4?camera=7", "a.mp4?camera=8")]
        others.append(await by_put(door, CONTENT[1:], {}, "a.mp4?camera=7"))
        assert len({file_id for _, file_id in others} | {1}) == 5
        assert len(door.files_on_disk()) == 5
        await door.db.execute("UPDATE upload_key_info SET expires_at = UTC_TIMESTAMP(6)")
        status, later = await by_put(door, CONTENT, {}, "a.mp4?camera=7")
        assert (status, later != 1) == (200, True)


async def test_a_crowd_that_sends_everything_twice(open_door: Open) -> None:
    async with open_door(same_upload_seconds=60) as door, open_door(same_upload_seconds=60) as other:
        sends = [
            by_put(one, CONTENT[:size], {"Idempotency-Key": f"{size}-{key}"}, f"{size}.mp4")
            for size in range(1, 13)
            for key in range(2)
            for one in (door, other, door)
        ]
        answers = await asyncio.gather(*sends)
        assert {status for status, _ in answers} == {200}
        for begin in range(0, len(answers), 6):
            assert len(set(answers[begin : begin + 6])) == 1
        assert await door.count("file_upload_info") == 12
        assert len(door.files_on_disk()) == 12
