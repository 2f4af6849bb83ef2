"""A line to a server that breaks off, and counts what is asked: plain TCP in the test's own process."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit


@dataclass
class Line:
    """What a client of the server at `to` connects to instead."""

    to: str
    url: str = ""
    break_after: int | None = None
    """Bytes of an answer after which its connection is cut."""
    loses: bool = False
    """Each other piece of answers is lost, with its connection."""
    came: int = 0
    """Pieces of answers."""
    asked: list[str] = field(default_factory=list)
    """The targets of all requests."""
    cut: asyncio.Event = field(default_factory=asyncio.Event)
    """The server has hung up on somebody, or given something up."""
    open: asyncio.Event = field(default_factory=asyncio.Event)
    """Unless it is set, answers stay on the way."""
    writers: list[asyncio.StreamWriter] = field(default_factory=list)
    """Both ends of all connections there were."""

    async def serve(self, client: asyncio.StreamReader, answers: asyncio.StreamWriter) -> None:
        """Carry one connection, until either side hangs up."""
        to = urlsplit(self.to)
        try:
            server, requests = await asyncio.open_connection(to.hostname, to.port)
        except OSError:  # it is down
            answers.transport.abort()
            return
        self.writers += [answers, requests]
        passed = [0]
        await asyncio.gather(self._up(client, requests, passed), self._down(server, answers, passed))

    async def _up(self, client: asyncio.StreamReader, requests: asyncio.StreamWriter, passed: list[int]) -> None:
        with suppress(ConnectionError):
            while data := await client.read(1 << 16):
                self.asked += [line.split()[1].decode() for line in data.splitlines() if line.startswith(b"GET ")]
                passed[0] = 0
                requests.write(data)
                await requests.drain()
        requests.transport.abort()

    async def _down(self, server: asyncio.StreamReader, answers: asyncio.StreamWriter, passed: list[int]) -> None:
        broken = False
        with suppress(ConnectionError):
            while not broken and (data := await server.read(1 << 16)):
                if data.startswith(b"HTTP/1.1 504 "):
                    self.cut.set()
                await self.open.wait()
                self.came += 1
                if self.loses and self.came % 2:
                    break
                room = len(data) if self.break_after is None else self.break_after - passed[0]
                broken = room < len(data)  # at that very byte, however the answer comes in pieces
                answers.write(data[:room])
                await answers.drain()
                passed[0] += len(data[:room])
            if not broken:
                self.cut.set()
        answers.close()


@asynccontextmanager
async def cut_again_and_again(one: Line, seconds: float) -> AsyncIterator[None]:
    """Cut all connections every so often, until the block ends."""

    async def cut() -> None:
        while True:
            await asyncio.sleep(seconds)
            for writer in one.writers:
                writer.transport.abort()
            one.writers.clear()

    task = asyncio.create_task(cut())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


@asynccontextmanager
async def line(to: str) -> AsyncIterator[Line]:
    """Run one on loopback."""
    one, connections = Line(to), set[asyncio.Task[None]]()
    one.open.set()

    def connected(client: asyncio.StreamReader, answers: asyncio.StreamWriter) -> None:
        connections.add(asyncio.create_task(one.serve(client, answers)))

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    one.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield one
    finally:
        server.close()
        one.open.set()
        while connections:
            for writer in one.writers:
                writer.transport.abort()
            connections = (await asyncio.wait(connections, timeout=0.05))[1]
        await asyncio.sleep(0)  # transports are closed in the next turn
