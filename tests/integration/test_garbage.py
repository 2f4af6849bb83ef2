"""Where an inner node of a pin has rotted Kubo collects no garbage: that counts against no drop, seen, and mended."""

import pytest
from evidence_rows import prove
from prometheus_client import REGISTRY
from servers_rot import Rotten, RottenNode, find_block, is_whole

from roadvault_common.errors import IpfsUnavailable
from roadvault_common.ipfs.dag import Cid
from roadvault_common.work.outcome import Done, Wait


def shown() -> tuple[bool, float | None]:
    """Return whether garbage stays, and how many pins are broken."""
    stays = REGISTRY.get_sample_value("roadvault_garbage_stays_seconds")
    return bool(stays), REGISTRY.get_sample_value("roadvault_pins_broken")


@pytest.mark.parametrize("node", ["archive"], indirect=True)
@pytest.mark.parametrize("how", ["cut short", "unreadable"])
async def test_rot_in_another_archive_holds_up_a_drop_until_it_is_mended(
    rotten: Rotten, node: RottenNode, how: str
) -> None:
    console = rotten.console
    zip_id = await console.archive()
    assert await console.pinner.pinning.work(zip_id) == Done()
    await prove(console.db, zip_id)
    node.rot(how)
    outcome = await console.pinner.dropping.work(zip_id)
    assert isinstance(outcome, Wait)
    assert outcome.reason.startswith(f"1 pins are broken, the first is {rotten.cid}: Kubo's repo/gc: could not retrie")
    assert shown() == (True, 1)
    row = await console.db.fetch_one("SELECT drop_attempts, path FROM zip_ipfs_info WHERE zip_id = %s", (zip_id,))
    assert row is not None
    assert (row["drop_attempts"], row["path"] is not None) == (0, True)
    assert (await rotten.archive())["restore_due"] is not None
    assert await rotten.restore() == Done()
    assert await is_whole(rotten)
    await console.db.execute("UPDATE zip_ipfs_info SET drop_due = UTC_TIMESTAMP(6) WHERE zip_id = %s", (zip_id,))
    assert await console.pinner.dropping.work(zip_id) == Done()
    assert shown() == (False, 0)


@pytest.mark.parametrize("node", ["archive"], indirect=True)
async def test_a_pin_that_is_no_archive_of_ours_is_told_of(rotten: Rotten, node: RottenNode) -> None:
    await rotten.console.db.execute("UPDATE zip_ipfs_info SET cid = 'another'")
    node.rot("cut short")
    with pytest.raises(IpfsUnavailable, match="1 pins are broken"):
        await rotten.console.pinner._collect_garbage()
    assert shown() == (True, 1)
    assert (await rotten.archive())["restore_due"] is None
    node.file.write_bytes(node.whole)
    await rotten.console.pinner._collect_garbage()
    assert shown() == (False, 0)


async def test_rot_in_one_archive_holds_up_the_mending_of_another_until_it_is_mended_itself(rotten: Rotten) -> None:
    console = rotten.console
    zip_id = await console.archive()
    assert await console.pinner.pinning.work(zip_id) == Done()
    other = await console.db.fetch_one("SELECT cid FROM zip_ipfs_info WHERE zip_id = %s", (zip_id,))
    assert other is not None
    file = find_block(rotten.kubo, Cid.parse(other["cid"]))
    file.write_bytes(file.read_bytes()[:-20])
    await console.db.execute(
        "UPDATE zip_ipfs_info SET restore_due = UTC_TIMESTAMP(6) WHERE zip_id = %s", (rotten.zip_id,)
    )
    outcome = await rotten.restore()
    assert isinstance(outcome, Wait)
    assert outcome.reason.startswith(f"1 pins are broken, the first is {other['cid']}: Kubo's block/rm: pin check fail")
    assert await console.pinner.restoring.work(zip_id) == Done()
    assert await console.pinner.pinning.work(zip_id) == Done()  # from the file: nobody else has it
    await console.db.execute(
        "UPDATE zip_ipfs_info SET restore_due = UTC_TIMESTAMP(6) WHERE zip_id = %s", (rotten.zip_id,)
    )
    assert await rotten.restore() == Done()
    assert await is_whole(rotten)
