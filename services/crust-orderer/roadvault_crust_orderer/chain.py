"""The Crust network, as the orderer sees it. The client is synchronous and lives on a thread of its own.

Names of storage items, calls and errors come from the node's metadata; heights are blocks, amounts planck
(1 CRU = 10^12 planck), sizes bytes.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import TypeVar

from pydantic import SecretStr

from roadvault_crust_orderer.endpoints import Endpoints
from roadvault_crust_orderer.market import FileInfo, Head, Included, Offer, Signed
from roadvault_crust_orderer.node import Node

T = TypeVar("T")


class Chain:
    """One account on one chain. Use `Chain.open`; every method raises ChainUnavailable when the node is away."""

    def __init__(self, node: Node, thread: ThreadPoolExecutor) -> None:
        self._node = node
        self._thread = thread

    @classmethod
    @asynccontextmanager
    async def open(cls, url: str, seed: SecretStr, timeout_seconds: float, tip: int = 0) -> AsyncIterator["Chain"]:
        """Make a client; it connects at its first use, and again whenever the connection was lost.

        `tip` is added to each order, planck.

        Raises:
            SettingsError: The seed is not one.
        """
        endpoints = Endpoints(url, timeout_seconds)
        node = Node(endpoints, seed, tip)
        thread = ThreadPoolExecutor(1, thread_name_prefix="chain")
        try:
            yield cls(node, thread)
        finally:
            await asyncio.get_running_loop().run_in_executor(thread, endpoints.close)
            thread.shutdown(wait=False)

    @property
    def account(self) -> str:
        """The SS58 address that pays."""
        return self._node.account

    async def _call(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    async def identity(self) -> str:
        """Return the hash of the chain's genesis block."""
        return await self._call(self._node.genesis)

    async def head(self) -> Head:
        """Return the finalized head; ChainUnavailable also while the node is syncing, alone, or does not move."""
        return Head(*await self._call(self._node.finalized_head))

    async def file(self, cid: str, at: Head) -> FileInfo | None:
        """Return what the market knows of a CID at a finalized block, or None."""
        info = await self._call(lambda: self._node.file_info(cid, at.block_hash))
        if info is None:
            return None
        return FileInfo(
            int(info["file_size"]),
            int(info["calculated_at"]),
            int(info["expired_at"]) or None,
            int(info["reported_replica_count"]),
        )

    async def offer(self, cid: str, size: int) -> Offer:
        """Return what an order would cost now."""
        return await self._call(
            lambda: Offer(
                self._node.price(size),
                self._node.fee(cid, size),
                self._node.balance(),
                self._node.market_open(),
                self._node.largest_file(),
            )
        )

    async def balance(self) -> int:
        """Return what the account can spend, planck."""
        return await self._call(self._node.balance)

    async def sign(self, cid: str, size: int) -> Signed:
        """Sign an order; nothing is sent."""
        return await self._call(lambda: Signed(self.account, *self._node.sign(cid, size)))

    async def submit(self, extrinsic: str) -> str | None:
        """Send signed bytes; return None if the node took them (or has them), else why it refused.

        A refusal says nothing about whether the extrinsic is, or will be, in a block: only `find` does.
        """
        return await self._call(lambda: self._node.submit(extrinsic))

    async def find(self, extrinsic_hash: str, first: int, last: int) -> Included | None:
        """Look for an extrinsic in the finalized blocks `first` to `last`, reading their bodies.

        None only if all these blocks were read: a node that is behind them raises ChainUnavailable.
        """
        found = await self._call(lambda: self._node.find(extrinsic_hash, first, last))
        return None if found is None else Included(*found)

    async def ping(self) -> None:
        """Raise ChainUnavailable unless the node answers and is synced."""
        await self.head()
