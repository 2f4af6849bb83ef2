"""A dump is brought back, and what was archived, shredded or moved since then comes out of the catalogue."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dumps
import pytest
from servers_estate import FILES, Estate, published

from roadvault_common.archive.local import beside
from roadvault_common.custody import chainer
from roadvault_common.retention import holding
from roadvault_common.sql.custody_lines import Act, Line, record
from roadvault_common.sql.db import Row
from roadvault_common.work import lease as leases
from roadvault_common.work.outcome import Done, Wait
from roadvault_common.work.stages import PACK


@pytest.fixture(autouse=True)
async def lost(estate: Estate) -> AsyncIterator[None]:
    """Let the nodes forget what the next test's estate has elsewhere on the disk."""
    yield
    await estate.lose(estate.console.environment["ROADVAULT_DATABASE_URL"])


async def published_anew(estate: Estate) -> str:
    """Publish what has changed, and have the network hold all; return the catalogue's CID."""
    console, db = estate.console, estate.console.db
    await db.execute("UPDATE catalogue_info SET publish_due = UTC_TIMESTAMP(6), ordered_at = NULL")
    assert await console.pinner.publishing.work(1) == Done(again_after=1800)
    cid = str(await db.fetch_value("SELECT cid FROM catalogue_info"))
    for one in {cid, *(row["cid"] for row in await db.fetch_all(FILES))}:
        await estate.network.fetch_and_pin(one, lambda: None)
    return cid


async def archived_since(estate: Estate, folder_id: int) -> tuple[str, list[Row]]:
    """Archive a folder, whose uploads are dropped then; return the catalogue's CID, and the files in archives."""
    console, db = estate.console, estate.console.db
    assert await console.packer.packing.work(folder_id) == Done()
    zip_id = int(await db.fetch_value("SELECT zip_id FROM folder_info WHERE folder_id = %s", (folder_id,)))
    assert await console.pinner.pinning.work(zip_id) == Done()
    cid = await published_anew(estate)
    for row in await db.fetch_all("SELECT path FROM file_upload_info WHERE zip_id = %s", (zip_id,)):
        (console.vault.root / row["path"]).unlink()
    return cid, await db.fetch_all(FILES)


async def folder(estate: Estate, folder_id: int) -> tuple[int, int, int, bool]:
    """Return a folder's status, how many files it has, and how many it counts; and whether it is due to be packed."""
    row = await estate.console.db.fetch_one(
        "SELECT status, files, bytes, open_slot, pack_due IS NOT NULL AS due, (SELECT COUNT(*) FROM file_upload_info"
        " WHERE folder_id = folder.folder_id) AS members FROM folder_info AS folder WHERE folder_id = %s",
        (folder_id,),
    )
    assert row is not None
    assert row["status"] == 0 or row["open_slot"] is None
    return row["status"], row["members"], row["files"], bool(row["due"])


async def test_files_that_wait_to_be_packed_are_in_the_archive_that_was_made_since(estate: Estate) -> None:
    console, db = estate.console, estate.console.db
    url = console.environment["ROADVAULT_DATABASE_URL"]
    await published(estate)
    number = await console.file()
    (first,) = await db.fetch_all("SELECT file_id FROM file_upload_info WHERE folder_id = %s", (number,))
    older = await dumps.dump(url)  # the folder is open
    assert await console.file() == number
    cid, archived = await archived_since(estate, number)

    # In the dump's database another file comes into the folder; the first one was set aside, and moved to another.
    await dumps.restore(url, older)
    await console.says("identity", "adopt", "--yes")
    assert await console.file() == number
    (newest,) = await db.fetch_all("SELECT file_id FROM file_upload_info ORDER BY file_id DESC LIMIT 1")
    await db.execute("INSERT INTO set_aside_info (file_id, reason) VALUES (%s, 'it is gone')", (first["file_id"],))
    insert = "INSERT INTO folder_info (status, files, bytes, close_at, pack_due) VALUES (1, 1, 9, NOW(), '2026-01-01')"
    other = await db.transact(lambda tx: tx.insert(insert))
    await db.execute("UPDATE file_upload_info SET folder_id = %s WHERE file_id = %s", (other, first["file_id"]))

    # Whoever packs it keeps it.
    lease = await leases.claim(db, PACK, other, 60)
    assert lease is not None
    code, out, _ = await console.run("recover", "--catalogue-cid", cid)
    assert (code, f"being packed once more at this moment, from folder {other}: stop the packer" in out) == (1, True)
    assert await db.fetch_value("SELECT COUNT(*) FROM set_aside_info") == 1
    await db.execute("UPDATE folder_info SET pack_due = UTC_TIMESTAMP(6) WHERE folder_id = %s", (other,))

    said = await console.says("recover", "--catalogue-cid", cid)
    assert "1 archives recovered, with 2 files" in said
    assert await db.fetch_all(FILES) == archived
    assert await db.fetch_value("SELECT COUNT(*) FROM set_aside_info") == 0
    assert await db.fetch_value("SELECT COUNT(*) FROM left_out_info") == 0
    assert await folder(estate, number) == (2, 2, 2, False)
    assert await folder(estate, other) == (2, 0, 0, False)
    assert (await db.fetch_all("SELECT pack_token FROM folder_info WHERE pack_token IS NOT NULL")) == []
    moved = int(await db.fetch_value("SELECT folder_id FROM file_upload_info WHERE file_id = %s", (newest["file_id"],)))
    assert await folder(estate, moved) == (1, 1, 1, True)
    assert await console.packer.packing.work(moved) == Done()
    assert await console.packer.packing.work(number) is None
    # Rows still name uploads, which go with the archive's.
    zip_id = await db.fetch_value("SELECT zip_id FROM file_upload_info WHERE file_id = %s", (first["file_id"],))
    dropped = "SELECT uploads_dropped_at FROM zip_ipfs_info WHERE zip_id = %s"
    assert await db.fetch_value(dropped, (zip_id,)) is None
    assert "0 things are wrong" in await console.says("verify", "--from", "network", zip_id)
    assert "0 archives recovered, with 0 files; 5 were there" in await console.says("recover", "--catalogue-cid", cid)


async def test_a_file_that_is_another_one_keeps_its_number(estate: Estate) -> None:
    console, db = estate.console, estate.console.db
    url = console.environment["ROADVAULT_DATABASE_URL"]
    await published(estate)
    await console.file()
    number = await console.file()
    older = await dumps.dump(url)
    cid, _ = await archived_since(estate, number)
    await dumps.restore(url, older)
    await console.says("identity", "adopt", "--yes")
    await db.execute("UPDATE file_upload_info SET sha256 = %s WHERE folder_id = %s", ("0" * 64, number))
    before = await db.fetch_all("SELECT * FROM file_upload_info")
    code, out, _ = await console.run("recover", "--catalogue-cid", cid)
    assert (code, "is another one here, which waits to be packed" in out) == (1, True)
    assert await db.fetch_all("SELECT * FROM file_upload_info") == before
    assert await folder(estate, number) == (1, 2, 2, True)


async def shred(estate: Estate, zip_id: int) -> None:
    """Let an archive end, as a person wants it."""
    console, db = estate.console, estate.console.db
    await holding.set_end(db, zip_id, datetime.now(UTC).replace(tzinfo=None) + timedelta(days=1))
    await db.execute(
        "UPDATE retention_info SET ends_at = UTC_TIMESTAMP(6), shred_due = UTC_TIMESTAMP(6) WHERE zip_id = %s",
        (zip_id,),
    )
    assert await console.pinner.shredding.work(zip_id) == Done()


STATES = (
    "SELECT zip_id, status, `key` <> '' AS opens, ends_at FROM zip_ipfs_info LEFT JOIN retention_info USING (zip_id)"
    " WHERE kind = 'archive' ORDER BY zip_id"
)


@pytest.mark.parametrize("by", ["catalogue", "log"])
async def test_what_was_shredded_after_the_dump_is_over_once_a_person_allows_it(estate: Estate, by: str) -> None:
    console, db = estate.console, estate.console.db
    url = console.environment["ROADVAULT_DATABASE_URL"]
    files = await published(estate)
    one, other, kept = sorted({row["zip_id"] for row in files})
    await chainer.chain(db)
    older = await dumps.dump(url)
    await holding.set_end(db, kept, None)
    if by == "catalogue":
        await shred(estate, one)
        await shred(estate, other)
    else:  # a catalogue that was made before the acts, with a log from after them
        lines = [Line(Act.SHREDDED, {"ends": "2026-11-27T00:00:00Z"}, zip_id=zip_id) for zip_id in (one, other)]
        await db.transact(lambda tx: record(tx, *lines))
        await chainer.chain(db)
    cid = await published_anew(estate)

    await dumps.restore(url, older)
    await console.says("identity", "adopt", "--yes")
    await holding.hold(db, "case 7", zip_id=other)
    out = await console.says("recover", "--catalogue-cid", cid)
    for zip_id in (one, other):
        assert f"archive {zip_id} was shredded on" in out
    assert f"archive {kept} was" not in out
    assert [(row["opens"], row["ends_at"] is not None) for row in await db.fetch_all(STATES)] == [
        (1, True),
        (1, True),
        (1, False),
    ]
    # Nothing ends before a person allows it, nor what is on hold; and who keeps one after all has said so for good.
    assert isinstance(await console.pinner.shredding.work(one), Wait)
    assert "was shredded" not in await console.says("recover", "--catalogue-cid", cid)
    if by == "catalogue":
        assert "0 differ, 4 are of archives that have ended" in await console.says(
            "recover", "--rehearse", "--catalogue-cid", cid
        )
    await holding.set_end(db, other, None)
    assert "was shredded" not in await console.says("recover", "--catalogue-cid", cid)
    await console.says("retention", "allow", "--yes")
    assert await console.pinner.shredding.work(one) == Done()
    assert [row["opens"] for row in await db.fetch_all(STATES)] == [0, 1, 1]


async def test_what_was_shredded_does_not_come_back_by_another_way(estate: Estate, tmp_path: Path) -> None:
    console, db = estate.console, estate.console.db
    files = await published(estate)
    last = files[-1]
    old = str(await db.fetch_value("SELECT cid FROM catalogue_info"))
    local = await db.fetch_value("SELECT path FROM zip_ipfs_info WHERE zip_id = %s", (last["zip_id"],))
    copies = {path: (console.vault.root / path).read_bytes() for path in (local, beside(local))}
    await shred(estate, last["zip_id"])
    await chainer.chain(db)
    cid = await published_anew(estate)
    url = console.environment["ROADVAULT_DATABASE_URL"]
    (tmp_path / "cids").write_text(last["cid"])
    for first in ("--catalogue-cid", cid, "--archives"), ("--catalogue-cid", cid, "--cids", tmp_path / "cids"):
        await estate.lose(url)
        for path, content in copies.items():
            (console.vault.root / path).write_bytes(content)
        await console.says("recover", *first)
        for more in ("--cids", tmp_path / "cids"), ("--archives",), ("--catalogue-cid", old):
            assert "has ended: " in await console.says("recover", *more)
            assert [row["zip_id"] for row in await db.fetch_all(FILES)] == [
                row["zip_id"] for row in files if row["zip_id"] != last["zip_id"]
            ]
        assert await db.fetch_value("SELECT COUNT(*) FROM left_out_info") == 0


async def test_what_a_later_catalogue_has_living_comes_back_and_is_over(estate: Estate) -> None:
    """As a dump's database has published it, which the log was brought back into: a person has yet to decide."""
    console, db = estate.console, estate.console.db
    one, two, _ = sorted({row["zip_id"] for row in await published(estate)})
    await db.transact(lambda tx: record(tx, Line(Act.SHREDDED, {}, zip_id=one)))
    await holding.hold(db, "case 7", zip_id=one)
    await holding.set_end(db, two, None)
    await chainer.chain(db)
    cid = await published_anew(estate)
    await estate.lose(console.environment["ROADVAULT_DATABASE_URL"])
    said = await console.says("recover", "--catalogue-cid", cid)
    assert f"by the custody log: archive {one} was shredded on" in said
    states = [(row["zip_id"], row["opens"], row["ends_at"] is not None) for row in await db.fetch_all(STATES)]
    assert states[0] == (one, 1, True)
    assert [row["zip_id"] for row in await holding.holds(db, 9)] == [one]


async def test_the_later_end_holds_of_the_dumps_and_the_catalogues(estate: Estate) -> None:
    """Also where the log lacks the act; unless a person has said otherwise since the catalogue was made."""
    console, db = estate.console, estate.console.db
    url = console.environment["ROADVAULT_DATABASE_URL"]
    one, two, three = sorted({row["zip_id"] for row in await published(estate)})
    near = datetime.now(UTC).replace(tzinfo=None, microsecond=7) + timedelta(days=10)
    for zip_id in (one, two, three):
        await holding.set_end(db, zip_id, near)
    await chainer.chain(db)
    older = await dumps.dump(url)
    await holding.set_end(db, one, near + timedelta(days=1000))
    await holding.set_end(db, two, None)
    await holding.set_end(db, three, near - timedelta(days=5))
    cid = await published_anew(estate)  # these lines have no place in the log yet

    async def ends() -> list[object]:
        return [row["ends_at"] for row in await db.fetch_all(STATES)]

    await dumps.restore(url, older)
    await console.says("identity", "adopt", "--yes")
    said = await console.says("recover", "--catalogue-cid", cid)
    assert f"by the catalogue: archive {one} ends on {near + timedelta(days=1000):%Y-%m-%d %H:%M} UTC" in said
    assert f"by the catalogue: archive {two} ends never" in said
    assert f"archive {three} ends on {near - timedelta(days=5):%Y-%m-%d %H:%M} UTC; here it ends on" in said
    assert await ends() == [near + timedelta(days=1000), None, near]
    for zip_id in (one, two, three):
        await holding.set_end(db, zip_id, near + timedelta(days=1))
    assert "by the catalogue" not in await console.says("recover", "--catalogue-cid", cid)
    assert await ends() == [near + timedelta(days=1)] * 3
