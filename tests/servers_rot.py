"""An archive that has rotted here, in a leaf or in a node above the leaves, and that the network's node has whole."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from servers_operator import Console

from roadvault_common.archive.crypto import MasterKeys
from roadvault_common.ipfs.dag import Cid, directory
from roadvault_common.ipfs.own_blocks import broken_blocks, held
from roadvault_common.ipfs.path import ARCHIVE
from roadvault_common.ipfs.reading import Reader
from roadvault_common.ipfs.rpc import Ipfs
from roadvault_common.sql.db import Row
from roadvault_common.web.callback_url import read
from roadvault_common.work.outcome import Done
from roadvault_ingest.requests.asking import Most
from roadvault_ingest.store import IngestStore
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
    path: str
    """The archive's file."""

    async def ask(self) -> int:
        url = read("https://c/rot")
        asked = await IngestStore(self.console.db).request_download(self.file["file_id"], url, "192.0.2.1", Most(9, 9))
        assert asked is not None
        return asked.download_id

    async def again(self, download_id: int) -> object:
        await self.console.db.execute("UPDATE download_info SET fetch_due = UTC_TIMESTAMP(6)")
        return await self.retriever.fetching.work(download_id)

    async def restore(self) -> object:
        return await self.console.pinner.restoring.work(self.zip_id)

    def is_leaf(self, block: bytes) -> bool:
        return Cid.parse(self.leaf).fits(block)

    @property
    def archive_file(self) -> Path:
        return self.console.vault.path(self.path)

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
    async with Ipfs.open(kubo.rpc_url, 30) as ours, Reader.open(kubo.gateway_url, 8, node=ours) as reader:
        keys = MasterKeys(settings.master_keys)
        retriever = Retriever(settings, console.db, console.bus, console.vault, keys, reader)
        (leaf,) = await broken_blocks(ours, cid, lambda: None)
        yield Rotten(console, retriever, kubo, row["zip_id"], cid, file, leaf, row["path"])
    async with Ipfs.open(network_kubo.rpc_url, 60) as network:
        await network.unpin(cid)


@dataclass
class RottenNode:
    """A node above the leaves that has rotted in our own node's store."""

    file: Path
    whole: bytes

    def rot(self, how: str) -> None:
        match how:
            case "cut short":
                self.file.write_bytes(self.whole[:-20])
            case "other links":
                self.file.write_bytes(self.whole[:30] + bytes([self.whole[30] ^ 1]) + self.whole[31:])
            case "nothing of it":
                self.file.write_bytes(b"")
            case "gone":
                self.file.unlink()
            case _:
                self.file.unlink()
                self.file.symlink_to("/proc/self/mem")  # the kernel says EIO of its first page, as of a bad sector


HOW_NODES_ROT = ["cut short", "other links", "nothing of it", "unreadable"]


@pytest.fixture(params=["archive", "directory"])
async def node(request: pytest.FixtureRequest, rotten: Rotten) -> AsyncIterator[RottenNode]:
    """A node that is whole; the archive's leaves are so, too."""
    spoil(rotten)
    async with Ipfs.open(rotten.kubo.rpc_url, 30) as ours:
        assert await broken_blocks(ours, rotten.cid, lambda: None) == []
        root = await held(ours, rotten.cid) or b""
    cid = directory(root)[ARCHIVE] if request.param == "archive" else Cid.parse(rotten.cid)
    file = find_block(rotten.kubo, cid)
    whole = file.read_bytes()
    yield RottenNode(file, whole)
    file.unlink(missing_ok=True)
    file.write_bytes(whole)  # the node is other tests', too


def find_block(kubo: Kubo, cid: Cid) -> Path:
    """Return the file of a block in a node's own store."""
    (file,) = (path for path in (kubo.home / "blocks").rglob("*.data") if cid.fits(path.read_bytes()))
    return file


def spoil(rotten: Rotten) -> None:
    """Have a leaf rot, or be whole again."""
    with rotten.archive_file.open("r+b") as file:
        file.seek(rotten.file["zip_offset"] + 2_000_000)
        (byte,) = file.read(1)
        file.seek(-1, 1)
        file.write(bytes([byte ^ 1]))


async def is_whole(rotten: Rotten) -> bool:
    async with Ipfs.open(rotten.kubo.rpc_url, 30) as ours:
        broken = await broken_blocks(ours, rotten.cid, lambda: None)
        return broken == [] and await ours.has_pinned(rotten.cid)
