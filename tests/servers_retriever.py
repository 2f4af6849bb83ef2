"""A retriever, and an archive on the network's node, for tests of bringing files back."""

import hashlib
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import astuple, dataclass
from datetime import UTC, datetime
from pathlib import Path

import aiohttp
import pytest
from cryptography.fernet import Fernet
from download_rows import download_row
from pydantic import SecretStr

from roadvault_common.archive.crypto import MasterKeys
from roadvault_common.events.bus import Bus
from roadvault_common.files.vault import Vault
from roadvault_common.ipfs.path import ARCHIVE, LABEL
from roadvault_common.ipfs.reading import Reader
from roadvault_common.ipfs.rpc import Ipfs, New
from roadvault_common.sql.db import Database, Row
from roadvault_common.work.outcome import Done
from roadvault_packer.archive import pack
from roadvault_packer.uploads import Upload
from roadvault_retriever.config import RetrieverSettings
from roadvault_retriever.service import Retriever
from roadvault_stack.kubo import Kubo

SIZES = {"100 KB": 100_000, "1 MB": 1_000_000, "3 MB": 3_000_000, "12 MB": 12_000_000, "5 MB": 5_000_000}


async def received(kubo: Kubo) -> int:
    """Return how many bytes of blocks a node has had from others, those that it had twice counted once."""
    async with aiohttp.ClientSession() as http, http.post(f"{kubo.rpc_url}/api/v0/stats/bitswap") as response:
        told = await response.json()
    # Bitswap now and then sends a block twice, and says so itself.
    return int(told["DataReceived"]) - int(told["DupDataReceived"])


@dataclass
class Bench:
    """A retriever, and an archive that is on the network's node only."""

    db: Database
    vault: Vault
    retriever: Retriever
    contents: dict[str, bytes]
    file_ids: dict[str, int]

    async def request(self, name: str) -> int:
        return await self.db.transact(
            lambda tx: tx.insert(
                "INSERT INTO download_info (file_id, cb_url, open_key, fetch_due)"
                " VALUES (%s, 'http://c/', UUID(), UTC_TIMESTAMP(6))",
                (self.file_ids[name],),
            )
        )

    async def row(self, download_id: int) -> Row:
        return await download_row(self.db, download_id)

    async def fetched(self, name: str) -> tuple[str, bytes]:
        """Fetch a file, as if nobody had asked for it before; return the source's name and the bytes."""
        await self.db.execute("DELETE FROM download_info WHERE file_id = %s", (self.file_ids[name],))
        download_id = await self.request(name)
        assert await self.retriever.fetching.work(download_id) == Done()
        row = await self.row(download_id)
        assert (row["status"], row["mirror"], row["callback_due"] is not None) == (1, 6, True)
        return row["source"], (self.vault.root / row["path"]).read_bytes()

    def lose(self, *names: str) -> None:
        """Remove the files in these directories."""
        for name in names:
            for path in (self.vault.root / name).rglob("*"):
                if path.is_file():
                    path.unlink()

    def through(self, reader: Reader, **settings: object) -> Retriever:
        """Return a retriever that reads through another gateway, or has other settings."""
        own = self.retriever
        return Retriever(own._settings.model_copy(update=settings), self.db, own._bus, self.vault, own._keys, reader)

    def downloads(self) -> list[Path]:
        return list((self.vault.root / "downloads").rglob("*"))


@pytest.fixture
async def bench(
    request: pytest.FixtureRequest, database_url: str, redis_url: str, data_dir: Path, kubo: Kubo, network_kubo: Kubo
) -> AsyncIterator[Bench]:
    """With files of these sizes, or, for tests that are parametrized, with what a function of theirs returns."""
    made = getattr(request, "param", None)
    contents = made() if made else {name: os.urandom(size) for name, size in SIZES.items()}
    async with opened(database_url, redis_url, data_dir, (kubo, network_kubo), contents) as bench:
        yield bench


@asynccontextmanager
async def opened(
    database_url: str, redis_url: str, data_dir: Path, nodes: tuple[Kubo, Kubo], contents: dict[str, bytes]
) -> AsyncIterator[Bench]:
    """Open a bench whose archive has these files; of the nodes the second one holds it."""
    kubo, network_kubo = nodes
    secret = SecretStr(Fernet.generate_key().decode())
    values = {"database_url": database_url, "redis_url": redis_url, "data_dir": data_dir, "master_keys": secret}
    settings = RetrieverSettings.model_validate({**values, "disk_margin_bytes": 0})
    vault, keys = Vault(data_dir), MasterKeys(secret)
    vault.prepare()
    async with (
        Database.open(database_url) as db,
        Bus.open(SecretStr(redis_url), "retriever") as bus,
        Reader.open(kubo.gateway_url, 20) as reader,
        Ipfs.open(network_kubo.rpc_url, 60) as network,
    ):
        file_ids = await _archive(db, vault, network, keys, contents)
        retriever = Retriever(settings, db, bus, vault, keys, reader)
        yield Bench(db, vault, retriever, contents, file_ids)


async def _archive(
    db: Database, vault: Vault, network: Ipfs, keys: MasterKeys, contents: dict[str, bytes]
) -> dict[str, int]:
    """Pack the contents, put the archive on the network's node, and write the rows of it."""
    members = []
    for number, content in enumerate(contents.values(), 1):
        path = f"received/00/{number:032}"
        (vault.root / path).write_bytes(content)
        digest = hashlib.sha256(content).hexdigest()
        members.append(Upload(number, f"{number}.mp4", len(content), digest, path, datetime.now(UTC)))
    target = vault.root / "archives/a"
    packed = pack(1, members, vault.root, target, keys, lambda _: None)

    async def stream() -> AsyncIterator[bytes]:
        yield target.read_bytes()

    cid = await network.add_directory([New(ARCHIVE, stream(), None), New(LABEL, packed.label, None)])
    async with db.transaction() as tx:
        zip_id = await tx.insert(
            "INSERT INTO zip_ipfs_info (folder_id, zip_name, path, `key`, iv, size, files, cid, format)"
            " VALUES (1, 'a', 'archives/a', %s, %s, %s, %s, %s, 2)",
            (keys.wrap(packed.key.key), packed.key.iv.hex(), packed.size, len(members), cid),
        )
        for member in members:
            await tx.execute(
                "INSERT INTO file_upload_info (file_id, file_name, file_type, size, sha256, path, folder_id, zip_id,"
                " zip_offset, status) VALUES (%s, %s, 'mp4', %s, %s, %s, 1, %s, %s, 1)",
                (*astuple(member)[:5], zip_id, packed.offsets[member.file_id]),
            )
    return dict(zip(contents, packed.offsets, strict=True))
