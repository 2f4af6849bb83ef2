"""A shelter in our node for archives that are not pinned for a while, since blocks of theirs have to go and to come.

Kubo removes no block below a pin, but collects as garbage whatever no pin holds, at times by itself. What its own file
system (MFS) names it collects neither, whether or not all of that is there; and its blocks may be removed.
"""

from collections.abc import Iterable

from roadvault_common.ipfs.rpc import Ipfs

_PLACE = "/roadvault-restoring"
_THERE = "already has entry by that name"


async def keep(node: Ipfs, cid: str, tops: Iterable[str]) -> None:
    """Keep what is below some nodes of an archive from garbage collections, until `release`."""
    for top in tops:
        parameters = {"arg": [f"/ipfs/{top}", f"{_PLACE}/{cid}/{top}"], "parents": "true"}
        await node.call_unless(_THERE, "files/cp", parameters)


async def release(node: Ipfs, cid: str) -> None:
    """Leave an archive to its pin, or to the next garbage collection."""
    await node.call("files/rm", {"arg": f"{_PLACE}/{cid}", "force": "true"})
