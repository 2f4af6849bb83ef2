"""The proof before local copies go: members come from the network's own node, and are what was archived."""

import hashlib
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.fernet import Fernet
from pydantic import SecretStr

from roadvault_common.bus import Bus
from roadvault_common.crypto import ArchiveKey, MasterKeys
from roadvault_common.db import Database, Row
from roadvault_common.gateway import Gateway
from roadvault_common.ipfs import Ipfs
from roadvault_common.outcome import Done, Failed, Retry
from roadvault_crust_orderer.config import OrdererSettings
from roadvault_crust_orderer.proof import Prover
from roadvault_packer.archive import Member, pack
from roadvault_stack.kubo import Kubo


@dataclass
class Bench:
    """A prover, and an archive that is on one node or the other."""

    db: Database
    prover: Prover
    archive: Path
    zip_id: int

    async def add_to(self, node: Kubo) -> None:
        async def stream() -> AsyncIterator[bytes]:
            yield self.archive.read_bytes()

        async with Ipfs.open(node.rpc_url, 60) as ipfs:
            cid = (await ipfs.add(stream(), None)).cid
        await self.db.execute("UPDATE zip_ipfs_info SET cid = %s", (cid,))

    async def row(self) -> Row:
        row = await self.db.fetch_one("SELECT * FROM zip_ipfs_info")
        assert row is not None
        return row


@pytest.fixture
async def bench(database_url: str, redis_url: str, network_kubo: Kubo, tmp_path: Path) -> AsyncIterator[Bench]:
    secret = SecretStr(Fernet.generate_key().decode())
    values = {"database_url": database_url, "redis_url": redis_url, "master_keys": secret, "crust_seed": "//Alice"}
    settings = OrdererSettings.model_validate(values)
    keys, key = MasterKeys(secret), ArchiveKey.new()
    members = []
    for number in range(1, 6):
        content = os.urandom(400_000 + number)
        (tmp_path / str(number)).write_bytes(content)
        members.append(Member(number, "a.mp4", len(content), _sha256(content), str(number)))
    target = tmp_path / "archive"
    packed = pack(1, members, tmp_path, target, key, lambda _: None)
    async with (
        Database.open(database_url) as db,
        Bus.open(SecretStr(redis_url), "crust-orderer") as bus,
        Gateway.open(network_kubo.gateway_url, 3, only_cached=settings.proof_only_cached) as gateway,
    ):
        async with db.transaction() as tx:
            zip_id = await tx.insert(
                "INSERT INTO zip_ipfs_info (folder_id, zip_name, `key`, iv, size, files, prove_due)"
                " VALUES (1, 'a', %s, %s, 1, 5, UTC_TIMESTAMP(6))",
                (keys.wrap(key.key), key.iv.hex()),
            )
            for member in members:
                await tx.execute(
                    "INSERT INTO file_upload_info (file_id, file_name, file_type, size, sha256, folder_id, zip_id,"
                    " zip_offset) VALUES (%s, 'a', 'mp4', %s, %s, 1, %s, %s)",
                    (member.file_id, member.size, member.sha256, zip_id, packed.offsets[member.file_id]),
                )
        yield Bench(db, Prover(settings, db, bus, keys, gateway), target, zip_id)


def _sha256(content: bytes) -> str:

    return hashlib.sha256(content).hexdigest()


async def test_an_archive_that_the_network_holds_is_proven(bench: Bench, network_kubo: Kubo) -> None:
    await bench.add_to(network_kubo)
    assert await bench.prover.proving.work(bench.zip_id) == Done()
    row = await bench.row()
    assert row["replicated_at"] is not None
    assert row["drop_due"] is not None


async def test_an_archive_that_only_we_hold_is_not_proven(bench: Bench, kubo: Kubo) -> None:
    await bench.add_to(kubo)
    outcome = await bench.prover.proving.work(bench.zip_id)
    assert isinstance(outcome, Retry)
    row = await bench.row()
    assert (row["replicated_at"], row["drop_due"], row["prove_reason"]) == (None, None, outcome.reason)


async def test_bytes_that_are_wrong_ask_a_person(bench: Bench, network_kubo: Kubo) -> None:
    await bench.add_to(network_kubo)
    await bench.db.execute("UPDATE file_upload_info SET sha256 = %s", ("0" * 64,))
    outcome = await bench.prover.proving.work(bench.zip_id)
    assert isinstance(outcome, Failed)
    assert "the network's copy of file" in outcome.reason
    row = await bench.row()
    assert (row["replicated_at"], row["drop_due"], row["prove_failed_at"] is not None) == (None, None, True)


async def test_without_a_second_gateway_nothing_is_dropped(bench: Bench) -> None:
    bench.prover._gateway = None
    for _ in range(3):
        await bench.db.execute("UPDATE zip_ipfs_info SET prove_due = UTC_TIMESTAMP(6)")
        outcome = await bench.prover.proving.work(bench.zip_id)
        assert isinstance(outcome, Retry)
        assert "ROADVAULT_PROOF_GATEWAY_URL" in outcome.reason
    row = await bench.row()
    assert (row["replicated_at"], row["drop_due"], row["prove_attempts"]) == (None, None, 0)


async def test_an_archive_of_empty_files_proves_nothing(bench: Bench, network_kubo: Kubo) -> None:
    await bench.add_to(network_kubo)
    await bench.db.execute("UPDATE file_upload_info SET size = 0, sha256 = %s", (_sha256(b""),))
    outcome = await bench.prover.proving.work(bench.zip_id)
    assert isinstance(outcome, Failed)
    assert "nothing is proven" in outcome.reason
    row = await bench.row()
    assert (row["replicated_at"], row["drop_due"]) == (None, None)
