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

from roadvault_common.errors import DatabaseUnavailable
from roadvault_ingest.uploads.upload_store import Upload

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


@pytest.mark.parametrize("client", [name for name in CLIENTS if name != "rust"])
async def test_a_database_that_is_away_when_a_client_comes_back_does_not_have_it_begin_anew(
    door: Door, film: Path, monkeypatch: pytest.MonkeyPatch, client: str
) -> None:
    uploads, times = door.ingest.resumable, iter(range(3))
    settled = uploads.settled

    async def away(upload_id: str) -> Upload:
        if next(times, None) is not None:
            raise DatabaseUnavailable("away")
        return await settled(upload_id)

    monkeypatch.setattr(uploads, "settled", away)
    async with breaking(door.url, 400_000) as url:
        at = await answer(CLIENTS[client], "stubborn", f"{url}/api/open/files", str(film), NAME)
    assert next(times, None) is None
    assert await door.count("upload_info") == 1
    assert await is_one_file(door, at)


async def test_parts_over_several_connections(door: Door, film: Path) -> None:
    command = CLIENTS["tus-js-client"]
    url = await answer(command, "parallel", f"{door.url}/api/open/files", str(film), NAME)
    told = await Client(door.http, door.url).head(url.strip())
    assert told.headers["Upload-Concat"].startswith("final;")
    file = (await door.file(told.file_id))["result"]
    assert (file["filename"], file["sha256"]) == (NAME, SHA256)


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
