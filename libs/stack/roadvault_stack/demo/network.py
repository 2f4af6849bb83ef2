"""Proof that bytes came over the network: what the Kubo nodes themselves say of it."""

from dataclasses import dataclass
from typing import Any

import aiohttp

from roadvault_stack.kubo import authorized

READ_AHEAD_BYTES = 2 << 20
"""What one file may cost on top of itself: the rest of its first and of its last 1 MiB block."""


@dataclass(frozen=True)
class Counters:
    """Bytes of blocks that our node received, and that the network's node sent, since they started."""

    received: int
    sent: int

    def since(self, before: "Counters") -> "Counters":
        """Return what was added since `before`."""
        return Counters(self.received - before.received, self.sent - before.sent)


async def counters(ours_rpc_url: str, token: str, network_rpc_url: str) -> Counters:
    """Read both nodes' bitswap counters; ours asks for a token."""
    ours = await _ask(ours_rpc_url, token, "stats/bitswap")
    network = await _ask(network_rpc_url, None, "stats/bitswap")
    return Counters(int(ours["DataReceived"]), int(network["DataSent"]))


async def forget_fetched(rpc_url: str, token: str) -> None:
    """Have a node drop what it fetched earlier: neighbours in an archive share the blocks at their borders."""
    async with _session(token) as http, http.post(f"{rpc_url}/api/v0/repo/gc") as response:
        response.raise_for_status()
        await response.read()


async def are_peers(rpc_url: str, token: str, ours_rpc_url: str, ours_token: str) -> bool:
    """Tell whether a node is connected to ours."""
    peers, ours = await _ask(rpc_url, token, "swarm/peers"), await _ask(ours_rpc_url, ours_token, "id")
    return any(peer["Peer"] == ours["ID"] for peer in peers.get("Peers") or [])


async def pin(rpc_url: str, token: str, cid: str) -> None:
    """Have a node fetch and pin a CID."""
    async with _session(token) as http, http.post(f"{rpc_url}/api/v0/pin/add", params={"arg": cid}) as response:
        response.raise_for_status()
        await response.read()


async def has_pinned(rpc_url: str, cid: str) -> bool:
    """Tell whether a node that asks for no token has pinned a CID."""
    parameters = {"arg": cid, "type": "recursive"}
    async with _session(None) as http, http.post(f"{rpc_url}/api/v0/pin/ls", params=parameters) as response:
        return response.ok


async def lose(devnet_url: str, cid: str) -> None:
    """Have the devnet's storage node lose a file, and go on reporting it."""
    async with _session(None) as http, http.post(f"{devnet_url}/control", json={"lose_file": cid}) as response:
        response.raise_for_status()


def _session(token: str | None) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(headers=authorized(token))


async def _ask(rpc_url: str, token: str | None, command: str) -> dict[str, Any]:
    async with _session(token) as http, http.post(f"{rpc_url}/api/v0/{command}") as response:
        response.raise_for_status()
        answer: dict[str, Any] = await response.json()
        return answer
