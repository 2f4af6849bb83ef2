"""What was promised outlives a power cut: the system calls of the real services, recorded and checked by a program.

Each rule is also broken on purpose, in the recorded trace itself, to see that the check would find it.
"""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import aiohttp
import pytest
from chaos.crowd import upload
from chaos.syscalls import RECEIVES, TRACED, Call, lost, parse, removed_early
from evidence_rows import prove
from free_ports import pick_free
from servers_process import Running
from servers_services import Service, Services
from tus_requests import Client

from roadvault_common.sql.db import Database, Row
from roadvault_stack.mariadb import MariaDB

SIZES = (1, 100_000, 5_000_000, 5_000_000)


def traced(service: Service, trace: Path) -> Service:
    service.under = ["strace", "-f", "-y", "-s", "3000", "-e", f"trace={TRACED}", "-o", str(trace)]
    return service


async def stopped(service: Service) -> None:
    """Stop the service itself: a signal for strace would only detach it."""
    assert service.process is not None
    children = Path(f"/proc/{service.process.pid}/task/{service.process.pid}/children")
    for pid in (await asyncio.to_thread(children.read_text)).split():
        os.kill(int(pid), 15)
    await service.ended(20)


async def until(db: Database, sql: str) -> Row:
    async with asyncio.timeout(40):
        while (row := await db.fetch_one(sql)) is None:
            await asyncio.sleep(0.1)
    return row


def answer_with(file_id: int) -> str:
    """Return what a trace shows of the answer that gives a fileID away."""
    return f'\\"fileID\\": {file_id}}}'


def broken(calls: list[Call], drop: Callable[[Call], bool]) -> list[Call]:
    """The trace, had some calls not been made."""
    return [call for call in calls if not drop(call)]


@pytest.mark.timeout(180)
async def test_files_and_rows_are_durable_before_they_are_promised(
    services: Services, db: Database, data_dir: Path, tmp_path: Path
) -> None:
    traces = {name: tmp_path / f"{name}.strace" for name in ("ingest", "packer", "retriever")}
    (data_dir / "received").rmdir()  # as on the first start: the directories are made, and have to last, too
    ingest = traced(services("ingest", folder_files=len(SIZES)), traces["ingest"])
    await ingest.start()
    async with aiohttp.ClientSession() as http:
        one_by_one = [await upload(http, ingest.url, os.urandom(size)) for size in SIZES[:2]]
        at_once = await asyncio.gather(*(upload(http, ingest.url, os.urandom(size)) for size in SIZES[2:]))
        file_ids = [*one_by_one, *at_once]
        packer = traced(services("packer"), traces["packer"])
        await packer.start()
        archive = await until(db, "SELECT path FROM zip_ipfs_info")
        retriever = traced(services("retriever"), traces["retriever"])
        await retriever.start()
        body = {"fileID": file_ids[0], "cbUrl": "http://127.0.0.1:9/"}
        async with http.post(f"{ingest.url}/api/open/downFile", json=body) as response:
            assert response.status == 200
        extraction = await until(db, "SELECT path FROM download_info WHERE path IS NOT NULL")
    for service in (ingest, packer, retriever):
        await stopped(service)
    calls = {name: parse(trace.read_text()) for name, trace in traces.items()}
    rows = await db.fetch_all("SELECT file_id, path FROM file_upload_info")
    assert {row["file_id"] for row in rows} == set(file_ids)
    insert = "INSERT INTO file_upload_info"
    for row in rows:
        told = answer_with(row["file_id"])
        assert lost(calls["ingest"], str(data_dir / row["path"]), insert, told) == []
    path = str(data_dir / archive["path"])
    label = path.replace(".7z.enc", ".label.json")
    assert lost(calls["packer"], path, "INSERT INTO zip_ipfs_info", None, [label]) == []
    path = str(data_dir / extraction["path"])
    assert lost(calls["retriever"], path, "UPDATE download_info SET path", None) == []

    last = str(data_dir / rows[-1]["path"])
    told = answer_with(rows[-1]["file_id"])
    _check_that_the_check_can_fail(calls["ingest"], last, insert, told)


def _check_that_the_check_can_fail(calls: list[Call], path: str, insert: str, told: str) -> None:
    def complains(about: str, drop: Callable[[Call], bool]) -> bool:
        return any(about in line for line in lost(broken(calls, drop), path, insert, told))

    parent = str(Path(path).parent)
    assert complains("bytes were not synced", lambda call: call.name == "fsync" and call.target == path)
    assert complains("its name was not synced", lambda call: call.name == "fsync" and call.target == parent)
    above = str(Path(parent).parent)
    assert complains("the directory", lambda call: call.name == "fsync" and call.target == above)
    assert complains("told before", lambda call: call.name in RECEIVES)
    assert complains("no COMMIT", lambda call: "COMMIT" in call.arguments)


@pytest.mark.timeout(180)
async def test_what_has_come_of_a_resumable_upload_is_durable_before_it_is_said(
    services: Services, db: Database, data_dir: Path, tmp_path: Path
) -> None:
    ingest, trace = services("ingest"), tmp_path / "strace"
    await traced(ingest, trace).start()
    async with aiohttp.ClientSession() as http:
        tus = Client(http, ingest.url)
        part, whole = await tus.begun(200_000), await tus.begun(5_000_000)
        assert (await tus.patch(part, 0, os.urandom(100_001))).offset == 100_001
        file_id = (await tus.patch(whole, 0, os.urandom(5_000_000))).file_id
    await stopped(ingest)
    calls = parse(trace.read_text())
    rows = await db.fetch_all("SELECT upload_id, path, file_id FROM upload_info ORDER BY size")
    part_path, whole_path = (str(data_dir / row["path"]) for row in rows)
    told = f"RoadVault-File-ID: {file_id}"
    assert lost(calls, whole_path, "INSERT INTO file_upload_info", told) == []

    def of_part(calls: list[Call]) -> list[str]:
        noted = "UPDATE upload_info SET came = 100001"
        return lost(calls, part_path, noted, "Upload-Offset: 100001", token=rows[0]["upload_id"])

    assert of_part(calls) == []
    for path in (part_path, str(Path(part_path).parent)):
        unsynced = broken(calls, lambda call, path=path: call.name in {"fsync", "fdatasync"} and call.target == path)  # type: ignore[misc]
        assert of_part(unsynced)


@pytest.mark.timeout(180)
async def test_nothing_is_removed_before_the_row_that_allows_it_is_durable(
    services: Services, db: Database, data_dir: Path, tmp_path: Path
) -> None:
    ingest, packer = services("ingest", folder_files=2), services("packer")
    pinner, trace = services("pinner"), tmp_path / "pinner.strace"
    await ingest.start()
    async with aiohttp.ClientSession() as http:
        for _ in range(2):
            await upload(http, ingest.url, os.urandom(100_000))
    paths = [str(data_dir / row["path"]) for row in await db.fetch_all("SELECT path FROM file_upload_info")]
    await asyncio.gather(packer.start(), traced(pinner, trace).start())
    await until(db, "SELECT 1 FROM zip_ipfs_info WHERE uploads_dropped_at IS NOT NULL")
    archive = await until(db, "SELECT path FROM zip_ipfs_info")
    begun = len(await asyncio.to_thread(trace.read_text))
    # As the proof does: the network has it.
    await prove(db)
    await until(db, "SELECT 1 FROM zip_ipfs_info WHERE path IS NULL")
    await stopped(pinner)
    text = await asyncio.to_thread(trace.read_text)
    calls, pinned = parse(text), "UPDATE zip_ipfs_info SET cid"
    for path in paths:
        assert removed_early(calls, path, pinned) == []
        # Had the answer to COMMIT not come, or the statement not been sent, the check would find it.
        assert removed_early(broken(calls, lambda call: call.name in RECEIVES), path, pinned) != []
        assert removed_early(broken(calls, lambda call: pinned in call.arguments), path, pinned) != []
    removal = f'unlink("{data_dir / archive["path"]}"'
    assert (text[:begun].count(removal), text[begun:].count(removal)) == (0, 1)


async def test_an_ingest_that_does_not_sync_is_found_out(
    services: Services, db: Database, data_dir: Path, tmp_path: Path
) -> None:
    (tmp_path / "sitecustomize.py").write_text("import os\nos.fsync = lambda descriptor: None\n")
    ingest = traced(services("ingest"), tmp_path / "strace")
    ingest.environment["PYTHONPATH"] = str(tmp_path)
    await ingest.start()
    async with aiohttp.ClientSession() as http:
        file_id = await upload(http, ingest.url, b"a promise that is not kept")
    await stopped(ingest)
    row = await db.fetch_one("SELECT path FROM file_upload_info WHERE file_id = %s", (file_id,))
    assert row is not None
    calls = parse((tmp_path / "strace").read_text())
    wrong = lost(calls, str(data_dir / row["path"]), "INSERT INTO file_upload_info", answer_with(file_id))
    assert len(wrong) >= 2


async def test_the_database_that_is_shipped_flushes_at_each_commit(tmp_path: Path) -> None:
    running = Running(MariaDB(tmp_path / "db", pick_free(1)[0], "test-password"))
    await asyncio.to_thread(running.start)
    try:
        async with Database.open(running.server.url()) as db:
            row = await db.fetch_one(
                "SELECT @@innodb_flush_log_at_trx_commit AS flush, @@innodb_doublewrite AS doublewrite"
            )
    finally:
        await asyncio.to_thread(running.stop)
    assert row == {"flush": 1, "doublewrite": 1}
    compose = (Path(__file__).parents[2] / "docker-compose.yml").read_text()
    assert "flush-log-at-trx-commit" not in compose.replace("_", "-")  # the default is 1
