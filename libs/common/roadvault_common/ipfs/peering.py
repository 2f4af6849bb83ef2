"""A node among others: who it is, whether it has peers, and how it meets those who have something."""

from contextlib import suppress

import orjson

from roadvault_common.errors import IpfsAway, IpfsUnavailable, NetworkAway, Value, brief
from roadvault_common.ipfs.rpc import Ipfs

_PROVIDERS, _SEARCH_SECONDS, _PROVIDER = 3, 20, 4
"""How many are looked for, and how long; and what Kubo's routing/findprovs calls an event that tells of one."""


async def peer_id(node: Ipfs) -> str:
    """Return the node's name among its peers."""
    return str((await node.ask("id"))["ID"])


async def check_peers(node: Ipfs) -> None:
    """See that the node has a peer.

    Raises:
        NetworkAway: It has none: nothing can be brought from the network.
        IpfsAway: The node can't be asked.
    """
    try:
        answer = orjson.loads(await node.call("swarm/peers", {}, limits=node.soon))
    except IpfsUnavailable as error:
        raise IpfsAway(brief(error)) from error
    if not answer.get("Peers"):
        raise NetworkAway("our Kubo has no peer: see its swarm port, and the way to the internet")


async def facts(node: Ipfs) -> dict[str, Value]:
    """Return a node's version, and how many peers it has.

    Raises:
        IpfsUnavailable: It can't be asked.
    """
    told, peers = await node.ask("version"), await node.ask("swarm/peers")
    return {"kubo_version": str(told.get("Version", ""))[:40], "kubo_peers": len(peers.get("Peers") or [])}


async def meet_providers(node: Ipfs, cid: str) -> None:
    """Have the node connect to some who announce a CID: of one that it has itself it looks for nobody.

    Raises:
        IpfsUnavailable: The node is away, or has no way to look for anybody.
    """
    parameters = {"arg": cid, "num-providers": f"{_PROVIDERS}", "timeout": f"{_SEARCH_SECONDS}s"}
    answer = await node.call("routing/findprovs", parameters)
    events = [orjson.loads(line) for line in answer.splitlines()]
    for peer in [peer for event in events if event["Type"] == _PROVIDER for peer in event["Responses"]]:
        for address in peer["Addrs"] or [""]:
            with suppress(IpfsUnavailable):  # of others, or by another way, it may come all the same
                await node.call("swarm/connect", {"arg": f"{address}/p2p/{peer['ID']}"}, limits=node.soon)
                break
