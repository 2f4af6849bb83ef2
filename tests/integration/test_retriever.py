"""Bringing files back: every source, only the file's own range over the network, and what goes when."""

import hashlib
import os
from collections.abc import AsyncIterator
from dataclasses import astuple, dataclass
from pathlib import Path

import aiohttp
import pytest
from cryptography.fernet import Fernet
from pydantic import SecretStr

from roadvault_common.bus import Bus
from roadvault_common.crypto import ArchiveKey, MasterKeys
from roadvault_common.db import Database, Row
from roadvault_common.gateway import CAR_MOST_BYTES, Gateway
from roadvault_common.ipfs import Ipfs
from roadvault_common.outcome import Done, Failed, Retry
from roadvault_common.vault import Vault
from roadvault_packer.archive import Member, pack
from roadvault_retriever.config import RetrieverSettings
from roadvault_retriever.service import Retriever
from roadvault_stack.kubo import Kubo

SIZES = {"100 KB": 100_000, "1 MB": 1_000_000, "8 MB": 8_000_000, "20 MB": 20_000_000, "40 MB": 40_000_000}
INNER_BYTES = 5_000
"""More than the DAG's one inner node of this archive: 66 links of some 50 bytes, and two 20-byte headers."""


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
        row = await self.db.fetch_one(
            "SELECT download.*, file.status AS mirror FROM download_info AS download"
            " JOIN file_upload_info AS file USING (file_id) WHERE download_id = %s",
            (download_id,),
        )
        assert row is not None
        return row

    async def fetched(self, name: str) -> tuple[str, bytes]:
        """Fetch a file; return the source's name and the bytes."""
        download_id = await self.request(name)
        assert await self.retriever.fetching.work(download_id) == Done()
        row = await self.row(download_id)
        assert (row["status"], row["mirror"], row["callback_due"] is not None) == (1, 6, True)
        return row["source"], (self.vault.root / row["path"]).read_bytes()

    def downloads(self) -> list[Path]:
        return list((self.vault.root / "downloads").rglob("*"))


@pytest.fixture
async def bench(
    database_url: str, redis_url: str, data_dir: Path, kubo: Kubo, network_kubo: Kubo
) -> AsyncIterator[Bench]:
    secret = SecretStr(Fernet.generate_key().decode())
    values = {"database_url": database_url, "redis_url": redis_url, "data_dir": data_dir, "master_keys": secret}
    settings = RetrieverSettings.model_validate({**values, "disk_margin_bytes": 0})
    vault, keys = Vault(data_dir), MasterKeys(secret)
    vault.prepare()
    async with (
        Database.open(database_url) as db,
        Bus.open(SecretStr(redis_url), "retriever") as bus,
        Gateway.open(kubo.gateway_url, 20) as gateway,
        Ipfs.open(network_kubo.rpc_url, 60) as network,
    ):
        contents = {name: os.urandom(size) for name, size in SIZES.items()}
        file_ids = await _archive(db, vault, network, keys, contents)
        retriever = Retriever(settings, db, bus, vault, keys, gateway)
        yield Bench(db, vault, retriever, contents, file_ids)


async def _archive(
    db: Database, vault: Vault, network: Ipfs, keys: MasterKeys, contents: dict[str, bytes]
) -> dict[str, int]:
    """Pack the contents, put the archive on the network's node, and write the rows of it."""
    members = []
    for number, content in enumerate(contents.values(), 1):
        path = f"received/00/{number:032}"
        (vault.root / path).write_bytes(content)
        members.append(Member(number, f"{number}.mp4", len(content), hashlib.sha256(content).hexdigest(), path))
    key, target = ArchiveKey.new(), vault.root / "archives/a"
    packed = pack(1, members, vault.root, target, key, lambda _: None)

    async def stream() -> AsyncIterator[bytes]:
        yield target.read_bytes()

    cid = (await network.add(stream(), None)).cid
    async with db.transaction() as tx:
        zip_id = await tx.insert(
            "INSERT INTO zip_ipfs_info (folder_id, zip_name, path, `key`, iv, size, files, cid)"
            " VALUES (1, 'a', 'archives/a', %s, %s, %s, %s, %s)",
            (keys.wrap(key.key), key.iv.hex(), packed.size, len(members), cid),
        )
        for member in members:
            await tx.execute(
                "INSERT INTO file_upload_info (file_id, file_name, file_type, size, sha256, path, folder_id, zip_id,"
                " zip_offset, status) VALUES (%s, %s, 'mp4', %s, %s, %s, 1, %s, %s, 1)",
                (*astuple(member), zip_id, packed.offsets[member.file_id]),
            )
    return dict(zip(contents, packed.offsets, strict=True))


def _lose(bench: Bench, *names: str) -> None:
    for name in names:
        for path in (bench.vault.root / name).rglob("*"):
            if path.is_file():
                path.unlink()


async def _received(kubo: Kubo) -> int:
    async with aiohttp.ClientSession() as http, http.post(f"{kubo.rpc_url}/api/v0/stats/bitswap") as response:
        return int((await response.json())["DataReceived"])


async def _forget(kubo: Kubo) -> None:
    """Empty our node's cache, so that the next read goes over the network again."""
    async with Ipfs.open(kubo.rpc_url, 60) as ipfs:
        await ipfs.collect_garbage()


async def test_the_nearest_source_that_has_it_is_taken(bench: Bench) -> None:
    assert await bench.fetched("1 MB") == ("received", bench.contents["1 MB"])
    _lose(bench, "received")
    assert await bench.fetched("1 MB") == ("archive", bench.contents["1 MB"])
    _lose(bench, "archives")
    assert await bench.fetched("1 MB") == ("ipfs", bench.contents["1 MB"])


@pytest.mark.parametrize("name", list(SIZES))
async def test_no_more_than_the_files_own_blocks_cross_the_network(bench: Bench, kubo: Kubo, name: str) -> None:
    _lose(bench, "received", "archives")
    await _forget(kubo)
    before = await _received(kubo)
    assert await bench.fetched(name) == ("ipfs", bench.contents[name])
    moved = await _received(kubo) - before
    assert moved >= SIZES[name]
    if SIZES[name] <= CAR_MOST_BYTES:
        assert moved <= SIZES[name] + (2 << 20) + INNER_BYTES


async def test_a_damaged_copy_is_passed_over(bench: Bench) -> None:
    for path in (bench.vault.root / "received").rglob("0*1"):
        if path.is_file():
            path.write_bytes(b"rot" + path.read_bytes()[3:])
    assert await bench.fetched("100 KB") == ("archive", bench.contents["100 KB"])


async def test_nothing_but_damaged_copies_is_a_failure_with_its_reason(bench: Bench) -> None:
    await bench.db.execute("UPDATE file_upload_info SET sha256 = %s WHERE file_id = 1", ("0" * 64,))
    download_id = await bench.request("100 KB")
    outcome = await bench.retriever.fetching.work(download_id)
    assert isinstance(outcome, Failed)
    assert "SHA-256" in outcome.reason
    row = await bench.row(download_id)
    assert (row["status"], row["mirror"], row["open_key"], row["fetch_reason"]) == (3, 4, None, outcome.reason)
    assert [path for path in bench.downloads() if path.is_file()] == []


async def test_no_copy_at_all_is_a_failure_with_its_reason(bench: Bench) -> None:
    await bench.db.execute("UPDATE zip_ipfs_info SET cid = NULL")
    _lose(bench, "received", "archives")
    outcome = await bench.retriever.fetching.work(await bench.request("1 MB"))
    assert isinstance(outcome, Failed)
    assert "no copy is left" in outcome.reason


async def test_a_network_that_is_silent_is_a_retry(bench: Bench, kubo: Kubo) -> None:
    _lose(bench, "received", "archives")
    unknown = "bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi"
    await bench.db.execute("UPDATE zip_ipfs_info SET cid = %s", (unknown,))
    async with Gateway.open(kubo.gateway_url, 0.5) as gateway:
        bench.retriever._gateway = gateway
        for name in ("1 MB", "40 MB"):
            outcome = await bench.retriever.fetching.work(await bench.request(name))
            assert isinstance(outcome, Retry)
            assert "broke off" in outcome.reason
    assert [path for path in bench.downloads() if path.is_file()] == []


async def test_a_full_disk_waits_and_makes_room(bench: Bench) -> None:
    await bench.fetched("1 MB")
    await bench.db.execute("UPDATE download_info SET callback_due = NULL")
    bench.retriever._settings.disk_margin_bytes = 1 << 60
    download_id = await bench.request("8 MB")
    outcome = await bench.retriever.fetching.work(download_id)
    assert isinstance(outcome, Retry)
    assert "1 extractions expire now" in outcome.reason
    await bench.retriever.expiring.sweep_once()
    assert [path for path in bench.downloads() if path.is_file()] == []


async def test_a_live_link_is_never_removed_early(bench: Bench) -> None:
    await bench.fetched("1 MB")
    now = "expire_due = UTC_TIMESTAMP(6)"
    await bench.db.execute(f"UPDATE download_info SET {now}")  # noqa: S608 - the callback is still due
    await bench.retriever.expiring.sweep_once()
    await bench.db.execute(
        f"UPDATE download_info SET callback_due = NULL, status = 2, {now},"  # noqa: S608
        " link_expires_at = UTC_TIMESTAMP(6) + INTERVAL 1 HOUR"
    )
    await bench.retriever.expiring.sweep_once()
    assert len([path for path in bench.downloads() if path.is_file()]) == 1
    assert await bench.retriever._store.hasten_expiry(10) == 0
    await bench.db.execute(f"UPDATE download_info SET {now}, link_expires_at = UTC_TIMESTAMP(6)")  # noqa: S608
    await bench.retriever.expiring.sweep_once()
    assert bench.downloads() == []
    row = await bench.row(1)
    assert (row["status"], row["mirror"], row["path"]) == (4, 7, None)


async def test_only_the_latest_request_is_mirrored(bench: Bench) -> None:
    older, newer = await bench.request("1 MB"), await bench.request("1 MB")
    await bench.retriever.fetching.work(older)
    assert (await bench.row(older))["mirror"] == 1
    await bench.retriever.fetching.work(newer)
    assert (await bench.row(newer))["mirror"] == 6
