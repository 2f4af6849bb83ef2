"""A file on IPFS as a DAG: from its root down to the leaves that a range touches, each by the CID its parent names.

Only what Kubo makes of a file: CIDv1 with SHA2-256, raw leaves, and inner nodes that are UnixFS files in dag-pb
(https://ipld.io/specs/codecs/dag-pb/, https://specs.ipfs.tech/unixfs/). Blocks come from nodes that are not trusted:
all that is read is bounded, and a node that does not fit its parent is refused.
"""

import asyncio
import base64
import binascii
import hashlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import aclosing
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
_UNIXFS_FILE = 2
_VARINT_BYTES = 10
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
"""Protobuf's wire types."""


@dataclass(frozen=True)
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

    def __str__(self) -> str:
        """Return it as it is written."""
        version, function, length = _CID_V1_SHA2_256
        data = bytes([version, self.codec, function, length]) + self.digest
        return "b" + base64.b32encode(data).decode().rstrip("=").lower()

    def fits(self, data: bytes) -> bool:
        """Tell whether a block is this CID's."""
        return hashlib.sha256(data).digest() == self.digest


@dataclass(frozen=True)
class Part:
    """A block, and which bytes of the file are in it, or below it."""

    cid: Cid
    offset: int
    size: int


Fetch = Callable[[Cid, int], Awaitable[bytes]]
"""Gets the block of a CID, at most so many bytes long; what it returns fits the CID."""


async def leaves(fetch: Fetch, cid: str, begin: int, end: int) -> AsyncGenerator[Part, None]:
    """Yield the leaves that have the bytes from `begin` up to `end` of a file, in order; `fetch` gets the inner nodes.

    Raises:
        IpfsUnavailable: The DAG is no file's, or ends before `end`.
    """
    root = Cid.parse(cid)
    if root.codec == RAW:
        yield Part(root, 0, BLOCK_BYTES)  # how long it is, only the block tells
        return
    reached = begin
    async with aclosing(_below(fetch, Part(root, 0, -1), begin, end, 0)) as found:
        async for leaf in found:
            reached = leaf.offset + leaf.size
            yield leaf
    if reached < end:
        raise IpfsUnavailable(f"{cid} ends at byte {reached}, before byte {end}")


async def _below(fetch: Fetch, node: Part, begin: int, end: int, depth: int) -> AsyncGenerator[Part, None]:
    if depth >= _MOST_DEPTH:
        raise IpfsUnavailable(f"a DAG has more than {_MOST_DEPTH} levels")
    children = await asyncio.to_thread(parse, await fetch(node.cid, BLOCK_BYTES), node)
    for child in children:
        if child.offset >= end or child.offset + child.size <= begin:
            continue
        if child.cid.codec == RAW:
            yield child
            continue
        async with aclosing(_below(fetch, child, begin, end, depth + 1)) as found:
            async for leaf in found:
                yield leaf


def parse(block: bytes, node: Part) -> list[Part]:
    """Return an inner node's children; a `node` whose size is negative is the root, which nobody has told the size of.

    Raises:
        IpfsUnavailable: The block is no UnixFS file's inner node, or does not have the bytes that its parent says.
    """
    links, data = [], b""
    for number, value in _fields(block):
        if number == 1 and isinstance(value, bytes):
            data = value
        elif number == 2 and isinstance(value, bytes):  # noqa: PLR2004 - PBNode.Links
            hashes = [link for at, link in _fields(value) if at == 1 and isinstance(link, bytes)]
            links.append(Cid.decode(hashes[0] if hashes else b""))
    size, sizes = _unixfs(data)
    if len(links) != len(sizes) or not all(sizes) or sum(sizes) != size:
        raise IpfsUnavailable("an inner node's links do not fit the sizes that it says")
    if node.size not in {-1, size}:
        raise IpfsUnavailable(f"an inner node has {size} bytes below it, its parent says {node.size}")
    offsets = accumulate(sizes, initial=node.offset)
    return [Part(cid, offset, length) for cid, offset, length in zip(links, offsets, sizes, strict=False)]


def _unixfs(message: bytes) -> tuple[int, list[int]]:
    """Return the `filesize` and the `blocksizes` of a UnixFS file that has no bytes of its own."""
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
    if kind != _UNIXFS_FILE or own:
        raise IpfsUnavailable("an inner node is not a file's, or has bytes of its own")
    return size, sizes


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
