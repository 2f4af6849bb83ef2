"""How blocks are asked for: nodes by a scout, leaves by their names; and again, where it breaks off."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import TypeVar

from roadvault_common.errors import IpfsUnavailable, LeaseLost
from roadvault_common.ipfs.blocks import Abandoned, Block, Blocks
from roadvault_common.ipfs.car import Car
from roadvault_common.ipfs.dag import BLOCK_BYTES, RAW, Node, Part, leaves
from roadvault_common.ipfs.gateway import BrokeOff, Gateway, Silent
from roadvault_common.ipfs.path import Path

_PAUSES = (0.2, 1.0, 5.0)
"""Seconds before what broke off is asked for again; once it has broken off more often, and no block of the whole read
came in between, the read has failed."""

Progress = Callable[[int], None]
"""Told of each block that has come, with its length. If it raises LeaseLost, whoever takes the bytes will hear, too."""
Promised = tuple[Part, Block]
"""A leaf that is asked for, and what its bytes come in."""
T = TypeVar("T")


class Patience:
    """How long a read goes on: as long as blocks come, at whatever pace; until nothing has come for `stall_seconds`.

    At the first silence `meet` is called once.
    """

    def __init__(self, stall_seconds: float, progress: Progress | None, meet: Callable[[], Awaitable[None]]) -> None:
        self._stall_seconds = stall_seconds
        self._progress = progress
        self._meet: Callable[[], Awaitable[None]] | None = meet
        self._blocks = 0
        self._last = 0.0

    def heard(self, size: int) -> None:
        """Note that a block of this length has come."""
        self._blocks += 1
        self._last = asyncio.get_running_loop().time()
        if self._progress is not None:
            with suppress(LeaseLost):
                self._progress(size)

    async def insist(self, ask: Callable[[], Awaitable[T]]) -> T:
        """Ask until there is an answer, however often it breaks off, as long as blocks come in between.

        Raises:
            IpfsUnavailable: Nothing has come for too long, or the gateway has refused.
        """
        now = asyncio.get_running_loop().time
        begun, tries = now(), 0
        while True:
            blocks = self._blocks
            try:
                return await ask()
            except BrokeOff as error:
                tries = tries + 1 if self._blocks == blocks else 1
                if tries > len(_PAUSES) or now() - max(begun, self._last) >= self._stall_seconds:
                    raise
                if isinstance(error, Silent) and self._meet is not None:
                    meet, self._meet = self._meet, None
                    await meet()
            await asyncio.sleep(_PAUSES[tries - 1])


async def fetch(gateway: Gateway, blocks: Blocks, patience: Patience, promised: Promised) -> None:
    """Have a leaf come by its own name."""
    leaf, block = promised
    error = IpfsUnavailable("a leaf that was asked for did not come")
    try:
        data = await patience.insist(partial(gateway.block, leaf.cid, _most(leaf)))
        blocks.give(leaf.cid, _fitting(leaf, data))
    except asyncio.CancelledError:
        error = Abandoned()
        raise
    except IpfsUnavailable as trouble:
        error = trouble
    finally:
        blocks.lose(leaf.cid, block, error)


class Scout:
    """A CAR from the root down to one leaf: it brings the nodes on the way, so that the leaves below them are known."""

    def __init__(self, gateway: Gateway, blocks: Blocks, patience: Patience, path: Path, at: int) -> None:
        """Go to the leaf with the byte `at` of a file."""
        self._gateway = gateway
        self._blocks = blocks
        self._patience = patience
        self._path = path
        self._at = at
        self._promised: Promised | None = None
        self._awaited = path.root
        """The node that is to come next."""
        self._step = asyncio.Event()
        self.came = False
        """Whether any node has come."""
        self.ended = False
        self.error: IpfsUnavailable | None = None

    async def run(self) -> None:
        """Have them come. If the leaf does not, it is lost to all that wait for it."""
        error = IpfsUnavailable("a leaf that was asked for is not where it was seen")
        try:
            await self._patience.insist(self._read)
        except asyncio.CancelledError:
            error = Abandoned()
            raise
        except IpfsUnavailable as trouble:
            self.error = error = trouble
        finally:
            if self._promised is not None:
                leaf, block = self._promised
                self._blocks.lose(leaf.cid, block, error)
            self.ended = True
            self._stepped()

    async def step(self) -> None:
        """Wait until a block has come, or the end."""
        if not self.ended:
            await self._step.wait()

    def _stepped(self) -> None:
        self._step.set()
        self._step = asyncio.Event()

    async def _read(self) -> None:
        """Go all the way; what broke off at the leaf goes on by its own name.

        A CAR breaks off without a word, of a block by its name the gateway says what is wrong.
        """
        if self._promised is not None:
            leaf, _ = self._promised
            self._blocks.give(leaf.cid, _fitting(leaf, await self._gateway.block(leaf.cid, _most(leaf))))
            return
        try:
            async with self._gateway.car(self._path, self._at, self._at + 1) as car:
                async for leaf in leaves(partial(self._look, car), self._path.root, self._at, self._at + 1):
                    self._blocks.give(leaf.cid, _fitting(leaf, await car.block(leaf.cid, _most(leaf))))
        except BrokeOff:
            await self._gateway.see_sound(self._awaited)
            raise

    async def _look(self, car: Car, part: Part) -> Node:
        """Take the next block, which is an inner node; promise the leaf below it if nobody else has asked for it."""
        self._awaited = part.cid
        data = await car.block(part.cid, BLOCK_BYTES)
        self.came = True
        node = self._blocks.node(self._path.key(part.cid))
        if node is None:
            node = await asyncio.to_thread(self._path.node, part.cid, data)
            self._patience.heard(len(data))
        self._blocks.keep(self._path.key(part.cid), node)
        for child in node.within(part, self._at, self._at + 1):
            if child.cid.codec == RAW and self._blocks.find(child.cid) is None:
                self._promised = child, self._blocks.expect(child.cid)
        self._stepped()
        return node


def _most(leaf: Part) -> int:
    """Return how long a leaf can be."""
    return leaf.size if leaf.size >= 0 else BLOCK_BYTES


def _fitting(leaf: Part, data: bytes) -> bytes:
    if leaf.size not in {-1, len(data)}:
        raise IpfsUnavailable(f"a leaf has {len(data)} bytes, its parent says {leaf.size}")
    return data
