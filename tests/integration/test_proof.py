"""The proof before local copies go: members come from the network's own node, and are what was archived."""

import hashlib
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.fernet import Fernet
from evidence_rows import evidence
from pydantic import SecretStr
from servers_hostile import hostile
from servers_orderer import Desk, OpenDesk

from roadvault_common.archive.crypto import MasterKeys
from roadvault_common.events.bus import Bus
from roadvault_common.ipfs.reading import Reader
from roadvault_common.ipfs.rpc import Ipfs
from roadvault_common.metrics import STAGE_BYTES
from roadvault_common.sql.db import Row
from roadvault_common.work import backlog
from roadvault_common.work.lease import PROVE, WATCH
from roadvault_common.work.outcome import Done, Failed, Retry, Wait
from roadvault_crust_orderer.proof.proof import Prover
from roadvault_packer.archive import pack
from roadvault_packer.uploads import Upload
from roadvault_stack.kubo import Kubo


@dataclass
class Bench:
    """A prover, and an archive that is on one node or the other."""

    desk: Desk
    prover: Prover
    archive: Path
    zip_id: int

    async def add_to(self, node: Kubo) -> str:
        """Have a node hold the archive, and the market count enough replicas of it; return its CID."""

        async def stream() -> AsyncIterator[bytes]:
            yield self.archive.read_bytes()

        async with Ipfs.open(node.rpc_url, 60) as ipfs:
            cid = await ipfs.add(stream(), None)
        await self.desk.db.execute("UPDATE zip_ipfs_info SET cid = %s, dag_size = 5000000", (cid,))
        await self.desk.bought(self.zip_id)
        await self.count(cid, 60)
        await self.desk.attend(self.zip_id)
        return cid

    async def count(self, cid: str, replicas: int) -> None:
        self.desk.devnet.turn(set_replicas={"cid": cid, "count": replicas})
        self.desk.devnet.final()

    async def row(self) -> Row:
        return await self.desk.row(self.zip_id)

    async def proven(self) -> list[bool]:
        """Tell, of each evidence that there ever was, whether it is valid and proven."""
        rows = await evidence(self.desk.db, self.zip_id)
        return [bool(row["valid"] and row["proven_at"]) for row in rows]


@pytest.fixture
async def bench(open_desk: OpenDesk, redis_url: str, network_kubo: Kubo, tmp_path: Path) -> AsyncIterator[Bench]:
    secret = SecretStr(Fernet.generate_key().decode())
    keys = MasterKeys(secret)
    members = []
    for number in range(1, 6):
        content = os.urandom(400_000 + number)
        (tmp_path / str(number)).write_bytes(content)
        members.append(Upload(number, "a.mp4", len(content), _sha256(content), str(number), datetime.now(UTC)))
    target = tmp_path / "archive"
    packed = pack(1, members, tmp_path, target, keys, lambda _: None)
    async with (
        open_desk(master_keys=secret) as desk,
        Bus.open(SecretStr(redis_url), "crust-orderer") as bus,
        Reader.open(network_kubo.gateway_url, 3, only_cached=True) as reader,
    ):
        async with desk.db.transaction() as tx:
            zip_id = await tx.insert(
                "INSERT INTO zip_ipfs_info (folder_id, zip_name, `key`, iv, size, files) VALUES (1, 'a', %s, %s, 1, 5)",
                (keys.wrap(packed.key.key), packed.key.iv.hex()),
            )
            for member in members:
                await tx.execute(
                    "INSERT INTO file_upload_info (file_id, file_name, file_type, size, sha256, folder_id, zip_id,"
                    " zip_offset) VALUES (%s, 'a', 'mp4', %s, %s, 1, %s, %s)",
                    (member.file_id, member.size, member.sha256, zip_id, packed.offsets[member.file_id]),
                )
        prover = Prover(desk.orderer.buying._settings, desk.db, bus, keys, reader, desk.chain)
        yield Bench(desk, prover, target, zip_id)


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


async def test_an_archive_that_the_network_holds_is_proven(bench: Bench, network_kubo: Kubo) -> None:
    await bench.add_to(network_kubo)
    assert await bench.prover.proving.work(bench.zip_id) == Done()
    (row,) = await evidence(bench.desk.db, bench.zip_id)
    assert (row["replicas"], row["market"]) == (60, await bench.desk.chain.identity())
    assert row["proven_by"] == "gateway 127.0.0.1: each block by name, of those it holds"
    assert (row["members"], row["bytes"] > 1_200_000) == (3, True)
    assert (await bench.row())["drop_due"] is not None


async def test_what_the_market_counts_no_more_at_the_end_of_a_proof_is_not_proven(
    bench: Bench, network_kubo: Kubo
) -> None:
    await bench.count(await bench.add_to(network_kubo), 50)
    assert await bench.prover.proving.work(bench.zip_id) == Done()
    (row,) = await evidence(bench.desk.db, bench.zip_id)
    assert (row["valid"], row["proven_at"]) == (None, None)
    assert "50 replicas" in row["void_reason"]
    assert (await bench.row())["drop_due"] is None
    assert await backlog.due_rows(bench.desk.db, WATCH, 10) == [bench.zip_id]  # the orderer looks again


async def test_while_the_market_is_away_nothing_is_fetched(bench: Bench, network_kubo: Kubo) -> None:
    await bench.add_to(network_kubo)
    fetched = STAGE_BYTES.labels(PROVE.name)._value
    before = fetched.get()
    bench.desk.devnet.turn(syncing=True)
    outcome = await bench.prover.proving.work(bench.zip_id)
    assert isinstance(outcome, Wait)
    assert ("syncing" in outcome.reason, fetched.get()) == (True, before)


def moved(node: Kubo) -> int:
    """Return how many bytes of blocks a node has sent to others so far."""
    stat = node.rpc("stats/bitswap")
    assert stat is not None
    return int(stat["DataSent"])


@pytest.mark.parametrize("by_name", [False, True])
async def test_a_gateway_that_has_the_root_and_not_the_leaves_proves_nothing(
    bench: Bench, kubo: Kubo, network_kubo: Kubo, *, by_name: bool
) -> None:
    cid = await bench.add_to(kubo)
    assert network_kubo.rpc(f"block/stat?arg={cid}") is not None  # from us; it is the only inner node
    if not by_name:  # what Kubo's gateway makes of the header for anything longer than a block
        assert bench.prover._reader is not None
        bench.prover._reader.gateway.only_cached = False
    before = moved(kubo)
    outcome = await bench.prover.proving.work(bench.zip_id)
    if by_name:
        assert isinstance(outcome, Wait)
        assert "412" in outcome.reason
        assert (moved(kubo) - before, await bench.proven()) == (0, [False])
    else:
        assert moved(kubo) - before > 400_000  # the first leaf came in a CAR, from us


async def test_an_archive_that_only_we_hold_is_not_proven(bench: Bench, kubo: Kubo) -> None:
    await bench.add_to(kubo)
    outcome = await bench.prover.proving.work(bench.zip_id)
    assert isinstance(outcome, Wait)
    row = await bench.row()
    assert (await bench.proven(), row["drop_due"], row["prove_reason"]) == ([False], None, outcome.reason)


@pytest.mark.parametrize("what", ["more than was asked, as a block", "a gzip bomb", "a CAR of leaves without end"])
async def test_a_gateway_that_sends_what_nobody_asked_for_proves_nothing(
    bench: Bench, network_kubo: Kubo, what: str
) -> None:
    await bench.add_to(network_kubo)
    async with hostile(what) as server, Reader.open(server.url, 3, only_cached=True) as reader:
        bench.prover._reader = reader
        assert isinstance(await bench.prover.proving.work(bench.zip_id), Retry)
    assert await bench.proven() == [False]


async def test_bytes_that_are_wrong_ask_a_person(bench: Bench, network_kubo: Kubo) -> None:
    await bench.add_to(network_kubo)
    await bench.desk.db.execute("UPDATE file_upload_info SET sha256 = %s", ("0" * 64,))
    outcome = await bench.prover.proving.work(bench.zip_id)
    assert isinstance(outcome, Failed)
    assert "the network's copy of file" in outcome.reason
    row = await bench.row()
    assert (await bench.proven(), row["drop_due"], row["prove_failed_at"] is not None) == ([False], None, True)


async def test_without_a_second_gateway_nothing_is_dropped(bench: Bench) -> None:
    bench.prover._reader = None
    for _ in range(3):
        await bench.desk.db.execute("UPDATE zip_ipfs_info SET prove_due = UTC_TIMESTAMP(6)")
        outcome = await bench.prover.proving.work(bench.zip_id)
        assert isinstance(outcome, Wait)
        assert "ROADVAULT_PROOF_GATEWAY_URL" in outcome.reason
    row = await bench.row()
    assert (await bench.proven(), row["drop_due"], row["prove_attempts"]) == ([], None, 0)


async def test_an_archive_of_empty_files_proves_nothing(bench: Bench, network_kubo: Kubo) -> None:
    await bench.add_to(network_kubo)
    await bench.desk.db.execute("UPDATE file_upload_info SET size = 0, sha256 = %s", (_sha256(b""),))
    outcome = await bench.prover.proving.work(bench.zip_id)
    assert isinstance(outcome, Failed)
    assert "nothing is proven" in outcome.reason
    row = await bench.row()
    assert (await bench.proven(), row["drop_due"]) == ([False], None)
