"""A rehearsal compares all that a recovery brings back with what there is, not files alone."""

from dataclasses import replace
from pathlib import Path

from pydantic import SecretStr
from servers_estate import Estate, published

from roadvault_common.archive.crypto import MasterKeys
from roadvault_common.custody import chainer
from roadvault_common.retention import holding
from roadvault_packer.config import PackerSettings
from roadvault_packer.service import Packer


async def test_a_rehearsal_compares_times_ends_purchases_and_holds(estate: Estate, tmp_path: Path) -> None:
    console, db, ring = estate.console, estate.console.db, tmp_path / "roadvault.keyring"
    settings = PackerSettings.model_validate({**console.settings, "retention_days": 400, "keyring_paths": str(ring)})
    keys = MasterKeys(SecretStr(console.environment["ROADVAULT_MASTER_KEYS"]))
    estate.console = replace(console, packer=Packer(settings, db, console.bus, console.vault, keys))
    before = await published(estate)
    sealed = len([row for row in before if row["zip_id"] == before[-1]["zip_id"]])
    one, two, *_ = sorted({row["zip_id"] for row in before})
    await db.execute(
        "INSERT INTO order_info (zip_id, term, account, market, in_flight, status, cid, declared_size, nonce,"
        " era_birth, era_death, extrinsic_hash, extrinsic, price, block, settled_at)"
        " SELECT zip_id, 2, '5F', '0xa', NULL, 1, cid, 1, 0, 0, 0, SHA2(cid, 256), '0xb', 5, 77, create_time"
        " FROM zip_ipfs_info WHERE zip_id = %s",
        (one,),
    )
    await holding.hold(db, "case 7", zip_id=two)
    await holding.hold(db, "case 8", file_id=before[0]["file_id"])
    await chainer.chain(db)
    await db.execute("UPDATE zip_ipfs_info SET catalogued = NULL")
    await db.execute("UPDATE catalogue_info SET publish_due = UTC_TIMESTAMP(6), ordered_at = NULL")
    await console.pinner.publishing.work(1)

    code, out, _ = await console.run("recover", "--rehearse")
    assert (code, out.count("not recovered: ")) == (1, 1)
    assert f"rehearsed: {len(before) - sealed} files would come back as they are" in out
    assert f"{sealed} files are of archives that have an end, and need --keyring" in out
    rehearse = ("recover", "--rehearse", "--keyring", ring)
    said = await console.says(*rehearse)
    assert (
        f"rehearsed: {len(before)} files would come back as they are, 0 are newer than the catalogue, 0 differ" in said
    )
    assert "3 archives would have their times, ends and purchases, and 2 holds be in force; 0 of these have ch" in said

    await holding.release(db, 2, "over")
    await holding.hold(db, "case 9", zip_id=one)
    await holding.set_end(db, before[-1]["zip_id"], None)
    await db.execute("UPDATE order_info SET settled_at = UTC_TIMESTAMP(6), price = 6")
    assert "3 archives would have their times, ends and purchases, and 1 holds be in force; 4 of these have ch" in (
        await console.says(*rehearse)
    )
    await db.execute("UPDATE order_info SET settled_at = create_time")
    await db.execute("UPDATE hold_info SET reason = IF(hold_id = 1, 'changed', reason), create_time = '2026-01-01'")
    await db.execute("UPDATE hold_info SET released_at = create_time WHERE hold_id = 2")
    await db.execute("DELETE FROM custody_info WHERE act = 'end moved'")
    await db.execute("UPDATE zip_ipfs_info SET create_time = '2026-01-01' WHERE zip_id = %s", (two,))
    last = before[-1]["file_id"]
    await db.execute("UPDATE file_upload_info SET create_time = '2026-01-01' WHERE file_id = %s", (last,))
    code, out, _ = await console.run(*rehearse)
    assert code == 1
    for told in (
        f"file {last}: received is ",
        f"archive {one}: price is 5, not 6",
        f"archive {two}: recorded is ",
        f"archive {before[-1]['zip_id']}: ends is ",
        "hold 1: reason is case 7, not changed",
        "hold 2, 'case 8', was released, and comes back",
        "hold 3, 'case 9', is missing",
    ):
        assert f"differs: {told}" in out, (told, out)
    assert "7 differ" in out
    await estate.lose(console.environment["ROADVAULT_DATABASE_URL"])
