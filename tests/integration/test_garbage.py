"""Where an inner node of a pin has rotted Kubo collects no garbage: that counts against no drop, seen, and mended."""

import os
import time
from collections.abc import Sequence

import pytest
from evidence_rows import prove
from prometheus_client import REGISTRY
from servers_operator import Console
from servers_rot import Rotten, RottenNode, find_block, is_whole

from roadvault_common.errors import IpfsUnavailable, PinBroken
from roadvault_common.ipfs import pins, publishing
from roadvault_common.ipfs.dag import RAW, Cid
from roadvault_common.work.outcome import Done, Wait
from roadvault_pinner.node import garbage
from roadvault_pinner.service import Pinner


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
    assert await console.pinner.pinning.work(rotten.zip_id) == Done()
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


async def test_very_many_broken_pins_are_looked_up_a_thousand_at_a_time(
    rotten: Rotten, monkeypatch: pytest.MonkeyPatch
) -> None:
    own, asked = rotten.console.pinner, list[int]()
    restore_kept = own._store.restore_kept

    async def counted(cids: Sequence[str]) -> bool:
        asked.append(len(cids))
        return await restore_kept(cids)

    async def broken(_: object) -> list[str]:
        return [*(f"bafy{number}" for number in range(2_500)), rotten.cid]

    monkeypatch.setattr(own._store, "restore_kept", counted)
    monkeypatch.setattr(pins, "broken", broken)
    with pytest.raises(PinBroken, match="2501 pins are broken"):
        await own._garbage.see_pins(IpfsUnavailable("garbage collection aborted"))
    assert asked == [1000, 1000, 501]
    assert (await rotten.archive())["restore_due"] is not None


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


async def test_what_reads_leave_is_collected_once_it_is_much_and_what_is_pinned_is_none_of_it(
    console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def read() -> None:
        """Leave 4 MB, as reads from the network do."""
        for block in [os.urandom(1_000_000) for _ in range(4)]:
            await publishing.import_blocks(ipfs, [(Cid.of(RAW, block), block)], pin=False)

    own, ipfs = console.pinner, console.pinner._ipfs
    await own._collect_garbage()
    clean = await ipfs.repository_bytes()
    monkeypatch.setattr(garbage, "_MUCH_BYTES", 6_000_000)
    await own.tidy()
    await read()
    await own.tidy()
    assert await ipfs.repository_bytes() >= clean + 4_000_000  # it is not much
    await read()
    await own.tidy()
    assert await ipfs.repository_bytes() >= clean + 8_000_000  # the last collection was a moment ago
    own._garbage._rests_until = 0
    own._garbage.pinned = 4_000_000  # as if half of it were an archive
    await own.tidy()
    assert await ipfs.repository_bytes() >= clean + 8_000_000
    await read()
    await own.tidy()
    assert await ipfs.repository_bytes() < clean + 1_000_000
    assert own._garbage._rests_until > time.monotonic() + 200
    await own.tidy()
    assert own._garbage.pinned == 0


async def test_an_archive_that_is_copied_or_fetched_back_is_no_garbage(console: Console) -> None:
    zip_id = await console.archive()
    own = console.pinner
    settings = own._settings.model_copy(update={"ipfs_filestore": False})
    copying = Pinner(settings, console.db, console.bus, console.vault, own._keys, own._ipfs)
    assert await copying.pinning.work(zip_id) == Done()
    size = await console.db.fetch_value("SELECT size FROM zip_ipfs_info")
    assert copying._garbage.pinned == size
    await console.db.execute("UPDATE zip_ipfs_info SET restore_due = UTC_TIMESTAMP(6), path = NULL")
    assert await own.restoring.work(zip_id) == Done()
    assert own._garbage.pinned >= size
