"""Rot in the archive that is kept here does not hide the network's good copies: what has rotted steps aside."""

from collections.abc import Callable

import aiohttp
import pytest
from download_rows import download_row
from evidence_rows import prove
from servers_operator import Console
from servers_retriever import received
from servers_rot import HOW_NODES_ROT, Rotten, RottenNode, find_block, is_whole, spoil

from roadvault_common.errors import IpfsUnavailable, NetworkAway, NoProvider
from roadvault_common.ipfs.dag import Cid, directory
from roadvault_common.ipfs.own_blocks import broken_blocks, has_any
from roadvault_common.ipfs.path import ARCHIVE
from roadvault_common.ipfs.rpc import Ipfs
from roadvault_common.work import backlog, repair
from roadvault_common.work.outcome import Done, Failed, Retry, Wait
from roadvault_common.work.stages import INSPECT
from roadvault_pinner.service import Pinner
from roadvault_stack.kubo import Kubo


async def test_a_request_gets_the_file_from_the_network(rotten: Rotten) -> None:
    download_id = await rotten.ask()
    assert isinstance(await rotten.retriever.fetching.work(download_id), Retry)  # our node reads the same rotten bytes
    async with aiohttp.ClientSession() as http:
        url = f"{rotten.kubo.gateway_url}/ipfs/{rotten.leaf}?format=raw"
        async with http.get(url) as response:
            assert response.status == 500  # and asks nobody
            assert b"data in file did not match" in await response.read()
    before = await received(rotten.kubo)
    assert await rotten.restore() == Done()
    assert await rotten.again(download_id) == Done()
    row = await download_row(rotten.console.db, download_id)
    assert row["source"] == "ipfs"  # what is extracted was compared with the SHA-256 of the upload
    assert 1 << 20 <= await received(rotten.kubo) - before < 2 << 20  # the rotten block, and nothing else
    archive = await rotten.archive()
    assert (archive["restore_due"], archive["restored_at"], archive["path"] is not None) == (None, None, True)
    async with Ipfs.open(rotten.kubo.rpc_url, 30) as ours:
        assert await ours.has_pinned(rotten.cid)
        assert await broken_blocks(ours, rotten.cid, lambda: None) == []


@pytest.mark.parametrize("comes", [True, False])
async def test_garbage_that_is_collected_meanwhile_takes_nothing_that_is_whole(
    rotten: Rotten, monkeypatch: pytest.MonkeyPatch, *, comes: bool
) -> None:
    """Kubo collects by itself, too; and what is asked for may not come for long."""
    assert isinstance(await rotten.retriever.fetching.work(await rotten.ask()), Retry)
    ipfs, fetch = rotten.console.pinner._ipfs, rotten.console.pinner._ipfs.fetch_and_pin

    async def late(cid: str, progress: Callable[[], None]) -> None:
        await ipfs.collect_garbage()
        if not comes:
            raise NoProvider("nothing more comes")
        await fetch(cid, progress)

    monkeypatch.setattr(ipfs, "fetch_and_pin", late)
    before = await received(rotten.kubo)
    assert isinstance(await rotten.restore(), Done if comes else Wait)
    assert await broken_blocks(ipfs, rotten.cid, lambda: None) == ([] if comes else [rotten.leaf])
    assert await received(rotten.kubo) - before < 2 << 20
    await prove(rotten.console.db, rotten.zip_id)
    assert await rotten.console.pinner.dropping.work(rotten.zip_id) == Done()
    assert not await has_any(ipfs, [rotten.cid, rotten.leaf])  # and nothing is kept for ever


@pytest.mark.parametrize("node", ["directory"], indirect=True)
async def test_what_is_whole_below_a_root_that_has_rotted_stays_too(
    rotten: Rotten, node: RottenNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoil(rotten)  # so that it has to come from the network
    node.rot("cut short")
    await rotten.console.db.execute("UPDATE zip_ipfs_info SET restore_due = UTC_TIMESTAMP(6)")
    ipfs = rotten.console.pinner._ipfs

    async def never(*_: object) -> None:
        await ipfs.collect_garbage()
        raise NoProvider("nothing more comes")

    monkeypatch.setattr(ipfs, "fetch_and_pin", never)
    assert isinstance(await rotten.restore(), Wait)
    archive = directory(node.whole)[ARCHIVE]
    assert await broken_blocks(ipfs, str(archive), lambda: None) == [rotten.leaf]
    node.file.parent.mkdir(exist_ok=True)


@pytest.mark.parametrize("node", ["archive"], indirect=True)
async def test_what_the_file_mends_waits_for_no_network(rotten: Rotten, node: RottenNode) -> None:
    node.rot("cut short")
    await rotten.console.db.execute("UPDATE zip_ipfs_info SET restore_due = UTC_TIMESTAMP(6)")
    network = rotten.console.pinner.restoring._breakers[-1]
    for _ in range(5):
        network.open(NetworkAway("our Kubo has no peer"))
    assert await rotten.restore() == Done()
    assert await rotten.console.pinner.pinning.work(rotten.zip_id) == Done()
    assert await is_whole(rotten)


async def test_what_has_to_come_from_a_network_that_is_away_waits_uncounted(rotten: Rotten) -> None:
    network = rotten.console.pinner.restoring._breakers[-1]
    for _ in range(5):
        network.open(NetworkAway("our Kubo has no peer"))
    for path in ("path", "NULL"):
        await rotten.console.db.execute(
            f"UPDATE zip_ipfs_info SET path = {path}, restore_due = UTC_TIMESTAMP(6)"  # noqa: S608 - as above
        )
        outcome = await rotten.restore()
        assert isinstance(outcome, Wait)
        assert outcome.reason == "our Kubo has no peer"
        assert (await rotten.archive())["restore_attempts"] == 0
    assert await rotten.console.pinner._ipfs.has_pinned(rotten.cid)


async def test_what_the_network_is_not_known_to_hold_stays_as_it_is(rotten: Rotten) -> None:
    await rotten.console.db.execute("UPDATE zip_ipfs_info SET replicas = 0")
    assert isinstance(await rotten.retriever.fetching.work(await rotten.ask()), Retry)
    outcome = await rotten.restore()
    assert isinstance(outcome, Wait)  # it was recovered, and nobody has asked the market yet
    await rotten.console.db.execute("UPDATE zip_ipfs_info SET checked_at = UTC_TIMESTAMP(6), restore_due = checked_at")
    outcome = await rotten.restore()
    assert isinstance(outcome, Failed)
    assert "1 blocks of the archive have rotted here, or are gone, and" in outcome.reason
    async with Ipfs.open(rotten.kubo.rpc_url, 30) as ours:
        assert await ours.has_pinned(rotten.cid)
        assert await broken_blocks(ours, rotten.cid, lambda: None) == [rotten.leaf]


async def test_to_pin_it_again_mends_it_too(rotten: Rotten) -> None:
    assert await repair.pin_again(rotten.console.db, rotten.zip_id)
    assert await rotten.console.pinner.pinning.work(rotten.zip_id) == Done()
    assert await rotten.restore() == Done()
    async with Ipfs.open(rotten.kubo.rpc_url, 30) as ours:
        assert await broken_blocks(ours, rotten.cid, lambda: None) == []


async def test_a_pinner_that_was_killed_in_between_is_gone_on_with(rotten: Rotten) -> None:
    async with Ipfs.open(rotten.kubo.rpc_url, 30) as ours:
        await ours.unpin(rotten.cid)
        assert isinstance(await rotten.retriever.fetching.work(await rotten.ask()), Retry)
        assert await rotten.restore() == Done()
        assert await ours.has_pinned(rotten.cid)


async def test_an_archive_that_is_gone_from_the_disk_is_fetched(rotten: Rotten) -> None:
    rotten.archive_file.unlink()
    async with Ipfs.open(rotten.kubo.rpc_url, 30) as ours:
        assert len(await broken_blocks(ours, rotten.cid, lambda: None)) == 6
    download_id = await rotten.ask()
    assert isinstance(await rotten.retriever.fetching.work(download_id), Retry)
    assert await rotten.restore() == Done()
    assert await rotten.again(download_id) == Done()


async def test_what_has_rotted_in_the_nodes_own_store_steps_aside_too(rotten: Rotten) -> None:
    rotten.archive_file.unlink()
    await rotten.console.db.execute(
        "UPDATE zip_ipfs_info SET path = NULL, restored_at = UTC_TIMESTAMP(6), restore_due = UTC_TIMESTAMP(6)"
    )
    assert await rotten.restore() == Done()  # all of its blocks are in the node's own store now
    (block,) = (path for path in (rotten.kubo.home / "blocks").rglob("*.data") if rotten.is_leaf(path.read_bytes()))
    block.write_bytes(b"rot" + block.read_bytes()[3:])
    download_id = await rotten.ask()
    outcome = await rotten.retriever.fetching.work(download_id)
    assert isinstance(outcome, Retry)
    assert "is not what its CID" in outcome.reason
    assert await rotten.restore() == Done()
    assert await rotten.again(download_id) == Done()


async def test_an_archive_that_was_dropped_meanwhile_is_not_fetched_back(rotten: Rotten) -> None:
    wanted = await rotten.retriever._store.wanted(await rotten.ask())
    await rotten.console.db.execute("UPDATE zip_ipfs_info SET path = NULL")
    await rotten.retriever._store.mend(wanted.zip_id)
    assert (await rotten.archive())["restore_due"] is None


async def test_without_room_for_what_is_to_be_fetched_nothing_is_let_go(rotten: Rotten) -> None:
    own = rotten.console.pinner
    settings = own._settings.model_copy(update={"disk_margin_bytes": 1 << 60})
    pinner = Pinner(settings, rotten.console.db, rotten.console.bus, rotten.console.vault, own._keys, own._ipfs)
    assert isinstance(await rotten.retriever.fetching.work(await rotten.ask()), Retry)
    outcome = await pinner.restoring.work(rotten.zip_id)
    assert isinstance(outcome, Wait)
    assert outcome.after is None  # not in a moment: all of it was read to find what has rotted
    assert outcome.reason.startswith(f"no room for restores: {(2 << 20) + (1 << 14)} bytes are needed")  # for one leaf
    assert await own._ipfs.has_pinned(rotten.cid)


@pytest.mark.parametrize("how", [*HOW_NODES_ROT, "gone"])
async def test_an_inner_node_that_has_rotted_steps_aside_like_a_leaf(
    rotten: Rotten, node: RottenNode, how: str
) -> None:
    download_id = await rotten.ask()
    node.rot(how)
    rotten.archive_file.rename(rotten.archive_file.with_name("away"))  # so that our node is asked
    assert isinstance(await rotten.retriever.fetching.work(download_id), Retry)
    rotten.archive_file.with_name("away").rename(rotten.archive_file)
    before = await received(rotten.kubo)
    assert await rotten.restore() == Done()
    if how != "gone":  # that came with the request, since our node knew that it lacked it
        assert await rotten.console.pinner.pinning.work(rotten.zip_id) == Done()
    assert await received(rotten.kubo) - before < 1 << 16  # it is made anew from the file, which is whole
    assert await rotten.again(download_id) == Done()
    assert await is_whole(rotten)


@pytest.mark.parametrize("how", [*HOW_NODES_ROT, "gone"])
async def test_an_inner_node_of_the_only_copy_is_made_anew_from_the_file(
    rotten: Rotten, node: RottenNode, how: str
) -> None:
    await rotten.console.db.execute("UPDATE zip_ipfs_info SET replicas = 0, restore_due = UTC_TIMESTAMP(6)")
    node.rot(how)
    assert await rotten.restore() == Done()
    assert await rotten.console.pinner.pinning.work(rotten.zip_id) == Done()
    assert await is_whole(rotten)
    row = await rotten.archive()
    assert (row["restore_due"], row["restored_at"], row["path"] is not None) == (None, None, True)


@pytest.mark.parametrize("node", ["archive"], indirect=True)
async def test_of_an_only_copy_that_is_not_whole_nothing_steps_aside(rotten: Rotten, node: RottenNode) -> None:
    await rotten.console.db.execute(
        "UPDATE zip_ipfs_info SET replicas = 0, checked_at = UTC_TIMESTAMP(6), restore_due = UTC_TIMESTAMP(6)"
    )
    node.rot("cut short")
    spoil(rotten)
    assert isinstance(await rotten.restore(), Failed)
    assert await rotten.console.pinner._ipfs.has_pinned(rotten.cid)


@pytest.mark.parametrize("node", ["archive"], indirect=True)
async def test_rot_below_an_inner_node_that_has_rotted_is_found_next(rotten: Rotten, node: RottenNode) -> None:
    await rotten.console.db.execute("UPDATE zip_ipfs_info SET restore_due = UTC_TIMESTAMP(6)")
    node.rot("cut short")
    spoil(rotten)
    assert isinstance(await rotten.restore(), Retry)  # Kubo reads what it pins
    await rotten.console.db.execute("UPDATE zip_ipfs_info SET restore_due = UTC_TIMESTAMP(6)")
    assert await rotten.restore() == Done()
    assert await is_whole(rotten)


@pytest.mark.parametrize("node", ["directory"], indirect=True)
async def test_a_root_a_node_below_it_and_a_leaf_are_mended_one_after_the_other(
    rotten: Rotten, node: RottenNode
) -> None:
    spoil(rotten)
    below = find_block(rotten.kubo, directory(node.whole)[ARCHIVE])
    below.write_bytes(below.read_bytes()[:-20])
    node.rot("cut short")
    outcomes = []
    for _ in range(3):
        await rotten.console.db.execute("UPDATE zip_ipfs_info SET restore_due = UTC_TIMESTAMP(6)")
        outcomes.append(type(await rotten.restore()))
    assert outcomes == [Retry, Retry, Done]  # Kubo reads what it pins
    assert await is_whole(rotten)


@pytest.mark.parametrize("how", HOW_NODES_ROT)
async def test_to_pin_it_again_mends_inner_nodes_too(rotten: Rotten, node: RottenNode, how: str) -> None:
    node.rot(how)
    assert await repair.pin_again(rotten.console.db, rotten.zip_id)
    assert await rotten.console.pinner.pinning.work(rotten.zip_id) == Done()
    row = await rotten.archive()
    if row["restore_due"] is not None:
        assert await rotten.restore() == Done()
        assert await rotten.console.pinner.pinning.work(rotten.zip_id) == Done()  # from the file, which is whole
    else:  # where Kubo saw nothing amiss
        assert await backlog.due_rows(rotten.console.db, INSPECT, 10) == [rotten.zip_id]
        node.file.write_bytes(node.whole)
    assert await is_whole(rotten)


async def test_what_our_node_has_lost_of_an_only_copy_is_made_anew_from_the_file(console: Console, kubo: Kubo) -> None:
    zip_id = await console.archive()
    assert await console.pinner.pinning.work(zip_id) == Done()
    row = await console.db.fetch_one("SELECT cid FROM zip_ipfs_info")
    assert row is not None
    find_block(kubo, Cid.parse(row["cid"])).unlink()  # it is pinned, and would be looked for on the network
    await console.db.execute("UPDATE zip_ipfs_info SET restore_due = UTC_TIMESTAMP(6)")
    assert await console.pinner.restoring.work(zip_id) == Done()
    assert await console.pinner.pinning.work(zip_id) == Done()
    async with Ipfs.open(kubo.rpc_url, 30) as ours:
        assert await broken_blocks(ours, row["cid"], lambda: None) == []


async def test_what_is_left_of_an_only_copy_stays_pinned(rotten: Rotten, kubo: Kubo) -> None:
    rotten.archive_file.unlink()
    await rotten.console.db.execute(
        "UPDATE zip_ipfs_info SET path = NULL, restored_at = UTC_TIMESTAMP(6), restore_due = UTC_TIMESTAMP(6)"
    )
    assert await rotten.restore() == Done()
    await rotten.console.db.execute(
        "UPDATE zip_ipfs_info SET replicas = 0, checked_at = UTC_TIMESTAMP(6), restore_due = checked_at"
    )
    find_block(kubo, Cid.parse(rotten.leaf)).unlink()
    assert isinstance(await rotten.restore(), Failed)
    assert await rotten.console.pinner._ipfs.has_pinned(rotten.cid)


async def test_what_kubo_refuses_to_take_again_counts_though_it_lacks_it(
    rotten: Rotten, kubo: Kubo, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoil(rotten)
    ipfs = rotten.console.pinner._ipfs
    await ipfs.unpin(rotten.cid)
    find_block(kubo, Cid.parse(rotten.cid)).unlink()

    async def refuses(*_: object) -> str:
        raise IpfsUnavailable("Kubo's add: filestore is not enabled")

    monkeypatch.setattr(ipfs, "add_directory", refuses)
    assert await repair.pin_again(rotten.console.db, rotten.zip_id)
    assert isinstance(await rotten.console.pinner.pinning.work(rotten.zip_id), Retry)
