"""Resumable uploads when something goes wrong: each goes on where it stopped, and becomes one file."""

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from servers_ingest import Door, Open
from servers_services import Services
from tus_requests import TYPE, Client, metadata

from roadvault_common.errors import CommitUnknown, DatabaseUnavailable
from roadvault_common.files import ledger_store
from roadvault_common.files.tags import TAG
from roadvault_ingest.uploads import resumable
from roadvault_ingest.uploads.intake import Intake
from roadvault_ingest.uploads.placed import Placed
from roadvault_ingest.uploads.receive import Received

CONTENT = os.urandom(700_000)
LONG = os.urandom(24_000_003)


@pytest.fixture
def tus(door: Door) -> Client:
    return Client(door.http, door.url)


def head_of(url: str, offset: int, length: int) -> bytes:
    path = url[url.index("/api") :]
    return (
        f"PATCH {path} HTTP/1.1\r\nHost: x\r\nTus-Resumable: 1.0.0\r\nUpload-Offset: {offset}\r\n"
        f"Content-Type: {TYPE}\r\nContent-Length: {length}\r\n\r\n"
    ).encode()


@asynccontextmanager
async def half_sent(door: Door, url: str, offset: int, content: bytes, part: int) -> AsyncIterator[None]:
    """Send a part of a request, and no more as long as the block lasts."""
    async with door.connection() as (_, writer):
        writer.write(head_of(url, offset, len(content)) + content[:part])
        await writer.drain()
        await asyncio.sleep(0.2)
        yield


async def sha256_of(door: Door, file_id: int) -> str:
    return str((await door.file(file_id))["result"]["sha256"])


@pytest.mark.parametrize("part", [100, 300_000, 5_000_000, 23_000_000])
async def test_a_second_request_ends_the_first_whose_client_is_gone(open_door: Open, part: int) -> None:
    async with open_door(folder_bytes=64_000_000) as door:
        tus = Client(door.http, door.url)
        url = await tus.begun(len(LONG))
        async with half_sent(door, url, 0, LONG, part):
            told = await tus.head(url)
            assert (told.status, told.offset) == (200, part)
            async with half_sent(door, url, part, LONG[part:], 1000):
                assert (await tus.patch(url, part, LONG[part:])).status == 409
                came = (await tus.head(url)).offset
                whole = await tus.patch(url, came, LONG[came:])
        assert whole.status == 204, whole
        assert await sha256_of(door, whole.file_id) == hashlib.sha256(LONG).hexdigest()
        assert len(door.files_on_disk()) == 1


async def test_an_upload_in_hand_of_another_process_is_423(open_door: Open) -> None:
    async with open_door() as door, open_door() as other:
        url = await Client(door.http, door.url).begun(len(CONTENT))
        tus = Client(other.http, other.url)
        there = other.url + url.removeprefix(door.url)
        async with half_sent(door, url, 0, CONTENT, 1000):
            answers = [await tus.head(there), await tus.patch(there, 0, b"x"), await tus.ask("DELETE", there)]
            assert [answered.status for answered in answers] == [423] * 3
            assert "Retry-After" in answers[0].headers
        async with asyncio.timeout(10):
            while (told := await tus.head(there)).status == 423:
                await asyncio.sleep(0.05)
        assert told.offset == 1000
        whole = await tus.patch(there, 1000, CONTENT[1000:])
        assert await sha256_of(door, whole.file_id) == hashlib.sha256(CONTENT).hexdigest()


async def test_two_ingests_take_turns_and_their_hashes_stay_right(open_door: Open) -> None:
    async with open_door() as door, open_door() as other:
        clients = [Client(one.http, one.url) for one in (door, other)]
        path = (await clients[0].begun(len(CONTENT))).removeprefix(door.url)
        for number, offset in enumerate(range(0, len(CONTENT), 70_000)):
            tus = clients[number % 3 % 2]
            answered = await tus.patch(tus.url + path, offset, CONTENT[offset : offset + 70_000])
            assert answered.status == 204, answered
        assert await sha256_of(door, answered.file_id) == hashlib.sha256(CONTENT).hexdigest()


async def test_a_killed_ingest_goes_on_behind_what_was_durable(services: Services) -> None:
    ingest = services("ingest")
    await ingest.start()
    async with aiohttp.ClientSession() as http:
        tus = Client(http, ingest.url)
        url = await tus.begun(len(LONG))
        host, port = ingest.url.removeprefix("http://").split(":")
        _, writer = await asyncio.open_connection(host, int(port))
        writer.write(head_of(url, 0, len(LONG)) + LONG[:20_000_000])
        async with asyncio.timeout(20):
            while True:
                async with http.get(url) as response:
                    came = (await response.json())["result"]["offset"]
                if came:
                    break
                await asyncio.sleep(0.1)
        assert ingest.process is not None
        ingest.process.kill()
        await ingest.process.wait()
        writer.close()
        await ingest.start()
        told = await tus.head(url)
        assert came <= told.offset <= 20_000_000
        whole = await tus.patch(url, told.offset, LONG[told.offset :])
        async with http.get(f"{ingest.url}/api/open/file/{whole.file_id}") as response:
            assert (await response.json())["result"]["sha256"] == hashlib.sha256(LONG).hexdigest()


async def test_who_lost_the_last_answer_is_told_the_same_file(open_door: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    async def hangs(_: Intake, __: Sequence[tuple[Received, Placed]]) -> None:
        await asyncio.sleep(3600)

    async with open_door() as door:
        url = await Client(door.http, door.url).begun(len(CONTENT))
        monkeypatch.setattr(Intake, "_announce", hangs)
        door.ingest._intake._recorder._announce = lambda _: asyncio.sleep(3600)
        async with half_sent(door, url, 0, CONTENT, len(CONTENT)):
            async with asyncio.timeout(10):
                while not await door.count("file_upload_info"):
                    await asyncio.sleep(0.05)
    monkeypatch.undo()
    async with open_door() as door:
        tus = Client(door.http, door.url)
        url = door.url + url[url.index("/api") :]
        told = await tus.head(url)
        assert (told.offset, told.file_id) == (len(CONTENT), 1)
        assert (await tus.patch(url, len(CONTENT), b"")).file_id == 1
        assert (await tus.patch(url, 0, CONTENT)).status == 409
        await door.ingest.sweep_orphans()
        assert await sha256_of(door, 1) == hashlib.sha256(CONTENT).hexdigest()
        assert (await door.count("file_upload_info"), len(door.files_on_disk())) == (1, 1)


@pytest.mark.parametrize("took_place", [True, False])
async def test_a_commit_whose_answer_was_lost_is_looked_for(
    door: Door,
    tus: Client,
    monkeypatch: pytest.MonkeyPatch,
    took_place: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    store = door.ingest._store
    add = store.add_files

    async def lost(*arguments: Any) -> Any:  # noqa: ANN401 - as it is
        monkeypatch.setattr(store, "add_files", add)
        if took_place:
            await add(*arguments)
        raise CommitUnknown("lost")

    monkeypatch.setattr(store, "add_files", lost)
    url = await tus.begun(len(CONTENT))
    answered = await tus.patch(url, 0, CONTENT)
    if not took_place:
        assert answered.status == 503
        came = (await tus.head(url)).offset
        answered = await tus.patch(url, came, CONTENT[came:])
    assert await sha256_of(door, answered.file_id) == hashlib.sha256(CONTENT).hexdigest()
    assert (await door.count("file_upload_info"), len(door.files_on_disk())) == (1, 1)


async def test_a_database_that_is_away_costs_what_was_not_noted_and_no_more(
    door: Door, tus: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    uploads = door.ingest.resumable.store
    url = await tus.begun(len(CONTENT))
    await tus.patch(url, 0, CONTENT[:100_000])

    async def away(*_: object) -> None:
        raise DatabaseUnavailable("away")

    with monkeypatch.context() as patch:
        patch.setattr(uploads, "go_on", away)
        assert (await tus.patch(url, 100_000, CONTENT[100_000:200_000])).status == 503
    assert (await tus.head(url)).offset == 100_000
    other = CONTENT[100_000:]
    whole = await tus.patch(url, 100_000, other)
    assert await sha256_of(door, whole.file_id) == hashlib.sha256(CONTENT).hexdigest()


async def test_what_could_not_be_synced_is_not_said_to_have_come(tus: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    url = await tus.begun(len(CONTENT))
    await tus.patch(url, 0, CONTENT[:100])
    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", lambda _: (_ for _ in ()).throw(OSError(5, "EIO")))
        assert (await tus.patch(url, 100, CONTENT[100:200])).status == 500
    assert (await tus.head(url)).offset == 100


async def test_bytes_that_are_gone_from_the_disk_end_an_upload(door: Door, tus: Client) -> None:
    url = await tus.begun(len(CONTENT))
    await tus.patch(url, 0, CONTENT[:1000])
    (path,) = door.files_on_disk()
    os.truncate(path, 999)
    assert (await tus.patch(url, 1000, CONTENT[1000:])).status == 410
    assert await door.count("file_upload_info") == 0


async def test_progress_of_a_long_request_is_noted(open_door: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resumable, "_PROGRESS_SECONDS", 0.05)
    async with open_door(folder_bytes=64_000_000) as door:
        tus = Client(door.http, door.url)
        url = await tus.begun(len(LONG))
        async with half_sent(door, url, 0, LONG, 10_000_000), asyncio.timeout(10):
            while True:
                async with door.http.get(url) as response:
                    if (await response.json())["result"]["offset"] > 4_000_000:
                        break
                await asyncio.sleep(0.05)


async def test_uploads_that_nobody_goes_on_with_are_removed_and_others_are_not(door: Door, tus: Client) -> None:
    old, new = await tus.begun(10), await tus.begun(10)
    whole = await tus.begin(4, b"0123")
    for url in (old, new):
        await tus.patch(url, 0, b"0123")
    past = "UPDATE upload_info SET expires_at = UTC_TIMESTAMP(6) WHERE upload_id = %s"
    for url in (old, tus.at(whole)):
        await door.db.execute(past, (url[-32:],))
    await door.ingest.sweep_uploads()
    assert [(await tus.head(url)).status for url in (old, new, tus.at(whole))] == [404, 200, 404]
    assert len(door.files_on_disk()) == 2
    assert (await door.file(whole.file_id))["code"] == 0
    await door.ingest.sweep_orphans()
    assert len(door.files_on_disk()) == 2


async def test_an_upload_that_is_in_hand_does_not_expire(door: Door, tus: Client) -> None:
    url = await tus.begun(len(CONTENT))
    async with half_sent(door, url, 0, CONTENT, 300_000):
        await door.db.execute("UPDATE upload_info SET expires_at = UTC_TIMESTAMP(6)")
        await door.ingest.sweep_uploads()
    assert (await tus.head(url)).offset == 300_000


async def test_open_uploads_are_named_and_are_not_swept_as_orphans(open_door: Open) -> None:
    async with open_door(orphan_hours=1e-9, sweep_files=1000) as door:
        tus = Client(door.http, door.url)
        url = await tus.begun(10)
        await tus.patch(url, 0, b"0123")
        for _ in range(2):
            await door.ingest.sweep_orphans()
        assert (await tus.patch(url, 4, b"456789")).status == 204


async def test_a_file_that_a_restored_database_takes_for_unfinished_is_not_touched(door: Door, tus: Client) -> None:
    url = await tus.begun(len(CONTENT))
    whole = await tus.patch(url, 0, CONTENT)
    assert whole.file_id == 1
    (path,) = door.files_on_disk()
    assert os.getxattr(path, TAG)
    await door.db.execute("UPDATE upload_info SET file_id = NULL, came = 5, held_until = UTC_TIMESTAMP(6)")
    await door.db.execute("DELETE FROM file_upload_info")
    assert [(await tus.patch(url, 5, CONTENT[5:])).status, (await tus.ask("DELETE", url)).status] == [410, 410]
    await door.db.execute("UPDATE upload_info SET expires_at = UTC_TIMESTAMP(6)")
    await door.ingest.sweep_uploads()
    assert path.read_bytes() == CONTENT


async def test_so_many_uploads_may_be_open_and_no_more(open_door: Open) -> None:
    async with open_door(open_uploads=4, open_uploads_per_peer=3) as door:
        tus = Client(door.http, door.url)
        urls = [await tus.begun(10) for _ in range(3)]
        refused = await tus.begin(10)
        assert (refused.status, "Retry-After" in refused.headers) == (429, True)
        await door.db.execute("UPDATE upload_info SET peer = 'another' WHERE upload_id = %s", (urls[0][-32:],))
        urls.append(await tus.begun(10))
        assert (await tus.begin(10)).status == 503
        await tus.patch(urls[1], 0, b"0123456789")
        assert (await tus.begin(10)).status == 201


async def test_room_for_all_of_an_upload_is_kept_for_a_while(open_door: Open) -> None:
    async with open_door(folder_bytes=1 << 30) as door:
        tus = Client(door.http, door.url)
        url = await tus.begun(100_000)
        assert await ledger_store.to_pack(door.db) == 200_000
        await tus.patch(url, 0, CONTENT[:30_000])
        assert await ledger_store.to_pack(door.db) == 170_000
        await door.db.execute("UPDATE upload_info SET held_until = UTC_TIMESTAMP(6)")
        assert await ledger_store.to_pack(door.db) == 30_000
        await tus.patch(url, 30_000, CONTENT[30_000:31_000])
        assert await ledger_store.to_pack(door.db) == 169_000
        await tus.patch(url, 31_000, CONTENT[31_000:100_000])
        assert await ledger_store.to_pack(door.db) == 100_000


async def test_an_upload_for_which_there_is_no_room_is_507_and_goes_on_later(open_door: Open) -> None:
    async with open_door(folder_bytes=4 << 30) as door:
        tus = Client(door.http, door.url)
        url = await tus.begun(3 << 30)
        await tus.patch(url, 0, CONTENT[:1000])
        await door.db.execute("UPDATE upload_info SET held_until = UTC_TIMESTAMP(6)")
        free = door.vault.free_bytes()
        door.ingest.ledger.margin_bytes = free
        refused = [await tus.begin(3 << 30), await tus.patch(url, 1000, CONTENT[1000:2000])]
        assert [(one.status, "Retry-After" in one.headers) for one in refused] == [(507, True)] * 2
        assert (await tus.head(url)).offset == 1000
        door.ingest.ledger.margin_bytes = 0
        assert (await tus.patch(url, 1000, CONTENT[1000:2000])).offset == 2000


async def test_a_wrong_sha256_in_the_metadata_leaves_nothing(door: Door, tus: Client) -> None:
    header = metadata(filename="a.mp4", sha256=hashlib.sha256(b"other").hexdigest())
    url = await tus.begun(len(CONTENT), {"Upload-Metadata": header})
    assert (await tus.patch(url, 0, CONTENT)).status == 422
    assert (await tus.head(url)).status == 404
    assert await door.nothing_is_left()


async def test_what_came_before_the_line_broke_is_kept_though_nobody_had_looked_yet(
    door: Door, tus: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = await tus.begun(len(CONTENT))
    state = door.ingest.resumable.state

    async def slow(upload_id: str) -> Any:  # noqa: ANN401 - as it is
        await asyncio.sleep(0.3)
        return await state(upload_id)

    with monkeypatch.context() as patch:
        patch.setattr(door.ingest.resumable, "state", slow)
        async with door.connection() as (_, writer):
            writer.write(head_of(url, 0, len(CONTENT)) + CONTENT[:50_000])
            await writer.drain()
            await asyncio.sleep(0.1)
            writer.transport.abort()
        await asyncio.sleep(1)
    assert (await tus.head(url)).offset == 50_000
