"""Ways to what the network holds that don't lead through our own node: a proof is worth as much as that is sure.

A gateway of somebody else's gives what its own node holds, if it is asked for that alone, and seldom does. So we have a
node of our own besides, the *witness*, that talks to everybody but to those of our nodes that hold archives. Its
address filters keep them apart; here it is only seen whether they did.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from functools import partial
from typing import Protocol

from prometheus_client import Counter, Gauge

from roadvault_common.errors import IpfsAway, IpfsUnavailable, NetworkAway, brief
from roadvault_common.ipfs import peering
from roadvault_common.ipfs.asking import Progress
from roadvault_common.ipfs.gateway import Gateway
from roadvault_common.ipfs.reading import Reader
from roadvault_common.ipfs.rpc import Ipfs
from roadvault_common.settings.archives import ProofSettings
from roadvault_common.sql import nodes
from roadvault_common.sql.db import Database

PEERS = Gauge("roadvault_witness_peers", "Nodes that the witness was connected to when it was last asked")
MET = Counter("roadvault_witness_met_ours_total", "Looks at which our own node was, or had just been, its peer")

_LOOK_SECONDS = 20.0
"""Between two looks at the witness's peers while something is read. For a minute after its last connection Kubo knows
what program a peer said it is (go-libp2p's pstoremanager), so that none comes and goes unseen."""


async def note_node(node: Ipfs, db: Database) -> None:
    """Write down that a node is ours, and holds archives: nothing that comes from it proves anything.

    Raises:
        TransientError: The node or the database is away.
    """
    await nodes.note(db, await peering.peer_id(node))


class Way(Protocol):
    """A way past our own node."""

    async def check(self, *, stores: bool = True) -> None:
        """Raise IpfsAway if it leads nowhere, or through our own node, whatever is asked for.

        Unless the node on it `stores` a block for this, it is only asked.
        """

    async def check_peers(self) -> None:
        """Raise NetworkAway if the node on it has no peer, where we may ask it."""

    def reading(self) -> AbstractAsyncContextManager[Reader]:
        """Give a reader for one proof: what was read is good only if its end raises nothing either.

        Raises:
            IpfsUnavailable: What was read may have come from our own node, or from an earlier proof.
        """


class OthersGateway:
    """A gateway of somebody else's."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self.check, self.check_peers = reader.check, reader.check_peers

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[Reader]:
        """Give the reader: whether what it reads proves anything is the gateway's affair."""
        yield self._reader


class Witness:
    """Our second node, through its gateway, and its RPC, which tells whom it talks to."""

    def __init__(self, node: Ipfs, gateway: Gateway, ours: Callable[[], Awaitable[set[str]]]) -> None:
        """Take the node, its gateway, and what returns the peer ids of our nodes that hold archives."""
        self._node = node
        self._gateway = gateway
        self._ours = ours

    async def check(self, *, stores: bool = True) -> None:
        """See that gateway and node work, and that our own node is not among its peers.

        Raises:
            IpfsAway: They don't, or it is.
        """
        await self._gateway.check(stores=stores)
        await self._look()

    async def check_peers(self) -> None:
        """See that it has a peer.

        Raises:
            NetworkAway: It has none.
            IpfsAway: It can't be asked.
        """
        try:
            peers = await self._peers()
        except IpfsUnavailable as error:
            raise IpfsAway(brief(error)) from error
        if not peers:
            raise NetworkAway("the witness has no peer: see its way to the internet")

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[Reader]:
        """Give a reader for one proof, of which all came over the network since, and nothing from our own node.

        Raises:
            IpfsAway: The witness talks to our own node, or did so a moment ago.
            NetworkAway: It talks to nobody.
            IpfsUnavailable: It can't be asked, or did not receive what was read.
        """
        await self.check_peers()
        await self._look()
        before = await self._received()
        await self._node.collect_garbage()  # 3 ms, and a tenth of one for each block
        reader = _CountingReader(self._gateway)
        looking = asyncio.create_task(self._look_on())
        try:
            yield reader
            if looking.done():
                await looking
        finally:
            looking.cancel()
            await asyncio.gather(looking, return_exceptions=True)
        await self._look()
        received = await self._received() - before
        if received < reader.taken:
            raise IpfsUnavailable(
                f"{reader.taken} bytes were read, and the witness received {received}: it was started anew meanwhile,"
                " or ROADVAULT_WITNESS_GATEWAY_URL is another node's gateway than ROADVAULT_WITNESS_RPC_URL"
            )

    async def _look_on(self) -> None:
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            await self._look()

    async def _look(self) -> None:
        """See that no node of ours is a peer, or was one a moment ago, or is the witness itself."""
        ours = await self._ours()
        if not ours:
            raise IpfsAway("which nodes of ours hold archives is not known: the pinner writes that down")
        peers = await self._peers()
        for peer in ours:
            if peer in peers or await self._knows(peer):
                MET.inc()
                raise IpfsAway(
                    f"the witness is our own node {peer}, or talks to it, or did so a moment ago: nothing that it gives"
                    " is proof. Its Swarm.AddrFilters must have all addresses of that node"
                )

    async def _peers(self) -> set[str]:
        answer = await self._node.ask("swarm/peers")
        peers = {str(peer["Peer"]) for peer in answer.get("Peers") or []}
        PEERS.set(len(peers))
        return peers

    async def _knows(self, peer: str) -> bool:
        """Tell whether a peer has said what it is: bitswap waits for that on each connection.

        Nobody is dialled for this: with `offline` Kubo tells what it has noted. Addresses alone tell nothing, since it
        hears of them from others.
        """
        noted = await self._node.ask("id", {"arg": peer, "offline": "true"})
        return bool(noted.get("AgentVersion") or noted.get("Protocols"))

    async def _received(self) -> int:
        """Return how many bytes of blocks have come from others since the node was started."""
        return int((await self._node.ask("stats/bitswap"))["DataReceived"])


class _CountingReader(Reader):
    """A reader that keeps nothing of what others read before, and counts the bytes that it gives."""

    taken = 0

    @property
    def way(self) -> str:
        return f"witness {self.gateway.host}: blocks from others, our own node not among its peers"

    async def read_many(
        self, path: str, ranges: Iterable[tuple[int, int]], progress: Progress | None = None
    ) -> AsyncGenerator[tuple[int, bytes], None]:
        async with aclosing(super().read_many(path, ranges, progress)) as pieces:
            async for number, piece in pieces:
                self.taken += len(piece)
                yield number, piece


@asynccontextmanager
async def open_way(settings: ProofSettings, db: Database) -> AsyncIterator[Way | None]:
    """Open the way that is set: through a gateway, if one is named, else through the witness; None if neither is."""
    seconds = settings.proof_stall_seconds
    if settings.proof_gateway_url is not None:
        async with Reader.open(settings.proof_gateway_url, seconds, only_cached=settings.proof_only_cached) as reader:
            yield OthersGateway(reader)
    elif settings.witness_rpc_url is not None and settings.witness_gateway_url is not None:
        async with (
            Ipfs.open(settings.witness_rpc_url, seconds, settings.witness_rpc_token) as node,
            Gateway.open(settings.witness_gateway_url, seconds, node=node) as gateway,
        ):
            yield Witness(node, gateway, partial(nodes.ours, db))
    else:
        yield None
