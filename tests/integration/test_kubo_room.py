"""Room for what Kubo writes: on the data directory's disk from the account, on one of its own as it tells."""

from pathlib import Path
from tempfile import mkdtemp

import pytest
from servers_operator import Console

from roadvault_common.errors import IpfsDiskFull
from roadvault_common.files.vault import Vault
from roadvault_common.work.outcome import Done, Wait
from roadvault_pinner.config import PinnerSettings
from roadvault_pinner.node.room import KuboRoom
from roadvault_pinner.service import Pinner


def copying(console: Console) -> Pinner:
    """Return a pinner as the console's, whose Kubo copies, and which finds no room but for the way out."""
    own = console.pinner
    values = {**own._settings.model_dump(), "ipfs_filestore": False, "disk_margin_bytes": 1 << 60}
    settings = PinnerSettings.model_validate(values)
    return Pinner(settings, console.db, console.bus, console.vault, own._keys, own._ipfs)


async def test_a_copy_on_our_disk_is_the_way_out_and_what_is_fetched_back_is_not(console: Console) -> None:
    zip_id = await console.archive()
    pinner, copies = copying(console), console.vault.root / "ledger" / "kubo-copies"
    await pinner.room.note_disk()
    assert copies.exists()
    await console.db.execute("UPDATE zip_ipfs_info SET cid = NULL, pin_due = UTC_TIMESTAMP(6)")
    assert await pinner.pinning.work(zip_id) == Done()
    await console.db.execute("UPDATE zip_ipfs_info SET restore_due = UTC_TIMESTAMP(6)")
    outcome = await pinner.restoring.work(zip_id)
    assert isinstance(outcome, Wait)
    assert outcome.reason.startswith("no room for restores: ")
    await console.pinner.room.note_disk()  # the filestore is on again
    assert not copies.exists()


async def test_a_kubo_with_a_disk_of_its_own_has_to_have_room_there(console: Console) -> None:
    elsewhere = Vault(Path(mkdtemp(dir="/dev/shm")))
    pinner = copying(console)
    room = KuboRoom(pinner._ipfs, elsewhere, pinner.ledger, filestore=False)
    await room.note_disk()
    assert not (console.vault.root / "ledger" / "kubo-copies").exists()
    async with room.for_add(1_000_000, 1):  # our own disk has no room but for the way out, and is not asked
        pass
    async with room.for_restore(1_000_000, 1):
        pass
    with pytest.raises(
        IpfsDiskFull, match=r"no room on Kubo's disk for pinning: \d+ bytes are needed, \d+ are free there"
    ):
        async with room.for_add(1 << 60, 1):
            pass
    most = (await pinner._ipfs.disk()).available * 2 // 3
    async with room.for_add(most, 1):  # what another is about to write is not given out twice
        with pytest.raises(IpfsDiskFull, match=r"no room on Kubo's disk for restores: .*; of these \d+ are reserved"):
            async with room.for_restore(most, 2):
                pass
    async with room.for_restore(most, 2):
        pass
    elsewhere.root.rmdir()
