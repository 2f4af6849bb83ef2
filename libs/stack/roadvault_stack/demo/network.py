"""Proof that bytes came over the network: the counters that the Kubo nodes keep themselves."""

from dataclasses import dataclass

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
    ours, network = await _stats(ours_rpc_url, token), await _stats(network_rpc_url, None)
    return Counters(int(ours["DataReceived"]), int(network["DataSent"]))


async def forget_fetched(rpc_url: str, token: str) -> None:
    """Have a node drop what it fetched earlier: neighbours in an archive share the blocks at their borders."""
    async with _session(token) as http, http.post(f"{rpc_url}/api/v0/repo/gc") as response:
        response.raise_for_status()
        await response.read()


def _session(token: str | None) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(headers=authorized(token))


async def _stats(rpc_url: str, token: str | None) -> dict[str, int]:
    async with _session(token) as http, http.post(f"{rpc_url}/api/v0/stats/bitswap") as response:
        response.raise_for_status()
        stats: dict[str, int] = await response.json()
        return stats
