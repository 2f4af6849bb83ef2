"""The CAR reader against hostile and broken streams."""

import hashlib
from collections.abc import AsyncIterator

import pytest

from roadvault_common.errors import IpfsUnavailable
from roadvault_common.ipfs.car import Block, read_blocks
from roadvault_common.ipfs.dag import DAG_PB, RAW

HEADER = b"\x03hdr"


def _varint(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def _section(data: bytes, codec: int = RAW, digest: bytes | None = None, function: int = 0x12) -> bytes:
    digest = hashlib.sha256(data).digest() if digest is None else digest
    section = bytes([1]) + _varint(codec) + _varint(function) + _varint(len(digest)) + digest + data
    return _varint(len(section)) + section


async def _read(content: bytes, piece: int = 7) -> list[Block]:
    async def stream() -> AsyncIterator[bytes]:
        for start in range(0, len(content), piece):
            yield content[start : start + piece]

    return [block async for block in read_blocks(stream(), 10 << 20)]


@pytest.mark.parametrize("piece", [1, 2, 7, 40, 10_000])
async def test_blocks_come_in_order_however_the_stream_is_cut(piece: int) -> None:
    content = HEADER + _section(b"node", DAG_PB) + _section(b"x" * 300) + _section(b"")
    assert await _read(content, piece) == [Block(DAG_PB, b"node"), Block(RAW, b"x" * 300), Block(RAW, b"")]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty"),
        (HEADER + _section(b"abc")[:-1], "ends within a block"),
        (HEADER + b"\x80", "ends within a number"),
        (b"\xff" * 20, "broken number"),
        (HEADER + _varint(1 << 40), "bytes"),
        (HEADER + b"\x00", "bytes"),
        (HEADER + _section(b"abc", digest=bytes(32)), "not what its CID says"),
        (HEADER + _section(b"abc", digest=b"short"), "SHA2-256"),
        (HEADER + _section(b"abc", function=0x11), "SHA2-256"),
        (HEADER + b"\x03\x12\x20\x00", "SHA2-256|broken number"),
        (HEADER + b"\x02\x01\x80", "broken number"),
    ],
)
async def test_what_is_no_car_is_refused(content: bytes, message: str) -> None:
    with pytest.raises(IpfsUnavailable, match=message):
        await _read(content)
