"""Archives of format 1: a database and a data directory from before there were labels go on under this code.

`tests/format1` was made by the code of commit 0a32ecb; `make.py` there tells how.
"""

import json
import shutil
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import dumps
import pytest
from download_rows import download_row
from evidence_rows import prove, void
from pydantic import SecretStr
from servers_operator import Console
from servers_process import Running
from sweeps import sweep_once

from roadvault_common.archive.crypto import MasterKeys
from roadvault_common.archive.local import beside
from roadvault_common.events.bus import Bus
from roadvault_common.files.identity import Identity
from roadvault_common.files.vault import Vault
from roadvault_common.ipfs.own_blocks import broken_blocks
from roadvault_common.ipfs.reading import Reader
from roadvault_common.ipfs.rpc import Ipfs
from roadvault_common.sql.db import Database, Row
from roadvault_common.sql.migrate import migrate
from roadvault_common.web.callback_url import read
from roadvault_common.work import repair
from roadvault_common.work.outcome import Done
from roadvault_ingest.requests.asking import Most
from roadvault_ingest.store import IngestStore
from roadvault_packer.config import PackerSettings
from roadvault_packer.service import Packer
from roadvault_pinner.config import PinnerSettings
from roadvault_pinner.service import Pinner
from roadvault_retriever.config import RetrieverSettings
from roadvault_retriever.service import Retriever
from roadvault_stack.kubo import Kubo
from roadvault_stack.mariadb import MariaDB

FORMAT1 = Path(__file__).parents[1] / "format1"
ABOUT = json.loads((FORMAT1 / "about.json").read_text())


@pytest.fixture
def old_url(mariadb: Running[MariaDB]) -> Iterator[str]:
    name = "roadvault_format1"
    with mariadb.server.connect() as connection, connection.cursor() as cursor:
        cursor.execute(f"CREATE DATABASE {name} CHARACTER SET utf8mb4")
        yield mariadb.server.url(name)
        cursor.execute(f"DROP DATABASE {name}")


@dataclass
class Old:
    """The system after its upgrade."""

    console: Console
    retriever: Retriever
    kubo: Kubo

    async def archives(self) -> list[Row]:
        return await self.console.db.fetch_all("SELECT * FROM zip_ipfs_info ORDER BY zip_id")

    async def fetched(self, file_id: int) -> str:
        """Ask for a file; return where its bytes came from: they were compared with the SHA-256 of the upload."""
        db = self.console.db
        asked = await IngestStore(db).request_download(file_id, read("https://c/"), "192.0.2.1", Most(9, 9))
        assert asked is not None
        assert await self.retriever.fetching.work(asked.download_id) == Done()
        return str((await download_row(db, asked.download_id))["source"])


@pytest.fixture
async def old(old_url: str, redis_url: str, data_dir: Path, kubo: Kubo) -> AsyncIterator[Old]:
    await dumps.restore(old_url, (FORMAT1 / "dump.sql").read_bytes())
    assert [name for name in migrate(old_url) if "label" in name] == ["0018_label"]
    shutil.copytree(FORMAT1 / "data", data_dir, dirs_exist_ok=True)
    keys = SecretStr(ABOUT["masterKeys"])
    common = {"database_url": old_url, "redis_url": redis_url, "data_dir": data_dir, "master_keys": keys}
    environment = {
        "ROADVAULT_DATABASE_URL": old_url,
        "ROADVAULT_REDIS_URL": redis_url,
        "ROADVAULT_DATA_DIR": str(data_dir),
        "ROADVAULT_MASTER_KEYS": keys.get_secret_value(),
        "ROADVAULT_IPFS_GATEWAY_URL": kubo.gateway_url,
    }
    vault, masters = Vault(data_dir), MasterKeys(keys)
    vault.prepare()
    async with (
        Database.open(old_url) as db,
        Bus.open(SecretStr(redis_url), "test") as bus,
        Ipfs.open(kubo.rpc_url, 30) as ipfs,
        Reader.open(kubo.gateway_url, 20) as reader,
    ):
        await Identity(db, vault.root).settle()
        packer = Packer(PackerSettings.model_validate(common), db, bus, vault, masters)
        pinner = Pinner(PinnerSettings.model_validate(common), db, bus, vault, masters, ipfs)
        settings = RetrieverSettings.model_validate({**common, "disk_margin_bytes": 0})
        retriever = Retriever(settings, db, bus, vault, masters, reader)
        system = Old(Console(db, bus, vault, packer, pinner, environment, dict(common)), retriever, kubo)
        yield system
        for archive in await system.archives():  # the same in each test, and the node is, too
            if archive["cid"] is not None:
                await ipfs.unpin(archive["cid"])
        await ipfs.collect_garbage()


async def test_archives_of_format_1_go_on_and_new_ones_are_of_format_2(old: Old, network_kubo: Kubo) -> None:
    console, db = old.console, old.console.db
    first, second = await old.archives()
    assert (first["format"], first["cid"] is not None, second["cid"]) == (1, True, None)
    assert "2 checked, 0 have no copy there, 0 things are wrong" in await console.says("verify", "--all")
    assert f"ipfs get {first['cid']} -o {first['zip_name']}" in await console.says("archive-key", first["zip_id"])

    assert await repair.pin_again(db, first["zip_id"])  # this node has never seen it
    for archive in (first, second):
        assert await console.pinner.pinning.work(archive["zip_id"]) == Done()
        assert await console.pinner.dropping.work(archive["zip_id"]) == Done()  # the uploads
    again, pinned = await old.archives()
    assert {name: again[name] for name in ("cid", "format", "dag_size")} == {
        name: first[name] for name in ("cid", "format", "dag_size")
    }
    assert (pinned["format"], await db.fetch_all("SELECT * FROM label_info")) == (1, [])
    assert "2 checked, 0 have" in await console.says("verify", "--all", "--from", "network")

    for file in ABOUT["files"][:4]:
        assert await old.fetched(file["file_id"]) == "archive"
    folder_id = await console.file()
    assert await console.packer.packing.work(folder_id) == Done()
    *_, third = await old.archives()
    assert await console.pinner.pinning.work(third["zip_id"]) == Done()
    *_, third = await old.archives()
    assert (third["format"], third["files"]) == (2, 2)
    assert (console.vault.root / beside(third["path"])).exists()

    await _dropped_and_restored(old, network_kubo)


async def _dropped_and_restored(old: Old, network_kubo: Kubo) -> None:
    console, db = old.console, old.console.db
    async with Ipfs.open(network_kubo.rpc_url, 30) as network:
        for archive in await old.archives():
            await network.fetch_and_pin(archive["cid"], lambda: None)
        await prove(db)
        await sweep_once(console.pinner.dropping)
        assert [archive["path"] for archive in await old.archives()] == [None] * 3
        assert list((console.vault.root / "archives").iterdir()) == []
        await db.execute("DELETE FROM download_info")
        for file in ABOUT["files"]:
            assert await old.fetched(file["file_id"]) == "ipfs"
        await void(db)
        await db.execute("UPDATE zip_ipfs_info SET restore_due = UTC_TIMESTAMP(6)")
        await sweep_once(console.pinner.restoring)
        async with Ipfs.open(old.kubo.rpc_url, 30) as ours:
            for archive in await old.archives():
                assert archive["restored_at"] is not None
                assert await ours.has_pinned(archive["cid"])
                await network.unpin(archive["cid"])


async def test_a_rotten_archive_of_format_1_is_mended(old: Old, network_kubo: Kubo) -> None:
    console, db = old.console, old.console.db
    (first, _) = await old.archives()
    assert await repair.pin_again(db, first["zip_id"])
    assert await console.pinner.pinning.work(first["zip_id"]) == Done()
    async with Ipfs.open(network_kubo.rpc_url, 30) as network, Ipfs.open(old.kubo.rpc_url, 30) as ours:
        await network.fetch_and_pin(first["cid"], lambda: None)
        await db.execute("UPDATE zip_ipfs_info SET replicas = 3, restore_due = UTC_TIMESTAMP(6)")
        path = console.vault.root / first["path"]
        path.write_bytes(b"rot" + path.read_bytes()[3:])
        assert len(await broken_blocks(ours, first["cid"], lambda: None)) == 1
        assert await console.pinner.restoring.work(first["zip_id"]) == Done()
        assert await broken_blocks(ours, first["cid"], lambda: None) == []
        await network.unpin(first["cid"])
