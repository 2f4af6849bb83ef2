"""Rot in the archive that is kept here does not hide the network's good copies: what has rotted steps aside."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

import aiohttp
import pytest
from download_rows import download_row
from servers_operator import Console

from roadvault_common.archive.crypto import MasterKeys
from roadvault_common.ipfs.dag import Cid
from roadvault_common.ipfs.own_blocks import broken_leaves
from roadvault_common.ipfs.reading import Reader
from roadvault_common.ipfs.rpc import Ipfs
from roadvault_common.sql.db import Row
from roadvault_common.web.callback_url import read
from roadvault_common.work import repair
from roadvault_common.work.outcome import Done, Failed, Retry, Wait
from roadvault_ingest.store import IngestStore, Most
from roadvault_pinner.service import Pinner
from roadvault_retriever.config import RetrieverSettings
from roadvault_retriever.service import Retriever
from roadvault_stack.kubo import Kubo


@dataclass
class Rotten:
    """An archive on our node and on the network's, of which a leaf has rotted here."""

    console: Console
    retriever: Retriever
    kubo: Kubo
    zip_id: int
    cid: str
    file: Row
    """A file that lies in the leaf."""
    leaf: str

    async def ask(self) -> int:
        url = read("https://c/rot")
        asked = await IngestStore(self.console.db).request_download(self.file["file_id"], url, "192.0.2.1", Most(9, 9))
        assert asked is not None
        return asked

    async def again(self, download_id: int) -> object:
        await self.console.db.execute("UPDATE download_info SET fetch_due = UTC_TIMESTAMP(6)")
        return await self.retriever.fetching.work(download_id)

    async def restore(self) -> object:
        return await self.console.pinner.restoring.work(self.zip_id)

    def is_leaf(self, block: bytes) -> bool:
        return Cid.parse(self.leaf).fits(block)

    async def archive(self) -> Row:
        row = await self.console.db.fetch_one("SELECT * FROM zip_ipfs_info WHERE zip_id = %s", (self.zip_id,))
        assert row is not None
        return row


@pytest.fixture
async def rotten(console: Console, kubo: Kubo, network_kubo: Kubo) -> AsyncIterator[Rotten]:
    await console.file(3_000_000)
    folder_id = await console.file(3_000_001)
    assert await console.packer.packing.work(folder_id) == Done()
    row = await console.db.fetch_one("SELECT zip_id, path FROM zip_ipfs_info")
    assert row is not None
    assert await console.pinner.pinning.work(row["zip_id"]) == Done()
    assert await console.pinner.dropping.work(row["zip_id"]) == Done()  # the uploads go, the archive stays
    cid = (await console.db.fetch_all("SELECT cid FROM zip_ipfs_info"))[0]["cid"]
    async with Ipfs.open(network_kubo.rpc_url, 60) as network:
        await network.fetch_and_pin(cid, lambda: None)
    await console.db.execute("UPDATE zip_ipfs_info SET replicas = 3")
    (file, _) = await console.db.fetch_all("SELECT * FROM file_upload_info ORDER BY file_id")
    path = console.vault.path(row["path"])
    content = bytearray(path.read_bytes())
    content[file["zip_offset"] + 2_000_000] ^= 1
    path.write_bytes(content)
    settings = RetrieverSettings.model_validate({**console.settings, "disk_margin_bytes": 0})
    async with Reader.open(kubo.gateway_url, 20) as reader:
        keys = MasterKeys(settings.master_keys)
        retriever = Retriever(settings, console.db, console.bus, console.vault, keys, reader)
        async with Ipfs.open(kubo.rpc_url, 30) as ours:
            (leaf,) = await broken_leaves(ours, cid, lambda: None)
        yield Rotten(console, retriever, kubo, row["zip_id"], cid, file, leaf)
    async with Ipfs.open(network_kubo.rpc_url, 60) as network:
        await network.unpin(cid)


async def received(kubo: Kubo) -> int:
    """Return how many bytes a node has had from others."""
    async with aiohttp.ClientSession() as http, http.post(f"{kubo.rpc_url}/api/v0/stats/bitswap") as response:
        return int((await response.json())["DataReceived"])


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
        assert await broken_leaves(ours, rotten.cid, lambda: None) == []


async def test_what_the_network_is_not_known_to_hold_stays_as_it_is(rotten: Rotten) -> None:
    await rotten.console.db.execute("UPDATE zip_ipfs_info SET replicas = 0")
    assert isinstance(await rotten.retriever.fetching.work(await rotten.ask()), Retry)
    outcome = await rotten.restore()
    assert isinstance(outcome, Wait)  # it was recovered, and nobody has asked the market yet
    await rotten.console.db.execute("UPDATE zip_ipfs_info SET checked_at = UTC_TIMESTAMP(6), restore_due = checked_at")
    outcome = await rotten.restore()
    assert isinstance(outcome, Failed)
    assert "1 MiB of the archive have rotted here" in outcome.reason
    async with Ipfs.open(rotten.kubo.rpc_url, 30) as ours:
        assert await ours.has_pinned(rotten.cid)
        assert await broken_leaves(ours, rotten.cid, lambda: None) == [rotten.leaf]


async def test_to_pin_it_again_mends_it_too(rotten: Rotten) -> None:
    assert await repair.pin_again(rotten.console.db, rotten.zip_id)
    assert await rotten.console.pinner.pinning.work(rotten.zip_id) == Done()
    assert await rotten.restore() == Done()
    async with Ipfs.open(rotten.kubo.rpc_url, 30) as ours:
        assert await broken_leaves(ours, rotten.cid, lambda: None) == []


async def test_a_pinner_that_was_killed_in_between_is_gone_on_with(rotten: Rotten) -> None:
    async with Ipfs.open(rotten.kubo.rpc_url, 30) as ours:
        await ours.unpin(rotten.cid)
        assert isinstance(await rotten.retriever.fetching.work(await rotten.ask()), Retry)
        assert await rotten.restore() == Done()
        assert await ours.has_pinned(rotten.cid)


async def test_an_archive_that_is_gone_from_the_disk_is_fetched(rotten: Rotten) -> None:
    path = rotten.console.vault.path((await rotten.archive())["path"])
    path.unlink()
    async with Ipfs.open(rotten.kubo.rpc_url, 30) as ours:
        assert len(await broken_leaves(ours, rotten.cid, lambda: None)) == 6
    download_id = await rotten.ask()
    assert isinstance(await rotten.retriever.fetching.work(download_id), Retry)
    assert await rotten.restore() == Done()
    assert await rotten.again(download_id) == Done()


async def test_what_has_rotted_in_the_nodes_own_store_steps_aside_too(rotten: Rotten) -> None:
    rotten.console.vault.path((await rotten.archive())["path"]).unlink()
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
    await rotten.retriever._store.mend(wanted)
    assert (await rotten.archive())["restore_due"] is None


async def test_without_room_for_what_is_to_be_fetched_nothing_is_let_go(rotten: Rotten) -> None:
    own = rotten.console.pinner
    settings = own._settings.model_copy(update={"disk_margin_bytes": 1 << 60})
    pinner = Pinner(settings, rotten.console.db, rotten.console.bus, rotten.console.vault, own._keys, own._ipfs)
    assert isinstance(await rotten.retriever.fetching.work(await rotten.ask()), Retry)
    outcome = await pinner.restoring.work(rotten.zip_id)
    assert isinstance(outcome, Wait)
    assert outcome.reason.startswith(f"no room for restores: {(2 << 20) + (1 << 14)} bytes are needed")  # for one leaf
    assert await own._ipfs.has_pinned(rotten.cid)
