"""From a closed folder to an archive on IPFS, and to its local copies being dropped; on real servers."""

import asyncio
import hashlib
import os
import secrets
import threading
from collections.abc import AsyncIterable, AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import orjson
import pytest
from cryptography.fernet import Fernet
from evidence_rows import prove, void
from pydantic import SecretStr
from sweeps import sweep_once

from roadvault_common.archive import merkle
from roadvault_common.archive.crypto import MasterKeys
from roadvault_common.archive.label import Label
from roadvault_common.archive.local import beside
from roadvault_common.errors import IpfsAway
from roadvault_common.events.bus import Bus
from roadvault_common.files.vault import Vault
from roadvault_common.ipfs.dag import Cid
from roadvault_common.ipfs.own_blocks import broken_blocks
from roadvault_common.ipfs.rpc import Ipfs, New
from roadvault_common.sql.db import Database, Row
from roadvault_common.work import backlog
from roadvault_common.work import lease as leases
from roadvault_common.work.outcome import Done, Failed, Retry
from roadvault_common.work.reasons import Reason
from roadvault_common.work.stages import PACK, PIN
from roadvault_ingest.store import IngestStore, Limits
from roadvault_ingest.uploads.receive import Received
from roadvault_packer import service as packer_service
from roadvault_packer.archive import pack
from roadvault_packer.config import PackerSettings
from roadvault_packer.service import Packer
from roadvault_pinner.config import PinnerSettings
from roadvault_pinner.service import Pinner
from roadvault_pinner.store import Look
from roadvault_stack.kubo import Kubo

LIMITS = Limits(files=4, bytes=1 << 40, age_seconds=3600)


@dataclass
class Bench:
    """A packer and a pinner on one vault, and hands to feed them."""

    db: Database
    vault: Vault
    packer: Packer
    pinner: Pinner
    ipfs: Ipfs

    async def receive(self, content: bytes, name: str = "a.mp4") -> int:
        token = secrets.token_hex(16)
        path = f"received/{token[:2]}/{token}"
        (self.vault.root / path).write_bytes(content)
        received = Received(name, path, len(content), hashlib.sha256(content).hexdigest())
        (placed,) = await IngestStore(self.db).add_files("test", [received], LIMITS)
        return placed.folder_id

    async def full_folder(self, size: int = 1_500_000) -> int:
        for number in range(LIMITS.files):
            folder_id = await self.receive(os.urandom(size + number), f"{number}.mp4")
        return folder_id

    async def row(self, sql: str, *args: object) -> Row:
        row = await self.db.fetch_one(sql, args)
        assert row is not None
        return row

    async def archive(self) -> Row:
        return await self.row("SELECT * FROM zip_ipfs_info")

    def names(self, directory: str) -> list[str]:
        return [path.name for path in (self.vault.root / directory).rglob("*") if path.is_file()]


@pytest.fixture
async def bench(database_url: str, redis_url: str, data_dir: Path, kubo: Kubo) -> AsyncIterator[Bench]:
    keys = SecretStr(Fernet.generate_key().decode())
    common = {"database_url": database_url, "redis_url": redis_url, "data_dir": data_dir, "master_keys": keys}
    vault = Vault(data_dir)
    vault.prepare()
    async with (
        Database.open(database_url) as db,
        Bus.open(SecretStr(redis_url), "test") as bus,
        Ipfs.open(kubo.rpc_url, 30) as ipfs,
    ):
        packer = Packer(PackerSettings.model_validate({**common, "concurrency": 2}), db, bus, vault, MasterKeys(keys))
        pinner = Pinner(PinnerSettings.model_validate(common), db, bus, vault, MasterKeys(keys), ipfs)
        yield Bench(db, vault, packer, pinner, ipfs)


async def test_a_closed_folder_becomes_an_archive_on_ipfs_and_its_uploads_go(bench: Bench, kubo: Kubo) -> None:
    folder_id = await bench.full_folder()
    assert await bench.packer.packing.work(folder_id) == Done()
    archive = await bench.archive()
    content = (bench.vault.root / archive["path"]).read_bytes()
    assert (len(content), archive["files"], archive["cid"]) == (archive["size"], 4, None)
    assert (await bench.row("SELECT status FROM folder_info"))["status"] == 2
    assert len(bench.names("received")) == 4

    assert await bench.pinner.pinning.work(archive["zip_id"]) == Done()
    archive = await bench.archive()
    assert archive["dag_size"] > archive["size"]
    assert archive["order_due"] is not None
    label = await bench.row("SELECT label, node FROM label_info")
    assert (bench.vault.root / beside(archive["path"])).read_bytes() == label["label"]
    assert Cid.parse(archive["cid"]).fits(label["node"])
    async with aiohttp.ClientSession() as http:
        for name, expected in (("archive.7z.enc", content), ("label.json", label["label"])):
            async with http.get(f"{kubo.gateway_url}/ipfs/{archive['cid']}/{name}") as response:
                assert await response.read() == expected
        async with http.post(f"{kubo.rpc_url}/api/v0/filestore/ls") as response:
            kept = await response.read()
            assert archive["path"].encode() in kept
            assert beside(archive["path"]).encode() in kept
        async with http.post(f"{kubo.rpc_url}/api/v0/files/stat?arg=/ipfs/{archive['cid']}") as response:
            told = await response.json(content_type=None)
            assert (told["Type"], told["CumulativeSize"]) == ("directory", archive["dag_size"])

    assert await bench.pinner.dropping.work(archive["zip_id"]) == Done()
    assert bench.names("received") == []
    assert bench.names("archives") != []
    files = await bench.db.fetch_all("SELECT path, status FROM file_upload_info")
    assert files == [{"path": None, "status": 1}] * 4


async def test_nothing_goes_before_the_network_has_it_and_then_all_of_it(bench: Bench, kubo: Kubo) -> None:
    await bench.packer.packing.work(await bench.full_folder())
    zip_id, cid = (await bench.archive())["zip_id"], None
    await bench.db.execute("UPDATE zip_ipfs_info SET drop_due = UTC_TIMESTAMP(6)")
    assert await bench.pinner.dropping.work(zip_id) == Done()  # not even pinned: all stays
    assert (len(bench.names("received")), len(bench.names("archives"))) == (4, 2)
    await bench.pinner.pinning.work(zip_id)
    await bench.pinner.dropping.work(zip_id)
    assert len(bench.names("archives")) == 2  # pinned, not replicated
    await prove(bench.db)
    assert await bench.pinner.dropping.work(zip_id) == Done()
    assert bench.names("archives") == []
    row = await bench.archive()
    cid = row["cid"]
    assert (row["path"], row["dropped_at"] is not None, row["drop_due"]) == (None, True, None)
    async with aiohttp.ClientSession() as http:
        async with http.post(f"{kubo.rpc_url}/api/v0/refs/local") as response:
            assert cid.encode() not in await response.read()
        async with http.post(f"{kubo.rpc_url}/api/v0/filestore/ls") as response:
            kept = await response.read()
            assert bench.vault.root.name.encode() not in kept


async def test_a_proof_that_comes_during_a_drop_is_not_lost(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    await bench.packer.packing.work(await bench.full_folder())
    zip_id = (await bench.archive())["zip_id"]
    await bench.pinner.pinning.work(zip_id)
    look_again = bench.pinner._store.look_again

    async def proven_meanwhile(lease: leases.Lease) -> Look:
        look = await look_again(lease)
        await prove(bench.db)
        return look

    monkeypatch.setattr(bench.pinner._store, "look_again", proven_meanwhile)
    await bench.pinner.dropping.work(zip_id)
    assert len(bench.names("archives")) == 2
    assert await sweep_once(bench.pinner.dropping) == 1
    assert bench.names("archives") == []


async def test_many_drops_share_garbage_collections(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(6):
        await bench.packer.packing.work(await bench.full_folder(100_000))
    await sweep_once(bench.pinner.pinning)
    await prove(bench.db)
    runs = 0
    collect = bench.ipfs.collect_garbage

    async def counted() -> None:
        nonlocal runs
        runs += 1
        await collect()

    monkeypatch.setattr(bench.pinner._collect_garbage, "_work", counted)
    assert await sweep_once(bench.pinner.dropping) == 6
    assert runs <= 2
    assert bench.names("archives") == []


@pytest.mark.parametrize("filestore", [True, False])
async def test_an_archive_that_rots_before_it_is_pinned_is_refused(bench: Bench, *, filestore: bool) -> None:
    bench.pinner._adding.filestore = filestore
    await bench.packer.packing.work(await bench.full_folder())
    archive = await bench.archive()
    path = bench.vault.root / archive["path"]
    content = bytearray(path.read_bytes())
    content[3_000_000] ^= 1
    path.write_bytes(content)
    outcome = await bench.pinner.pinning.work(archive["zip_id"])
    assert isinstance(outcome, Failed)
    assert "file 2" in outcome.reason or "file 3" in outcome.reason
    row = await bench.archive()
    assert (row["cid"], row["pin_failed_at"] is not None, row["pin_reason"]) == (None, True, str(outcome.reason))
    assert len(bench.names("received")) == 4  # what is left of the footage stays


async def test_a_folder_that_does_not_add_up_fails(bench: Bench) -> None:
    folder_id = await bench.full_folder()
    await bench.db.execute("UPDATE folder_info SET files = 5")
    outcome = await bench.packer.packing.work(folder_id)
    assert outcome == Failed(Reason("", "the folder's row counts 5 files, there are 4, and 0 that were set aside"))
    row = await bench.row("SELECT status, pack_reason FROM folder_info")
    assert row == {"status": 3, "pack_reason": str(outcome.reason)}
    assert bench.names("archives") == []


async def test_a_worker_that_woke_late_does_not_touch_its_successors_archive(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder_id = await bench.full_folder()
    asleep, wake = threading.Event(), threading.Event()
    real = pack

    def slow(*args: object) -> object:
        packed = real(*args)  # type: ignore[arg-type]
        asleep.set()
        wake.wait(20)
        return packed

    monkeypatch.setattr(packer_service, "pack", slow)
    late = asyncio.create_task(bench.packer.packing.work(folder_id))
    await asyncio.to_thread(asleep.wait, 20)
    monkeypatch.setattr(packer_service, "pack", real)
    await bench.db.execute("UPDATE folder_info SET pack_due = UTC_TIMESTAMP(6)")  # the lease ran out
    assert isinstance(await bench.packer.packing.work(folder_id), Done)
    sealed = await bench.archive()
    content = (bench.vault.root / sealed["path"]).read_bytes()
    wake.set()
    assert isinstance(await late, Retry)
    assert await bench.archive() == sealed
    assert (bench.vault.root / sealed["path"]).read_bytes() == content
    assert sorted(bench.names("archives")) == sorted(
        Path(path).name for path in (sealed["path"], beside(sealed["path"]))
    )


async def test_no_lease_is_left_and_nothing_is_due(bench: Bench) -> None:
    await bench.packer.packing.work(await bench.full_folder())
    await sweep_once(bench.pinner.pinning)
    await sweep_once(bench.pinner.dropping)
    for stage in (PACK, PIN):
        assert await backlog.count_due(bench.db, stage) == 0
        assert await backlog.seconds_to_next(bench.db, stage) is None


async def test_an_archive_is_fetched_back_from_the_network_and_dropped_again(
    bench: Bench, kubo: Kubo, network_kubo: Kubo
) -> None:
    async def pins(node: Kubo) -> bytes:
        async with aiohttp.ClientSession() as http, http.post(f"{node.rpc_url}/api/v0/pin/ls") as response:
            return await response.read()

    await bench.packer.packing.work(await bench.full_folder())
    zip_id = (await bench.archive())["zip_id"]
    await bench.pinner.pinning.work(zip_id)
    cid = (await bench.archive())["cid"]
    async with Ipfs.open(network_kubo.rpc_url, 30) as network:
        await network.fetch_and_pin(cid, lambda: None)
    await prove(bench.db)
    await bench.pinner.dropping.work(zip_id)
    assert cid.encode() not in await pins(kubo)

    await void(bench.db)
    await bench.db.execute("UPDATE zip_ipfs_info SET restore_due = UTC_TIMESTAMP(6)")
    assert await bench.pinner.restoring.work(zip_id) == Done()
    row = await bench.archive()
    assert (row["restored_at"] is not None, row["path"]) == (True, None)
    assert cid.encode() in await pins(kubo)

    await prove(bench.db)
    assert await bench.pinner.dropping.work(zip_id) == Done()
    assert (await bench.archive())["restored_at"] is None
    assert cid.encode() not in await pins(kubo)


@pytest.mark.parametrize("filestore", [True, False])
async def test_to_pin_it_again_gives_the_same_cid_and_a_lost_label_comes_back(bench: Bench, *, filestore: bool) -> None:
    bench.pinner._adding.filestore = filestore
    await bench.packer.packing.work(await bench.full_folder())
    zip_id = (await bench.archive())["zip_id"]
    assert await bench.pinner.pinning.work(zip_id) == Done()
    first = await bench.archive()
    label = bench.vault.root / beside(first["path"])
    content = label.read_bytes()
    for spoil in (label.unlink, lambda: label.write_bytes(b"rot")):
        await bench.ipfs.unpin(first["cid"])
        spoil()
        await bench.db.execute("UPDATE zip_ipfs_info SET pin_due = UTC_TIMESTAMP(6)")
        bench.pinner._adding.filestore = True
        assert await bench.pinner.pinning.work(zip_id) == Done()
        again = await bench.archive()
        assert {name: again[name] for name in ("cid", "format", "dag_size")} == {
            name: first[name] for name in ("cid", "format", "dag_size")
        }
        assert label.read_bytes() == content
    assert await broken_blocks(bench.ipfs, first["cid"], lambda: None) == []
    label.unlink()
    broken = await broken_blocks(bench.ipfs, first["cid"], lambda: None)
    assert len(broken) == (1 if filestore else 0)  # a copy has no need of the disk
    await bench.db.execute("UPDATE zip_ipfs_info SET restore_due = UTC_TIMESTAMP(6)")
    assert await bench.pinner.restoring.work(zip_id) == Done()  # nobody else has it
    assert await broken_blocks(bench.ipfs, first["cid"], lambda: None) == []


async def test_a_label_of_another_archive_is_not_published(bench: Bench) -> None:
    await bench.packer.packing.work(await bench.full_folder())
    label = Label.parse((await bench.row("SELECT label FROM label_info"))["label"])
    for other in (label.model_copy(update={"size": label.size + 1}).encode(), b"{}"):
        await bench.db.execute("UPDATE label_info SET label = %s", (other,))
        await bench.db.execute("UPDATE zip_ipfs_info SET pin_due = UTC_TIMESTAMP(6), pin_failed_at = NULL")
        outcome = await bench.pinner.pinning.work((await bench.archive())["zip_id"])
        assert isinstance(outcome, Failed)
        assert "label" in outcome.reason
    assert (await bench.archive())["cid"] is None


async def test_the_label_says_how_the_archive_opens(bench: Bench) -> None:
    await bench.packer.packing.work(await bench.full_folder())
    archive = await bench.archive()
    label = Label.parse((await bench.row("SELECT label FROM label_info"))["label"])
    key = label.open(bench.packer._keys)
    assert key == bench.packer._keys.unwrap(archive["key"], archive["iv"], archive["master_key"])
    assert (label.size, label.files, label.masterKey) == (archive["size"], 4, archive["master_key"])
    content = (bench.vault.root / archive["path"]).read_bytes()
    begin, end = label.manifest.offset, label.manifest.offset + label.manifest.size
    manifest = orjson.loads(key.stream(begin).update(content[begin:end]))
    files = await bench.db.fetch_all("SELECT * FROM file_upload_info ORDER BY zip_offset")
    assert (manifest["version"], manifest["folder"]) == (2, archive["folder_id"])
    assert [(file["fileID"], file["name"], file["sha256"], file["received"]) for file in manifest["files"]] == [
        (row["file_id"], row["file_name"], row["sha256"], f"{row['create_time']:%Y-%m-%dT%H:%M:%S.%fZ}")
        for row in files
    ]
    salts = merkle.salt_key(key.key)
    leaves = [
        merkle.leaf(merkle.salt(salts, file["fileID"]), file["sha256"], file["size"], file["fileID"], file["name"])
        for file in manifest["files"]
    ]
    assert merkle.root(leaves).hex() == label.merkleRoot


async def test_a_pinner_from_before_labels_records_what_it_did(bench: Bench) -> None:
    await bench.packer.packing.work(await bench.full_folder())
    archive = await bench.archive()

    async def stream() -> AsyncIterator[bytes]:
        yield (bench.vault.root / archive["path"]).read_bytes()

    cid = await bench.ipfs.add(stream(), None)
    await bench.db.execute("UPDATE zip_ipfs_info SET cid = %s, dag_size = 1, pin_due = UTC_TIMESTAMP(6)", (cid,))
    assert await bench.pinner.pinning.work(archive["zip_id"]) == Done()
    again = await bench.archive()
    assert (again["cid"], again["format"]) == (cid, 1)


async def test_a_garbage_collection_that_waits_for_the_add_leaves_nothing_pinned_but_the_directory(
    bench: Bench, kubo: Kubo, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def pins() -> set[str]:
        async with (
            aiohttp.ClientSession() as http,
            http.post(f"{kubo.rpc_url}/api/v0/pin/ls?type=recursive") as response,
        ):
            return set((await response.json()).get("Keys") or {})

    async def collected_meanwhile(files: Sequence[New]) -> str:
        archive, label = files
        assert not isinstance(archive.content, bytes)
        return await add([New(archive.name, late(archive.content), archive.path), label])

    async def late(content: AsyncIterable[bytes]) -> AsyncIterator[bytes]:
        async for piece in content:
            yield piece
        collecting.append(asyncio.create_task(bench.ipfs.collect_garbage()))
        async with Ipfs.open(kubo.rpc_url, 0.2) as impatient:
            with pytest.raises(IpfsAway):  # once it waits for this add, nothing else is pinned or unpinned
                while True:
                    await impatient.check_pinning()

    await bench.packer.packing.work(await bench.full_folder())
    add, collecting, before = bench.ipfs.add_directory, list[asyncio.Task[None]](), await pins()
    monkeypatch.setattr(bench.ipfs, "add_directory", collected_meanwhile)
    assert await bench.pinner.pinning.work((await bench.archive())["zip_id"]) == Done()
    await asyncio.gather(*collecting)
    left = await pins() - before - {(await bench.archive())["cid"]}
    assert left <= {"bafybeiczsscdsbs7ffqz55asqdf3smv6klcw3gofszvwlyarci47bgf354"}  # the directory with nothing in it
    cid = (await bench.archive())["cid"]
    assert await broken_blocks(bench.ipfs, cid, lambda: None) == []
