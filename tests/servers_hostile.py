"""A gateway, and a Kubo, that send what nobody asked for: over plain sockets, so that no library keeps order."""

import asyncio
import gzip
import hashlib
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

CID = "bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi"
"""Of a file that nobody has."""
PIECE = bytes(256 << 10)
BLOCK = bytes(1 << 20)
MOST_SENT = 64 << 20
"""The test's end of what has none: far more than anybody may take, and soon over."""

Send = Callable[[str], Iterator[bytes]]
"""What is sent for a request, the status line first."""


def _varint(value: int) -> bytes:
    return bytes([value & 0x7F | 0x80]) + _varint(value >> 7) if value > 0x7F else bytes([value])


def section(data: bytes, codec: int = 0x55) -> bytes:
    """Return a block as it stands in a CAR."""
    cid = bytes([1, codec, 0x12, 0x20]) + hashlib.sha256(data).digest()
    return _varint(len(cid) + len(data)) + cid + data


def endless(head: str, piece: bytes, first: bytes = b"", *, end: str = "\r\n\r\n") -> Iterator[bytes]:
    """Yield a head and then the same again and again."""
    yield (head + end).encode() + first
    for _ in range(MOST_SENT // len(piece)):
        yield piece


CAR_HEAD = b"\x03hdr"
BOMB = gzip.compress(bytes(MOST_SENT))
HOSTILE: dict[str, Send] = {
    "more than was asked": lambda _: endless("HTTP/1.1 206 P", PIECE),
    "more than was asked, as a block": lambda _: endless("HTTP/1.1 200 OK", PIECE),
    "a CAR of leaves without end": lambda _: endless("HTTP/1.1 200 OK", section(BLOCK), CAR_HEAD),
    "a CAR of empty leaves without end": lambda _: endless("HTTP/1.1 200 OK", section(b"") * 1000, CAR_HEAD),
    "a CAR of inner nodes without end": lambda _: endless("HTTP/1.1 200 OK", section(BLOCK, 0x70), CAR_HEAD),
    "a gzip bomb": lambda _: iter([b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n" + BOMB]),
    "a gzip bomb of a range": lambda _: iter([b"HTTP/1.1 206 P\r\nContent-Encoding: gzip\r\n\r\n" + BOMB]),
    "headers without end": lambda _: endless("HTTP/1.1 200 OK", b"A: b\r\n" * 10_000, end="\r\n"),
    "a header without end": lambda _: endless("HTTP/1.1 200 OK\r\nX: ", b"a" * 100_000, end=""),
    "an error without end": lambda _: endless("HTTP/1.1 500 No", PIECE),
    "a redirect": lambda _: iter([b"HTTP/1.1 302 F\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n"]),
}
"""By what it is called."""


@dataclass
class Hostile:
    """A server that answers every request with one of these."""

    url: str = ""
    what: str = ""
    sent: int = 0
    """Bytes that somebody took, or the sockets hold."""
    requests: list[str] = field(default_factory=list)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            request = (await reader.readuntil(b"\r\n\r\n")).decode()
            self.requests.append(request)
            for piece in HOSTILE[self.what](request):
                writer.write(piece)
                await writer.drain()
                self.sent += len(piece)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # it was hung up on, as it should be, or the test is over
        finally:
            writer.close()


@asynccontextmanager
async def hostile(what: str) -> AsyncIterator[Hostile]:
    """Run one on loopback."""
    one = Hostile(what=what)
    server = await asyncio.start_server(one._answer, "127.0.0.1", 0)
    one.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield one
    finally:
        server.close()
