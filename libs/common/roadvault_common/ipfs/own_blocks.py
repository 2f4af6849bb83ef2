"""Blocks in a node's own store: whether they are whole, and how those that are not step aside."""

from collections.abc import Callable, Sequence

import orjson

from roadvault_common.errors import IpfsRotten, IpfsUnavailable
from roadvault_common.ipfs.dag import RAW, Cid, linked
from roadvault_common.ipfs.rpc import CHUNK_BYTES, Ipfs

_NOT_HERE = "not found"
_ANSWERED = "Kubo's block/get:"


async def held(node: Ipfs, cid: str) -> bytes | None:
    """Return the block of a CID from the node's own store; None if it is not there.

    Raises:
        IpfsRotten: The node can't give it, or not whole.
        IpfsUnavailable: The node does not answer.
    """
    try:
        block = await node.call("block/get", {"arg": cid, "offline": "true"}, most=CHUNK_BYTES)
    except IpfsUnavailable as error:
        if _ANSWERED not in str(error):
            raise
        if _NOT_HERE in str(error):
            return None
        raise IpfsRotten(str(error)) from error
    if not Cid.parse(cid).fits(block):
        raise IpfsRotten(f"{_ANSWERED} what it gave is not {cid}")
    return block


async def whole(node: Ipfs, cid: str) -> bytes | None:
    """Return the block of a CID from the node's own store; None if it is not there, or not whole.

    Raises:
        IpfsUnavailable: The node does not answer.
    """
    try:
        return await held(node, cid)
    except IpfsRotten:
        return None


async def broken_blocks(node: Ipfs, cid: str, progress: Callable[[], None]) -> list[str]:
    """Read a file's blocks from the node's own store; return the CIDs of those that it can't give, or not whole.

    `progress` is called after each leaf. What lies below an inner node that is not whole is for another look once that
    is. Blocks are read as they are, since Kubo compares none in its own store with its hash: rot in an inner node may
    be an error, or other links.
    """
    broken, ways, seen = [], [cid], {cid}
    while ways:
        each = ways.pop()
        is_leaf, data = Cid.parse(each).codec == RAW, await whole(node, each)
        if data is None:
            broken.append(each)
        elif not is_leaf:
            below = [link for link in dict.fromkeys(map(str, linked(data))) if link not in seen]
            ways += reversed(below)
            seen.update(below)
        if is_leaf:
            progress()
    # Once more: a node that is about to stop refuses all blocks.
    return [each for each in broken if await whole(node, each) is None]


async def broken_and_unseen(node: Ipfs, cid: str, size: int, progress: Callable[[], None]) -> tuple[list[str], int]:
    """As `broken_blocks`; with how many of the leaves of a file of so many bytes were not come by."""
    read = 0

    def note() -> None:
        nonlocal read
        read += 1
        progress()

    broken = await broken_blocks(node, cid, note)
    return broken, max(-(-size // CHUNK_BYTES) - read, 0)


async def has_any(node: Ipfs, cids: Sequence[str]) -> bool:
    """Tell whether the node believes to have any of these blocks, whole or not."""
    for cid in cids:
        try:
            if await held(node, cid) is not None:
                return True
        except IpfsRotten:
            return True
    return False


async def lost_leaves(node: Ipfs, cid: str) -> list[str]:
    """Return the CIDs of a file's leaves if the node's own store can give none of them; else nothing.

    Raises:
        IpfsUnavailable: The node is away, or does not know which they are.
    """
    lost, ways = dict[str, None](), [cid]
    while ways:
        each = ways.pop()
        is_leaf = Cid.parse(each).codec == RAW
        try:
            data = await held(node, each)
        except IpfsRotten:
            if not is_leaf:
                raise
            data = None
        if is_leaf and data is not None:
            return []
        if is_leaf:
            lost[each] = None
        elif data is None:
            raise IpfsUnavailable(f"our IPFS node lacks {each}, and with it which leaves are below")
        else:
            ways += map(str, linked(data))
    return list(lost)


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
