"""An upload that rots before it is packed holds up nobody: it is set aside, the others are packed, a person decides."""

import asyncio
import errno
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path

import pytest
from prometheus_client import REGISTRY
from servers_operator import LIMITS, Console

from roadvault_common.archive.crypto import MasterKeys
from roadvault_common.errors import PermanentError
from roadvault_common.files import set_aside_store
from roadvault_common.ipfs.reading import Reader
from roadvault_common.sql.db import Row
from roadvault_common.web.callback_url import read
from roadvault_common.work.outcome import Done, Failed, Retry, Wait
from roadvault_common.work.stages import PACK
from roadvault_ingest.pages.overview.store import OverviewStore
from roadvault_ingest.requests.asking import Most
from roadvault_ingest.states import describe
from roadvault_ingest.store import IngestStore
from roadvault_packer import archive, uploads
from roadvault_packer import service as packer_service
from roadvault_retriever.config import RetrieverSettings
from roadvault_retriever.service import Retriever


async def files_of(console: Console, folder_id: int) -> list[Row]:
    return await console.db.fetch_all(
        "SELECT * FROM file_upload_info WHERE folder_id = %s ORDER BY file_id", (folder_id,)
    )


async def full_folder(console: Console, monkeypatch: pytest.MonkeyPatch, count: int) -> list[Row]:
    """Fill a folder with files; it closes with the last one."""
    monkeypatch.setattr("servers_operator.LIMITS", type(LIMITS)(count, LIMITS.bytes, LIMITS.age_seconds))
    for number in range(count):
        folder_id = await console.file(50_000 + number)
    return await files_of(console, folder_id)


def rot(console: Console, row: Row) -> bytes:
    """Change a byte of an upload on the disk; return what it was."""
    path = console.vault.path(row["path"])
    content = path.read_bytes()
    path.write_bytes(content[:1000] + bytes([content[1000] ^ 1]) + content[1001:])
    return content


async def pack(console: Console, folder_id: int) -> list[object]:
    """Work on a folder until it is done with; return the outcomes."""
    outcomes = list[object]()
    while (outcome := await console.packer.packing.work(folder_id)) is not None:
        outcomes.append(outcome)
    return outcomes


async def told(console: Console, file_id: int) -> tuple[str, str | None]:
    """Return what the API says of a file."""
    row = await IngestStore(console.db).file(file_id)
    assert row is not None
    about = describe(row, [])
    return about["state"], about["reason"]


async def test_a_person_is_told_and_a_request_for_it_says_why(
    console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = await full_folder(console, monkeypatch, 2)
    folder_id, bad = rows[0]["folder_id"], rows[1]["file_id"]
    rot(console, rows[1])
    await pack(console, folder_id)
    await console.packer.measure()
    assert REGISTRY.get_sample_value("roadvault_files_set_aside") == 1
    assert re.search(rf"│ +{bad} +│", await console.says("set-aside", "list"))
    assert "(`roadvault set-aside`): 1" in await console.says("status")
    letters = await console.says("dead-letters")
    assert f"folder {folder_id}: 1 of 2 uploads are not what they were: file {bad}" in letters

    count, (row,) = await OverviewStore(console.db).set_aside()
    assert (count, row["file_id"]) == (1, bad)
    asked = await IngestStore(console.db).request_download(bad, read("https://c/x"), "192.0.2.1", Most(9, 9))
    settings = RetrieverSettings.model_validate({**console.settings, "disk_margin_bytes": 0})
    async with Reader.open("http://127.0.0.1:9", 1) as reader:
        keys = MasterKeys(settings.master_keys)
        retriever = Retriever(settings, console.db, console.bus, console.vault, keys, reader)
        assert asked is not None
        outcome = await retriever.fetching.work(asked.download_id)
    assert isinstance(outcome, Failed)
    assert "do not have its SHA-256; it was set aside before it was packed" in outcome.reason


@pytest.mark.parametrize("damage", ["changed", "shorter", "missing"])
async def test_one_that_rotted_is_set_aside_and_the_others_are_packed(
    console: Console, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    rows = await full_folder(console, monkeypatch, 5)
    folder_id, bad = rows[0]["folder_id"], rows[2]
    path = console.vault.path(bad["path"])
    match damage:
        case "changed":
            rot(console, bad)
        case "shorter":
            path.write_bytes(path.read_bytes()[:-1])
        case _:
            path.unlink()
    first, last = await pack(console, folder_id)
    assert isinstance(first, Wait)
    assert f"file {bad['file_id']}" in first.reason
    assert last == Done()
    folder = await console.db.fetch_one("SELECT * FROM folder_info WHERE folder_id = %s", (folder_id,))
    archive = await console.db.fetch_one("SELECT * FROM zip_ipfs_info")
    assert folder is not None
    assert archive is not None
    assert (folder["status"], folder["files"], folder["pack_attempts"], archive["files"]) == (2, 5, 0, 4)
    after = await files_of(console, folder_id)
    assert [row["zip_id"] for row in after] == [archive["zip_id"]] * 2 + [None] + [archive["zip_id"]] * 2
    assert after[2]["path"] == bad["path"]  # its bytes stay where they lie
    state, reason = await told(console, bad["file_id"])
    assert (state, f"file {bad['file_id']}" in (reason or "")) == ("set aside", True)
    assert (await told(console, rows[0]["file_id"]))[0] == "packed"

    # Neither the drop of its folder's uploads nor the sweep of unnamed files takes it.
    assert await console.pinner.pinning.work(archive["zip_id"]) == Done()
    assert await console.pinner.dropping.work(archive["zip_id"]) == Done()
    assert [row["path"] for row in await files_of(console, folder_id)] == [None, None, bad["path"], None, None]
    assert path.exists() is (damage != "missing")


async def test_ten_cost_one_more_look_at_all(console: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = await full_folder(console, monkeypatch, 14)
    for row in rows[1:11]:
        rot(console, row)
    outcomes = await pack(console, rows[0]["folder_id"])
    assert [type(outcome) for outcome in outcomes] == [Wait, Done]
    archive = await console.db.fetch_one("SELECT files FROM zip_ipfs_info")
    assert archive == {"files": 4}
    assert await set_aside_store.count(console.db) == 10


async def test_a_folder_of_which_nothing_is_left_has_no_archive(
    console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = await full_folder(console, monkeypatch, 2)
    contents = [rot(console, row) for row in rows]
    folder_id = rows[0]["folder_id"]
    assert [type(outcome) for outcome in await pack(console, folder_id)] == [Wait, Done]
    folder = await console.db.fetch_one("SELECT status, zip_id FROM folder_info WHERE folder_id = %s", (folder_id,))
    assert folder == {"status": 2, "zip_id": None}
    assert await console.db.fetch_all("SELECT 1 FROM zip_ipfs_info") == []

    # One is brought back to where it lay, and packed after all; the other is not, and stays aside.
    console.vault.path(rows[0]["path"]).write_bytes(contents[0])
    code, out, _ = await console.run("set-aside", "retry", "--all")
    assert (code, "1 uploads are whole and due to be packed, 1 are not, and stay aside" in out) == (1, True)
    moved = await console.db.fetch_one("SELECT * FROM file_upload_info WHERE file_id = %s", (rows[0]["file_id"],))
    assert moved is not None
    assert await pack(console, moved["folder_id"]) == [Done()]
    assert (await told(console, rows[0]["file_id"]))[0] == "packed"
    folders = await console.db.fetch_all("SELECT folder_id, files, bytes FROM folder_info ORDER BY folder_id")
    assert folders == [
        {"folder_id": folder_id, "files": 1, "bytes": rows[1]["size"]},
        {"folder_id": moved["folder_id"], "files": 1, "bytes": rows[0]["size"]},
    ]

    # The other is given up: its row says so, and what is left of it can be had for a while.
    assert "add --yes" in (await console.run("set-aside", "give-up", rows[1]["file_id"]))[1]
    assert "is lost" in await console.says("set-aside", "give-up", rows[1]["file_id"], "--yes")
    assert (await told(console, rows[1]["file_id"]))[0] == "lost"
    (entry,) = console.vault.quarantine.entries("received")
    assert entry.origin == rows[1]["path"]
    assert "was not set aside, or was decided about" in await console.refuses("set-aside", "retry", rows[1]["file_id"])
    with pytest.raises(PermanentError):
        await set_aside_store.give_up(console.db, rows[1]["file_id"])


async def test_its_folder_can_be_packed_again(console: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = await full_folder(console, monkeypatch, 3)
    rot(console, rows[0])
    assert [type(outcome) for outcome in await pack(console, rows[0]["folder_id"])] == [Wait, Done]
    archive = await console.db.fetch_one("SELECT zip_id, path FROM zip_ipfs_info")
    assert archive is not None
    console.vault.path(archive["path"]).write_bytes(b"rot")
    assert isinstance(await console.pinner.pinning.work(archive["zip_id"]), Failed)
    assert "2 uploads, all whole" in await console.says("pack-again", archive["zip_id"])
    assert await pack(console, rows[0]["folder_id"]) == [Done()]


@contextmanager
def unreadable(monkeypatch: pytest.MonkeyPatch, broken: Path) -> Iterator[None]:
    """Have the disk give out an error for one file, as a bad sector does."""
    read_piece = uploads.read

    def fails(upload: uploads.Upload, file: FileIO, size: int) -> bytes:
        if Path(str(file.name)) == broken:
            raise uploads._unreadable(upload, OSError(errno.EIO, "Input/output error"))
        return read_piece(upload, file, size)

    with monkeypatch.context() as patch:
        patch.setattr("roadvault_packer.uploads.read", fails)
        patch.setattr("roadvault_packer.archive.read", fails)
        yield


async def test_what_the_disk_does_not_give_out_is_tried_again_first(
    console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = await full_folder(console, monkeypatch, 3)
    folder_id = rows[0]["folder_id"]
    with unreadable(monkeypatch, console.vault.path(rows[1]["path"])):
        for _ in range(PACK.max_attempts - 1):
            outcome = await console.packer.packing.work(folder_id)
            assert isinstance(outcome, Retry)
            assert "can't be read: Input/output error" in outcome.reason
            await console.db.execute("UPDATE folder_info SET pack_due = UTC_TIMESTAMP(6)")
        assert await set_aside_store.count(console.db) == 0
        assert [type(outcome) for outcome in await pack(console, folder_id)] == [Wait, Done]
    assert (await told(console, rows[1]["file_id"]))[0] == "set aside"


async def test_in_a_directory_that_is_another_nothing_is_set_aside(
    console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = await full_folder(console, monkeypatch, 2)
    console.vault.path(rows[0]["path"]).unlink()
    (console.vault.root / "identity.json").unlink()
    outcome = await console.packer.packing.work(rows[0]["folder_id"])
    assert isinstance(outcome, Wait)
    assert await set_aside_store.count(console.db) == 0


async def test_what_was_found_outlives_the_packer(console: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = await full_folder(console, monkeypatch, 3)
    rot(console, rows[1])
    begun, hold = threading.Event(), threading.Event()
    pack_now: Callable[..., object] = archive.pack

    def stand_still(*arguments: object) -> object:
        if len(arguments[1]) == 2:  # type: ignore[arg-type]
            begun.set()
            hold.wait(30)
        return pack_now(*arguments)

    monkeypatch.setattr(packer_service, "pack", stand_still)
    work = asyncio.create_task(pack(console, rows[0]["folder_id"]))
    await asyncio.to_thread(begun.wait, 30)
    assert (await told(console, rows[1]["file_id"]))[0] == "set aside"  # though nothing is packed yet
    with pytest.raises(PermanentError, match="still has to be packed"):
        await set_aside_store.pack_after_all(console.db, await set_aside_store.waiting(console.db, 1))
    hold.set()
    assert [type(outcome) for outcome in await work] == [Wait, Done]
