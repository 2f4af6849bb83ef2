"""Strangers who want to hold a listener: too many connections, half a request, bodies and answers that stand still."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path

import aiohttp
from chaos.crowd import upload
from prometheus_client import REGISTRY
from servers_door import OpenLinks, extracted, token
from servers_services import Service, Services

from roadvault_common.sql.db import Database
from roadvault_common.web.connections import peer_of
from roadvault_stack.ports import HOST

BYTES = bytes(range(256)) * 40


async def test_a_client_that_takes_a_link_too_slowly_is_cut_off(open_link_door: OpenLinks) -> None:
    async with open_link_door(download_bytes_per_second=1e9, download_grace_seconds=0.5) as door:
        path = (await door.link(bytes(30_000_000))).removeprefix(door.url)
        async with _client(door.url) as (reader, writer):
            writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            before = _given_up()
            async with asyncio.timeout(20):
                while _given_up() == before:  # it does not read meanwhile
                    await asyncio.sleep(0.05)
            assert 0 < len(await _end_of(reader)) < 30_000_000


def _given_up() -> float:
    labels = {"route": "/d/{token}", "status": "aborted"}
    return REGISTRY.get_sample_value("roadvault_http_seconds_count", labels) or 0


@asynccontextmanager
async def _client(url: str, peer: str = HOST) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    host, port = url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port), limit=1024, local_addr=(peer, 0))
    try:
        yield reader, writer
    finally:
        writer.close()


def _cut(why: str) -> float:
    return REGISTRY.get_sample_value("roadvault_connections_cut_total", {"why": why}) or 0


def _descriptors(service: Service) -> int:
    assert service.process is not None
    return len(list(Path(f"/proc/{service.process.pid}/fd").iterdir()))


HALF = b"GET /d/x HTTP/1.1\r\nHost: x\r\nX-Half: "


async def test_half_sent_requests_hold_nobody_up(services: Services, db: Database, data_dir: Path) -> None:
    door, ingest = services("door", public_header_seconds=3), services("ingest")
    await asyncio.gather(door.start(), ingest.start())
    link = f"{door.public_url}/d/{token(await extracted(db, data_dir, BYTES))}"
    before = _descriptors(door)
    async with AsyncExitStack() as stack:
        held = []
        for number in range(700):
            # From many addresses, where the bound for all of them helps; and from one, where its own does.
            peer = f"127.0.{number % 40}.1" if number < 500 else "127.0.99.1"
            held.append(await stack.enter_async_context(_client(door.public_url, peer)))
            held[-1][1].write(HALF)
            if number % 100 == 99:
                assert _descriptors(door) < 400 + 100
                async with aiohttp.ClientSession() as http:
                    async with http.get(link) as response:
                        assert (response.status, await response.read()) == (200, BYTES)
                    await upload(http, ingest.url, b"uploads are another process's")
        async with asyncio.timeout(30):
            await asyncio.gather(*(_end_of(reader) for reader, _ in held))  # each of them is cut off
            while _descriptors(door) > before + 5:
                await asyncio.sleep(0.05)


async def _end_of(reader: asyncio.StreamReader) -> bytes:
    """Read until the other side hangs up; return what came."""
    came = b""
    with suppress(ConnectionError):
        while piece := await reader.read(1 << 16):
            came += piece
    return came


async def test_one_address_has_its_share_and_its_oldest_waiting_connection_gives_way(
    open_link_door: OpenLinks,
) -> None:
    async with open_link_door(public_peer_connections=3, public_connections=5) as door, AsyncExitStack() as stack:
        path = (await door.link(bytes(30_000_000))).removeprefix(door.url)

        async def begun(peer: str) -> asyncio.StreamReader:
            reader, writer = await stack.enter_async_context(_client(door.url, peer))
            writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            assert b"200" in await reader.readline()  # and then it takes its time
            return reader

        async def waiting(peer: str) -> asyncio.StreamReader:
            reader, writer = await stack.enter_async_context(_client(door.url, peer))
            writer.write(HALF)
            return reader

        crowd, full = _cut("crowd"), _cut("full")
        await begun("127.0.0.2")
        first, second = [await waiting("127.0.0.2") for _ in range(2)]
        await begun("127.0.0.2")
        assert await _end_of(first) == b""
        await begun("127.0.0.2")
        assert await _end_of(second) == b""
        refused = await _end_of(await waiting("127.0.0.2"))
        assert refused.startswith(b"HTTP/1.1 503 ")
        assert b"Retry-After: 5" in refused
        other = await waiting("127.0.0.3")
        await begun("127.0.0.4")
        await begun("127.0.0.5")  # the fifth of all but the one that waits
        assert await _end_of(other) == b""
        assert (await _end_of(await waiting("127.0.0.6"))).startswith(b"HTTP/1.1 503 ")
        assert (_cut("crowd") - crowd, _cut("full") - full) == (3, 2)


async def test_who_has_no_link_holds_no_connection(open_link_door: OpenLinks) -> None:
    """Bodies that never come keep nobody out, and one answer that is not taken is all that there is to take."""
    asked = b"GET /d/x HTTP/1.1\r\nHost: x\r\n"
    async with open_link_door(public_connections=5, public_peer_connections=0) as door, AsyncExitStack() as stack:
        for number in range(15):
            reader, writer = await stack.enter_async_context(_client(door.url, f"127.0.0.{number + 2}"))
            writer.write(asked + b"Content-Length: 9\r\n\r\n")
            assert b"403" in await reader.readline()
        async with _client(door.url) as (reader, writer), asyncio.timeout(20):
            writer.write((asked + b"\r\n") * 100)
            assert (await _end_of(reader)).count(b"HTTP/1.1 ") == 1


async def test_headers_and_idle_connections_have_their_time_and_size(open_link_door: OpenLinks) -> None:
    async with open_link_door(public_header_seconds=0.3, public_idle_seconds=1) as door:
        asked = f"GET {(await door.link(BYTES)).removeprefix(door.url)} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
        cut = _cut("header")
        for before in (b"", asked):
            for sent in (b"", HALF):
                async with _client(door.url) as (reader, writer), asyncio.timeout(20):
                    writer.write(before)
                    if before:
                        await reader.readuntil(BYTES)  # the answer; from here on it waits
                    writer.write(sent)
                    assert await _end_of(reader) == b""
        assert _cut("header") - cut == 3  # and the one that was idle after an answer was closed without a word
    async with open_link_door() as door, _client(door.url) as (reader, writer):
        line = b"X-A: " + b"a" * 8000 + b"\r\n"
        writer.write(b"GET /d/x HTTP/1.1\r\n" + line * 9)
        assert await _end_of(reader) == b""
        assert _cut("header") - cut == 4


async def test_an_intranet_listener_has_its_time_and_bound_too(services: Services) -> None:
    ingest = services("ingest", http_header_seconds=1, http_idle_seconds=2, http_connections=50)
    await ingest.start()
    async with AsyncExitStack() as stack, aiohttp.ClientSession() as http:
        held = [await stack.enter_async_context(_client(ingest.url)) for _ in range(100)]
        for _, writer in held:
            writer.write(b"POST /api/open/upload HTTP/1.1\r\nX-Half: ")
        await upload(http, ingest.url, b"others are served")
        async with asyncio.timeout(20):
            assert {await _end_of(reader) for reader, _ in held} == {b""}
    for line in (b"POST /api/open/downFile", b"POST /nowhere"):  # one waits for its body, the other has answered before
        async with AsyncExitStack() as stack, aiohttp.ClientSession() as http:
            for _ in range(60):
                _, writer = await stack.enter_async_context(_client(ingest.url))
                writer.write(line + b" HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n")
            await upload(http, ingest.url, b"others are served, whatever bodies never come")


def test_whom_a_connection_counts_for() -> None:
    assert peer_of(("192.0.2.7", 5)) == peer_of(("::ffff:192.0.2.7", 5, 0, 0)) == "192.0.2.7"
    assert peer_of(("2001:db8::1", 5, 0, 0)) == peer_of(("2001:db8::ffff:2%eth0", 5, 0, 0)) == "2001:db8::/64"
    assert peer_of(("2001:db8:0:1::1", 5, 0, 0)) == "2001:db8:0:1::/64"
    assert peer_of(None) == ""
