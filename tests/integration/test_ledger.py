"""The account of the disk's room: what one process reserves the others don't get, and packing always has its own."""

import asyncio
import os
from collections.abc import Callable
from errno import ENOSPC
from io import FileIO
from pathlib import Path
from typing import Any

import pytest
from servers_process import Running

from roadvault_common.errors import DiskFull, Outage, SettingsError
from roadvault_common.files import ledger_book, ledger_store
from roadvault_common.files.ledger import Ledger
from roadvault_common.files.ledger_book import Book, KuboNote, Note
from roadvault_common.files.room import Purpose, Reservation
from roadvault_common.files.vault import Vault
from roadvault_common.sql.db import Database
from roadvault_stack.mariadb import MariaDB

MB = 1_000_000
Process = Callable[..., Ledger]


class Disk(Vault):
    """A data directory on a disk of which so much is free but for the files in it."""

    free = 100 * MB

    def free_bytes(self) -> int:
        return self.free - sum(path.stat().st_size for path in self.root.glob("archives/*"))

    def total_bytes(self) -> int:
        return self.free


@pytest.fixture
def disk(data_dir: Path) -> Disk:
    vault = Disk(data_dir)
    vault.prepare()
    return vault


@pytest.fixture
def process(db: Database, disk: Disk) -> Process:
    """Make one more that writes there, as in a process of its own."""
    return lambda margin_bytes=0: Ledger(db, disk, margin_bytes)


async def folder(db: Database, size: int, status: int = 1) -> int:
    return await db.transact(
        lambda tx: tx.insert(
            "INSERT INTO folder_info (status, files, bytes, close_at) VALUES (%s, 1, %s, UTC_TIMESTAMP(6))",
            (status, size),
        )
    )


async def room(ledger: Ledger) -> int:
    """Return how many megabytes could be extracted now."""
    free = 0
    for step in (64, 32, 16, 8, 4, 2, 1):
        try:
            async with ledger.keep(Purpose.EXTRACTIONS, (free + step) * MB):
                free += step
        except DiskFull:
            pass
    ledger._waits._refused.clear()
    await ledger.tidy()
    return free


async def give_back(ledger: Ledger) -> None:
    """Have what was reserved ahead stand unused for long."""
    ledger._used_at = -1e9
    await ledger.tidy()


async def test_what_one_reserves_another_does_not_get_until_it_ends(process: Process) -> None:
    one, two = process(), process(10 * MB)
    assert await room(two) == 90
    async with one.keep(Purpose.EXTRACTIONS, 30 * MB):
        assert await room(two) == 60
        with pytest.raises(DiskFull, match=r"no room for restores: 61000000 .* 100000000 are free; of these 30000000"):
            async with two.keep(Purpose.RESTORES, 61 * MB):
                pass
    assert await room(two) == 90


async def test_what_packing_needs_is_packings_alone(process: Process, db: Database, disk: Disk) -> None:
    one, two = process(), process()
    folders = [await folder(db, 30 * MB, status) for status in (0, 1, 3)]
    assert await room(one) == 10
    async with one.keep(Purpose.EXTRACTIONS, 10 * MB):
        archive = disk.root / "archives/a"
        async with two.keep(Purpose.PACKING, 30 * MB, row=folders[0], file="archives/a"):
            assert await room(one) == 0
            # What is written of it counts once: as a part of the disk that is taken.
            archive.write_bytes(bytes(20 * MB))
            assert await room(one) == 0
            async with process().keep(Purpose.PACKING, 30 * MB, row=folders[1]):
                pass
            archive.unlink()  # it fails at its end
            assert await room(one) == 0
        assert await room(one) == 0
    assert await room(one) == 10


async def test_an_upload_that_is_recorded_goes_on_counting_until_it_is_packed(process: Process, db: Database) -> None:
    one, two = process(), process()
    assert await room(two) == 100
    upload = Reservation(Purpose.UPLOADS, on_disk=lambda: 0)
    await one.grow(upload, 40 * MB)
    await give_back(one)
    assert await room(two) == 60
    seen = two._seen
    await folder(db, 20 * MB)
    one.end(upload, moved=20 * MB)
    await give_back(one)
    # As if it had been asked of the database before it was recorded: then it counts as what moved since.
    assert ledger_moved(two, seen) == 20 * MB
    assert await room(two) == 80


def ledger_moved(ledger: Ledger, seen: object) -> int:
    assert isinstance(seen, dict)
    with ledger._book.locked():
        notes = ledger._book.others()
    return sum(note.moved - seen[name].moved for name, note in notes.items() if name in seen)


async def test_small_uploads_are_taken_from_what_was_reserved_ahead(
    process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, decided, real = process(), 0, Ledger._ask

    def ask(*args: object) -> object:
        nonlocal decided
        decided += 1
        return real(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(Ledger, "_ask", ask)
    uploads = [Reservation(Purpose.UPLOADS, on_disk=lambda: 0) for _ in range(50)]
    await asyncio.gather(*(one.grow(upload, 100_000) for upload in uploads))
    assert decided == 1
    for upload in uploads:
        one.end(upload, moved=0)
    await give_back(one)
    assert one._noted.reserved == dict.fromkeys(Purpose, 0)


async def test_small_uploads_go_on_while_a_larger_one_is_decided(process: Process) -> None:
    one, first, large, small = process(), *(Reservation(Purpose.UPLOADS) for _ in range(3))
    await one.grow(first, 100_000)
    deciding = asyncio.create_task(one.grow(large, one._ahead + 1))
    while not one._deciding.locked():
        await asyncio.sleep(0)
    await one.grow(small, 100_000)
    assert not deciding.done()
    await deciding
    assert one._note().reserved == one._noted.reserved  # it has given out what it got, and no more


async def test_uploads_leave_room_to_others_who_wait_for_it(process: Process, disk: Disk) -> None:
    ingest, retriever = process(), process()
    disk.free = 10 * MB
    with pytest.raises(DiskFull):
        async with retriever.keep(Purpose.EXTRACTIONS, 11 * MB):
            pass
    await retriever.tidy()
    upload = Reservation(Purpose.UPLOADS)
    with pytest.raises(DiskFull):  # a sixteenth of the disk is left to the extraction, though not all that it wants
        await ingest.grow(upload, 10 * MB - disk.free // 16 + 1)
    await ingest.grow(upload, 10 * MB - disk.free // 16)
    disk.free = 40 * MB
    async with retriever.keep(Purpose.EXTRACTIONS, 11 * MB):
        pass
    assert retriever._waits.seconds(Purpose.EXTRACTIONS) == 0


async def test_where_kubo_copies_the_way_out_is_twice_as_wide(process: Process, db: Database) -> None:
    one, pinner = process(), process()
    await folder(db, 20 * MB)
    zip_id = await db.transact(
        lambda tx: tx.insert(
            "INSERT INTO zip_ipfs_info (folder_id, zip_name, `key`, iv, size, files, pin_due)"
            " VALUES (99, 'a', '', '', %s, 1, UTC_TIMESTAMP(6))",
            (10 * MB,),
        )
    )
    assert await room(one) == 80
    await pinner.set_kubo(KuboNote(copies=True))
    assert await room(one) == 50
    assert one.way_out(1) == 2
    async with pinner.keep(Purpose.PINNING, 10 * MB, row=zip_id):
        assert await room(one) == 50
    await pinner.set_kubo(KuboNote())
    assert await room(one) == 80


async def test_files_of_the_dead_and_files_that_vanish(process: Process, disk: Disk) -> None:
    one, two = process(), process()
    (disk.root / "ledger" / "process-dead").write_text(Note(reserved={"uploads": 90 * MB}).model_dump_json())
    async with one.keep(Purpose.EXTRACTIONS, 30 * MB):
        for path in (disk.root / "ledger").iterdir():
            path.unlink()
        assert await room(two) == 100  # whoever removed them has room given away that is reserved
        await one.tidy()
        async with one.keep(Purpose.EXTRACTIONS, 1 * MB):  # but from the next note on all is well again
            assert await room(two) == 69
    assert {path.name.partition("-")[0] for path in (disk.root / "ledger").iterdir()} == {"lock", "process"}
    assert not (disk.root / "ledger" / "process-dead").exists()


async def test_those_who_ask_together_while_the_database_hangs_are_all_told_at_once(
    process: Process, mariadb: Running[MariaDB], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, real = 0, ledger_store.to_pack

    async def to_pack(*args: Any) -> int:  # noqa: ANN401 - as its
        nonlocal asked
        asked += 1
        return await real(*args)

    monkeypatch.setattr(ledger_store, "to_pack", to_pack)
    monkeypatch.setattr("roadvault_common.files.ledger._ANSWER_SECONDS", 0.5)
    one, uploads = process(), [Reservation(Purpose.UPLOADS) for _ in range(20)]
    with mariadb.suspended():
        told = await asyncio.gather(*(one.grow(upload, MB) for upload in uploads), return_exceptions=True)
    assert [type(error) for error in told] == [Outage] * len(uploads)
    assert asked <= 2  # one for all, and perhaps one that had its turn as their time was over
    await one.grow(uploads[0], MB)


def test_a_lock_that_is_never_given_up_is_an_outage(disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger_book, "_WAIT_SECONDS", 0)
    with Book(disk.root).locked(), pytest.raises(Outage, match="it hangs, or is suspended"), Book(disk.root).locked():
        pass


@pytest.mark.parametrize("taken", [0, 10])
def test_a_full_disk_spoils_no_note(disk: Disk, taken: int, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = Book(disk.root), Book(disk.root)
    one.write(Note(moved=1))

    def no_room(file: FileIO, data: bytes) -> None:
        """Take a part of what makes a file longer."""
        left = max(os.fstat(file.fileno()).st_size + taken - file.tell(), 0)
        file.write(data[:left])
        if left < len(data):
            raise OSError(ENOSPC, "No space left on device")

    with monkeypatch.context() as full:
        full.setattr(ledger_book, "write_all", no_room)
        with pytest.raises(DiskFull):
            two.write(Note(moved=2))
        assert one.others() == {}
        assert not (disk.root / "ledger" / two.name).exists()
        with pytest.raises(DiskFull):
            one.write(Note(files={"archives/a": 1}))
        assert two.others()[one.name].moved == 1
        one.write(Note(moved=3))  # no longer than before
    (disk.root / "ledger" / "process-of-an-earlier-version").touch()
    two.write(Note(moved=2))
    assert {note.moved for note in (*one.others().values(), *two.others().values())} == {2, 3}


def test_a_directory_without_locks_is_refused_at_the_start(disk: Disk) -> None:
    lock = disk.root / "ledger" / "lock"
    lock.unlink()
    lock.mkdir()
    with pytest.raises(SettingsError, match="put ROADVAULT_DATA_DIR on a local file system"):
        disk.prepare()
