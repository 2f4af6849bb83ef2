"""An archive that rots on the disk before it is pinned is packed once more from its uploads."""

import pytest
from servers_operator import Console

from roadvault_common.archive.local import beside
from roadvault_common.errors import LeaseLost
from roadvault_common.sql.db import Row
from roadvault_common.work import lease as leases
from roadvault_common.work.outcome import Done, Failed
from roadvault_common.work.stages import PIN
from roadvault_pinner.store import PinnerStore


async def row_of(console: Console, zip_id: int) -> Row | None:
    return await console.db.fetch_one("SELECT * FROM zip_ipfs_info WHERE zip_id = %s", (zip_id,))


async def everything(console: Console) -> list[list[Row]]:
    tables = ("folder_info", "file_upload_info", "zip_ipfs_info")
    return [await console.db.fetch_all(f"SELECT * FROM {table}") for table in tables]  # noqa: S608 - constants


async def rotten(console: Console) -> int:
    """Pack an archive, damage its first file on the disk, and fail to pin it."""
    zip_id = await console.archive()
    row = await row_of(console, zip_id)
    assert row is not None
    path = console.vault.root / row["path"]
    content = bytearray(path.read_bytes())
    content[1000] ^= 1
    path.write_bytes(content)
    outcome = await console.pinner.pinning.work(zip_id)
    assert isinstance(outcome, Failed)
    assert "does not have the SHA-256 of its row" in outcome.reason
    return zip_id


async def test_an_archive_that_rotted_is_packed_again_and_pinned(console: Console) -> None:
    zip_id = await rotten(console)
    old = await row_of(console, zip_id)
    assert old is not None
    out = await console.says("pack-again", zip_id)
    assert f"archive {zip_id} was given up; folder {old['folder_id']} is due to be packed again: 2 uploads" in out
    files = await console.db.fetch_all("SELECT zip_id, zip_offset, status, path IS NULL AS gone FROM file_upload_info")
    assert files == [{"zip_id": None, "zip_offset": None, "status": 0, "gone": 0}] * 2
    assert "there is no archive" in await console.refuses("pack-again", zip_id)

    assert await console.packer.packing.work(old["folder_id"]) == Done()
    folder = await console.db.fetch_one("SELECT status, zip_id FROM folder_info")
    assert folder is not None
    assert (folder["status"], folder["zip_id"] > zip_id) == (2, True)
    new = await row_of(console, folder["zip_id"])
    assert new is not None
    assert (new["key"] != old["key"], new["path"] != old["path"]) == (True, True)
    assert await console.pinner.pinning.work(new["zip_id"]) == Done()
    assert "1 checked, 0 have no copy there, 0 things are wrong" in await console.says("verify", "--all")
    console.packer._sweeper._settings.orphan_hours = 1e-12
    for _ in range(2):
        await console.packer.sweep_orphans()
    archives = {path.name for path in (console.vault.root / "archives").iterdir()}
    assert archives == {new["zip_name"], beside(new["zip_name"])}
    labels = await console.db.fetch_all("SELECT zip_id FROM label_info")
    assert labels == [{"zip_id": new["zip_id"]}]
    assert "is on IPFS" in await console.refuses("pack-again", new["zip_id"])


async def test_an_archive_that_may_hold_the_only_good_copy_stays(console: Console) -> None:
    zip_id = await rotten(console)
    row = await console.db.fetch_one("SELECT file_id, path FROM file_upload_info ORDER BY file_id DESC LIMIT 1")
    assert row is not None
    upload = console.vault.root / row["path"]
    content = upload.read_bytes()
    before = await everything(console)
    for damage in (lambda: upload.write_bytes(b"rot" + content[3:]), upload.unlink):
        damage()
        code, out, errors = await console.run("pack-again", zip_id)
        assert (code, f"upload of file {row['file_id']}" in out) == (1, True)
        assert f"1 uploads of archive {zip_id} are not whole; nothing was changed" in errors
    upload.write_bytes(content)
    await console.db.execute("UPDATE file_upload_info SET path = NULL WHERE file_id = %s", (row["file_id"],))
    assert "are kept any more" in await console.refuses("pack-again", zip_id)
    await console.db.execute("UPDATE file_upload_info SET path = %s WHERE file_id = %s", (row["path"], row["file_id"]))
    del console.environment["ROADVAULT_DATA_DIR"]
    assert "ROADVAULT_DATA_DIR is not set" in await console.refuses("pack-again", zip_id)
    after = await everything(console)
    for rows in (*before, *after):
        for one in rows:
            del one["update_time"]
    assert after == before


async def test_nobody_works_on_an_archive_that_is_given_up(console: Console) -> None:
    zip_id = await console.archive()
    lease = await leases.claim(console.db, PIN, zip_id, 600)
    assert lease is not None
    assert f"archive {zip_id} is worked on right now" in await console.refuses("pack-again", zip_id)
    await console.db.execute("UPDATE zip_ipfs_info SET pin_due = UTC_TIMESTAMP(6)")  # the lease ran out
    await console.says("pack-again", zip_id)
    with pytest.raises(LeaseLost):
        await PinnerStore(console.db).close_pinned(lease, "a CID", 1, inspect_in=60)
