"""Uploads over HTTP, on a real database and disk."""

import asyncio
import errno
import hashlib
import os
import time
from io import FileIO

import aiohttp
import pytest
from pydantic import SecretStr
from servers_ingest import Door, Open, multipart

from roadvault_common.files import new_file
from roadvault_ingest.store import IngestStore, Limits
from roadvault_ingest.uploads.placed import Placed
from roadvault_ingest.uploads.receive import Received


@pytest.mark.parametrize("late_name", [False, True])
async def test_an_upload_is_on_disk_and_in_the_database(door: Door, *, late_name: bool) -> None:
    content = os.urandom(300_000)
    status, body = await door.upload(content, "北环路 1.MP4", late_name=late_name)
    assert (status, body["code"], body["status"]) == (200, 0, 0)
    row = await door.db.fetch_one("SELECT * FROM file_upload_info WHERE file_id = %s", (body["result"]["fileID"],))
    assert row is not None
    assert (row["file_name"], row["file_type"], row["size"], row["status"]) == ("北环路 1.MP4", "mp4", 300_000, 0)
    assert row["sha256"] == hashlib.sha256(content).hexdigest()
    assert (door.vault.root / row["path"]).read_bytes() == content


async def test_the_clients_sha256_is_checked(door: Door) -> None:
    content = b"frames" * 1000
    status, _ = await door.upload(content, sha256=hashlib.sha256(content).hexdigest().upper())
    assert status == 200
    status, body = await door.upload(content, sha256="0" * 64)
    assert (status, body["code"] != 0) == (422, True)
    assert (await door.upload(content, sha256="no hash"))[0] == 400
    assert len(door.files_on_disk()) == await door.count("file_upload_info") == 1


@pytest.mark.parametrize(
    ("size", "name", "status", "message"),
    [
        (0, "a.mp4", 400, "empty"),
        (1, "  ", 400, "filename is missing"),
        (1, "../a.mp4", 400, "without a path"),
        (1, "a\\b.mp4", 400, "without a path"),
        (1, "..", 400, "without a path"),
        (1, "a\x07b.mp4", 400, "control characters"),
        (1, "a" * 252 + ".mp4", 400, "255 bytes"),
        (1, "a" * 5000, 400, "4096"),
        (1_000_001, "a.mp4", 413, "1000000 bytes"),
        (2_000_000, "a.mp4", 413, "1000000 bytes"),
    ],
)
async def test_bad_uploads_are_refused_and_leave_nothing(
    door: Door, size: int, name: str | None, status: int, message: str
) -> None:
    got, body = await door.upload(b"x" * size, name)
    assert (got, body["code"], body["status"]) == (status, status, status)
    assert message in body["message"]
    assert door.files_on_disk() == []
    assert await door.count("file_upload_info") == await door.count("folder_info") == 0


@pytest.mark.parametrize("form", [[], [("name=filename", b"")]], ids=["no field", "an empty field"])
async def test_without_a_filename_the_files_own_part_names_it(door: Door, form: list[tuple[str, bytes]]) -> None:
    status, body = await door.send(multipart(*form, ('name=file; filename="gate 7.mp4"', b"frames")))
    assert (status, (await door.file(body["result"]["fileID"]))["result"]["filename"]) == (200, "gate 7.mp4")


@pytest.mark.parametrize("own", ["", '; filename=""', '; filename="a/.."', '; filename="a\x07"'])
async def test_nor_with_one_that_its_part_does_not_give_or_that_is_bad(door: Door, own: str) -> None:
    status, body = await door.send(multipart((f"name=file{own}", b"frames")))
    assert (status, "filename" in body["message"]) == (400, True)
    assert await door.nothing_is_left()


async def test_bodies_that_are_no_upload(door: Door) -> None:
    url = f"{door.url}/api/open/upload"
    async with door.http.post(url, json={"file": "x"}) as response:
        assert (response.status, (await response.json())["code"]) == (415, 415)
    async with door.http.post(url, data=b"x", headers={"Content-Type": "multipart/form-data"}) as response:
        assert (response.status, (await response.json())["code"]) == (400, 400)
    form = aiohttp.FormData(default_to_multipart=True)
    form.add_field("filename", "a.mp4")
    form.add_field("other", "x")
    async with door.http.post(url, data=form) as response:
        assert (response.status, "no file" in (await response.json())["message"]) == (400, True)
    garbage = b"--b\r\nContent-Disposition: form-data; name=file\r\n\r\nhalf of it"
    async with door.http.post(url, data=garbage, headers={"Content-Type": "multipart/form-data; boundary=b"}) as got:
        assert got.status == 400
    async with door.http.get(f"{door.url}/nowhere") as response:
        assert (response.status, (await response.json())["code"]) == (404, 404)
    async with door.http.get(f"{door.url}/api/open/file/99") as response:
        assert (response.status, (await response.json())["code"]) == (404, 404)
    assert door.files_on_disk() == []
    assert await door.nothing_is_left()


async def test_a_client_that_hangs_up_half_way_leaves_nothing(door: Door) -> None:
    host, port = door.url.removeprefix("http://").split(":")
    _, writer = await asyncio.open_connection(host, int(port))
    writer.write(
        b"POST /api/open/upload HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=b\r\n"
        b"Content-Length: 900000\r\n\r\n--b\r\nContent-Disposition: form-data; name=file\r\n\r\n" + b"x" * 300_000
    )
    async with asyncio.timeout(10):
        while not door.files_on_disk():
            writer.write(b"x" * 10_000)
            await writer.drain()
            await asyncio.sleep(0.01)
        writer.transport.abort()
        while door.files_on_disk():
            await asyncio.sleep(0.01)
    assert await door.count("file_upload_info") == 0
    assert await door.count("folder_info") == 0


async def test_a_client_that_goes_silent_is_timed_out(open_door: Open) -> None:
    async with open_door(upload_stall_seconds=0.3) as door:
        host, port = door.url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(
            b"POST /api/open/upload HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=b\r\n"
            b"Content-Length: 9000\r\n\r\n--b\r\nContent-Disposition: form-data; name=file\r\n\r\nabc"
        )
        async with asyncio.timeout(10):
            assert b" 408 " in await reader.readline()
        writer.close()
        assert door.files_on_disk() == []
        assert await door.nothing_is_left()


async def test_a_full_disk_is_507_with_retry_after(open_door: Open) -> None:
    async with open_door(disk_margin_bytes=1 << 60) as door:
        form = aiohttp.FormData()
        form.add_field("filename", "a.mp4")
        form.add_field("file", b"x", filename="a")
        async with door.http.post(f"{door.url}/api/open/upload", data=form) as response:
            assert response.status == 507
            assert int(response.headers["Retry-After"]) > 0
            assert (await response.json())["code"] == 507
        assert door.files_on_disk() == []
        assert await door.nothing_is_left()


async def test_uploads_go_on_while_redis_is_away(open_door: Open) -> None:
    async with open_door(redis_url=SecretStr("redis://127.0.0.1:9/0")) as door:
        status, _ = await door.upload(b"frames")
        assert status == 200


async def test_no_folder_passes_its_limits_with_two_ingests_and_32_uploads_at_once(open_door: Open) -> None:
    sizes = [1 + number * 7919 % 90_000 for number in range(400)]
    slots = asyncio.Semaphore(32)

    async def send(door: Door, size: int) -> None:
        async with slots:
            status, _ = await door.upload(b"v" * size)
            assert status == 200

    async with open_door(folder_bytes=500_000, folder_files=12) as one:
        async with open_door(folder_bytes=500_000, folder_files=12) as two:
            await asyncio.gather(*(send((one, two)[number % 2], size) for number, size in enumerate(sizes)))
        folders = await one.db.fetch_all(
            "SELECT folder.folder_id, folder.status, folder.files, folder.bytes, COUNT(*) AS n, SUM(file.size) AS size,"
            " folder.closed_at, MAX(file.create_time) AS last FROM folder_info AS folder"
            " JOIN file_upload_info AS file USING (folder_id) GROUP BY folder.folder_id"
        )
        assert sum(folder["n"] for folder in folders) == len(sizes)
        for folder in folders:
            assert (folder["files"], folder["bytes"]) == (folder["n"], folder["size"])
            assert folder["n"] <= 12
            assert folder["size"] <= 500_000
            # Once closed, nothing is added.
            assert folder["closed_at"] is None or folder["last"] <= folder["closed_at"]
        assert sum(folder["status"] == 0 for folder in folders) <= 2


async def test_a_folder_closes_by_age(door: Door) -> None:
    await door.upload(b"frames")
    await door.ingest.close_aged_folders()
    assert await door.db.fetch_one("SELECT 1 FROM folder_info WHERE status = 1") is None
    await door.db.execute("UPDATE folder_info SET close_at = UTC_TIMESTAMP(6)")
    await door.ingest.close_aged_folders()
    row = await door.db.fetch_one("SELECT * FROM folder_info")
    assert row is not None
    assert (row["status"], row["open_slot"], row["pack_due"] is not None) == (1, None, True)
    _, body = await door.upload(b"more")
    state = (await door.file(body["result"]["fileID"]))["result"]
    assert state["folderID"] != row["folder_id"]
    assert state["state"] == "waiting in an open folder"


class Clock:
    """The monotonic clock of the vault, ahead of the real one."""

    def __init__(self) -> None:
        self._ahead = 0.0

    def advance(self, seconds: float) -> None:
        self._ahead += seconds

    def monotonic(self) -> float:
        return time.monotonic() + self._ahead


async def test_uploads_that_no_row_names_are_swept_after_hours(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr("roadvault_common.files.ages.time", clock)
    _, body = await door.upload(b"kept")
    stray = door.vault.root / "received/ab" / ("ab" * 16)
    stray.write_bytes(b"cut short by a crash")
    os.utime(stray, (0, 0))  # an old date alone says nothing: clocks are set forward
    await door.ingest.sweep_orphans()
    assert stray.exists()
    clock.advance(7 * 3600)
    stray.write_bytes(b"still being written")
    await door.ingest.sweep_orphans()
    assert stray.exists()
    clock.advance(5 * 3600)
    await door.ingest.sweep_orphans()
    assert stray.exists()
    clock.advance(2 * 3600)
    await door.ingest.sweep_orphans()
    assert not stray.exists()
    assert len(door.files_on_disk()) == 1
    (entry,) = door.vault.quarantine.entries("received")
    assert entry.origin == str(stray.relative_to(door.vault.root))
    clock.advance(6 * 86_400)
    await door.ingest.sweep_orphans()
    assert door.vault.quarantine.path(entry.name).read_bytes() == b"still being written"
    clock.advance(86_400)
    await door.ingest.sweep_orphans()
    assert list(door.vault.quarantine.entries("received")) == []
    assert (await door.file(body["result"]["fileID"]))["result"]["uploadKept"] is True


async def test_a_disk_that_fills_up_on_the_way_is_507_and_leaves_nothing(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, written = new_file.write_all, 0

    def fills_up(file: FileIO, data: bytes | memoryview) -> None:
        nonlocal written
        written += len(data)
        if written > 300_000:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(file, data)

    monkeypatch.setattr(new_file, "write_all", fills_up)
    status, body = await door.upload(b"x" * 900_000)
    assert (status, body["code"]) == (507, 507)
    assert written > 300_000
    assert door.files_on_disk() == []
    assert await door.count("file_upload_info") == 0
    assert await door.count("folder_info") == 0


async def test_uploads_that_share_a_transaction_get_each_their_own_row(door: Door) -> None:
    contents = [os.urandom(1000 + number) for number in range(60)]
    answers = await asyncio.gather(*(door.upload(content) for content in contents))
    for content, (status, body) in zip(contents, answers, strict=True):
        assert status == 200
        row = await door.db.fetch_one(
            "SELECT size, sha256 FROM file_upload_info WHERE file_id = %s", (body["result"]["fileID"],)
        )
        assert row == {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}


async def test_an_upload_that_can_not_be_recorded_takes_no_other_with_it(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = IngestStore.add_files

    async def add_files(store: IngestStore, slot: str, batch: list[Received], limits: Limits) -> list[Placed]:
        if any(received.size == 13 for received in batch):
            raise ValueError("this one can't be recorded")
        return await real(store, slot, batch, limits)

    monkeypatch.setattr(IngestStore, "add_files", add_files)
    answers = await asyncio.gather(*(door.upload(b"x" * size) for size in range(1, 30)))
    assert [size for size, (status, _) in enumerate(answers, start=1) if status != 200] == [13]
    assert len(door.files_on_disk()) == 28
