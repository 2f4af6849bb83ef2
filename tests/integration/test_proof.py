"""The proof before local copies go: members come from the network's own node, and are what was archived."""

import hashlib

import pytest
from evidence_rows import evidence
from servers_hostile import hostile
from servers_proof import Proofs, moved

from roadvault_common.ipfs.reading import Reader
from roadvault_common.ipfs.witness import OthersGateway
from roadvault_common.metrics import STAGE_BYTES
from roadvault_common.work import backlog
from roadvault_common.work.outcome import Done, Failed, Retry, Wait
from roadvault_common.work.stages import PROVE, WATCH
from roadvault_stack.kubo import Kubo


async def test_an_archive_that_the_network_holds_is_proven(proofs: Proofs, network_kubo: Kubo) -> None:
    await proofs.add_to(network_kubo)
    assert await proofs.prover.proving.work(proofs.zip_id) == Done()
    (row,) = await evidence(proofs.desk.db, proofs.zip_id)
    assert (row["replicas"], row["market"]) == (60, await proofs.desk.chain.identity())
    assert row["proven_by"] == "gateway 127.0.0.1: each block by name, of those it holds"
    assert (row["members"], row["bytes"] > 1_200_000) == (3, True)
    assert (await proofs.row())["drop_due"] is not None


async def test_what_the_market_counts_no_more_at_the_end_of_a_proof_is_not_proven(
    proofs: Proofs, network_kubo: Kubo
) -> None:
    await proofs.count(await proofs.add_to(network_kubo), 50)
    assert await proofs.prover.proving.work(proofs.zip_id) == Done()
    (row,) = await evidence(proofs.desk.db, proofs.zip_id)
    assert (row["valid"], row["proven_at"]) == (None, None)
    assert "50 replicas" in row["void_reason"]
    assert (await proofs.row())["drop_due"] is None
    assert await backlog.due_rows(proofs.desk.db, WATCH, 10) == [proofs.zip_id]  # the orderer looks again


async def test_while_the_market_is_away_nothing_is_fetched(proofs: Proofs, network_kubo: Kubo) -> None:
    await proofs.add_to(network_kubo)
    fetched = STAGE_BYTES.labels(PROVE.name)._value
    before = fetched.get()
    proofs.desk.devnet.turn(syncing=True)
    outcome = await proofs.prover.proving.work(proofs.zip_id)
    assert isinstance(outcome, Wait)
    assert ("syncing" in outcome.reason, fetched.get()) == (True, before)


@pytest.mark.parametrize("by_name", [False, True])
async def test_a_gateway_that_has_the_root_and_not_the_leaves_proves_nothing(
    proofs: Proofs, kubo: Kubo, network_kubo: Kubo, *, by_name: bool
) -> None:
    cid = await proofs.add_to(kubo)
    assert network_kubo.rpc(f"block/stat?arg={cid}") is not None  # from us; it is the only inner node
    if not by_name:  # what Kubo's gateway makes of the header for anything longer than a block
        proofs.reader.gateway.only_cached = False
    before = moved(kubo)
    outcome = await proofs.prover.proving.work(proofs.zip_id)
    if by_name:
        assert isinstance(outcome, Wait)
        assert "412" in outcome.reason
        assert (moved(kubo) - before, await proofs.proven()) == (0, [False])
    else:
        assert moved(kubo) - before > 400_000  # the first leaf came in a CAR, from us


async def test_an_archive_that_only_we_hold_is_not_proven(proofs: Proofs, kubo: Kubo) -> None:
    await proofs.add_to(kubo)
    outcome = await proofs.prover.proving.work(proofs.zip_id)
    assert isinstance(outcome, Wait)
    row = await proofs.row()
    assert (await proofs.proven(), row["drop_due"], row["prove_reason"]) == ([False], None, str(outcome.reason))


@pytest.mark.parametrize("what", ["more than was asked, as a block", "a gzip bomb", "a CAR of leaves without end"])
async def test_a_gateway_that_sends_what_nobody_asked_for_proves_nothing(
    proofs: Proofs, network_kubo: Kubo, what: str
) -> None:
    await proofs.add_to(network_kubo)
    async with hostile(what) as server, Reader.open(server.url, 3, only_cached=True) as reader:
        proofs.prover._way = OthersGateway(reader)
        assert isinstance(await proofs.prover.proving.work(proofs.zip_id), Retry)
    assert await proofs.proven() == [False]


async def test_bytes_that_are_wrong_ask_a_person(proofs: Proofs, network_kubo: Kubo) -> None:
    await proofs.add_to(network_kubo)
    await proofs.desk.db.execute("UPDATE file_upload_info SET sha256 = %s", ("0" * 64,))
    outcome = await proofs.prover.proving.work(proofs.zip_id)
    assert isinstance(outcome, Failed)
    assert "the network's copy of file" in outcome.reason
    row = await proofs.row()
    assert (await proofs.proven(), row["drop_due"], row["prove_failed_at"] is not None) == ([False], None, True)


async def test_without_witness_and_gateway_nothing_is_dropped(proofs: Proofs) -> None:
    proofs.prover._way = None
    for _ in range(3):
        await proofs.desk.db.execute("UPDATE zip_ipfs_info SET prove_due = UTC_TIMESTAMP(6)")
        outcome = await proofs.prover.proving.work(proofs.zip_id)
        assert isinstance(outcome, Wait)
        assert "set ROADVAULT_WITNESS_RPC_URL, or ROADVAULT_PROOF_GATEWAY_URL" in outcome.reason
    row = await proofs.row()
    assert (await proofs.proven(), row["drop_due"], row["prove_attempts"]) == ([], None, 0)


async def test_an_archive_of_empty_files_proves_nothing(proofs: Proofs, network_kubo: Kubo) -> None:
    await proofs.add_to(network_kubo)
    await proofs.desk.db.execute(
        "UPDATE file_upload_info SET size = 0, sha256 = %s", (hashlib.sha256(b"").hexdigest(),)
    )
    outcome = await proofs.prover.proving.work(proofs.zip_id)
    assert isinstance(outcome, Failed)
    assert "nothing is proven" in outcome.reason
    row = await proofs.row()
    assert (await proofs.proven(), row["drop_due"]) == ([False], None)
