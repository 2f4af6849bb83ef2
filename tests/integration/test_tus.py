"""Uploads by tus: begun, gone on with, cut and finished, once and only once."""

import asyncio
import hashlib
import os

import pytest
from servers_ingest import Door, Open
from tus_requests import Client, metadata

CONTENT = os.urandom(700_000)


@pytest.fixture
def tus(door: Door) -> Client:
    return Client(door.http, door.url)


async def test_an_upload_in_three_pieces_is_a_file_like_any_other(door: Door, tus: Client) -> None:
    url = await tus.begun(len(CONTENT))
    offset = 0
    for end in (1, 300_001, len(CONTENT)):
        assert (await tus.head(url)).offset == offset
        answered = await tus.patch(url, offset, CONTENT[offset:end])
        assert (answered.status, answered.offset) == (204, end)
        offset = end
    told = await tus.head(url)
    assert (told.offset, told.file_id) == (len(CONTENT), answered.file_id)
    file = (await door.file(answered.file_id))["result"]
    assert (file["filename"], file["size"]) == ("a.mp4", len(CONTENT)), file
    assert file["sha256"] == hashlib.sha256(CONTENT).hexdigest()
    (path,) = door.files_on_disk()
    assert path.read_bytes() == CONTENT
    assert await door.count("file_upload_info") == 1


async def test_a_new_ingest_goes_on_where_the_old_one_stopped(open_door: Open) -> None:
    async with open_door() as door:
        url = await Client(door.http, door.url).begun(len(CONTENT))
        await Client(door.http, door.url).patch(url, 0, CONTENT[:300_000])
    async with open_door() as door:
        tus = Client(door.http, door.url)
        url = door.url + url[url.index("/api") :]
        assert (await tus.head(url)).offset == 300_000
        answered = await tus.patch(url, 300_000, CONTENT[300_000:])
        assert answered.status == 204
        assert (await door.file(answered.file_id))["result"]["sha256"] == hashlib.sha256(CONTENT).hexdigest()


async def test_what_came_of_a_request_that_was_cut_is_kept(door: Door, tus: Client) -> None:
    url = await tus.begun(len(CONTENT))
    async with door.connection() as (_, writer):
        writer.write(
            f"PATCH {url.removeprefix(door.url)} HTTP/1.1\r\nHost: x\r\nTus-Resumable: 1.0.0\r\nUpload-Offset: 0\r\n"
            f"Content-Type: application/offset+octet-stream\r\nContent-Length: {len(CONTENT)}\r\n\r\n".encode()
            + CONTENT[:400_000]
        )
        await writer.drain()
        async with asyncio.timeout(10):
            while not door.files_on_disk() or door.files_on_disk()[0].stat().st_size < 200_000:
                await asyncio.sleep(0.01)
    came = (await tus.head(url)).offset
    assert 200_000 <= came <= 400_000
    answered = await tus.patch(url, came, CONTENT[came:])
    assert (await door.file(answered.file_id))["result"]["sha256"] == hashlib.sha256(CONTENT).hexdigest()


async def test_get_tells_how_an_upload_stands(door: Door, tus: Client) -> None:
    url = await tus.begun(10)
    await tus.patch(url, 0, CONTENT[:4])
    for offset, file_id in ((4, None), (10, 1)):
        async with door.http.get(url) as response:
            assert (await response.json())["result"] == {"offset": offset, "length": 10, "fileID": file_id}
        await tus.patch(url, 4, CONTENT[4:10])


async def test_a_name_is_needed_and_checked(door: Door, tus: Client) -> None:
    for header in ("", metadata(filename="../a"), "filename !!", metadata(filename="a").replace(" ", "  ")):
        answered = await tus.begin(10, None, {"Upload-Metadata": header})
        assert answered.status == 400, header
    assert await door.nothing_is_left()
