"""The CAR reader against hostile and broken streams: nothing but the block that comes next in the DAG is taken."""

import asyncio
import hashlib

import pytest

from roadvault_common.errors import IpfsUnavailable
from roadvault_common.ipfs.car import Car
from roadvault_common.ipfs.dag import DAG_PB, RAW, Cid

HEADER = b"\x03hdr"
NODE, LEAF = b"node", b"x" * 300


def _cid(data: bytes, codec: int = RAW) -> Cid:
    return Cid(codec, hashlib.sha256(data).digest())


def _varint(value: int) -> bytes:
    return bytes([value & 0x7F | 0x80]) + _varint(value >> 7) if value > 0x7F else bytes([value])


def _section(data: bytes, cid: Cid) -> bytes:
    return _varint(len(cid.encode()) + len(data)) + cid.encode() + data


def _car(content: bytes) -> Car:
    stream = asyncio.StreamReader()
    stream.feed_data(content)
    stream.feed_eof()
    return Car(stream)


async def test_blocks_come_in_the_order_in_which_they_are_expected() -> None:
    content = HEADER + _section(NODE, _cid(NODE, DAG_PB)) + _section(LEAF, _cid(LEAF)) + _section(b"", _cid(b""))
    car = _car(content)
    assert await car.block(_cid(NODE, DAG_PB), 100) == NODE
    assert await car.block(_cid(LEAF), 300) == LEAF
    assert await car.block(_cid(b""), 0) == b""
    with pytest.raises(EOFError):
        await car.block(_cid(b""), 0)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (HEADER + _section(NODE, _cid(NODE)), "another block"),  # another codec
        (HEADER + _section(b"leaf", _cid(b"leaf", DAG_PB)), "another block"),
        (HEADER + _section(b"load", _cid(NODE, DAG_PB)), "not what its CID"),
        (HEADER + _section(b"nodes", _cid(NODE, DAG_PB)), "41 bytes where there can be 40"),
        (HEADER + _varint(1 << 27), "bytes where there can be 40"),
        (HEADER + b"\xff" * 20, "broken number"),
        (b"\xff" * 20, "broken number"),
        (_varint(2000), "2000 bytes where there can be 1024"),
    ],
)
async def test_what_was_not_expected_is_refused(content: bytes, message: str) -> None:
    with pytest.raises(IpfsUnavailable, match=message):
        await _car(content).block(_cid(NODE, DAG_PB), 4)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        HEADER,
        HEADER + _section(NODE, _cid(NODE, DAG_PB))[:-1],
        HEADER + b"\x80",
        HEADER + b"\n\n[Gateway Error: CAR stream truncated, response is incomplete]",
        HEADER + b"\x00",
    ],
)
async def test_what_breaks_off_is_told_from_what_is_wrong(content: bytes) -> None:
    with pytest.raises(EOFError):
        await _car(content).block(_cid(NODE, DAG_PB), 4)
