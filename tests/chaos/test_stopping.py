"""What a service that is told to stop still does, and how long it may take; a database that is away as it starts."""

import asyncio
import hashlib
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
from chaos.crowd import left_by_itself
from servers_door import extracted, token
from servers_faults import Proxied
from servers_services import Service, Services

from roadvault_common.sql.db import Database

LARGE = 64 << 20
"""More than the sockets' buffers hold, so that a client which reads nothing holds the answer up."""
NEWER = "INSERT INTO _yoyo_migration (migration_hash, migration_id) VALUES ('x', '9999_contract_more')"


async def upload(http: aiohttp.ClientSession, url: str) -> aiohttp.ClientResponse:
    form = aiohttp.FormData(default_to_multipart=True)
    form.add_field("filename", "a.mp4")
    form.add_field("file", b"whole", filename="a.mp4")
    async with http.post(f"{url}/api/open/upload", data=form) as response:
        await response.read()
        return response


@asynccontextmanager
async def half_an_upload(url: str) -> AsyncIterator[asyncio.StreamWriter]:
    """Send the first part of an upload, and nothing more."""
    host, port = url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(
        b"POST /api/open/upload HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\nExpect: 100-continue\r\n"
        b"Content-Type: multipart/form-data; boundary=b\r\n\r\n"
    )
    assert b"100 Continue" in await reader.readline()  # from now on it is in hand
    writer.write(
        b'--b\r\nContent-Disposition: form-data; name="filename"\r\n\r\na.mp4\r\n'
        b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.mp4"\r\n\r\nfirst'
    )
    await writer.drain()
    try:
        yield writer
    finally:
        writer.close()


async def status(url: str) -> int:
    """Return the status of a new connection's answer, 0 if there is none."""
    try:
        async with aiohttp.ClientSession() as http, http.get(url) as response:
            return response.status
    except aiohttp.ClientError:
        return 0


async def test_requests_are_taken_during_the_notice_and_each_answer_is_the_last(services: Services) -> None:
    ingest, door = services("ingest", notice_seconds=5), services("door", notice_seconds=5)
    await asyncio.gather(ingest.start(), door.start())
    async with aiohttp.ClientSession() as http:
        for service in (ingest, door):
            service.terminate()
            await _answers(service, 503)
        for answer in [await upload(http, ingest.url) for _ in range(2)]:
            assert (answer.status, answer.headers["Connection"]) == (200, "close")
        async with http.get(f"{door.public_url}/d/nonsense") as response:
            assert (response.status, response.headers["Connection"]) == (403, "close")
    for service in (ingest, door):
        await left_by_itself(service)


async def test_no_connection_is_taken_while_an_upload_in_hand_ends(services: Services) -> None:
    ingest = services("ingest")
    await ingest.start()
    async with half_an_upload(ingest.url):
        ingest.terminate()
        await _taken_no_more(f"{ingest.url}/healthz")
        assert ingest.process is not None
        assert ingest.process.returncode is None
    await left_by_itself(ingest)


async def test_a_connection_on_which_nobody_asks_keeps_nothing(services: Services) -> None:
    door = services("door", drain_seconds=600)
    await door.start()
    async with aiohttp.ClientSession() as http:
        for url in (f"{door.url}/healthz", f"{door.public_url}/d/nonsense"):
            async with http.get(url) as response:
                await response.read()
        door.terminate()
        await left_by_itself(door)  # which waits for a tenth of the drain


async def test_an_upload_that_stalls_does_not_outlast_the_drain(services: Services) -> None:
    ingest = services("ingest", drain_seconds=1)
    await ingest.start()
    async with half_an_upload(ingest.url):
        ingest.terminate()
        await left_by_itself(ingest)


async def test_a_download_that_stalls_has_the_drain_and_no_more(
    services: Services, db: Database, data_dir: Path
) -> None:
    door = services("door", drain_seconds=3)
    await door.start()
    link = f"/d/{token(await extracted(db, data_dir, bytes(LARGE)))}"
    host, port = door.public_url.removeprefix("http://").split(":")
    readers, writers = zip(*[await asyncio.open_connection(host, int(port), limit=1024) for _ in range(2)], strict=True)
    for reader, writer in zip(readers, writers, strict=True):
        writer.write(f"GET {link} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert b"200" in await reader.readline()
    door.terminate()
    for url in (f"{door.url}/healthz", f"{door.public_url}/d/nonsense"):
        await _taken_no_more(url)
    assert len(await readers[0].read()) > LARGE  # whoever reads on gets all of it; the other one reads nothing
    await left_by_itself(door)
    for writer in writers:
        writer.close()


async def test_a_folder_that_was_handed_back_is_packed_by_the_next(
    services: Services, db: Database, data_dir: Path
) -> None:
    first, second = services("packer", drain_seconds=0), services("packer")
    await first.start()
    folder_id = await _stopped_while_it_packs(first, db, data_dir)
    assert first.process is not None
    first.terminate()
    first.process.send_signal(signal.SIGCONT)
    await left_by_itself(first)
    assert await db.fetch_one(
        "SELECT pack_attempts, pack_token, pack_due <= UTC_TIMESTAMP(6) AS due FROM folder_info WHERE folder_id = %s",
        (folder_id,),
    ) == {"pack_attempts": 0, "pack_token": None, "due": 1}
    await second.start()
    await _until(db, f"SELECT 1 FROM file_upload_info WHERE folder_id = {folder_id} AND zip_id IS NOT NULL")  # noqa: S608
    second.terminate()
    await left_by_itself(second)


async def _stopped_while_it_packs(packer: Service, db: Database, data_dir: Path) -> int:
    """Give the packer long folders until it was made to stand still in the middle of one; return which."""
    size = 300 << 20
    path = data_dir / "received" / "00" / "long"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.truncate(size)
    digest = hashlib.sha256()
    for _ in range(300):
        digest.update(bytes(1 << 20))
    assert packer.process is not None
    for folder_id in range(1, 11):
        (data_dir / "received" / "00" / str(folder_id)).hardlink_to(path)
        await db.execute(
            "INSERT INTO file_upload_info (file_name, file_type, size, sha256, path, folder_id)"
            " VALUES ('a', '', %s, %s, %s, %s)",
            (size, digest.hexdigest(), f"received/00/{folder_id}", folder_id),
        )
        await db.execute(
            "INSERT INTO folder_info (folder_id, status, files, bytes, close_at, pack_due)"
            " VALUES (%s, 1, 1, %s, UTC_TIMESTAMP(6), UTC_TIMESTAMP(6))",
            (folder_id, size),
        )
        await _until(db, f"SELECT 1 FROM folder_info WHERE folder_id = {folder_id} AND pack_attempts > 0")  # noqa: S608
        packer.process.send_signal(signal.SIGSTOP)
        written = [archive.stat().st_size for archive in (data_dir / "archives").glob(f"{folder_id}-*.7z.enc")]
        if written and written[0] < size:
            return folder_id
        packer.process.send_signal(signal.SIGCONT)
        await _until(db, f"SELECT 1 FROM folder_info WHERE folder_id = {folder_id} AND status = 2")  # noqa: S608
    raise AssertionError("the packer was never met in the middle of a folder")


async def _until(db: Database, sql: str) -> None:
    async with asyncio.timeout(40):
        while await db.fetch_one(sql) is None:
            await asyncio.sleep(0.02)


async def test_a_service_waits_for_a_database_that_is_away(services: Services, proxied_database: Proxied) -> None:
    ingest = services("ingest", database_url=proxied_database.url)
    with proxied_database.proxies.down("database"):
        await ingest.launch()
        await _answers(ingest, 503)
        async with aiohttp.ClientSession() as http:
            assert (await upload(http, ingest.url)).status == 503
    await _answers(ingest, 200)


async def test_nothing_is_taken_before_the_schema_was_seen_to_fit(
    services: Services, db: Database, proxied_database: Proxied
) -> None:
    await db.execute(NEWER)
    ingest = services("ingest", database_url=proxied_database.url)
    taken = []
    with proxied_database.proxies.down("database"):
        await ingest.launch()
        await _answers(ingest, 503)
    async with aiohttp.ClientSession() as http:
        assert ingest.process is not None
        while ingest.process.returncode is None:
            try:
                taken.append((await upload(http, ingest.url)).status)
            except aiohttp.ClientError:
                await asyncio.sleep(0.05)
    assert (await ingest.ended(10))[0] == 1
    assert "9999_contract_more, which is newer: upgrade this service" in ingest.log.read_text()
    assert set(taken) <= {503}, taken
    assert await db.fetch_one("SELECT 1 FROM file_upload_info") is None


async def test_a_database_that_never_answers_does_not_keep_a_service_that_is_told_to_stop(
    services: Services, proxied_database: Proxied
) -> None:
    ingest = services("ingest", database_url=proxied_database.url, notice_seconds=5)
    with proxied_database.proxies.toxic("database", "timeout", "downstream", timeout=0):
        await ingest.launch()
        async with asyncio.timeout(20):
            while await status(f"{ingest.url}/healthz") != 200:
                await asyncio.sleep(0.05)
        ingest.terminate()
        async with aiohttp.ClientSession() as http, asyncio.timeout(20):
            unseen = {"schema": "not yet seen", "identity": "not yet seen"}
            while (await _readyz(http, ingest))["checks"] != unseen:  # it asks the database first
                await asyncio.sleep(0.05)
            assert (await upload(http, ingest.url)).status == 503
        await left_by_itself(ingest)


async def _readyz(http: aiohttp.ClientSession, service: Service) -> dict[str, Any]:
    async with http.get(f"{service.url}/readyz") as response:
        assert response.status == 503
        body: dict[str, Any] = await response.json()
        return body


async def _taken_no_more(url: str) -> None:
    async with asyncio.timeout(20):
        while await status(url) != 0:
            await asyncio.sleep(0.02)


async def _answers(service: Service, wanted: int) -> None:
    async with asyncio.timeout(20):
        while await service.readiness() != wanted:
            await asyncio.sleep(0.05)
