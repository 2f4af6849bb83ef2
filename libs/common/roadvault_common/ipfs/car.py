"""Reads a CAR stream: blocks of an IPFS DAG, each checked against its CID.

Only what a range of a file needs: CARv1 (https://ipld.io/specs/transport/car/carv1/), CIDv1 with SHA2-256 hashes, raw
leaves and dag-pb inner nodes. The stream comes from a node that is not trusted: lengths are bounded, hashes checked.
"""

import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

from roadvault_common.errors import IpfsUnavailable

_SHA2_256 = 0x12
_CID_VERSION = 1
_DIGEST_BYTES = 32
_SECTION_BYTES = 4 << 20
"""No section is longer: blocks are 1 MiB, inner nodes smaller."""
_VARINT_BYTES = 9


@dataclass(frozen=True)
class Block:
    """One block, whose bytes are what its CID says."""

    codec: int
    data: bytes


async def read_blocks(stream: AsyncIterator[bytes], most: int) -> AsyncIterator[Block]:
    """Yield the blocks of a CAR stream in their order; the stream has at most so many bytes.

    Raises:
        IpfsUnavailable: It has more, is not a CAR, ends within a block, or a block is not what its CID says.
    """
    buffer = _Buffer(stream, most)
    header = await buffer.varint()
    if header is None:
        raise IpfsUnavailable("the CAR is empty")
    await buffer.take(_bounded(header))
    while (length := await buffer.varint()) is not None:
        yield _checked(await buffer.take(_bounded(length)))


def _bounded(length: int) -> int:
    if not 0 < length <= _SECTION_BYTES:
        raise IpfsUnavailable(f"the CAR has a section of {length} bytes")
    return length


def _checked(section: bytes) -> Block:
    version, at = _varint(section, 0)
    codec, at = _varint(section, at)
    function, at = _varint(section, at)
    length, at = _varint(section, at)
    digest, data = section[at : at + _DIGEST_BYTES], section[at + _DIGEST_BYTES :]
    if (version, function, length) != (_CID_VERSION, _SHA2_256, _DIGEST_BYTES):
        raise IpfsUnavailable("the CAR has a block whose CID is not version 1 with SHA2-256")
    if hashlib.sha256(data).digest() != digest:
        raise IpfsUnavailable("the CAR has a block that is not what its CID says")
    return Block(codec, data)


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
    raise IpfsUnavailable("the CAR has a broken number")


class _Buffer:
    """Collects a stream's pieces until as many bytes are there as are asked for."""

    def __init__(self, stream: AsyncIterator[bytes], most: int) -> None:
        self._stream = stream
        self._left = most
        self._data = bytearray()

    async def take(self, count: int) -> bytes:
        while len(self._data) < count:
            if not await self._more():
                raise IpfsUnavailable("the CAR ends within a block")
        taken = bytes(self._data[:count])
        del self._data[:count]
        return taken

    async def varint(self) -> int | None:
        """Return the next number, or None at the end of the stream."""
        while not any(byte < 0x80 for byte in self._data[:_VARINT_BYTES]):  # noqa: PLR2004 - continuation bit
            if len(self._data) >= _VARINT_BYTES:
                raise IpfsUnavailable("the CAR has a broken number")
            if not await self._more():
                if self._data:
                    raise IpfsUnavailable("the CAR ends within a number")
                return None
        value, end = _varint(bytes(self._data[:_VARINT_BYTES]), 0)
        del self._data[:end]
        return value

    async def _more(self) -> bool:
        async for piece in self._stream:
            self._left -= len(piece)
            if self._left < 0:
                raise IpfsUnavailable("the CAR is longer than what was asked for can be")
            self._data += piece
            return True
        return False
