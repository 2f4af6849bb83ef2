"""A file on IPFS as a DAG: from its root down to the leaves that a range touches, each by the CID its parent names.

Only what Kubo makes of a file, or of a small directory: CIDv1 with SHA2-256, raw leaves, and inner nodes that are
UnixFS files, or at the top a directory, in dag-pb
(https://ipld.io/specs/codecs/dag-pb/, https://specs.ipfs.tech/unixfs/). Blocks come from nodes that are not trusted:
all that is read is bounded, and a node that does not fit its parent is refused.
"""

import base64
import binascii
import hashlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

from roadvault_common.errors import IpfsUnavailable

RAW = 0x55
"""Multicodec of a raw leaf: the block is the file's bytes."""
DAG_PB = 0x70
"""Multicodec of an inner node."""
BLOCK_BYTES = 2 << 20
"""No block is longer: IPFS nodes pass none on that is. Ours are 1 MiB at most."""
_MOST_DEPTH = 8
"""Inner nodes above a leaf; 174 links each, as Kubo has them, make three of them enough for 5 TB."""
_CID_V1_SHA2_256 = 0x01, 0x12, 0x20
_DIGEST_BYTES = 32
_UNIXFS_DIRECTORY, _UNIXFS_FILE, _UNIXFS_SHARD = 1, 2, 5
_UNKNOWN_END = 1 << 64
"""Behind every byte that a file can have."""
_VARINT_BYTES = 10
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
"""Protobuf's wire types."""


@dataclass(frozen=True, slots=True)
class Cid:
    """A CIDv1 with a SHA2-256 digest."""

    codec: int
    digest: bytes

    @classmethod
    def parse(cls, text: str) -> "Cid":
        """Read a CID as it is written, in base32.

        Raises:
            IpfsUnavailable: It is none, or of another kind.
        """
        try:
            data = base64.b32decode(text[1:].upper() + "=" * (-(len(text) - 1) % 8))
        except (binascii.Error, ValueError):
            data = b""
        return cls.decode(data if text.startswith("b") else b"")

    @classmethod
    def decode(cls, data: bytes) -> "Cid":
        """Read a CID as a node links to it.

        Raises:
            IpfsUnavailable: It is not version 1 with SHA2-256, of a raw leaf or of an inner node.
        """
        version, function, length = _CID_V1_SHA2_256
        codec = data[1] if len(data) == _DIGEST_BYTES + 4 else None
        if codec not in {RAW, DAG_PB} or data[:4] != bytes([version, codec, function, length]):
            raise IpfsUnavailable("a CID is not version 1 with SHA2-256, of a raw leaf or an inner node")
        return cls(codec, data[4:])

    @classmethod
    def of(cls, codec: int, data: bytes) -> "Cid":
        """Return a block's CID."""
        return cls(codec, hashlib.sha256(data).digest())

    def encode(self) -> bytes:
        """Return it as a node links to it, and as it stands before its block in a CAR."""
        version, function, length = _CID_V1_SHA2_256
        return bytes([version, self.codec, function, length]) + self.digest

    def __str__(self) -> str:
        """Return it as it is written."""
        return "b" + base64.b32encode(self.encode()).decode().rstrip("=").lower()

    def fits(self, data: bytes) -> bool:
        """Tell whether a block is this CID's."""
        return hashlib.sha256(data).digest() == self.digest


@dataclass(frozen=True, slots=True)
class Part:
    """A block, and which bytes of the file are in it, or below it; a negative size is not known yet: the root's."""

    cid: Cid
    offset: int
    size: int

    @property
    def end(self) -> int:
        """The byte behind its last; behind any, if its size is not known yet."""
        return self.offset + self.size if self.size >= 0 else _UNKNOWN_END


@dataclass(frozen=True, slots=True)
class Node:
    """An inner node: how many bytes are below it, and its children, whose offsets count from its own first byte."""

    size: int
    children: tuple[Part, ...]

    def within(self, part: Part, begin: int, end: int) -> list[Part]:
        """Return the children that have bytes from `begin` up to `end` of the file, if this is the node of `part`.

        Raises:
            IpfsUnavailable: It does not have the bytes that its parent says.
        """
        if part.size >= 0 and part.size != self.size:
            raise IpfsUnavailable(f"an inner node has {self.size} bytes below it, its parent says {part.size}")
        begin, end = begin - part.offset, end - part.offset
        return [
            Part(child.cid, part.offset + child.offset, child.size)
            for child in self.children
            if child.offset < end and child.end > begin
        ]


Look = Callable[[Part], Awaitable[Node]]
"""Gets an inner node, of which is known that it is what its CID says."""


async def leaves(look: Look, root: Cid, begin: int, end: int) -> AsyncGenerator[Part, None]:
    """Yield the leaves that have the bytes from `begin` up to `end` of a file, in the order of a CAR (depth first).

    Each inner node is looked at just before the first leaf below it is given.

    Raises:
        IpfsUnavailable: The DAG is no file's, or ends before `end`.
    """
    reached = begin
    ways = [(Part(root, 0, -1), 0)]
    while ways:
        part, depth = ways.pop()
        if part.cid.codec == RAW:
            reached = part.end  # of a file that is one leaf, only the block tells
            yield part
            continue
        if depth >= _MOST_DEPTH:
            raise IpfsUnavailable(f"a DAG has more than {_MOST_DEPTH} levels")
        children = (await look(part)).within(part, begin, end)
        ways += [(child, depth + 1) for child in reversed(children)]
    if reached < end:
        raise IpfsUnavailable(f"{root} ends at byte {reached}, before byte {end}")


def parse(block: bytes) -> Node:
    """Read an inner node.

    Raises:
        IpfsUnavailable: The block is no UnixFS file's inner node.
    """
    links, data = _links(block)
    kind, size, sizes = _unixfs(data)
    if kind != _UNIXFS_FILE:
        raise IpfsUnavailable("an inner node is not a file's")
    if len(links) != len(sizes) or not all(sizes) or sum(sizes) != size:
        raise IpfsUnavailable("an inner node's links do not fit the sizes that it says")
    offsets = accumulate(sizes, initial=0)
    return Node(size, tuple(map(Part, (cid for _, cid in links), offsets, sizes)))


def directory(block: bytes) -> dict[str, Cid]:
    """Read a directory: the CIDs of what is in it, by their names.

    Raises:
        IpfsUnavailable: The block is none, or one of the many (shards) that a large directory has.
    """
    links, data = _links(block)
    kind, _, _ = _unixfs(data)
    if kind != _UNIXFS_DIRECTORY:
        raise IpfsUnavailable(f"a node is {'a shard of' if kind == _UNIXFS_SHARD else 'not'} a directory")
    named = {name.decode(errors="replace"): cid for name, cid in links}
    if len(named) != len(links):
        raise IpfsUnavailable("a directory has a name twice")
    return named


def linked(block: bytes) -> list[Cid]:
    """Return what an inner node, or a directory, links to.

    Raises:
        IpfsUnavailable: The block is neither.
    """
    return [cid for _, cid in _links(block)[0]]


def encode_directory(links: Sequence[tuple[str, Cid, int]]) -> bytes:
    """Return the block of a directory: names, each once, with their CIDs and how many bytes all their blocks have."""
    # dag-pb's canonical form: links come first, by their names, then the data: a UnixFS message of the kind alone.
    ordered = sorted((name.encode(), cid, size) for name, cid, size in links)
    block = b"".join(
        _field(2, _field(1, cid.encode()) + _field(2, name) + b"\x18" + encode_varint(size))
        for name, cid, size in ordered
    )
    return block + _field(1, bytes([8, _UNIXFS_DIRECTORY]))


def _field(number: int, content: bytes) -> bytes:
    return bytes([number << 3 | _BYTES]) + encode_varint(len(content)) + content


def encode_varint(value: int) -> bytes:
    """Return a number as unsigned LEB128."""
    encoded = bytearray()
    while value > 0x7F:  # noqa: PLR2004 - seven bits in each byte
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*encoded, value])


def cumulative_size(block: bytes) -> int:
    """Return how many bytes a node and all blocks below it have together, as it says: Kubo's `CumulativeSize`.

    Raises:
        IpfsUnavailable: It is no node.
    """
    links = [dict(_fields(link)) for number, link in _fields(block) if number == 2 and isinstance(link, bytes)]  # noqa: PLR2004 - PBNode.Links
    sizes = [link.get(3) for link in links]  # PBLink.Tsize
    return len(block) + sum(size for size in sizes if isinstance(size, int))


def _links(block: bytes) -> tuple[list[tuple[bytes, Cid]], bytes]:
    """Return the links of a dag-pb node, each with its name, and its data."""
    links, data = [], b""
    for number, value in _fields(block):
        if number == 1 and isinstance(value, bytes):
            data = value
        elif number == 2 and isinstance(value, bytes):  # noqa: PLR2004 - PBNode.Links
            link = {at: field for at, field in _fields(value) if isinstance(field, bytes)}
            links.append((link.get(2, b""), Cid.decode(link.get(1, b""))))
    return links, data


def _unixfs(message: bytes) -> tuple[int, int, list[int]]:
    """Return the kind, `filesize` and `blocksizes` of what UnixFS says of a node that has no bytes of its own."""
    kind, own, size, sizes = -1, b"", 0, []
    for number, value in _fields(message):
        match number, value:
            case 1, int():
                kind = value
            case 2, bytes():
                own = value
            case 3, int():
                size = value
            case 4, int():
                sizes.append(value)
            case 4, bytes():
                sizes += _packed(value)
            case _:
                pass
    if own and kind != _UNIXFS_SHARD:
        raise IpfsUnavailable("an inner node has bytes of its own")
    return kind, size, sizes


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yield a protobuf message's fields: number, and number or bytes."""
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        kind = tag & 7
        if kind == _VARINT:
            value, at = _varint(message, at)
            yield tag >> 3, value
            continue
        length = {_FIXED64: 8, _FIXED32: 4}.get(kind, -1)
        if kind == _BYTES:
            length, at = _varint(message, at)
        if not 0 <= length <= len(message) - at:
            raise IpfsUnavailable("an inner node is cut short")
        yield tag >> 3, message[at : at + length]
        at += length


def _packed(data: bytes) -> Iterator[int]:
    at = 0
    while at < len(data):
        value, at = _varint(data, at)
        yield value


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """Return the unsigned LEB128 number at `at` and where it ends."""
    value = 0
    for index in range(_VARINT_BYTES):
        if at + index >= len(data):
            break
        byte = data[at + index]
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:  # noqa: PLR2004 - the continuation bit is not set
            return value, at + index + 1
    raise IpfsUnavailable("an inner node has a broken number")
