"""A retriever's streams with a door before them, over an archive that only the network's node may have."""

import asyncio
import hashlib
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import pytest
from pydantic import SecretStr
from servers_door import Answer, LinkDoor, OpenLinks
from servers_retriever import Bench, received
from sites import site

from roadvault_common.ipfs.reading import Reader
from roadvault_common.ipfs.rpc import Ipfs
from roadvault_common.web.links import Views
from roadvault_retriever.streaming.blocks import Blocks
from roadvault_retriever.streaming.register import Register
from roadvault_retriever.streaming.routes import Streaming
from roadvault_retriever.streaming.source import Sources
from roadvault_stack.kubo import Kubo

CACHE_BYTES = 16 << 20


VIEW_SECRET = "a secret for what plays"
MADE_FOR = {"by": "192.0.2.7", "person": "anna"}


def view_token(file_id: int, secret: str = VIEW_SECRET, seconds: float = 3600) -> str:
    """Return a token that plays a file for so long."""
    return Views(SecretStr(secret)).token(file_id, datetime.now(UTC) + timedelta(seconds=seconds), MADE_FOR)


@dataclass
class Stage:
    """The retriever's streams, and the door in front of them."""

    bench: Bench
    door: LinkDoor
    blocks: Blocks
    kubo: Kubo
    url: str
    """The retriever's own."""
    streaming: Streaming
    register: Register

    def view(self, name: str) -> str:
        """Return what plays a file."""
        return f"{self.door.url}/v/{view_token(self.bench.file_ids[name])}"

    async def part(self, name: str, begin: int, end: int) -> bytes:
        """Return the bytes of a file from `begin` up to `end`, as a player gets them."""
        answer = await self.ask(name, Range=f"bytes={begin}-{end - 1}")
        assert answer.status == 206, answer.body
        return answer.body

    async def ask(self, name: str, method: str = "GET", **headers: str) -> Answer:
        """Ask for a file."""
        return await self.door.ask(self.view(name), method, **headers)

    async def sent_away(self) -> None:
        """Have the network's node alone hold the archive, and our node nothing of it."""
        self.bench.lose("received", "archives")
        await self.bench.db.execute("UPDATE file_upload_info SET path = NULL")
        await self.bench.db.execute("UPDATE zip_ipfs_info SET path = NULL")
        await self.forget()

    async def forget(self) -> None:
        """Have our node hold nothing of it."""
        async with Ipfs.open(self.kubo.rpc_url, 60) as ipfs:
            await ipfs.collect_garbage()

    async def still(self, watchers: int) -> None:
        """Wait until so many watch, and nothing has been on its way for them for half a second."""
        quiet = 0
        async with asyncio.timeout(30):
            while quiet < 10:
                await asyncio.sleep(0.05)
                quiet = 0 if self.blocks._flights or self.blocks.watchers != watchers else quiet + 1

    async def moved(self) -> int:
        """Return the bytes of blocks that our node has received until now."""
        return await received(self.kubo)


OpenStage = Callable[..., Any]


@pytest.fixture
def open_stage(bench: Bench, kubo: Kubo, open_link_door: OpenLinks) -> OpenStage:
    @asynccontextmanager
    async def opened(
        cache_bytes: int = CACHE_BYTES,
        stall_seconds: float = 20,
        reader: Reader | None = None,
        view_secret: str = VIEW_SECRET,
        **settings: Any,  # noqa: ANN401
    ) -> AsyncIterator[Stage]:
        own, blocks = bench.retriever, Blocks(cache_bytes)
        sources = Sources(bench.db, bench.vault, own._keys, reader or own._reader, own.ledger, own.mend)
        async with Register.open(bench.db) as register:
            streaming = Streaming(Views(SecretStr(view_secret)), sources, blocks, stall_seconds, register)
            async with site(streaming.routes()) as url, open_link_door(stream_url=url, **settings) as door:
                yield Stage(bench, door, blocks, kubo, url, streaming, register)

    return opened


@pytest.fixture
async def stage(open_stage: OpenStage) -> AsyncIterator[Stage]:
    async with open_stage() as opened:
        yield opened


async def watch(stage: Stage, name: str, *, bytes_per_second: float, seconds: float) -> int:
    """Take a file at this pace for a while; return how many bytes were taken."""
    loop = asyncio.get_running_loop()
    began, taken = loop.time(), 0
    async with small_client() as http, http.get(stage.view(name)) as response:
        while (passed := loop.time() - began) < seconds:
            if taken > passed * bytes_per_second:
                await asyncio.sleep(0.02)
                continue
            taken += len(await response.content.read(1 << 14))
    return taken


def small_client() -> aiohttp.ClientSession:
    """Return a client in which little waits to be taken: what is in a client's own buffers has been watched, for us."""
    return aiohttp.ClientSession(
        read_bufsize=1 << 15, connector=aiohttp.TCPConnector(socket_factory=_small_socket), auto_decompress=False
    )


def _small_socket(address: tuple[Any, ...]) -> socket.socket:
    made = socket.socket(*address[:3])
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
    return made


def digest(data: bytes) -> str:
    """Return the SHA-256 in hex."""
    return hashlib.sha256(data).hexdigest()
