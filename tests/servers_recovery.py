"""A system whose archives are on the network, to lose all else of it: for tests of recovery."""

import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydantic import SecretStr
from servers_operator import Console
from servers_process import Running

from roadvault_common.archive.crypto import MasterKeys
from roadvault_common.catalogue.records import (
    ArchiveRecord,
    GivenOut,
    Head,
    SegmentLink,
    encode_segment,
    seal_head,
    seal_segment,
)  # fmt: skip
from roadvault_common.files.tags import Tag, adoptable
from roadvault_common.files.vault import Vault
from roadvault_common.ipfs.reading import Reader
from roadvault_common.ipfs.rpc import Ipfs, New
from roadvault_common.sql.db import Row
from roadvault_common.web.callback_url import read
from roadvault_common.work.outcome import Done
from roadvault_ingest.requests.asking import Most
from roadvault_ingest.store import IngestStore
from roadvault_operator.recover.received import Adoption, Report, highest
from roadvault_operator.recover.takeover import Takeover
from roadvault_retriever.config import RetrieverSettings
from roadvault_retriever.service import Retriever
from roadvault_stack.kubo import Kubo
from roadvault_stack.mariadb import MariaDB

FILES = (
    "SELECT file_id, file_name, file_type, size, sha256, folder_id, zip_offset, status, create_time, camera,"
    " recorded_at, lat, lon, (SELECT GROUP_CONCAT(tag ORDER BY tag) FROM file_tag_info"
    " WHERE file_tag_info.file_id = file_upload_info.file_id) AS tags FROM file_upload_info ORDER BY file_id"
)
ARCHIVES = (
    "SELECT folder_id, iv, size, files, cid, format, dag_size, label, node FROM zip_ipfs_info"
    " LEFT JOIN label_info USING (zip_id) ORDER BY folder_id"
)


def lose(database: Running[MariaDB], url: str, migrated: list[str]) -> None:
    """Drop the database with all that is in it, and make a new one with empty tables."""
    name = url.rpartition("/")[2]
    with database.server.connect() as connection, connection.cursor() as cursor:
        for statement in (f"DROP DATABASE {name}", f"CREATE DATABASE {name} CHARACTER SET utf8mb4", f"USE {name}"):
            cursor.execute(statement)
        for statement in migrated:
            cursor.execute(statement)


def tagged(vault: Vault) -> dict[str, Tag]:
    """Return the tags of all uploads, by path."""
    return {one.path: one.tag for one in adoptable(vault) if one.tag is not None}


async def recover(console: Console) -> Report:
    """Do what `roadvault recover --received` does."""
    takeover, adoption = Takeover(console.db, console.vault.root), Adoption(console.db, console.vault)
    uploads = await adoption.uploads()
    await takeover.begin({}, highest(uploads))
    await adoption.adopt(uploads, lambda _: None)
    await takeover.end()
    return adoption.report


@dataclass
class Archived:
    """A system whose archives are on the network's node, and what it was before all else was lost."""

    console: Console
    mariadb: Running[MariaDB]
    migrated: list[str]
    kubo: Kubo
    network: Kubo
    cids: list[str]
    files: list[Row]
    archives: list[Row]
    listed: Path
    """The list of CIDs."""

    def lose_database(self) -> None:
        lose(self.mariadb, self.console.environment["ROADVAULT_DATABASE_URL"], self.migrated)

    async def lose_machine(self) -> None:
        """Lose database, data directory, and all that our IPFS node has."""
        self.lose_database()
        for entry in self.console.vault.root.iterdir():
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
        self.console.vault.prepare()
        async with Ipfs.open(self.kubo.rpc_url, 30) as ipfs:
            for cid in self.cids:
                await ipfs.unpin(cid)
            await ipfs.collect_garbage()
            assert not [cid async for cid in ipfs.pins() if cid in self.cids]

    async def recover(self, *arguments: object, code: int = 0) -> str:
        ended, out, errors = await self.console.run("recover", *arguments)
        assert ended == code, (out, errors)
        return out

    async def rows(self) -> list[list[Row]]:
        """Return all that there is of archives, to be the same later."""
        tables = ("zip_ipfs_info", "label_info", "folder_info", "file_upload_info", "order_info")
        return [await self.console.db.fetch_all(f"SELECT * FROM {table} ORDER BY 1") for table in tables]  # noqa: S608

    async def catalogue(self, *records: ArchiveRecord, network: Ipfs) -> str:
        """Publish a catalogue of some archives on the network's node; return its CID."""
        keys = MasterKeys(SecretStr(self.console.environment["ROADVAULT_MASTER_KEYS"]))
        segment = seal_segment(0, encode_segment(records), keys)
        link = SegmentLink(number=0, cid=str(segment.cid), size=len(segment.data), archives=len(records))
        numbers = GivenOut(file_id=500, folder_id=400, zip_id=300, download_id=200, order_id=100)
        head = seal_head(Head(made=datetime.now(UTC), given_out=numbers, segments=[link]), keys)
        return await network.add_directory([New(one.name, one.data, None) for one in (head, segment)])

    async def answers(self) -> None:
        """See that every file comes back under its old number, from the network."""
        console = self.console
        settings = RetrieverSettings.model_validate({**console.settings, "disk_margin_bytes": 0})
        keys = MasterKeys(SecretStr(console.environment["ROADVAULT_MASTER_KEYS"]))
        async with Reader.open(self.kubo.gateway_url, 20) as reader:
            retriever = Retriever(settings, console.db, console.bus, console.vault, keys, reader)
            for file in self.files:
                asked = await IngestStore(console.db).request_download(
                    file["file_id"], read("https://c/"), "192.0.2.1", Most(99, 99)
                )
                assert asked is not None
                assert await retriever.fetching.work(asked.download_id) == Done()


@pytest.fixture
async def archived(
    console: Console, mariadb: Running[MariaDB], migrated: list[str], kubo: Kubo, network_kubo: Kubo, tmp_path: Path
) -> AsyncIterator[Archived]:
    console.environment["ROADVAULT_IPFS_RPC_URL"] = kubo.rpc_url
    async with Ipfs.open(network_kubo.rpc_url, 30) as network, Ipfs.open(kubo.rpc_url, 30) as ours:
        for cid in [cid async for cid in ours.pins()]:
            await ours.unpin(cid)  # archives of other tests, whose files are gone
        for _ in range(3):
            zip_id = await console.archive()
            assert await console.pinner.pinning.work(zip_id) == Done()
        archives = await console.db.fetch_all(ARCHIVES)
        cids = [str(row["cid"]) for row in archives]
        for cid in cids:
            await network.fetch_and_pin(cid, lambda: None)
        (tmp_path / "cids").write_text("".join(f"{cid}\n" for cid in cids))
        files = await console.db.fetch_all(FILES)
        yield Archived(console, mariadb, migrated, kubo, network_kubo, cids, files, archives, tmp_path / "cids")
        for cid in cids:
            await network.unpin(cid)
