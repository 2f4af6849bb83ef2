"""Inspections of what is kept here: rot is found before the copy is needed, and steps aside for the network's."""

import pytest
from servers_operator import Console
from servers_rot import find_block

from roadvault_common.events.kinds import DEAD_LETTERS
from roadvault_common.ipfs.dag import Cid
from roadvault_common.ipfs.rpc import CHUNK_BYTES, Ipfs
from roadvault_common.sql.db import Row
from roadvault_common.work import backlog
from roadvault_common.work.outcome import Done, Outcome, Wait
from roadvault_common.work.stages import INSPECT, RESTORE
from roadvault_pinner.copies.inspecting import Inspector
from roadvault_stack.kubo import Kubo


class Kept:
    """An archive that is kept, and who inspects it."""

    def __init__(self, console: Console, zip_id: int) -> None:
        self.console = console
        self.zip_id = zip_id
        self.filestore(on=True)

    def filestore(self, *, on: bool) -> None:
        pinner, bus, db = self.console.pinner, self.console.bus, self.console.db
        settings = pinner._settings.model_copy(update={"ipfs_filestore": on})
        vault, keys, ipfs = pinner._vault, pinner._keys, pinner._ipfs
        self.inspector = Inspector(settings, db, bus, vault, keys, ipfs, pinner.node, lambda: None)

    async def inspect(self) -> Outcome | None:
        await self.console.db.execute("UPDATE zip_ipfs_info SET inspect_due = UTC_TIMESTAMP(6)")
        return await self.inspector.inspecting.work(self.zip_id)

    async def row(self) -> Row:
        row = await self.console.db.fetch_one("SELECT * FROM zip_ipfs_info WHERE zip_id = %s", (self.zip_id,))
        assert row is not None
        return row

    async def found(self) -> tuple[int, str | None]:
        """How the last inspection ended, and what stands there as its reason: words, and their code."""
        row = await self.console.db.fetch_one("SELECT * FROM audit_info WHERE place = 'local'")
        assert row is not None
        return row["sound"], row["reason"]

    async def letters(self) -> int:
        return int(await self.console.bus._redis.xlen(DEAD_LETTERS))


@pytest.fixture
async def kept(console: Console) -> Kept:
    zip_id = await console.archive()
    assert await console.pinner.pinning.work(zip_id) == Done()
    return Kept(console, zip_id)


async def test_what_is_kept_is_inspected_within_a_month(kept: Kept) -> None:
    for again in (True, False):
        assert await kept.found() == (1, None)
        seconds = await backlog.seconds_to_next(kept.console.db, INSPECT)
        assert seconds is not None
        assert 23 * 86_400 < seconds <= 30 * 86_400
        if again:
            assert await kept.inspect() == Done()


async def test_rot_is_found_and_mended_from_the_network(kept: Kept, network_kubo: Kubo) -> None:
    row = await kept.row()
    async with Ipfs.open(network_kubo.rpc_url, 60) as network:
        await network.fetch_and_pin(row["cid"], lambda: None)
    await kept.console.db.execute("UPDATE zip_ipfs_info SET replicas = 3")
    with kept.console.vault.path(row["path"]).open("r+b") as file:
        file.seek(100)
        file.write(b"rotten")
    blocks = -(-row["size"] // CHUNK_BYTES)
    for _ in range(2):
        assert await kept.inspect() == Done()
        sound, reason = await kept.found()
        words = f"of {blocks} blocks in our IPFS node 1 are not whole, or not there"
        assert (sound, reason) == (0, f"{words} [blocks_broken blocks=1 of={blocks}]")
        assert await backlog.due_rows(kept.console.db, RESTORE, 10) == [kept.zip_id]
        assert await kept.letters() == 1
        await kept.console.db.execute("UPDATE zip_ipfs_info SET restore_due = NULL")
    await kept.console.db.execute("UPDATE zip_ipfs_info SET restore_due = UTC_TIMESTAMP(6)")
    assert await kept.console.pinner.restoring.work(kept.zip_id) == Done()
    assert await backlog.due_rows(kept.console.db, INSPECT, 10) == [kept.zip_id]
    assert await kept.inspector.inspecting.work(kept.zip_id) == Done()
    assert await kept.found() == (1, None)
    kept.filestore(on=False)  # where Kubo has a copy of its own, the file is read, too
    assert await kept.inspect() == Done()
    sound, reason = await kept.found()
    assert (sound, str(reason).partition("does not have the SHA-256 of its row")[2]) == (0, " [damaged]")


async def test_what_our_node_has_lost_is_found(kept: Kept) -> None:
    cid = (await kept.row())["cid"]
    await kept.console.pinner._ipfs.unpin(cid)
    assert await kept.inspect() == Done()
    assert await kept.found() == (0, "our IPFS node does not pin it any more [not_pinned]")
    await kept.console.pinner._ipfs.collect_garbage()
    assert await kept.console.pinner.restoring.work(kept.zip_id) == Done()
    assert await kept.console.pinner.pinning.work(kept.zip_id) == Done()  # from the file: nobody else has it
    assert await kept.inspector.inspecting.work(kept.zip_id) == Done()
    assert await kept.found() == (1, None)


async def test_rot_in_a_node_above_the_leaves_is_found(kept: Kept, kubo: Kubo) -> None:
    file = find_block(kubo, Cid.parse((await kept.row())["cid"]))
    whole = file.read_bytes()
    file.write_bytes(whole[:-20])
    assert await kept.inspect() == Done()
    words = "of 1 blocks in our IPFS node 1 are not whole, or not there"
    assert await kept.found() == (0, f"{words} [blocks_broken blocks=1 of=1]")
    assert await backlog.due_rows(kept.console.db, RESTORE, 10) == [kept.zip_id]
    file.write_bytes(whole)


async def test_of_what_another_stage_works_on_nothing_is_found(kept: Kept) -> None:
    await kept.console.pinner._ipfs.unpin((await kept.row())["cid"])  # as a drop does first
    await kept.console.db.execute("UPDATE zip_ipfs_info SET drop_token = 'x', drop_due = UTC_TIMESTAMP(6)")
    assert isinstance(await kept.inspect(), Wait)
    assert (await kept.found(), (await kept.row())["restore_due"]) == ((1, None), None)


async def test_what_has_left_here_is_not_inspected_any_more(kept: Kept) -> None:
    await kept.console.db.execute("UPDATE zip_ipfs_info SET path = NULL, dropped_at = UTC_TIMESTAMP(6)")
    assert await kept.inspect() == Done()
    assert (await kept.row())["inspect_due"] is None
