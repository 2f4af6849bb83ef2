"""The blocks of files that a process has in hand: asked for, just read, and the inner nodes above them.

Whoever wants a block that another reader has asked for waits for that one. Besides the bytes that are saved, Kubo needs
it so: where two of its requests want one block at the same moment, one of them may wait in vain (see `reading`).
"""

import asyncio
import time
from collections import OrderedDict

from roadvault_common.errors import IpfsUnavailable
from roadvault_common.ipfs.dag import Cid, Node
from roadvault_common.ipfs.path import Path

Block = asyncio.Future[bytes]

_MOST_LINKS = 20_000
"""Links of inner nodes that are kept, of some 250 bytes each: those of four archives of 5 GB."""


class Abandoned(IpfsUnavailable):
    """Whoever had asked for a block needs it no more."""

    def __init__(self) -> None:
        super().__init__("whoever had asked for a block needs it no more")


class Blocks:
    """What one process has of the blocks of files."""

    def __init__(self, recent_bytes: int) -> None:
        """Keep so many bytes of leaves after they have come."""
        self._most_recent_bytes = recent_bytes
        self._flights: dict[Cid, Block] = {}
        self._recent: OrderedDict[Cid, bytes] = OrderedDict()
        self._recent_bytes = 0
        self._nodes: OrderedDict[Cid | Path, tuple[Node, float]] = OrderedDict()
        self._links = 0

    def find(self, cid: Cid) -> Block | None:
        """Return a leaf that is under way, or was just read; None if somebody has to ask for it."""
        data = self._recent.get(cid)
        if data is None:
            return self._flights.get(cid)
        self._recent.move_to_end(cid)
        block = asyncio.get_running_loop().create_future()
        block.set_result(data)
        return block

    def expect(self, cid: Cid) -> Block:
        """Note that a leaf is asked for. Whoever does so sees to it that it is given, or lost."""
        block = self._flights[cid] = asyncio.get_running_loop().create_future()
        block.add_done_callback(lambda done: done.exception())  # nobody may be waiting for it
        return block

    def give(self, cid: Cid, data: bytes) -> None:
        """Hand a leaf that has come to all that wait for it."""
        block = self._flights.pop(cid, None)
        if block is not None:
            block.set_result(data)
        self._recent_bytes += len(data) - len(self._recent.pop(cid, b""))
        self._recent[cid] = data
        while self._recent_bytes > self._most_recent_bytes:
            self._recent_bytes -= len(self._recent.popitem(last=False)[1])

    def lose(self, cid: Cid, block: Block, error: Exception) -> None:
        """Tell all that wait for a leaf that it does not come, if it hasn't come."""
        if not block.done():
            del self._flights[cid]
            block.set_exception(error)

    def node(self, key: Cid | Path) -> Node | None:
        """Return an inner node that has come before, by `Path.key`."""
        found = self._nodes.get(key)
        return found[0] if found else None

    def came_within(self, seconds: float, key: Cid | Path) -> Node | None:
        """Return an inner node if it came within so many seconds, so that the gateway's node has it, too."""
        found = self._nodes.get(key)
        return found[0] if found and time.monotonic() - found[1] < seconds else None

    def keep(self, key: Cid | Path, node: Node) -> Node:
        """Keep an inner node that has come now."""
        before = self._nodes.pop(key, None)
        self._links += len(node.children) if before is None else 0
        self._nodes[key] = node, time.monotonic()
        while self._links > _MOST_LINKS and len(self._nodes) > 1:
            self._links -= len(self._nodes.popitem(last=False)[1][0].children)
        return node
