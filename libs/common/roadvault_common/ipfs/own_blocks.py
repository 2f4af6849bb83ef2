"""Blocks in a node's own store: whether they are whole, and how those that are not step aside."""

from collections.abc import Callable, Sequence

import orjson

from roadvault_common.errors import IpfsUnavailable
from roadvault_common.ipfs.dag import RAW, Cid
from roadvault_common.ipfs.rpc import CHUNK_BYTES, Ipfs

_NOT_HERE = "not found"
_ANSWERED = "Kubo's block/get:"


async def block(node: Ipfs, cid: str) -> bytes:
    """Return the block of a CID, from the node's own store.

    Raises:
        IpfsUnavailable: The node is away, or does not have it whole.
    """
    block = await node.call("block/get", {"arg": cid, "offline": "true"}, most=CHUNK_BYTES)
    if not Cid.parse(cid).fits(block):
        raise IpfsUnavailable(f"Kubo's block/get: what it gave is not {cid}")
    return block


async def broken_leaves(node: Ipfs, cid: str, progress: Callable[[], None]) -> list[str]:
    """Read a file's leaves from the node's own store; return the CIDs of those that it can't give, or not whole.

    What lies under an inner node that is not there is not known: it will be fetched anyway.
    """
    try:
        leaves = await _leaves(node, cid)
    except IpfsUnavailable as error:
        if _NOT_HERE not in str(error):
            raise
        return []
    broken = []
    for leaf in leaves:
        if not await _has_whole(node, leaf):
            broken.append(leaf)
        progress()
    return broken


async def lost_leaves(node: Ipfs, cid: str) -> list[str]:
    """Return the CIDs of a file's leaves if the node's own store can give none of them; else nothing.

    Raises:
        IpfsUnavailable: The node is away, or does not know which they are.
    """
    leaves = await _leaves(node, cid)
    for leaf in leaves:
        if await _has_whole(node, leaf):
            return []
    return leaves


async def forget(node: Ipfs, cids: Sequence[str]) -> None:
    """Remove blocks that no pin holds from the node's store; what it refers to elsewhere stays there.

    Raises:
        IpfsUnavailable: The node is away, or a pin holds one of them.
    """
    for cid in cids:
        answer = await node.call("block/rm", {"arg": cid, "force": "true"})
        errors = [line["Error"] for line in map(orjson.loads, answer.splitlines()) if line.get("Error")]
        if errors:
            raise IpfsUnavailable(f"Kubo's block/rm: {errors[0]}")


async def _leaves(node: Ipfs, cid: str) -> list[str]:
    """Return the CIDs of the raw leaves below a node, each once."""
    if Cid.parse(cid).codec == RAW:
        return [cid]
    told = orjson.loads(await node.call("dag/get", {"arg": cid, "offline": "true"}))
    found: dict[str, None] = {}
    for link in told["Links"]:
        found |= dict.fromkeys(await _leaves(node, link["Hash"]["/"]))
    return list(found)


async def _has_whole(node: Ipfs, leaf: str) -> bool:
    # Where the node does not answer, it may be whole.
    block = await node.call_unless(_ANSWERED, "block/get", {"arg": leaf, "offline": "true"}, most=CHUNK_BYTES)
    return block is not None and Cid.parse(leaf).fits(block)
