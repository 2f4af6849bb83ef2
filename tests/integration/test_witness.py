"""The witness: a node of ours that knows the network's, and proves nothing once it has met the one with archives."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import partial

import pytest
from evidence_rows import evidence
from servers_process import Running
from servers_proof import Proofs, moved

from roadvault_common.errors import IpfsAway
from roadvault_common.ipfs.gateway import Gateway
from roadvault_common.ipfs.rpc import Ipfs
from roadvault_common.ipfs.witness import Witness, note_node
from roadvault_common.sql import nodes
from roadvault_common.work.outcome import Done, Retry, Wait
from roadvault_stack.kubo import Kubo, WitnessKubo

_STALL_SECONDS = 2
_FILTER = "/ip4/127.0.0.1/ipcidr/32"


@asynccontextmanager
async def opened(proofs: Proofs, node: Kubo, gateway: Kubo) -> AsyncIterator[Witness]:
    async with (
        Ipfs.open(node.rpc_url, _STALL_SECONDS) as rpc,
        Gateway.open(gateway.gateway_url, _STALL_SECONDS, node=rpc) as through,
    ):
        witness = Witness(rpc, through, partial(nodes.ours, proofs.desk.db))
        proofs.goes(witness)
        yield witness


@pytest.fixture
async def witness(proofs: Proofs, kubo: Kubo, witness_server: Running[WitnessKubo]) -> AsyncIterator[Witness]:
    """The way of the proofs's proofs, and our own node is known."""
    async with Ipfs.open(kubo.rpc_url, _STALL_SECONDS) as ours:
        await note_node(ours, proofs.desk.db)
    async with opened(proofs, witness_server.server, witness_server.server) as witness:
        yield witness


@pytest.fixture
def lax(witness_server: Running[WitnessKubo]) -> Iterator[Kubo]:
    """The witness's node without its address filters; it is started anew afterwards, and knows nothing of what was."""
    assert witness_server.server.rpc(f"swarm/filters/rm?arg={_FILTER}") is not None
    yield witness_server.server
    witness_server.restart()


def meet(node: Kubo, ours: Kubo) -> None:
    assert node.rpc(f"swarm/connect?arg={ours.swarm_address}/p2p/{ours.peer_id}") is not None


def part(node: Kubo, ours: Kubo) -> None:
    assert node.rpc(f"swarm/disconnect?arg=/p2p/{ours.peer_id}") is not None


@pytest.mark.usefixtures("witness")
async def test_what_the_network_holds_is_proven_and_forgotten(proofs: Proofs, kubo: Kubo, network_kubo: Kubo) -> None:
    cid = await proofs.add_to(network_kubo)
    for _ in range(2):
        before = moved(network_kubo)
        assert await proofs.prove() == Done()
        assert moved(network_kubo) - before > 1_200_000  # of the second proof as of the first
    (row,) = await evidence(proofs.desk.db, proofs.zip_id)
    assert row["proven_by"] == "witness 127.0.0.1: blocks from others, our own node not among its peers"

    await proofs.hold(kubo)
    assert network_kubo.rpc(f"pin/rm?arg={cid}") is not None
    async with Ipfs.open(network_kubo.rpc_url, 30) as network:
        await network.collect_garbage()
    before = moved(kubo)
    outcome = await proofs.prove()
    assert isinstance(outcome, Wait), outcome  # neither from its own store, nor from our node
    assert "no more of" in outcome.reason
    assert moved(kubo) == before


async def test_what_comes_once_the_witness_has_met_our_node_is_no_proof(
    proofs: Proofs, witness: Witness, kubo: Kubo, lax: Kubo
) -> None:
    cid = await proofs.add_to(kubo)  # and nobody else
    before, came = moved(kubo), 0
    with pytest.raises(IpfsAway, match="did so a moment ago"):
        async with witness.reading() as reader:
            meet(lax, kubo)
            async for piece in reader.read(cid, 0, 1_000_000):
                came += len(piece)
            part(lax, kubo)
    assert (came, moved(kubo) - before >= came) == (1_000_000, True)  # it does come, which is why it has to be seen

    for together in (False, True):
        if together:
            meet(lax, kubo)
        outcome = await proofs.prove()
        assert isinstance(outcome, Wait)
        assert f"our own node {kubo.peer_id}" in outcome.reason
    row = await proofs.row()
    assert (await proofs.proven(), row["prove_attempts"], row["drop_due"]) == ([False], 0, None)


async def test_a_witness_that_is_our_node_or_of_which_nothing_is_known_proves_nothing(
    proofs: Proofs, kubo: Kubo, network_kubo: Kubo, witness_server: Running[WitnessKubo]
) -> None:
    await proofs.add_to(network_kubo)
    async with opened(proofs, witness_server.server, witness_server.server):
        outcome = await proofs.prove()
        assert isinstance(outcome, Wait)
        assert "which nodes of ours hold archives is not known" in outcome.reason
    async with Ipfs.open(kubo.rpc_url, _STALL_SECONDS) as ours:
        await note_node(ours, proofs.desk.db)
    async with opened(proofs, kubo, kubo):
        outcome = await proofs.prove()
        assert isinstance(outcome, Wait)
        assert f"the witness is our own node {kubo.peer_id}" in outcome.reason


@pytest.mark.usefixtures("witness")
async def test_what_another_nodes_gateway_gives_is_no_proof(
    proofs: Proofs, network_kubo: Kubo, witness_server: Running[WitnessKubo]
) -> None:
    await proofs.add_to(network_kubo)
    async with opened(proofs, witness_server.server, network_kubo):
        outcome = await proofs.prove()
    assert isinstance(outcome, Retry)
    assert "the witness received 0: it was started anew meanwhile" in outcome.reason
    assert await proofs.proven() == [False]


@pytest.mark.usefixtures("witness")
async def test_a_witness_that_is_alone_rests(
    proofs: Proofs, network_kubo: Kubo, witness_server: Running[WitnessKubo]
) -> None:
    await proofs.add_to(network_kubo)
    part(witness_server.server, network_kubo)
    outcome = await proofs.prove()
    assert isinstance(outcome, Wait)
    assert "the witness has no peer" in outcome.reason
