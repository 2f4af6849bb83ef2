"""Reads a CAR as it comes: block by block, each of them the one that the reader of a DAG expects next; and makes one.

CARv1 (https://ipld.io/specs/transport/car/carv1/) with CIDs of version 1 and SHA2-256. The stream comes from a node
that is not trusted: nothing is read whose length and CID were not expected, and what came is checked against that.
"""

import asyncio
from collections.abc import Sequence
from typing import Protocol

from roadvault_common.errors import IpfsRotten, IpfsUnavailable
from roadvault_common.ipfs.dag import Cid, encode_varint

_CID_BYTES = 36
_HEADER_BYTES = 1024
"""More than a header with one root, which has some 60."""
_VARINT_BYTES = 4
"""Enough for 256 MiB: no block is longer than 2 MiB."""


class Stream(Protocol):
    """Where a CAR comes from: aiohttp's or asyncio's reader."""

    async def readexactly(self, n: int, /) -> bytes:
        """Read so many bytes; raise `EOFError` where there are fewer."""


class Car:
    """A CAR under way. Its methods raise `EOFError` where it breaks off."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._begun = False

    async def block(self, cid: Cid, most: int) -> bytes:
        """Return the next block, which is this CID's and at most so many bytes long.

        Raises:
            IpfsUnavailable: It is another block, or (IpfsRotten) not what its CID says.
        """
        if not self._begun:
            await self._stream.readexactly(_bounded(await self._varint(), _HEADER_BYTES))
            self._begun = True
        length = await self._varint()
        if length < _CID_BYTES:  # where Kubo breaks off it appends words, which begin with \n (boxo's handler_car.go)
            raise EOFError("the gateway breaks off its CAR")
        size = _bounded(length, _CID_BYTES + most) - _CID_BYTES
        if await self._stream.readexactly(_CID_BYTES) != cid.encode():
            raise IpfsUnavailable("the CAR has another block than the one that comes next in the DAG")
        data = await self._stream.readexactly(size)
        if not await asyncio.to_thread(cid.fits, data):
            raise IpfsRotten(f"the CAR has a block that is not what its CID {cid} says")
        return data

    async def _varint(self) -> int:
        """Return the next unsigned LEB128 number."""
        value = 0
        for index in range(_VARINT_BYTES):
            byte = (await self._stream.readexactly(1))[0]
            value |= (byte & 0x7F) << (7 * index)
            if byte < 0x80:  # noqa: PLR2004 - the continuation bit is not set
                return value
        raise IpfsUnavailable("the CAR has a broken number, or a block too long")


def encode_car(blocks: Sequence[tuple[Cid, bytes]]) -> bytes:
    """Return a CAR of some blocks, the first of which is its root."""
    # The header is CBOR: {"roots": [root], "version": 1}; a CID is tag 42 of bytes that begin with a zero.
    root = blocks[0][0].encode()
    header = b"\xa2\x65roots\x81\xd8\x2a\x58" + bytes([len(root) + 1, 0]) + root + b"\x67version\x01"
    sections = [header, *(cid.encode() + data for cid, data in blocks)]
    return b"".join(encode_varint(len(section)) + section for section in sections)


def _bounded(length: int, most: int) -> int:
    if length > most:
        raise IpfsUnavailable(f"the CAR has {length} bytes where there can be {most}")
    return length
