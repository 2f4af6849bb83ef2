"""Clients that trickle, crowds from one address, uploads whose length nobody knows: others have their turn."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable

import aiohttp
import pytest
from servers_ingest import Door, Open, answer_of, multipart

from roadvault_common.files.new_file import NewFile

HEAD = (
    b"POST /api/open/upload HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=b\r\n"
    b"Content-Length: 900000\r\n\r\n--b\r\nContent-Disposition: form-data; name=file; filename=a\r\n\r\n"
)
FILE = "name=file; filename=a"


async def test_a_trickle_is_given_up_though_it_never_stalls(open_door: Open) -> None:
    async with (
        open_door(upload_stall_seconds=0.5, upload_bytes_per_second=10_000) as door,
        door.connection() as (reader, writer),
        asyncio.timeout(30),
    ):
        writer.write(HEAD)
        answer = asyncio.create_task(answer_of(reader))
        while not answer.done():
            writer.write(b"x")
            await asyncio.wait({answer}, timeout=0.05)
        head, body = answer.result()
        assert (head.split()[1], "10000 bytes a second" in body["message"]) == (b"408", True)
        assert await door.nothing_is_left()


async def test_a_stall_is_forgiven_once(open_door: Open) -> None:
    form = multipart((FILE, b"x" * 600_000))

    async def stalls() -> AsyncIterator[bytes]:
        yield form[:1000]
        await asyncio.sleep(0.7)
        yield form[1000:]

    async with open_door(upload_stall_seconds=1, upload_bytes_per_second=1e9) as door:
        assert (await door.send(stalls()))[0] == 200


async def test_what_the_disk_lets_a_client_wait_is_not_the_clients_fault(
    open_door: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    go, real = threading.Event(), NewFile.append

    def append(file: NewFile, data: bytes) -> None:
        go.wait()
        real(file, data)

    monkeypatch.setattr(NewFile, "append", append)
    async with open_door(upload_stall_seconds=0.3, upload_bytes_per_second=1e9, folder_bytes=20_000_000) as door:
        asyncio.get_running_loop().call_later(1, go.set)
        assert (await door.upload(b"x" * 12_000_000))[0] == 200


async def test_a_crowd_from_one_address_leaves_room_for_others(open_door: Open) -> None:
    async with open_door(uploads_per_peer=3, uploads_at_once=6) as door:
        crowd = [await asyncio.open_connection(*door.url.removeprefix("http://").split(":")) for _ in range(12)]
        for _, writer in crowd:
            writer.write(HEAD)
        while (await door.upload(b"me too"))[0] == 200:
            pass
        form = multipart((FILE, b"from elsewhere"))
        headers = {"Content-Type": "multipart/form-data; boundary=b"}
        url = f"{door.url}/api/open/upload"
        async with door.http.post(url, data=form, headers=headers) as response:
            assert (response.status, "your address" in (await response.json())["message"]) == (503, True)
            assert int(response.headers["Retry-After"]) > 0
        elsewhere = aiohttp.TCPConnector(local_addr=("127.0.0.2", 0))
        async with (
            aiohttp.ClientSession(connector=elsewhere) as http,
            http.post(url, data=form, headers=headers) as response,
        ):
            assert response.status == 200
        for _, writer in crowd:
            writer.close()
        async with asyncio.timeout(20):
            while (await door.upload(b"now it is my turn"))[0] != 200:
                pass


@pytest.fixture
def small_disk(monkeypatch: pytest.MonkeyPatch) -> Callable[[Door, int], None]:
    """Let a door's data directory be on a disk of so many bytes."""

    def has(door: Door, size: int) -> None:
        monkeypatch.setattr(
            door.vault, "free_bytes", lambda: size - sum(path.stat().st_size for path in door.files_on_disk())
        )

    return has


async def test_what_comes_without_a_length_keeps_room_as_it_grows(
    open_door: Open, small_disk: Callable[[Door, int], None]
) -> None:
    async def chunked(size: int) -> AsyncIterator[bytes]:
        form = multipart((FILE, b"x" * size))
        for begin in range(0, len(form), 100_000):
            yield form[begin : begin + 100_000]

    async with open_door(folder_bytes=1 << 30) as door:
        small_disk(door, 10_000_000)
        assert (await door.send(chunked(1000)))[0] == 200
        status, body = await door.send(chunked(8_000_000))  # it would become 16 MB with its share of an archive
        assert (status, body["code"], len(door.files_on_disk())) == (507, 507, 1)
        assert (await door.send(chunked(3_000_000)))[0] == 200
        small_disk(door, 100_000_000)
        answers = await asyncio.gather(*(door.send(chunked(1000)) for _ in range(30)))
        assert {status for status, _ in answers} == {200}
        assert len(door.files_on_disk()) == await door.count("file_upload_info") == 32
        # One that says its length keeps room for all of it at once, as ever.
        assert (await door.upload(b"x" * 60_000_000))[0] == 507
