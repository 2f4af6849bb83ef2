"""The database's answers lost at every point of an upload, by a fault proxy; and a COMMIT that takes place late."""

import asyncio
import os
from collections import Counter
from collections.abc import AsyncIterator

import asyncmy
import pytest
from servers_faults import Proxied
from servers_ingest import Door, Open
from servers_process import Running

from roadvault_common.sql import db as db_module
from roadvault_common.sql.db import Database
from roadvault_ingest.store import IngestStore
from roadvault_stack.mariadb import MariaDB

DOWNSTREAM_STEP, UPSTREAM_STEP = 5, 31
"""Bytes from one cut to the next. An OK packet of the server is 11 bytes long (4 of them its header)."""
TOGETHER = 4
"""Uploads that end together: the first is recorded alone, the others in one transaction."""
_NOT_KNOWN = "is not known"


@pytest.fixture
async def truth(database_url: str) -> AsyncIterator[Database]:
    """The database, past the proxy."""
    async with Database.open(database_url) as db:
        yield db


async def upload_through(door: Door, size: int = 3000) -> tuple[int, str, int | None]:
    status, body = await door.upload(os.urandom(size))
    return status, str(body.get("message", "")), body["result"]["fileID"] if status == 200 else None


async def check(truth: Database, door: Door, outcome: tuple[int, str, int | None], seen: set[int]) -> str:
    """Compare rows and disk with what the client was told; return how it ended."""
    status, message, file_id = outcome
    rows = await truth.fetch_all("SELECT file_id, path, size FROM file_upload_info")
    new = {row["file_id"] for row in rows} - seen
    seen |= new
    names = {row["path"] for row in rows}
    on_disk = {str(path.relative_to(door.vault.root)) for path in door.files_on_disk()}
    assert names <= on_disk, f"rows without their file: {names - on_disk}"
    if status == 200:
        assert new == {file_id}
        return "taken"
    assert status == 503
    if _NOT_KNOWN in message:
        return "not known"
    assert not new, "the client was told that it was not taken, and it was"
    assert on_disk == names, f"files without a row: {on_disk - names}"
    return "not taken"


@pytest.mark.parametrize(("stream", "step"), [("downstream", DOWNSTREAM_STEP), ("upstream", UPSTREAM_STEP)])
async def test_no_cut_makes_row_and_file_disagree(
    stream: str, step: int, proxied_database: Proxied, open_door: Open, truth: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("roadvault_ingest.uploads.intake._LOOK_SECONDS", 0.01)
    real, found = IngestStore.find_file, list[object]()

    async def find_file(store: IngestStore, path: str) -> object:
        placed = await real(store, path)
        found.extend([placed] if placed else [])
        return placed

    monkeypatch.setattr(IngestStore, "find_file", find_file)
    ends: Counter[str] = Counter()
    seen: set[int] = set()
    size, whole = 1, 0
    while whole < 6:  # until six uploads in a row were too short to be cut
        async with open_door(database_url=proxied_database.url) as door:
            with proxied_database.proxies.toxic("database", "limit_data", stream, bytes=size):
                outcome = await upload_through(door)
            end = await check(truth, door, outcome, seen)
        ends[end] += 1
        whole = whole + 1 if end == "taken" else 0
        size += step
    assert ends["not taken"] > 10, ends
    if stream == "downstream":
        assert found, "no answer to a COMMIT was lost and the row found"


@pytest.mark.parametrize(("stream", "step"), [("downstream", 6 * DOWNSTREAM_STEP), ("upstream", 6 * UPSTREAM_STEP)])
async def test_no_cut_of_a_transaction_that_uploads_share_makes_them_disagree(
    stream: str, step: int, proxied_database: Proxied, open_door: Open, truth: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Uploads that end together are recorded together; what each client is told holds for its own."""
    monkeypatch.setattr("roadvault_ingest.uploads.intake._LOOK_SECONDS", 0.01)
    real, shared = IngestStore.add_files, Counter[str]()

    async def add_files(store: IngestStore, slot: str, batch: list[object], limits: object) -> object:
        try:
            placed = await real(store, slot, batch, limits)  # type: ignore[arg-type]
        except Exception:  # only counted, whatever a cut connection raises
            shared["lost"] += len(batch) > 1
            raise
        shared["recorded"] += len(batch) > 1
        return placed

    monkeypatch.setattr(IngestStore, "add_files", add_files)
    sizes = iter(range(3000, 1_000_000))
    unknown: set[int] = set()
    size, whole = 1, 0
    while whole < 3:  # until three times all were too short to be cut
        async with open_door(database_url=proxied_database.url) as door:
            mine = [next(sizes) for _ in range(TOGETHER)]
            with proxied_database.proxies.toxic("database", "limit_data", stream, bytes=size):
                outcomes = await asyncio.gather(*(upload_through(door, one) for one in mine))
            unknown |= await check_each(truth, door, dict(zip(mine, outcomes, strict=True)), unknown)
        whole = whole + 1 if all(status == 200 for status, _, _ in outcomes) else 0
        size += step
    assert shared["lost"] > 0, shared
    assert shared["recorded"] > 0, shared


async def check_each(
    truth: Database, door: Door, outcomes: dict[int, tuple[int, str, int | None]], unknown: set[int]
) -> set[int]:
    """Compare what each client was told, by the size of its upload; return the sizes of which nobody knows."""
    rows = {row["size"]: row for row in await truth.fetch_all("SELECT file_id, path, size FROM file_upload_info")}
    on_disk = {path.stat().st_size: str(path.relative_to(door.vault.root)) for path in door.files_on_disk()}
    assert {size: row["path"] for size, row in rows.items()}.items() <= on_disk.items(), "rows without their file"
    told = {size for size, (_, message, _) in outcomes.items() if _NOT_KNOWN in message}
    for size, (status, _, file_id) in outcomes.items():
        if status == 200:
            assert rows[size]["file_id"] == file_id
        elif size not in told:
            assert (status, size in rows) == (503, False), "the client was told that it was not taken, and it was"
    assert set(on_disk) - set(rows) <= unknown | told, "files without a row"
    return told


async def test_a_commit_that_takes_place_late_is_waited_for(
    database_url: str, open_door: Open, mariadb: Running[MariaDB], truth: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server holds the COMMIT; ingest gives up on its answer, and must not discard the file meanwhile."""
    monkeypatch.setattr(db_module, "_READ_SECONDS", 1)
    real, given_up = IngestStore.find_file, asyncio.Event()

    async def find_file(store: IngestStore, path: str) -> object:
        given_up.set()
        return await real(store, path)

    monkeypatch.setattr(IngestStore, "find_file", find_file)
    async with open_door(database_url=database_url) as door:
        await door.upload(b"opens the folder, and the connection")
        with mariadb.server.connect(admin=True) as admin, admin.cursor() as cursor:
            for stage in ("START", "FLUSH", "BLOCK_DDL", "BLOCK_COMMIT"):
                cursor.execute(f"BACKUP STAGE {stage}")
            uploading = asyncio.create_task(door.upload(b"x" * 5000))
            async with asyncio.timeout(30):
                await given_up.wait()
            assert not uploading.done()
            cursor.execute("BACKUP STAGE END")
        status, body = await uploading
        rows = await truth.fetch_all("SELECT file_id, path FROM file_upload_info WHERE size = 5000")
        assert [(status, body["result"]["fileID"])] == [(200, row["file_id"]) for row in rows]
        assert (door.vault.root / rows[0]["path"]).read_bytes() == b"x" * 5000


async def test_an_upload_whose_fate_stays_unknown_keeps_its_file(
    proxied_database: Proxied, open_door: Open, truth: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("roadvault_ingest.uploads.intake._LOOK_SECONDS", 0.01)
    async with open_door(database_url=proxied_database.url) as door:
        await door.upload(b"opens the folder, and the connection")
        real = asyncmy.Connection.commit

        async def cut(connection: asyncmy.Connection) -> None:
            await asyncio.to_thread(proxied_database.proxies.down("database").__enter__)
            await real(connection)

        monkeypatch.setattr(asyncmy.Connection, "commit", cut)
        status, body = await door.upload(b"y" * 5000)
        assert (status, _NOT_KNOWN in body["message"]) == (503, True)
        assert len(door.files_on_disk()) == 2
        rows = await truth.fetch_all("SELECT path FROM file_upload_info WHERE size = 5000")
        assert rows == []  # the server took it back; had it not, the file would have been needed
        monkeypatch.setattr(asyncmy.Connection, "commit", real)
        kept = {str(path.relative_to(door.vault.root)) for path in door.files_on_disk()}
        assert len(kept - await IngestStore(truth).named(list(kept))) == 1  # which the sweep sets aside
