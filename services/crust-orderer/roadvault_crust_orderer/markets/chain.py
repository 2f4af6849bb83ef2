"""The Crust network, as the orderer sees it. The client is synchronous and lives on a thread of its own (`line.py`).

Names of storage items, calls and errors come from the node's metadata; heights are blocks, amounts planck
(1 CRU = 10^12 planck), sizes bytes.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from pydantic import SecretStr

from roadvault_common.errors import TransientError
from roadvault_crust_orderer.markets.endpoints import Endpoints
from roadvault_crust_orderer.markets.line import Line
from roadvault_crust_orderer.markets.market import (
    FileInfo,
    Found,
    Head,
    Included,
    Offer,
    Signed,
    mebibytes,
)
from roadvault_crust_orderer.markets.node import Node

_PING_SECONDS = 4.0
"""Less than `/readyz` waits."""
_LOOKERS = 2
"""Connections over which files are looked at, each opened once those before it are busy."""


class Chain:
    """One account on one chain. Use `Chain.open`; every method raises ChainUnavailable when no node answers in time."""

    def __init__(self, account: Line, lookers: Sequence[Line], onlooker: Line) -> None:
        self._account = account
        self._lookers = lookers
        """Who looks at files waits for nobody who pays, nor the other way round."""
        self._onlooker = onlooker
        """What the account's work hangs on tells `/readyz` nothing: it looks over connections of its own."""
        self._looking: asyncio.Future[tuple[str, int]] | None = None

    @classmethod
    @asynccontextmanager
    async def open(
        cls, url: str, seed: SecretStr, timeout_seconds: float, tip: int = 0, call_seconds: float = 90
    ) -> AsyncIterator["Chain"]:
        """Make a client; it connects at its first use, and again whenever the connection was lost.

        A node may be silent for `timeout_seconds`; a call ends after `call_seconds`, all nodes asked. `tip` is added to
        each order, planck.

        Raises:
            SettingsError: The seed is not one.
        """
        endpoints = Endpoints(url, timeout_seconds, call_seconds)
        node = Node(endpoints, seed, tip)
        onlooker = node.over(endpoints.beside(_PING_SECONDS))
        lookers = [Line(node.over(endpoints.beside(call_seconds)), call_seconds) for _ in range(_LOOKERS)]
        chain = cls(Line(node, call_seconds), lookers, Line(onlooker, _PING_SECONDS))
        try:
            yield chain
        finally:
            await asyncio.gather(*(line.close() for line in (chain._account, *chain._lookers, chain._onlooker)))

    @property
    def account(self) -> str:
        """The SS58 address that pays."""
        return self._account.node.account

    async def identity(self) -> str:
        """Return the hash of the chain's genesis block."""
        return await self._account.call(Node.genesis)

    async def head(self) -> Head:
        """Return the finalized head; ChainUnavailable also while the node is syncing, alone, or does not move."""
        return Head(*await self._account.call(Node.finalized_head))

    async def head_to_look_at(self) -> Head:
        """Return the finalized head, asked for over a connection of those who look."""
        return Head(*await self._looker.call(Node.finalized_head))

    async def file(self, cid: str, at: Head) -> FileInfo | None:
        """Return what the market knows of a CID at a finalized block, or None."""
        found = (await self._account.call(lambda node: node.files([cid], at.block_hash)))[cid]
        if isinstance(found, TransientError):
            raise found
        return found

    async def files(self, cids: Sequence[str], at: Head) -> dict[str, Found]:
        """Return what the market knows of many CIDs at a finalized block."""
        return await self._looker.call(lambda node: node.files(cids, at.block_hash))

    @property
    def _looker(self) -> Line:
        """The connection on which the fewest wait."""
        return min(self._lookers, key=lambda looker: looker.waiting)

    async def offer(self, cid: str, size: int) -> Offer:
        """Return what an order would cost now."""
        return await self._account.call(
            lambda node: Offer(
                *node.prices(),
                mebibytes(size),
                node.fee(cid, size),
                node.balance(),
                node.market_open(),
                node.largest_file(),
            )
        )

    async def sign(self, cid: str, size: int) -> Signed:
        """Sign an order; nothing is sent."""
        return await self._account.call(lambda node: Signed(node.account, *node.sign(cid, size)))

    async def submit(self, extrinsic: str) -> str | None:
        """Send signed bytes; return None if the node took them (or has them), else why it refused.

        A refusal says nothing about whether the extrinsic is, or will be, in a block: only `find` does.
        """
        return await self._account.call(lambda node: node.submit(extrinsic))

    async def find(self, extrinsic_hash: str, first: int, last: int) -> Included | None:
        """Look for an extrinsic in the finalized blocks `first` to `last`, reading their bodies.

        None only if all these blocks were read: a node that is behind them raises ChainUnavailable.
        """
        return await self._account.call(lambda node: node.find(extrinsic_hash, first, last))

    async def ping(self) -> tuple[str, int]:
        """Return the genesis hash and the finalized height, asked for over a connection of its own.

        Whoever asks while somebody is asking gets the same answer: there is never more than one such call under way.
        """
        if self._looking is None or self._looking.done():
            self._looking = asyncio.ensure_future(self._onlooker.call(Node.pulse))
        return await asyncio.shield(self._looking)
