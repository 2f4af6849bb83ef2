"""The Merkle tree over the chain (RFC 9162, section 2.1, SHA-256): its leaves are the lines' hashes, in their order.

Of complete parts of the tree the nodes over 2^8 lines and more are kept; what is below is made anew from the lines. So
a path costs reading at most two blocks of 256 lines and some tens of nodes, however long the chain is.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

LOWEST = 8
"""Level of the lowest nodes that are kept: over 2^8 lines."""
BLOCK = 1 << LOWEST

Node = tuple[int, int]
"""Level, and number at that level: it stands over the lines from number * 2^level on, 2^level of them."""
Span = tuple[int, int]
"""Lines from one position up to another, which is left out."""


def leaf(line_hash: bytes) -> bytes:
    """Return the hash of a leaf."""
    return hashlib.sha256(b"\0" + line_hash).digest()


def join(left: bytes, right: bytes) -> bytes:
    """Return the hash of a node."""
    return hashlib.sha256(b"\1" + left + right).digest()


def root_of(hashes: Sequence[bytes]) -> bytes:
    """Return the root over some lines by their hashes, which must be a power of two in number."""
    level = [leaf(one) for one in hashes]
    while len(level) > 1:
        level = [join(*level[at : at + 2]) for at in range(0, len(level), 2)]
    return level[0]


def completed(first: int, last: int) -> Iterator[Node]:
    """Yield the nodes that are kept and become complete by the lines from `first` up to `last`, lower ones first."""
    level = LOWEST
    while (first >> level) < (last >> level):
        yield from ((level, number) for number in range(first >> level, last >> level))
        level += 1


def children(node: Node) -> tuple[Node, Node]:
    """Return the two nodes below a node."""
    level, number = node
    return (level - 1, 2 * number), (level - 1, 2 * number + 1)


def span(node: Node) -> Span:
    """Return the lines that a node stands over."""
    level, number = node
    return number << level, (number + 1) << level


@dataclass(frozen=True)
class Known:
    """What was read of a chain: nodes, and lines' hashes by their positions."""

    nodes: Mapping[Node, bytes] = field(default_factory=dict)
    hashes: Mapping[int, bytes] = field(default_factory=dict)

    def over(self, first: int, last: int) -> bytes:
        """Return the hash of the part of the tree over the lines from `first` up to `last`.

        Raises:
            KeyError: Something of it was not read.
        """
        if first == last:
            return hashlib.sha256().digest()
        *rest, (left, right) = list(peaks(first, last))
        found = self._complete(left, right)
        for left, right in reversed(rest):
            found = join(self._complete(left, right), found)
        return found

    def _complete(self, first: int, last: int) -> bytes:
        kept = node_over(first, last)
        return root_of([self.hashes[at] for at in range(first, last)]) if kept is None else self.nodes[kept]


def peaks(first: int, last: int) -> Iterator[Span]:
    """Yield the complete parts that a part of the tree is made of, the largest first."""
    while first < last:
        length = 1 << ((last - first).bit_length() - 1)
        yield first, first + length
        first += length


def node_over(first: int, last: int) -> Node | None:
    """Return the node that is kept over a complete part of the tree; None if it is made anew from its lines."""
    level = (last - first).bit_length() - 1
    return (level, first >> level) if level >= LOWEST else None


def beside(position: int, size: int) -> list[Span]:
    """Return the parts of a tree of `size` lines whose hashes are a line's inclusion path, from the lowest up."""
    first, last, found = 0, size, list[Span]()
    while last - first > 1:
        split = first + (1 << ((last - first - 1).bit_length() - 1))
        if position < split:
            found.append((split, last))
            last = split
        else:
            found.append((first, split))
            first = split
    return found[::-1]


def needed(spans: Sequence[Span]) -> tuple[set[Node], set[Span]]:
    """Return the nodes, and the short stretches of lines, that have to be read for `Known.over` of these parts."""
    nodes, stretches = set[Node](), set[Span]()
    for first, last in (peak for one in spans for peak in peaks(*one)):
        node = node_over(first, last)
        if node is None:
            stretches.add((first, last))
        else:
            nodes.add(node)
    return nodes, stretches
