"""With a master key and nothing else: the name that follows from it leads to the catalogue, and that to every archive.

The system began with the code of before there were labels (`tests/format1`), so its oldest archives are of format 1.
"""

import json
import shutil
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dumps
import pytest
from cryptography.fernet import Fernet
from pydantic import SecretStr
from servers_names import named_pair
from servers_operator import Console
from servers_process import Running

from roadvault_common.archive.crypto import MasterKeys
from roadvault_common.custody import chainer, tie
from roadvault_common.events.bus import Bus
from roadvault_common.files.identity import MARGIN, Identity, adopt
from roadvault_common.files.vault import Vault
from roadvault_common.ipfs.rpc import Ipfs
from roadvault_common.sql.db import Database, Row
from roadvault_common.sql.migrate import migrate
from roadvault_common.work.outcome import Done
from roadvault_operator import retention_store
from roadvault_packer.config import PackerSettings
from roadvault_packer.service import Packer
from roadvault_pinner.config import PinnerSettings
from roadvault_pinner.service import Pinner
from roadvault_stack.kubo import Kubo
from roadvault_stack.mariadb import MariaDB

FORMAT1 = Path(__file__).parents[1] / "format1"
ABOUT = json.loads((FORMAT1 / "about.json").read_text())
FILES = (
    "SELECT file_id, file_name, file_type, file.size, sha256, file.folder_id, zip_id, zip_offset, zip_name, cid,"
    " format, dag_size, iv FROM file_upload_info AS file JOIN zip_ipfs_info USING (zip_id) ORDER BY file_id"
)


@pytest.fixture(scope="module")
def nodes(servers_dir: Path) -> Iterator[tuple[Running[Kubo], Running[Kubo]]]:
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
    mariadb: Running[MariaDB], redis_url: str, data_dir: Path, nodes: tuple[Running[Kubo], Running[Kubo]]
) -> AsyncIterator[Estate]:
    ours, network = (node.server for node in nodes)
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


async def test_the_master_key_alone_brings_all_back(estate: Estate) -> None:
    console, db = estate.console, estate.console.db
    before = await published(estate)
    assert {row["format"] for row in before} == {1, 2}
    said = await console.says("recover", "--rehearse")
    assert (
        f"rehearsed: {len(before)} files would come back as they are, 0 are newer than the catalogue, 0 differ" in said
    )

    cid = await db.fetch_value("SELECT cid FROM catalogue_info")
    await estate.lose(console.environment["ROADVAULT_DATABASE_URL"])
    key = console.environment["ROADVAULT_MASTER_KEYS"]
    console.environment["ROADVAULT_MASTER_KEYS"] = Fernet.generate_key().decode()
    refused = await console.refuses("recover", "--catalogue", "--pins")
    assert (
        "the catalogue can't be read, and nothing was changed: no catalogue is found by the first master key's name"
        in refused
    )
    console.environment["ROADVAULT_MASTER_KEYS"] += f",{key}"  # others may have an older key, and publish there
    assert f"leads to {cid}: use that if" in await console.refuses("recover", "--catalogue")
    assert await db.fetch_one("SELECT 1 FROM identity_info") is None
    console.environment["ROADVAULT_MASTER_KEYS"] = key
    said = await console.says("recover")
    assert f"3 archives recovered, with {len(before)} files; 0 were there already, 0 things could not be" in said
    assert await db.fetch_all(FILES) == before
    said = await console.says("verify", "--all", "--from", "network")
    assert "3 checked, 0 have no copy there, 0 things are wrong" in said
    assert await console.file() > MARGIN


async def test_the_custody_log_comes_back_and_the_holds_that_it_tells_of(estate: Estate) -> None:
    console, db = estate.console, estate.console.db
    files = await published(estate)
    await console.file()
    waiting = int(await db.fetch_value("SELECT MAX(file_id) FROM file_upload_info"))
    for reason, number in (("case 6", files[0]["file_id"]), ("case 7", waiting), ("case 8", files[0]["file_id"])):
        await retention_store.hold(db, reason, file_id=number)
    for number in (1, 3):
        await retention_store.release(db, number, "over")
    await chainer.chain(db)
    await db.execute("UPDATE catalogue_info SET publish_due = UTC_TIMESTAMP(6), ordered_at = NULL")
    await console.pinner.publishing.work(1)
    await estate.network.fetch_and_pin(str(await db.fetch_value("SELECT cid FROM catalogue_info")), lambda: None)
    columns = "act, file_id, zip_id, done_at, facts, position, follows, hash"
    lines = f"SELECT {columns} FROM custody_info WHERE position IS NOT NULL ORDER BY position"  # noqa: S608
    before, root = await db.fetch_all(lines), await tie.root(db)
    assert root is not None
    last = files[-1]
    receipt = await tie.tie(db, last["file_id"], last["zip_id"], root)

    await estate.lose(console.environment["ROADVAULT_DATABASE_URL"])
    assert "0 things could not be recovered" in await console.says("recover")
    assert (await db.fetch_all(lines), await tie.root(db)) == (before, root)
    held = "SELECT hold_id, zip_id, file_id, active, reason FROM hold_info"
    hold = {"hold_id": 2, "zip_id": None, "file_id": waiting, "active": 1, "reason": "case 7"}
    assert await db.fetch_all(held) == [hold]
    await chainer.chain(db)
    assert f"{root.size + 3} lines" in await console.says("custody", "--check")
    now = await tie.root(db)
    assert now is not None
    rows = tie.check(await tie.tie(db, last["file_id"], last["zip_id"], now), last["file_id"], last["zip_id"])
    assert [row["act"] for row in rows[-2:]] == ["pinned", "adopted"]
    assert rows[:-1] == tie.check(receipt, last["file_id"], last["zip_id"])
    assert await retention_store.hold(db, "case 9", file_id=files[0]["file_id"]) == (4, files[0]["zip_id"])
    await db.execute("UPDATE hold_info SET active = NULL WHERE hold_id = 2")
    after = await db.fetch_all(held)
    assert "3 were there already, 0 things could not be" in await console.says("recover", "--catalogue")
    assert (await db.fetch_all(held), (await db.fetch_all(lines))[: root.size]) == (after, before)


async def test_holds_and_ends_that_are_newer_than_a_restored_dump_come_back(estate: Estate) -> None:
    """From the catalogue, and from the log in it, also where services have gone on with the older log meanwhile."""
    console, db = estate.console, estate.console.db
    url = console.environment["ROADVAULT_DATABASE_URL"]
    files = await published(estate)
    await console.file()
    waiting = int(await db.fetch_value("SELECT MAX(file_id) FROM file_upload_info"))
    one, two, three = sorted({row["zip_id"] for row in files})
    soon = datetime.now(UTC).replace(tzinfo=None, microsecond=0) + timedelta(hours=1)
    for zip_id in (one, two, three):
        await retention_store.set_end(db, zip_id, soon)
    await retention_store.hold(db, "from before", file_id=waiting)
    await chainer.chain(db)
    older = await dumps.dump(url)
    await retention_store.hold(db, "case 7", zip_id=one)
    await retention_store.hold(db, "case 8", file_id=waiting)
    await retention_store.hold(db, "case 9", file_id=next(row["file_id"] for row in files if row["zip_id"] == one))
    await retention_store.release(db, 1, "over")
    await retention_store.hold(db, "from before", file_id=waiting)
    await retention_store.set_end(db, two, None)
    await retention_store.set_end(db, three, soon - timedelta(minutes=9))
    await chainer.chain(db)
    await db.execute("UPDATE catalogue_info SET publish_due = UTC_TIMESTAMP(6), ordered_at = NULL")
    await console.pinner.publishing.work(1)
    await estate.network.fetch_and_pin(str(await db.fetch_value("SELECT cid FROM catalogue_info")), lambda: None)
    held = "SELECT hold_id, zip_id, file_id, active, reason FROM hold_info ORDER BY reason, active"
    newest = await db.fetch_all(held)

    await dumps.restore(url, older)
    assert "nothing ends for a day" in await console.says("identity", "adopt", "--yes")
    late = await db.fetch_value("SELECT MIN(TIMESTAMPDIFF(HOUR, UTC_TIMESTAMP(6), shred_due)) FROM retention_info")
    assert late >= 23
    said = await console.says("recover", "--catalogue")
    assert f"on hold again: hold 2 on archive {one}, 'case 7', of archive {one}" in said
    assert f"by the custody log: hold 3 on file {waiting}, 'case 8' is in force again" in said
    assert f"by the custody log: archive {two} ends never, as a person had said" in said
    assert (
        f"by the custody log: archive {three} ends on {soon - timedelta(minutes=9)} UTC, as a person had said" in said
    )
    # The hold that was released is in force, as in the dump: that is the safe side; the one that followed it is there.
    after = await db.fetch_all(held)
    assert [row for row in after if row["active"]] == [{**row, "active": 1} for row in newest if row["hold_id"] != 5]
    assert await db.fetch_value("SELECT ends_at FROM retention_info WHERE zip_id = %s", (two,)) is None
    assert await db.fetch_value("SELECT ends_at FROM retention_info WHERE zip_id = %s", (three,)) == soon
    said = await console.says("recover", "--catalogue")
    assert "hold" not in said
    assert await db.fetch_all(held) == after

    # Services go on with the older log: the catalogue's can't be brought back, and what it says is in force anyway.
    await dumps.restore(url, older)
    await adopt(db, console.vault.root)
    await retention_store.hold(db, "set since", file_id=waiting)
    await chainer.chain(db)
    code, out, _ = await console.run("recover", "--catalogue")
    assert (code, "not recovered: the custody log: " in out) == (1, True)
    reasons = {row["reason"] for row in await db.fetch_all(held) if row["active"]}
    assert reasons == {"from before", "case 7", "case 8", "case 9", "set since"}
    assert await db.fetch_value("SELECT ends_at FROM retention_info WHERE zip_id = %s", (two,)) is None


async def test_holds_find_archives_that_came_without_the_catalogue(estate: Estate, tmp_path: Path) -> None:
    """By a copy of the log: they have other numbers now."""
    console, db = estate.console, estate.console.db
    files = await published(estate)
    last = files[-1]
    zip_id, cid = last["zip_id"], last["cid"]
    await retention_store.hold(db, "case 7", zip_id=zip_id)
    await retention_store.hold(db, "case 8", file_id=last["file_id"])
    await chainer.chain(db)
    await console.says("custody", "--save", tmp_path)
    await estate.lose(console.environment["ROADVAULT_DATABASE_URL"])
    said = await console.says("custody", "--bring-back", tmp_path)
    assert f"hold 1 on archive {zip_id}, 'case 7' is kept; what it is on is not here" in said
    (tmp_path / "cids").write_text(f"{cid}\n")
    said = await console.says("recover", "--cids", tmp_path / "cids")
    assert "what it is on is not here" not in said
    now = await db.fetch_value("SELECT zip_id FROM zip_ipfs_info WHERE cid = %s", (cid,))
    assert now != zip_id
    held = await db.fetch_all("SELECT hold_id, zip_id, file_id FROM hold_info WHERE active = 1 ORDER BY hold_id")
    holds = [(row["hold_id"], row["zip_id"], row["file_id"]) for row in held]
    assert holds == [(1, now, None), (2, now, last["file_id"])]


async def test_a_rehearsal_compares_times_ends_purchases_and_holds(estate: Estate, tmp_path: Path) -> None:
    console, db, ring = estate.console, estate.console.db, tmp_path / "roadvault.keyring"
    settings = PackerSettings.model_validate({**console.settings, "retention_days": 400, "keyring_paths": str(ring)})
    keys = MasterKeys(SecretStr(console.environment["ROADVAULT_MASTER_KEYS"]))
    estate.console = replace(console, packer=Packer(settings, db, console.bus, console.vault, keys))
    before = await published(estate)
    sealed = len([row for row in before if row["zip_id"] == before[-1]["zip_id"]])
    one, two, *_ = sorted({row["zip_id"] for row in before})
    await db.execute(
        "INSERT INTO order_info (zip_id, term, account, market, in_flight, status, cid, declared_size, nonce,"
        " era_birth, era_death, extrinsic_hash, extrinsic, price, block, settled_at)"
        " SELECT zip_id, 2, '5F', '0xa', NULL, 1, cid, 1, 0, 0, 0, SHA2(cid, 256), '0xb', 5, 77, create_time"
        " FROM zip_ipfs_info WHERE zip_id = %s",
        (one,),
    )
    await retention_store.hold(db, "case 7", zip_id=two)
    await retention_store.hold(db, "case 8", file_id=before[0]["file_id"])
    await chainer.chain(db)
    await db.execute("UPDATE zip_ipfs_info SET catalogued = NULL")
    await db.execute("UPDATE catalogue_info SET publish_due = UTC_TIMESTAMP(6), ordered_at = NULL")
    await console.pinner.publishing.work(1)

    code, out, _ = await console.run("recover", "--rehearse")
    assert (code, out.count("not recovered: ")) == (1, 1)
    assert f"rehearsed: {len(before) - sealed} files would come back as they are" in out
    assert f"{sealed} files are of archives that have an end, and need --keyring" in out
    rehearse = ("recover", "--rehearse", "--keyring", ring)
    said = await console.says(*rehearse)
    assert (
        f"rehearsed: {len(before)} files would come back as they are, 0 are newer than the catalogue, 0 differ" in said
    )
    assert "3 archives would have their times, ends and purchases, and 2 holds be in force; 0 of these have ch" in said

    await retention_store.release(db, 2, "over")
    await retention_store.hold(db, "case 9", zip_id=one)
    await retention_store.set_end(db, before[-1]["zip_id"], None)
    await db.execute("UPDATE order_info SET settled_at = UTC_TIMESTAMP(6), price = 6")
    assert "3 archives would have their times, ends and purchases, and 1 holds be in force; 4 of these have ch" in (
        await console.says(*rehearse)
    )
    await db.execute("UPDATE order_info SET settled_at = create_time")
    await db.execute("UPDATE hold_info SET reason = IF(hold_id = 1, 'changed', reason), create_time = '2026-01-01'")
    await db.execute("UPDATE hold_info SET released_at = create_time WHERE hold_id = 2")
    await db.execute("DELETE FROM custody_info WHERE act = 'end moved'")
    await db.execute("UPDATE zip_ipfs_info SET create_time = '2026-01-01' WHERE zip_id = %s", (two,))
    last = before[-1]["file_id"]
    await db.execute("UPDATE file_upload_info SET create_time = '2026-01-01' WHERE file_id = %s", (last,))
    code, out, _ = await console.run(*rehearse)
    assert code == 1
    for told in (
        f"file {last}: received is ",
        f"archive {one}: price is 5, not 6",
        f"archive {two}: recorded is ",
        f"archive {before[-1]['zip_id']}: ends is ",
        "hold 1: reason is case 7, not changed",
        "hold 2, 'case 8', was released, and comes back",
        "hold 3, 'case 9', is missing",
    ):
        assert f"differs: {told}" in out, (told, out)
    assert "7 differ" in out
    await estate.lose(console.environment["ROADVAULT_DATABASE_URL"])


async def test_archives_of_format_1_on_the_disk_are_opened_by_the_catalogue(estate: Estate) -> None:
    console, db = estate.console, estate.console.db
    before = await published(estate)
    paths = await db.fetch_all("SELECT zip_id, path FROM zip_ipfs_info WHERE path IS NOT NULL ORDER BY zip_id")
    assert len(paths) == 3
    estate.new_database(console.environment["ROADVAULT_DATABASE_URL"])
    told = (await console.run("recover", "--archives", "--yes"))[1]
    assert told.count("it has no label beside it; what it opens with is in the catalogue, if anywhere") == 2
    estate.new_database(console.environment["ROADVAULT_DATABASE_URL"])
    await console.says("recover", "--catalogue", "--pins", "--archives", "--yes")
    assert await db.fetch_all(FILES) == before
    again = "SELECT zip_id, path FROM zip_ipfs_info WHERE path IS NOT NULL ORDER BY zip_id"
    assert await db.fetch_all(again) == paths
    for row in paths:
        assert await console.pinner.pinning.work(row["zip_id"]) == Done()
    assert await db.fetch_all(FILES) == before
