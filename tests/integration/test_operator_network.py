"""The operator's command line and the network: what was read, and where, is said plainly."""

from servers_operator import Console
from servers_process import Running

from roadvault_common.ipfs.rpc import Ipfs
from roadvault_common.sql import nodes
from roadvault_common.work.outcome import Done
from roadvault_stack.kubo import Kubo, WitnessKubo


async def test_the_network_is_asked_through_the_proof_gateway_or_the_witness(
    console: Console, network_kubo: Kubo, kubo: Kubo, witness_server: Running[WitnessKubo]
) -> None:
    zip_id = await console.archive()
    assert await console.pinner.pinning.work(zip_id) == Done()
    out = await console.says("verify", "--all", "--from", "network")
    assert "reading through our own node" in out
    assert "neither ROADVAULT_WITNESS_RPC_URL nor ROADVAULT_PROOF_GATEWAY_URL is set" in out

    console.environment["ROADVAULT_PROOF_GATEWAY_URL"] = network_kubo.gateway_url
    code, out, _ = await console.run("verify", "--all", "--from", "network")
    assert code == 1
    assert "reading through the proof gateway" in out
    assert f"archive {zip_id}: the gateway answers 412" in out  # only our own node has it

    row = await console.db.fetch_one("SELECT cid FROM zip_ipfs_info")
    assert row is not None
    async with Ipfs.open(network_kubo.rpc_url, 30) as network:
        await network.fetch_and_pin(row["cid"], lambda: None)
    out = await console.says("verify", "--all", "--from", "network")
    assert "1 checked, 0 have no copy there, 0 things are wrong" in out

    del console.environment["ROADVAULT_PROOF_GATEWAY_URL"]
    console.environment["ROADVAULT_WITNESS_RPC_URL"] = witness_server.server.rpc_url
    console.environment["ROADVAULT_WITNESS_GATEWAY_URL"] = witness_server.server.gateway_url
    code, out, _ = await console.run("verify", "--all", "--from", "network")
    assert (code, "which nodes of ours hold archives is not known" in out) == (1, True)
    await nodes.note(console.db, kubo.peer_id)
    out = await console.says("verify", "--all", "--from", "network")
    assert "reading through the witness" in out
    assert "1 checked, 0 have no copy there, 0 things are wrong" in out


async def test_sealing_all_shows_how_far_it_is(console: Console) -> None:
    await console.file()
    console.environment["FORCE_COLOR"] = "1"  # as on a terminal
    out = await console.says("seal", "--all")
    assert "folders" in out
    assert "100%" in out
