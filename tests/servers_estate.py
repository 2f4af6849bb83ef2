"""A system that has published its catalogue, to lose all of it: on nodes of its own, which find each other's names.

It began with the code of before there were labels (`tests/format1`), so its oldest archives are of format 1.
"""

import json
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import dumps
import pytest
from pydantic import SecretStr
from servers_names import named_pair
from servers_operator import Console
from servers_process import Running

from roadvault_common.archive.crypto import MasterKeys
from roadvault_common.archive.ipns import ipns_name
from roadvault_common.catalogue import left_out
from roadvault_common.errors import IpfsUnavailable
from roadvault_common.events.bus import Bus
from roadvault_common.files.identity import Identity
from roadvault_common.files.vault import Vault
from roadvault_common.ipfs.publishing import resolve
from roadvault_common.ipfs.rpc import Ipfs
from roadvault_common.sql.db import Database, Row
from roadvault_common.sql.migrate import migrate
from roadvault_common.work.outcome import Done
from roadvault_packer.config import PackerSettings
from roadvault_packer.service import Packer
from roadvault_pinner.config import PinnerSettings
from roadvault_pinner.service import Pinner
from roadvault_stack.kubo import Kubo
from roadvault_stack.mariadb import MariaDB

FORMAT1 = Path(__file__).parent / "format1"
ABOUT = json.loads((FORMAT1 / "about.json").read_text())
FILES = (
    "SELECT file_id, file_name, file_type, file.size, sha256, file.folder_id, zip_id, zip_offset, zip_name, cid,"
    " format, dag_size, iv FROM file_upload_info AS file JOIN zip_ipfs_info USING (zip_id) ORDER BY file_id"
)


@pytest.fixture(scope="module")
def estate_nodes(servers_dir: Path) -> Iterator[tuple[Running[Kubo], Running[Kubo]]]:
    with named_pair(servers_dir) as pair:
        yield pair


@dataclass
class Estate:
    """A system, on nodes of its own; see `lose`."""

    console: Console
    mariadb: Running[MariaDB]
    name: str
    """Of its database."""
    ours: Ipfs
    network: Ipfs

    def new_database(self, url: str) -> None:
        with self.mariadb.server.connect() as connection, connection.cursor() as cursor:
            cursor.execute(f"DROP DATABASE IF EXISTS {self.name}")
            cursor.execute(f"CREATE DATABASE {self.name} CHARACTER SET utf8mb4")
        migrate(url)

    async def lose(self, url: str) -> None:
        """Lose everything but the network's node, and the master key."""
        self.new_database(url)
        shutil.rmtree(self.console.vault.root)
        self.console.vault.prepare()
        for cid in [cid async for cid in self.ours.pins()]:
            await self.ours.unpin(cid)
        await self.ours.collect_garbage()
        keys = json.loads(await self.ours.call("key/list", {}))["Keys"]
        for key in keys:
            if key["Name"] != "self":
                await self.ours.call("key/rm", {"arg": key["Name"]})


@pytest.fixture
async def estate(
    mariadb: Running[MariaDB], redis_url: str, data_dir: Path, estate_nodes: tuple[Running[Kubo], Running[Kubo]]
) -> AsyncIterator[Estate]:
    ours, network = (node.server for node in estate_nodes)
    url = mariadb.server.url("roadvault_estate")
    with mariadb.server.connect() as connection, connection.cursor() as cursor:
        cursor.execute("CREATE DATABASE roadvault_estate CHARACTER SET utf8mb4")
    await dumps.restore(url, (FORMAT1 / "dump.sql").read_bytes())
    migrate(url)
    shutil.copytree(FORMAT1 / "data", data_dir, dirs_exist_ok=True)
    key, vault = SecretStr(ABOUT["masterKeys"]), Vault(data_dir)
    vault.prepare()
    common = {"database_url": url, "redis_url": redis_url, "data_dir": data_dir, "master_keys": key}
    environment = {
        "ROADVAULT_DATABASE_URL": url,
        "ROADVAULT_DATA_DIR": str(data_dir),
        "ROADVAULT_MASTER_KEYS": key.get_secret_value(),
        "ROADVAULT_IPFS_GATEWAY_URL": ours.gateway_url,
        "ROADVAULT_IPFS_RPC_URL": ours.rpc_url,
    }
    async with (
        Database.open(url) as db,
        Bus.open(SecretStr(redis_url), "test") as bus,
        Ipfs.open(ours.rpc_url, 30) as our_ipfs,
        Ipfs.open(network.rpc_url, 30) as network_ipfs,
    ):
        await Identity(db, vault.root).settle()
        with suppress(IpfsUnavailable):  # the name of the same key leads to another test's catalogue
            await left_out.follow(db, await resolve(our_ipfs, ipns_name(MasterKeys(key))))
        packer = Packer(PackerSettings.model_validate(common), db, bus, vault, MasterKeys(key))
        pinner = Pinner(PinnerSettings.model_validate(common), db, bus, vault, MasterKeys(key), our_ipfs)
        console = Console(db, bus, vault, packer, pinner, environment, dict(common))
        yield Estate(console, mariadb, "roadvault_estate", our_ipfs, network_ipfs)
    with mariadb.server.connect() as connection, connection.cursor() as cursor:
        cursor.execute("DROP DATABASE roadvault_estate")


async def published(estate: Estate) -> list[Row]:
    """Pack one more archive, put all on IPFS, publish the catalogue, have the network hold all; return the files."""
    console, db = estate.console, estate.console.db
    assert await console.packer.packing.work(await console.file()) == Done()  # with the one that waited before
    for row in await db.fetch_all("SELECT zip_id FROM zip_ipfs_info"):
        await db.execute("UPDATE zip_ipfs_info SET pin_due = UTC_TIMESTAMP(6) WHERE zip_id = %s", (row["zip_id"],))
        assert await console.pinner.pinning.work(row["zip_id"]) == Done()
    await console.pinner.publishing.work(1)
    (catalogue,) = await db.fetch_all("SELECT cid FROM catalogue_info")
    files = await db.fetch_all(FILES)
    for cid in {catalogue["cid"], *(row["cid"] for row in files)}:
        await estate.network.fetch_and_pin(cid, lambda: None)
    return files
