"""Pins of a node that are broken: nodes below them have rotted, or are gone."""

import aiohttp
import orjson

from roadvault_common.errors import IpfsUnavailable
from roadvault_common.ipfs.rpc import GC_SECONDS, Ipfs

_MOST_BYTES = 16 << 20
"""A pin takes some hundred bytes for each node of it that is broken."""


async def broken(node: Ipfs) -> list[str]:
    """Return the CIDs of pins of which the node can't read all inner nodes; it reads each of them, so this may be long.

    Raises:
        IpfsUnavailable: The node is away, or does not tell.
    """
    limits = aiohttp.ClientTimeout(total=GC_SECONDS, sock_connect=5)
    answer = await node.call("pin/verify", {}, limits=limits, most=_MOST_BYTES)
    try:
        return [str(orjson.loads(line)["Cid"]) for line in answer.splitlines() if line.strip()]
    except (ValueError, KeyError, TypeError):
        raise IpfsUnavailable(f"Kubo's pin/verify answers {answer[:200]!r}") from None
