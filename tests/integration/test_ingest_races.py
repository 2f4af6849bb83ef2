"""Folders under parallel uploads: none passes its limits, and to none that is closed anything is added."""

import asyncio
from collections.abc import Collection
from contextlib import suppress

import pytest
from servers_ingest import Door, Open

from roadvault_common.sql.db import Row, Transaction
from roadvault_ingest.store import IngestStore, Limits

SIZES = [1 + number * 7919 % 90_000 for number in range(300)]
LIMITS = {"folder_bytes": 500_000, "folder_files": 12}


async def folders_of(door: Door) -> dict[int, Row]:
    """Return what the folders say of themselves, and `n` and `size` of the files that are in them."""
    rows = await door.db.fetch_all(
        "SELECT folder.folder_id, folder.status, folder.files, folder.bytes, folder.open_slot, folder.pack_due,"
        " COUNT(*) AS n, SUM(file.size) AS size FROM folder_info AS folder"
        " JOIN file_upload_info AS file USING (folder_id) GROUP BY folder.folder_id"
    )
    return {row["folder_id"]: row for row in rows}


async def keep_closing(door: Door, closed: dict[int, Row]) -> None:
    """Let every folder reach its age at once, and close it, again and again; note what is in those that are closed."""
    while True:
        await door.db.execute("UPDATE folder_info SET close_at = UTC_TIMESTAMP(6) WHERE status = 0")
        await door.ingest.close_aged_folders()
        for folder_id, folder in (await folders_of(door)).items():
            if folder["status"] != 0:
                closed.setdefault(folder_id, folder)


def check(folders: Collection[Row]) -> None:
    """Check every folder against its files and its limits."""
    assert sum(folder["n"] for folder in folders) == len(SIZES)
    for folder in folders:
        assert (folder["files"], folder["bytes"]) == (folder["n"], folder["size"])
        assert folder["n"] <= LIMITS["folder_files"]
        assert folder["size"] <= LIMITS["folder_bytes"]
        closed = folder["status"] != 0
        assert (folder["open_slot"] is None, folder["pack_due"] is not None) == (closed, closed)


@pytest.mark.parametrize("names", [("north", "south"), ("shared", "shared")], ids=["two names", "one name"])
async def test_folders_that_age_while_32_uploads_come_in_at_two_ingests(
    open_door: Open, names: tuple[str, str]
) -> None:
    slots = asyncio.Semaphore(32)

    async def send(door: Door, size: int) -> None:
        async with slots:
            assert (await door.upload(b"v" * size))[0] == 200

    async with (
        open_door(ingest_worker=names[0], **LIMITS) as one,
        open_door(ingest_worker=names[1], **LIMITS) as two,
    ):
        closed: dict[int, Row] = {}
        closing = asyncio.create_task(keep_closing(one, closed))
        await asyncio.gather(*(send((one, two)[number % 2], size) for number, size in enumerate(SIZES)))
        closing.cancel()
        with suppress(asyncio.CancelledError):
            await closing
        folders = await folders_of(one)
        check(folders.values())
        assert closed
        assert closed == {folder_id: folders[folder_id] for folder_id in closed}, "a closed folder got a file"
        assert len(one.files_on_disk()) == len(SIZES)


async def test_two_ingests_that_open_the_folder_of_one_name_at_once_share_it(
    open_door: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, both, opened = IngestStore._open, asyncio.Barrier(2), 0

    async def at_once(store: IngestStore, tx: Transaction, slot: str, limits: Limits) -> int:
        nonlocal opened
        opened += 1
        await both.wait()  # both have seen that there is no open folder; one INSERT meets the other's key
        return await real(store, tx, slot, limits)

    monkeypatch.setattr(IngestStore, "_open", at_once)
    async with open_door(ingest_worker="shared") as one, open_door(ingest_worker="shared") as two:
        async with asyncio.timeout(20):
            answers = await asyncio.gather(one.upload(b"first"), two.upload(b"second"))
        assert [status for status, _ in answers] == [200, 200]
        rows = await one.db.fetch_all("SELECT files, bytes, open_slot FROM folder_info")
        assert rows == [{"files": 2, "bytes": 11, "open_slot": "shared"}]
    assert opened == 2
