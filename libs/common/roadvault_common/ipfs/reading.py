"""Reads ranges of files from the network: proven to be these files, since each block is the one that its parent names.

A file is named by a path: its CID, or a directory's and its name there. The way is always from the root, by the DAG's
nodes, to the leaves that a range touches. The nodes, and the first leaf below them, come as a CAR from the root, which
whoever stores archives announces; the other leaves by their own names, several at a time. Each answer is read to its
end at once, into memory that is bounded for all readers of a process together: Kubo gives up an answer that nobody
reads for 30 s, and whoever takes the bytes may be slow.

With `only_cached`, nodes come by their names, too: of anything longer a gateway looks whether its node has the root,
and fetches the rest from anybody, us included (boxo's `IsCached`).

**No two requests under way want the same block.** Where two ask for one block at the same moment, Kubo's bitswap now
and then waits for it in vain, until it is cut off: of 15 reads of 50 MB by eight CARs that began together, and so
wanted the same root, four hung. So one CAR, the *scout*, brings the nodes before anything else is asked for, and
readers of one archive share what they have asked for.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine, Iterable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any
from weakref import WeakValueDictionary

from roadvault_common.errors import IpfsUnavailable
from roadvault_common.ipfs.asking import Patience, Progress, Scout, fetch
from roadvault_common.ipfs.blocks import Abandoned, Block, Blocks
from roadvault_common.ipfs.dag import BLOCK_BYTES, Cid, Node, Part, leaves
from roadvault_common.ipfs.gateway import Gateway
from roadvault_common.ipfs.path import Path
from roadvault_common.ipfs.rpc import Ipfs

_LEAVES = 10
"""Leaves under way at a time, of all reads together; each read has one of its own besides. As many as Kubo asks for
at a time for a ranged GET; over a line of 400 KB/s each still comes within the 30 s after which Kubo gives up."""
_FRESH_SECONDS = 10.0
"""A node that has come so recently is still in the store of the gateway's node, for sure enough."""
_RECENT_BYTES = 16 << 20
"""Leaves that are kept after they came: where one file ends the next one often begins, and readers keep no step."""


class Reader:
    """Reads files through one gateway. Use `Reader.open`."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        # What a gateway is to show that it has, it is asked for each time.
        self.blocks = Blocks(0 if gateway.only_cached else _RECENT_BYTES)
        self.room = _LEAVES
        """Leaves that may be held or under way for all reads together, besides one of each."""
        self.scouts = WeakValueDictionary[Cid, Scout]()
        """By root, what is about to bring its nodes."""

    @classmethod
    @asynccontextmanager
    async def open(
        cls, url: str, stall_seconds: float, *, only_cached: bool = False, node: Ipfs | None = None
    ) -> AsyncIterator["Reader"]:
        """Make a reader; a read that gets nothing for `stall_seconds`, though it waits, is given up.

        With `only_cached` the gateway gives only what its own node holds. `node` is that node, if we may ask it.
        """
        async with Gateway.open(url, stall_seconds, only_cached=only_cached, node=node) as gateway:
            yield cls(gateway)

    @property
    def way(self) -> str:
        """How bytes come, and from which host: what a proof is noted with."""
        only_cached = self.gateway.only_cached
        how = "each block by name, of those it holds" if only_cached else "blocks, which it may fetch anywhere"
        return f"gateway {self.gateway.host}: {how}"

    async def check(self, *, stores: bool = True) -> None:
        """Raise IpfsAway if the gateway works for nobody; its node is only asked, unless it `stores` a block."""
        await self.gateway.check(stores=stores)

    async def check_peers(self) -> None:
        """Raise NetworkAway if the gateway's node has no peer, where we may ask it."""
        await self.gateway.check_peers()

    async def read(
        self, path: str, offset: int, size: int, progress: Progress | None = None
    ) -> AsyncGenerator[bytes, None]:
        """Yield `size` bytes of the file `path` from byte `offset` on, leaf by leaf.

        Raises:
            IpfsUnavailable: The gateway is away, stalls, answers with an error, or gives something else.
        """
        async with aclosing(self.read_many(path, [(offset, size)], progress)) as pieces:
            async for _, piece in pieces:
                yield piece

    async def read_many(
        self, path: str, ranges: Iterable[tuple[int, int]], progress: Progress | None = None
    ) -> AsyncGenerator[tuple[int, bytes], None]:
        """Yield the bytes of ranges (offset and size) of one file, one range after the other, each with its number.

        Raises:
            IpfsUnavailable: As `read` does.
        """
        async with aclosing(_Read(self, Path.parse(path), progress).pieces(ranges)) as pieces:
            async for piece in pieces:
                yield piece


@dataclass
class _Wanted:
    """A leaf, and what of it a range wants."""

    number: int
    leaf: Part
    slice: slice
    block: Block


class _Read:
    """One caller's way through one file."""

    def __init__(self, reader: Reader, path: Path, progress: Progress | None) -> None:
        self._reader = reader
        self._gateway = reader.gateway
        self._blocks = reader.blocks
        self._path = path
        self._patience = Patience(reader.gateway.stall_seconds, progress, partial(self._gateway.meet, path.root))
        self._ahead: deque[_Wanted] = deque()
        self._borrowed = 0
        """How many of the leaves ahead take the room of all."""
        self._tasks: set[asyncio.Task[None]] = set()

    async def pieces(self, ranges: Iterable[tuple[int, int]]) -> AsyncGenerator[tuple[int, bytes], None]:
        """Yield what is wanted, asking ahead as far as there is room."""
        try:
            async with aclosing(self._plan(ranges)) as plan:
                while await self._ask_ahead(plan):
                    wanted = self._ahead.popleft()
                    data = await self._data(wanted)
                    self._borrow(-min(self._borrowed, 1))
                    yield wanted.number, data[wanted.slice]
        finally:
            self._borrow(-self._borrowed)
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _plan(self, ranges: Iterable[tuple[int, int]]) -> AsyncGenerator[tuple[int, Part, slice], None]:
        """Yield the leaves that are wanted, in order, with the range's number and what it wants of them."""
        for number, (begin, size) in enumerate(ranges):
            end = begin + size
            if size > 0:
                async with aclosing(leaves(partial(self._look, begin), self._path.root, begin, end)) as found:
                    async for leaf in found:
                        yield number, leaf, slice(max(begin - leaf.offset, 0), end - leaf.offset)

    async def _ask_ahead(self, plan: AsyncGenerator[tuple[int, Part, slice], None]) -> bool:
        """See that leaves are on their way, as many as there is room for; tell whether there are any."""
        while not self._ahead or self._reader.room > 0:
            following = await anext(plan, None)
            if following is None:
                break
            number, leaf, part = following
            self._borrow(1 if self._ahead else 0)
            self._ahead.append(_Wanted(number, leaf, part, self._find(leaf)))
        return bool(self._ahead)

    def _find(self, leaf: Part) -> Block:
        """Return what a leaf's bytes come in; it is asked for if nobody has done so."""
        block = self._blocks.find(leaf.cid)
        if block is None:
            block = self._blocks.expect(leaf.cid)
            task = self._start(fetch(self._gateway, self._blocks, self._patience, (leaf, block)))
            lose = partial(self._blocks.lose, leaf.cid, block, Abandoned())
            task.add_done_callback(lambda _: lose())  # if it was cancelled before it began
        block.add_done_callback(self._came)
        return block

    def _start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _borrow(self, leaves: int) -> None:
        self._borrowed += leaves
        self._reader.room -= leaves

    def _came(self, block: Block) -> None:
        if block.exception() is None:
            self._patience.heard(len(block.result()))

    async def _data(self, wanted: _Wanted) -> bytes:
        """Return a leaf once it has come; one that another reader has asked for, and gave up, is asked for again."""
        while True:
            await asyncio.wait([wanted.block])
            try:
                data = wanted.block.result()
            except Abandoned:
                wanted.block = self._find(wanted.leaf)
                continue
            if wanted.leaf.size < 0 and len(data) < wanted.slice.stop:  # of a file that is one leaf, the block tells
                raise IpfsUnavailable(f"{self._path} ends at byte {len(data)}, before byte {wanted.slice.stop}")
            return data

    async def _look(self, begin: int, part: Part) -> Node:
        """Return an inner node above a range: one that came a moment ago, or else a scout brings it."""
        mine: Scout | None = None
        key, root = self._path.key(part.cid), self._path.root
        while (node := self._blocks.came_within(_FRESH_SECONDS, key)) is None:
            if self._gateway.only_cached:
                data = await self._patience.insist(partial(self._gateway.block, part.cid, BLOCK_BYTES))
                return self._blocks.keep(key, await asyncio.to_thread(self._path.node, part.cid, data))
            if mine is not None and mine.ended:
                raise mine.error or IpfsUnavailable(f"the gateway does not give node {part.cid}")
            scout = self._reader.scouts.get(root)
            if scout is None or scout.ended:
                at = max(part.offset, begin)
                scout = mine = Scout(self._gateway, self._blocks, self._patience, self._path, at)
                self._reader.scouts[root] = scout
                self._start(scout.run())
            await scout.step()
            if scout.error is not None and not scout.came:  # of another, too: nobody gets anything of this archive
                raise scout.error
        return node
