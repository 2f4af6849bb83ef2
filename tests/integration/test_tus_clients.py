"""tus as its clients speak it: programs of Python, Node, Java and Rust, over good lines and bad ones."""

import asyncio
import hashlib
import os
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from clients_run import answer
from servers_ingest import Door
from tus_requests import Client

NAME = "京A12345_前方.mp4"
CONTENT = os.urandom(900_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()
_PLACE = Path(sys.prefix) / "clients"
CLIENTS: dict[str, Sequence[str]] = {
    "tuspy": [sys.executable, str(Path(__file__).parents[1] / "clients/tus_python.py")],
    "tus-js-client": ["node", f"{_PLACE}/node/tus.cjs"],
    "tus-java-client": ["java", "-XX:TieredStopAtLevel=1", "-cp", f"{_PLACE}/java/classes:{_PLACE}/java/jars/*", "Tus"],
    "rust": [f"{_PLACE}/rust/tus-rust"],
}


@pytest.fixture
def film(tmp_path: Path) -> Path:
    path = tmp_path / "film.mp4"
    path.write_bytes(CONTENT)
    return path


async def is_one_file(door: Door, url: str) -> bool:
    told = await Client(door.http, door.url).head(door.url + url.strip()[url.index("/api") :])
    file = (await door.file(told.file_id))["result"]
    assert await door.count("file_upload_info") == len(door.files_on_disk()) == 1
    return (file["filename"], file["sha256"]) == (NAME, SHA256)


@pytest.mark.parametrize("client", CLIENTS)
async def test_a_file_is_uploaded(door: Door, film: Path, client: str) -> None:
    url = await answer(CLIENTS[client], "whole", f"{door.url}/api/open/files", str(film), NAME)
    assert await is_one_file(door, url)


@pytest.mark.parametrize("client", CLIENTS)
async def test_an_upload_is_gone_on_with_by_another_process(door: Door, film: Path, client: str) -> None:
    url = (await answer(CLIENTS[client], "part", f"{door.url}/api/open/files", str(film), NAME)).strip()
    told = await Client(door.http, door.url).head(url)
    assert 0 < told.offset < len(CONTENT)
    await answer(CLIENTS[client], "resume", url, str(film), NAME)
    assert await is_one_file(door, url)


@pytest.mark.parametrize("client", [name for name in CLIENTS if name != "rust"])  # it has no tries of its own
async def test_a_line_that_breaks_again_and_again(door: Door, film: Path, client: str) -> None:
    async with breaking(door.url, 150_000) as url:
        at = await answer(CLIENTS[client], "stubborn", f"{url}/api/open/files", str(film), NAME)
    assert await is_one_file(door, at)


@asynccontextmanager
async def breaking(url: str, after: int) -> AsyncIterator[str]:
    """Lead to a server by a line that is cut each time so many bytes have gone there."""
    host, port = url.removeprefix("http://").split(":")

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, most: int) -> None:
        while most > 0 and (data := await reader.read(min(most, 16_384))):
            writer.write(data)
            await writer.drain()
            most -= len(data)

    async def lead(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there_reader, there_writer = await asyncio.open_connection(host, int(port))
        ways = {
            asyncio.create_task(pump(reader, there_writer, after)),
            asyncio.create_task(pump(there_reader, writer, 1 << 40)),
        }
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        for way in ways:
            way.cancel()
        await asyncio.wait(ways)
        for one in (writer, there_writer):
            one.transport.abort()

    server = await asyncio.start_server(lead, "127.0.0.1", 0)
    async with server:
        yield "http://{}:{}".format(*server.sockets[0].getsockname()[:2])
