"""Uploads that wait to be packed outlive the database: number and name are kept beside their bytes."""

import asyncio
import hashlib
import os
import re
from collections.abc import AsyncIterator
from datetime import UTC
from pathlib import Path

import aiohttp
import pytest
from chaos.mounts import with_own_mounts
from dumps import dump, restore
from servers_ingest import Door, Open
from servers_operator import Console
from servers_process import Running
from servers_recovery import lose, recover, tagged
from servers_services import Service, Services

from roadvault_common.errors import CommitUnknown, DatabaseUnavailable, IdentityMismatch
from roadvault_common.files import tags
from roadvault_common.files.identity import Identity, adopt
from roadvault_common.files.numbers import MARGIN
from roadvault_common.files.tags import TAG, Tag, adoptable
from roadvault_common.sql.db import Database, Row
from roadvault_common.work.outcome import Done
from roadvault_ingest.store import IngestStore, Limits
from roadvault_ingest.uploads.receive import Received
from roadvault_ingest.uploads.recorder import Recorder
from roadvault_operator.recover.received import Adoption, highest
from roadvault_operator.recover.takeover import Takeover
from roadvault_stack.mariadb import MariaDB

NAMES = ["a.mp4", "gate 7 (north).MP4", "路口-七号.mp4", "no extension", "x" * 251 + ".mp4", 'quo"te%.mkv']
ROWS = (
    "SELECT file_id, file_name, file_type, size, sha256, path, create_time, folder_id FROM file_upload_info"
    " ORDER BY file_id"
)


@pytest.fixture
async def db(database_url: str) -> AsyncIterator[Database]:
    async with Database.open(database_url) as opened:
        yield opened


def as_rows(found: dict[str, Tag]) -> list[Row]:
    """Return what tags say in the form of ROWS."""
    return [
        {
            "file_id": tag.file_id, "file_name": tag.name, "file_type": tags.file_type(tag.name), "size": tag.size,
            "sha256": tag.sha256, "path": path, "folder_id": tag.folder_id,
            "create_time": tag.received.astimezone(UTC).replace(tzinfo=None),
        }
        for path, tag in sorted(found.items(), key=lambda one: one[1].file_id)
    ]  # fmt: skip


async def send(http: aiohttp.ClientSession, service: Service, name: str, content: bytes) -> int:
    form = aiohttp.FormData()
    form.add_field("filename", name)
    form.add_field("file", content, filename="ignored")
    async with http.post(f"{service.url}/api/open/upload", data=form) as response:
        assert response.status == 200, await response.text()
        return int((await response.json())["result"]["fileID"])


async def test_every_upload_that_is_answered_has_its_tag(open_door: Open) -> None:
    async with open_door(folder_files=4) as door:
        for number, name in enumerate(NAMES):
            assert (await door.upload(os.urandom(1000 + number), name))[0] == 200
        # Many that share a transaction, and a long one from the wire.
        await asyncio.gather(*(door.upload(os.urandom(50), f"{number}.mp4") for number in range(40)))
    async with open_door(folder_bytes=20_000_000) as door:
        await door.upload(os.urandom(6_000_000), "long.mp4")
        rows = await door.db.fetch_all(ROWS)
        assert as_rows(tagged(door.vault)) == rows
        assert len(rows) == len(NAMES) + 41


async def test_an_upload_whose_commit_was_only_found_has_its_tag(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Recorder.record

    async def lost(recorder: Recorder, received: object) -> object:
        await door.ingest._store.add_files("lost", [received], recorder._limits)  # type: ignore[list-item]
        raise CommitUnknown("the answer was lost")

    monkeypatch.setattr(Recorder, "record", lost)
    assert (await door.upload(b"bytes"))[0] == 200
    monkeypatch.setattr(Recorder, "record", real)
    assert as_rows(tagged(door.vault)) == await door.db.fetch_all(ROWS)


async def test_the_sweep_tags_what_was_left_without(door: Door) -> None:
    for number in range(130):
        await door.upload(b"x" * (1 + number), f"{number}.mp4")
    before = tagged(door.vault)
    for path in list(before)[:-3]:  # as a process that is killed between the commit and the tag leaves them
        os.removexattr(door.vault.root / path, TAG)
    stray = door.vault.root / "received" / "00" / ("f" * 32)
    stray.write_bytes(b"of no row")
    await door.ingest.sweep_orphans()
    assert tagged(door.vault) == before
    assert TAG not in os.listxattr(stray)
    assert [one.trouble for one in adoptable(door.vault) if one.tag is None] == ["it has no tag"]


async def test_a_disk_that_takes_no_tag_fails_no_upload(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.setxattr

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "setxattr", full)
    assert (await door.upload(b"bytes"))[0] == 200
    assert tagged(door.vault) == {}
    monkeypatch.setattr(os, "setxattr", real)
    await door.ingest.sweep_orphans()
    assert as_rows(tagged(door.vault)) == await door.db.fetch_all(ROWS)


async def test_a_file_system_without_attributes_is_told_and_counted(
    services: Services, data_dir: Path, db: Database
) -> None:
    path = "received/00/" + "f" * 32
    received = Received("a.mp4", path, 1, "0" * 64)
    await IngestStore(db).add_files("slot", [received], Limits(files=2, bytes=100, age_seconds=3600))
    ingest = services("ingest")
    made = 'mount -t ramfs ramfs "$0" && mkdir -p "$0/received/00" && echo > "$0/$1" && shift && exec "$@"'
    ingest.under = [*with_own_mounts(), "sh", "-c", made, str(data_dir), path]
    await ingest.start()
    metrics = ""
    async with aiohttp.ClientSession() as http, asyncio.timeout(30):
        while "roadvault_uploads_untagged 1.0" not in metrics:
            async with http.get(f"{ingest.url}/metrics") as response:
                metrics = await response.text()
    log = ingest.log.read_text()
    assert log.count("uploads can't be tagged") == 1
    assert "could not be tagged" not in log


@pytest.mark.timeout(180)
async def test_after_the_database_is_lost_every_number_has_its_name_again(
    services: Services, console: Console, database_url: str, mariadb: Running[MariaDB], migrated: list[str]
) -> None:
    ingest, contents = services("ingest", folder_files=3), dict[int, tuple[str, bytes]]()
    await ingest.start()
    async with aiohttp.ClientSession() as http:
        for name in [*NAMES, "rotten.mp4"]:
            content = os.urandom(5000)
            contents[await send(http, ingest, name, content)] = name, content
    ingest.terminate()
    await ingest.ended(30)
    await Identity(console.db, console.vault.root, moves_on=True).move_on()
    before = await console.db.fetch_all(ROWS)
    rotten = before[-1]["path"]
    (console.vault.root / rotten).write_bytes(b"r" * 5000)
    (console.vault.root / "received" / "00" / ("f" * 32)).write_bytes(b"was never recorded")

    lose(mariadb, database_url, migrated)
    # Whoever starts now waits: nothing is served, and nothing swept.
    waiting = services("ingest", orphan_hours=1e-9)
    await waiting.launch()
    code, out, _ = await console.run("recover", "--received")
    assert code == 1
    assert "If that one is lost, add --yes" in out
    assert await console.db.fetch_all(ROWS) == []
    code, out, _ = await console.run("recover", "--received", "--yes")
    assert code == 1
    assert re.search(r"set aside: file 7: \S+ does not have the SHA-256 of its tag", out)
    assert f"left where it is: received/00/{'f' * 32}: it has no tag" in out
    assert "7 uploads adopted under their old numbers, in 3 folders that are due to be packed; 0 were there" in out

    after = await console.db.fetch_all(ROWS)
    assert [{**row, "folder_id": 0} for row in after] == [{**row, "folder_id": 0} for row in before]
    assert len({row["folder_id"] for row in after}) == 3
    assert min(row["folder_id"] for row in after) > MARGIN
    # The service that waited goes on by itself; its numbers are new.
    async with aiohttp.ClientSession() as http, asyncio.timeout(30):
        while await waiting.readiness() != 200:
            await asyncio.sleep(0.05)
        assert await send(http, waiting, "new.mp4", b"new") > MARGIN
        for file_id, (name, _) in contents.items():
            async with http.get(f"{waiting.url}/api/open/file/{file_id}") as response:
                assert (await response.json())["result"]["filename"] == name
    # And what was adopted is packed, but for the one that rotted.
    for folder_id in sorted({row["folder_id"] for row in after}):
        assert await console.packer.packing.work(folder_id) == Done()
    rows = await console.db.fetch_all("SELECT file_id, sha256 FROM file_upload_info WHERE zip_id IS NOT NULL")
    assert {row["file_id"] for row in rows} == contents.keys() - {7}
    for row in rows:
        assert row["sha256"] == hashlib.sha256(contents[row["file_id"]][1]).hexdigest()
    # Once more changes nothing.
    report = await recover(console)
    assert (report.adopted, report.known, report.folders) == (0, 8, [])


async def test_a_recovery_that_was_cut_short_goes_on(
    console: Console, database_url: str, mariadb: Running[MariaDB], migrated: list[str], open_door: Open
) -> None:
    async with open_door(folder_files=2) as door:
        for number in range(6):
            await door.upload(os.urandom(1000), f"{number}.mp4")
        before = await door.db.fetch_all(ROWS)
    lose(mariadb, database_url, migrated)
    adoption, passed = Adoption(console.db, console.vault), 0

    def die(size: int) -> None:
        nonlocal passed
        passed += size
        if passed > 3000:  # in the second of three folders
            raise DatabaseUnavailable("the process is killed")

    uploads = await adoption.uploads()
    await Takeover(console.db, console.vault.root).begin({}, highest(uploads))
    with pytest.raises(DatabaseUnavailable):
        await adoption.adopt(uploads, die)
    assert len(await console.db.fetch_all(ROWS)) == 2
    with pytest.raises(IdentityMismatch):
        await Identity(console.db, console.vault.root).settle()
    said = await console.says("recover", "--received", "--yes")
    assert "4 uploads adopted under their old numbers, in 2 folders that are due to be packed; 2 were there" in said
    after = await console.db.fetch_all(ROWS)
    assert [{**row, "folder_id": 0} for row in after] == [{**row, "folder_id": 0} for row in before]
    await Identity(console.db, console.vault.root).look()


async def test_what_a_restored_dump_lacks_is_adopted_under_its_old_numbers(
    console: Console, database_url: str, open_door: Open
) -> None:
    mark = Identity(console.db, console.vault.root, moves_on=True)
    async with open_door() as door:
        await door.upload(b"in the dump")
        await mark.move_on()
        older = await dump(database_url)
        await door.upload(b"newer than the dump", "newer.mp4")
        before = await door.db.fetch_all(ROWS)
    await mark.move_on()
    await restore(database_url, older)
    with pytest.raises(IdentityMismatch, match=r"went back in time.*recover into a new database"):
        await recover(console)
    await adopt(console.db, console.vault.root)
    report = await recover(console)
    assert (report.adopted, report.known) == (1, 1)
    after = await console.db.fetch_all(ROWS)
    assert [{**row, "folder_id": 0} for row in after] == [{**row, "folder_id": 0} for row in before]


async def test_what_does_not_fit_is_named_and_stays(
    console: Console, database_url: str, mariadb: Running[MariaDB], migrated: list[str], open_door: Open
) -> None:
    async with open_door() as door:
        for number in range(7):
            await door.upload(f"content {number}".encode())
        paths = [str(row["path"]) for row in await door.db.fetch_all(ROWS)]
    root = console.vault.root
    value = os.getxattr(root / paths[0], TAG)
    os.setxattr(root / paths[1], TAG, value)
    os.setxattr(root / paths[2], TAG, b'{"file_id": 0}')
    os.setxattr(root / paths[3], TAG, b"\xff\x1b[2J")
    os.setxattr(root / paths[4], TAG, os.getxattr(root / paths[4], TAG).replace(b'"size":9', b'"size":8'))
    (root / paths[5]).unlink()
    (root / paths[5]).symlink_to("/etc/hostname")
    lose(mariadb, database_url, migrated)
    await console.db.execute(
        "INSERT INTO file_upload_info (file_id, file_name, file_type, size, sha256, folder_id)"
        " VALUES (7, 'another', '', 1, REPEAT('0', 64), 1)"
    )
    code, out, _ = await console.run("recover", "--received", "--yes")
    assert code == 1
    told = out.splitlines()
    assert f"left where it is: {paths[0]}, {paths[1]}: each has the tag of file 1" in told or (
        f"left where it is: {paths[1]}, {paths[0]}: each has the tag of file 1" in told
    )
    for path, why in {
        paths[2]: "its tag can't be understood: file_id: Input should be greater than or equal to 1",
        paths[3]: "its tag can't be understood: ",
        paths[5]: "it has no tag",
        paths[6]: "the database has another file as number 7",
    }.items():
        assert [line for line in told if line.startswith(f"left where it is: {path}: {why}")], path
    assert f"set aside: file 5: {paths[4]} has 9 bytes, its tag says 8" in told
    assert "\x1b" not in out
    rows = await console.db.fetch_all("SELECT file_id FROM file_upload_info ORDER BY file_id")
    assert [row["file_id"] for row in rows] == [5, 7]
    assert {one.path for one in adoptable(console.vault)} == set(paths)
    assert [row["file_id"] for row in await console.db.fetch_all("SELECT file_id FROM set_aside_info")] == [5]


async def test_another_directorys_database_takes_nothing(console: Console, open_door: Open, db: Database) -> None:
    async with open_door() as door:
        await door.upload(b"bytes")
    await db.execute("UPDATE identity_info SET identity = REPEAT('0', 32)")
    with pytest.raises(IdentityMismatch, match="belongs to the database"):
        await recover(console)
