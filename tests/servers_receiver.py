"""Receivers of callbacks that answer in bytes of their own, and callbacks that may go to them."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from ipaddress import ip_network
from pathlib import Path

from roadvault_common.web.callback_url import read
from roadvault_common.web.reach import Reach
from roadvault_notifier.webhook import Callbacks

LOOPBACK = Reach([ip_network("127.0.0.0/8"), ip_network("::1")], [], [])
FOREVER = None
"""In an answer: the connection stays open, and nothing comes any more."""


@dataclass
class Receiver:
    """What listens on `port`, and what it was sent: heads and bodies."""

    port: int
    asked: list[tuple[bytes, bytes]] = field(default_factory=list)


@asynccontextmanager
async def receiver(
    *pieces: bytes | None, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None, port: int = 0
) -> AsyncIterator[Receiver]:
    """Answer each connection with these bytes, whatever they are."""
    made, over = Receiver(port), asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
            made.asked.append((head, await reader.readexactly(length)))
            for piece in pieces:
                if piece is FOREVER:
                    await over.wait()
                else:
                    writer.write(piece)
                    await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, host, port, ssl=tls)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        over.set()
        server.close()


async def call(
    url: str, *, reach: Reach = LOOPBACK, ca_file: Path | None = None, seconds: float = 5, body: Sequence[object] = ()
) -> None:
    """Call a URL as the notifier does."""
    await Callbacks(reach, seconds, None, ca_file).post(read(url), "download-1", {"fileID": 7, "fileUrl": list(body)})


def free_everywhere() -> int:
    """Return a port that is free on every address of this machine."""
    with socket.create_server(("", 0)) as one:
        return int(one.getsockname()[1])
