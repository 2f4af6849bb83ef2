"""Stopping, rolling restarts, and schemas that move on, with services as an operator runs them."""

import asyncio
import shutil
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from chaos.crowd import Crowd, left_by_itself, restart
from servers_devnet import Devnet
from servers_services import Services

from roadvault_common.sql import migrate as migrations
from roadvault_common.sql.db import Database

CLIENTS = 8
ROOT = Path(__file__).parents[2]


async def test_an_upload_in_hand_outlives_sigterm_and_no_new_one_is_taken(services: Services) -> None:
    ingest = services("ingest")
    await ingest.start()
    going, closed = asyncio.Event(), asyncio.Event()

    async def slowly() -> AsyncIterator[bytes]:
        for number in range(20):
            if number == 5:
                going.set()
                await closed.wait()
            yield b"x" * 10_000

    form = aiohttp.FormData(default_to_multipart=True)
    form.add_field("filename", "a.mp4")
    form.add_field("file", slowly(), filename="a.mp4")
    async with aiohttp.ClientSession() as http, asyncio.TaskGroup() as group:
        sending = group.create_task(_status(http, f"{ingest.url}/api/open/upload", form))
        await going.wait()
        ingest.terminate()
        async with asyncio.timeout(10):
            while await ingest.readiness() != 0:
                await asyncio.sleep(0.02)
        closed.set()
        assert await sending == 200
    await left_by_itself(ingest)


async def _status(http: aiohttp.ClientSession, url: str, form: aiohttp.FormData) -> int:
    async with http.post(url, data=form) as response:
        return response.status


async def test_work_in_hand_is_handed_back_at_once(services: Services, db: Database, data_dir: Path) -> None:
    folder_id = await _long_folder(db, data_dir)
    packer = services("packer", drain_seconds=0.5)
    await packer.start()
    await _until(db, "SELECT 1 FROM folder_info WHERE pack_token IS NOT NULL")
    packer.terminate()
    await left_by_itself(packer)
    row = await db.fetch_one(
        "SELECT pack_attempts, pack_token, pack_due <= UTC_TIMESTAMP(6) AS due FROM folder_info WHERE folder_id = %s",
        (folder_id,),
    )
    assert row == {"pack_attempts": 0, "pack_token": None, "due": 1}
    assert list((data_dir / "archives").iterdir()) == []


async def _long_folder(db: Database, data_dir: Path, size: int = 16 << 30) -> int:
    """Close a folder of one long (and sparse) file: packing it takes far longer than a test; there has to be room."""
    path = data_dir / "received" / "00" / "long"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.truncate(size)
    folder_id = await db.transact(
        lambda tx: tx.insert(
            "INSERT INTO folder_info (status, files, bytes, close_at, pack_due)"
            " VALUES (1, 1, %s, UTC_TIMESTAMP(6), UTC_TIMESTAMP(6))",
            (size,),
        )
    )
    await db.execute(
        "INSERT INTO file_upload_info (file_name, file_type, size, sha256, path, folder_id)"
        " VALUES ('a', '', %s, 'x', 'received/00/long', %s)",
        (size, folder_id),
    )
    return folder_id


HANGING = """
import asyncio, signal, time
from roadvault_common.process import app
from roadvault_common.settings.config import Settings
from roadvault_common.sql.db import Database

def read_from_a_dead_disk():
    print("hangs", flush=True)
    time.sleep(600)

async def job(closing):
    await asyncio.to_thread(read_from_a_dead_disk)

async def serve():
    settings = Settings()
    async with Database.open(settings.database_url) as db:
        await app.run(settings, db, [job], {})

app.main(serve)
"""


async def test_a_process_with_a_thread_that_hangs_leaves_by_force(database_url: str, redis_url: str) -> None:
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", HANGING,
        env={
            "ROADVAULT_DATABASE_URL": database_url,
            "ROADVAULT_REDIS_URL": redis_url,
            "ROADVAULT_DRAIN_SECONDS": "0.5",
        },
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert child.stdout is not None
    async with asyncio.timeout(20):
        while b"hangs" not in await child.stdout.readline():
            pass
    child.terminate()
    _, errors = await asyncio.wait_for(child.communicate(), 15)
    assert child.returncode == 1
    assert b"read_from_a_dead_disk" in errors


async def _until(db: Database, sql: str) -> None:
    async with asyncio.timeout(20):
        while await db.fetch_one(sql) is None:
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("devnet_server", [{"block_seconds": 0.1}], indirect=True)
async def test_the_other_services_restart_under_load(services: Services, db: Database, devnet: Devnet) -> None:
    ingest = services("ingest", folder_age_seconds=2)
    crust = {"crust_url": devnet.url, "crust_seed": "//Alice", "crust_poll_seconds": 0.1}
    others = [services(name) for name in ("packer", "pinner", "retriever", "notifier")]
    others.append(services("crust-orderer", **crust))
    await asyncio.gather(*(service.start() for service in (ingest, *others)))
    crowd = Crowd(ingest.url)
    async with asyncio.TaskGroup() as group:
        for _ in range(2):
            group.create_task(crowd.client())
        for service in others:  # one by one, as an operator does it, and then all of them at once
            await restart(service)
        await asyncio.gather(*(restart(service) for service in others))
        crowd.over.set()
    assert set(crowd.results) == {"good"}, crowd.results
    async with asyncio.timeout(60):
        while await db.fetch_one("SELECT 1 FROM file_upload_info WHERE zip_id IS NULL"):
            await asyncio.sleep(0.2)
        while await db.fetch_one("SELECT 1 FROM zip_ipfs_info WHERE status = 0"):
            await asyncio.sleep(0.2)
    row = await db.fetch_one("SELECT COUNT(*) AS n FROM zip_ipfs_info WHERE cid IS NOT NULL")
    assert row == {"n": devnet.orders()}
    assert await db.fetch_one("SELECT 1 FROM folder_info WHERE pack_failed_at IS NOT NULL") is None


def newer_schema(tmp_path: Path, name: str, sql: str) -> Path:
    directory = tmp_path / "schema"
    shutil.copytree(migrations.schema_dir(), directory)
    (directory / f"{name}.sql").write_text(sql)
    return directory


async def test_a_schema_that_only_grew_serves_old_services(
    services: Services, db: Database, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ingest = services("ingest")
    await ingest.start()
    directory = newer_schema(tmp_path, "9999_more", "ALTER TABLE file_upload_info ADD COLUMN weather VARCHAR(50) NULL;")
    monkeypatch.setattr(migrations, "schema_dir", lambda: directory)
    crowd = Crowd(ingest.url)
    async with asyncio.TaskGroup() as group:
        group.create_task(crowd.client())
        await crowd.went_on()
        assert await asyncio.to_thread(migrations.migrate, database_url) == ["9999_more"]
        await crowd.went_on()
        crowd.over.set()
    assert set(crowd.results) == {"good"}, crowd.results
    await restart(ingest)
    assert await db.fetch_one("SELECT weather FROM file_upload_info LIMIT 1") == {"weather": None}


async def test_a_service_refuses_a_schema_that_it_does_not_know(
    services: Services, db: Database, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = newer_schema(tmp_path, "9999_contract_more", "ALTER TABLE download_info DROP COLUMN source;")
    monkeypatch.setattr(migrations, "schema_dir", lambda: directory)
    await asyncio.to_thread(migrations.migrate, database_url)
    refusing = [services(name) for name in ("ingest", "door", "packer", "pinner", "retriever", "notifier")]
    await asyncio.gather(*(service.launch() for service in refusing))
    for service in refusing:
        assert (await service.ended(60))[0] == 1
        assert "9999_contract_more, which is newer: upgrade this service" in service.log.read_text()
    await db.execute("DELETE FROM _yoyo_migration WHERE migration_id LIKE '9999%%' OR migration_id LIKE '0004%%'")
    service = services("packer")
    await service.launch()
    assert (await service.ended(20))[0] == 1
    log = service.log.read_text()
    assert "the database lacks the migration 0004_restore: run `roadvault migrate`, then start again" in log
    assert "Traceback" not in log
