"""Uploads of the Python client that break, are lost or begun anew: one file each."""

import asyncio
import hashlib
import io
import os
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest
from servers_ingest import Door, Open
from servers_line import cut_again_and_again, line
from servers_services import Services
from servers_talk import Talk

from roadvault_client import NoRoom, NotRoadVault, Refused, Ticket, TooLarge, WrongHash

CONTENT = os.urandom(8_000_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
async def door(open_door: Open) -> AsyncIterator[Door]:
    async with open_door(folder_bytes=100_000_000) as opened:
        yield opened


async def stored(door: Door) -> list[str]:
    return [row["sha256"] for row in await door.db.fetch_all("SELECT sha256 FROM file_upload_info")]


async def test_an_upload_goes_on_where_it_broke_off(door: Door, talk: Talk) -> None:
    pieces: list[int] = []

    class Slow(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            piece = super().read(size)
            pieces.append(len(piece))
            if len(pieces) > 40:  # the first time it is only hashed
                time.sleep(0.02)
            return piece

    async with line(door.url) as broken, cut_again_and_again(broken, 0.25):
        uploaded = await talk(broken.url, "upload", Slow(CONTENT), "a.mp4")
    assert (await stored(door), uploaded.sha256) == ([SHA256], SHA256)
    assert sum(pieces) < 3.5 * len(CONTENT)


async def test_an_answer_that_is_lost_is_asked_for_again(door: Door, talk: Talk) -> None:
    """By either way of uploading: of each answer, or of the last one, nothing comes through once."""
    for content in (CONTENT, CONTENT[:1000]):
        before = len(await stored(door))
        async with line(door.url) as deaf:
            deaf.loses = True
            uploaded = await talk(deaf.url, "upload", io.BytesIO(content), "a.mp4")
        assert len(await stored(door)) == before + 1
        assert (await door.file(uploaded.file_id))["result"]["sha256"] == uploaded.sha256
        assert deaf.came >= 2


async def test_another_process_goes_on_with_a_ticket(door: Door, talk: Talk) -> None:
    kept: list[Ticket] = []
    ticket = Ticket(keep=lambda one: kept.append(Ticket(one.key, one.url)))

    def die(sent: int, _: int | None) -> None:
        if sent > 5_000_000:
            raise KeyError("the process ends")

    with pytest.raises(KeyError):
        await talk(door.url, "upload", io.BytesIO(CONTENT), "a.mp4", progress=die, ticket=ticket)
    told: list[int] = []
    uploaded = await talk(
        door.url, "upload", io.BytesIO(CONTENT), "a.mp4", ticket=kept[-1], progress=lambda sent, _: told.append(sent)
    )
    assert told[0] > 1_000_000
    again = await talk(door.url, "upload", io.BytesIO(CONTENT), "a.mp4", ticket=kept[-1])
    without_url = await talk(door.url, "upload", io.BytesIO(CONTENT), "a.mp4", ticket=Ticket(ticket.key))
    assert uploaded.file_id == again.file_id == without_url.file_id
    assert await stored(door) == [SHA256]


async def test_an_upload_that_has_expired_is_begun_anew(door: Door, talk: Talk) -> None:
    ticket = Ticket(url=f"{door.url}/api/open/files/{'0' * 32}")
    uploaded = await talk(door.url, "upload", io.BytesIO(CONTENT), "a.mp4", ticket=ticket)
    assert await stored(door) == [SHA256]
    assert ticket.url is not None
    assert not ticket.url.endswith("0" * 32)
    assert uploaded.sha256 == SHA256


async def test_wrong_bytes_are_refused_by_either_way(door: Door, talk: Talk) -> None:
    for content in (CONTENT, b"frames"):
        with pytest.raises(WrongHash):
            await talk(door.url, "upload", io.BytesIO(content), "a.mp4", sha256="0" * 64)
    assert await stored(door) == []


async def test_an_upload_that_is_refused_while_it_is_sent_is_told_so(open_door: Open, talk: Talk) -> None:
    for setting, error in (({"folder_bytes": 1_000_000}, TooLarge), ({"disk_margin_bytes": 1 << 60}, NoRoom)):
        async with open_door(**{"folder_bytes": 100_000_000, **setting}) as door:
            for resumable in (True, False):
                with pytest.raises(error):
                    await talk(door.url, "upload", io.BytesIO(CONTENT), "a.mp4", resumable=resumable)
            assert await stored(door) == []


async def test_a_file_that_shrinks_is_no_upload(door: Door, talk: Talk, tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(CONTENT)

    def shrink(sent: int, _: int | None) -> None:
        if sent > 1_000_000:
            os.truncate(path, 2_000_000)

    with pytest.raises(OSError, match="bytes shorter"):
        await talk(door.url, "upload", path, progress=shrink)
    assert await stored(door) == []


async def test_a_key_is_for_one_file(door: Door, talk: Talk) -> None:
    ticket = Ticket()
    first = await talk(door.url, "upload", io.BytesIO(b"frames"), "a.mp4", ticket=ticket)
    assert (await talk(door.url, "upload", io.BytesIO(b"frames"), "a.mp4", ticket=ticket)).file_id == first.file_id
    with pytest.raises(Refused) as caught:
        await talk(door.url, "upload", io.BytesIO(b"other frames"), "a.mp4", ticket=ticket)
    assert caught.value.status == 422


async def test_ingest_is_killed_again_and_again(services: Services, talk: Talk) -> None:
    ingest = services("ingest")
    await ingest.start()

    async def kill() -> None:
        while True:
            await asyncio.sleep(0.3)
            assert ingest.process is not None
            ingest.process.kill()
            await ingest.process.wait()
            await ingest.start()

    task = asyncio.create_task(kill())
    try:
        async with asyncio.timeout(60):
            while True:
                with suppress(Exception):
                    uploaded = await talk(ingest.url, "upload", io.BytesIO(CONTENT), "a.mp4", ticket=Ticket("one"))
                    break
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
    if await ingest.readiness() != 200:
        await ingest.start()
    assert (await talk(ingest.url, "file", uploaded.file_id))["sha256"] == SHA256


async def test_what_is_no_roadvault_is_not_believed(talk: Talk, tmp_path: Path) -> None:
    """A network that wants a login first answers everything with its page, or leads to it."""

    answers = [b""]

    async def portal(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0] or 0)
            await reader.readexactly(length)
            writer.write(answers[0])
        writer.close()

    page = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\n<html>"
    redirect = (
        b"HTTP/1.1 302 Found\r\nLocation: http://login.example/\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    )
    async with await asyncio.start_server(portal, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        for answers[0], error in ((page, NotRoadVault), (redirect, Refused)):
            for content in (CONTENT, b"frames"):
                with pytest.raises(error):
                    await talk(url, "upload", io.BytesIO(content), "a.mp4")
            with pytest.raises(error):
                await talk(url, "upload", io.BytesIO(CONTENT), "a.mp4", ticket=Ticket(url=f"{url}/api/open/files/1"))
            with pytest.raises(error):
                await talk(url, "file", 1)
        with pytest.raises(Refused):
            await talk(url, "download", f"{url}/d/token", tmp_path / "a.mp4")
    assert not (tmp_path / "a.mp4").exists()
