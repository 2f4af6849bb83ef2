"""Bodies that are the file and nothing else: curl -T, ffmpeg, cameras; with hashes, if the client sends some."""

import asyncio
import hashlib
import os
import shutil
from base64 import b64encode
from collections.abc import AsyncIterator
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from clients_run import answer
from servers_ingest import Door, Open

CONTENT = os.urandom(700_000)


async def put(
    door: Door, content: bytes | AsyncIterator[bytes], name: str = "a.mp4", method: str = "PUT", **headers: str
) -> tuple[int, dict[str, Any]]:
    url = f"{door.url}/api/open/upload/{name}"
    data = BytesIO(content) if isinstance(content, bytes) and content else content
    async with door.http.request(method, url, data=data, headers=headers) as response:
        assert ("Repr-Digest" in response.headers) == (response.status == 200)
        return response.status, await response.json()


async def pieces(content: bytes, size: int = 1000) -> AsyncIterator[bytes]:
    for begin in range(0, len(content), size):
        yield content[begin : begin + size]


def digest(algorithm: str, content: bytes) -> str:
    return f"{algorithm}=:{b64encode(hashlib.new(algorithm.replace('-', ''), content).digest()).decode()}:"


@pytest.mark.parametrize("method", ["PUT", "POST"])
@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("size", [1, 100_000, 700_000])
async def test_a_body_is_a_file(door: Door, method: str, chunked: bool, size: int) -> None:  # noqa: FBT001
    content = CONTENT[:size]
    status, body = await put(door, pieces(content) if chunked else content, method=method)
    assert status == 200, body
    file = (await door.file(body["result"]["fileID"]))["result"]
    assert (file["size"], file["sha256"]) == (size, hashlib.sha256(content).hexdigest())
    (path,) = door.files_on_disk()
    assert path.read_bytes() == content


async def test_a_long_body_goes_the_fast_way(open_door: Open) -> None:
    content = os.urandom(9_000_001)
    async with open_door(folder_bytes=64_000_000) as door:
        for body in (content, pieces(content, 100_000)):
            status, told = await put(door, body, **{"Repr-Digest": digest("sha-512", content)})
            assert status == 200, told
            file = (await door.file(told["result"]["fileID"]))["result"]
            assert file["sha256"] == hashlib.sha256(content).hexdigest()


async def test_names_are_percent_decoded_and_checked(door: Door) -> None:
    for number, name in enumerate(("a b.mp4", "測試.mp4", "100%.mp4", "a?b#c.mp4", "a+b.mp4", "'\";.mp4"), 1):
        status, body = await put(door, b"x", quote(name, safe=""))
        assert (status, body["result"]) == (200, {"fileID": number}), name
        assert (await door.file(number))["result"]["filename"] == name
    for name in ("a%2Fb", "..%2Fa", "%2e%2e", "%FF.mp4", "a%0Ab", "a" * 256, "", "%20", "a/b", "a%5Cb"):
        status, body = await put(door, b"x", name)
        assert status in {400, 404}, (name, body)
    assert await door.count("file_upload_info") == 6


async def test_facts_and_sha256_come_in_the_query(door: Door) -> None:
    sha256 = hashlib.sha256(b"x").hexdigest()
    for query, status in (
        (f"camera=gate-7&recordedAt=2026-11-28T08:30:00Z&lat=1&lon=2&tags=a,b&sha256={sha256}", 200),
        (f"sha256={sha256.upper()}", 200),
        ("sha256=" + "0" * 64, 422),
        ("sha256=0", 400),
        ("lat=1", 400),
        ("recordedAt=yesterday", 400),
    ):
        assert (await put(door, b"x", f"a.mp4?{query}"))[0] == status, query
    assert len(door.files_on_disk()) == 2


async def test_digests_are_checked_and_given_back(door: Door) -> None:
    right, wrong = (digest("sha-256", one) for one in (CONTENT, b"other"))
    long_right, long_wrong = (digest("sha-512", one) for one in (CONTENT, b"other"))
    for value, status in (
        (right, 200),
        (long_right, 200),
        (f"{right}, {long_right}", 200),
        (f"md5=:AAAA:, unixsum=:AA==:;x=1, {right}", 200),
        ("md5=:AAAA:", 200),
        ("", 200),
        (wrong, 422),
        (long_wrong, 422),
        (f"{right}, {long_wrong}", 422),
        ("sha-256", 400),
        ("sha-256=AAAA", 400),
        ("sha-256=:AAAA:", 400),
        ("sha-256=:!:", 400),
        ("=:AAAA:", 400),
    ):
        for header in ("Repr-Digest", "Content-Digest"):
            before = len(door.files_on_disk())
            assert (await put(door, CONTENT, **{header: value}))[0] == status, value
            assert len(door.files_on_disk()) == before + (status == 200), value


@pytest.mark.parametrize("size", [1000, 900_000])
async def test_a_part_of_a_file_is_not_taken_for_a_file(door: Door, tmp_path: Path, size: int) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(os.urandom(size))
    told = await answer(["curl", "-sS", "-C", "400", "-T", str(path), f"{door.url}/api/open/upload/"])
    assert '"error": "bad_request"' in told
    assert "Content-Range" in told
    url, headers = f"{door.url}/api/open/upload", {"Content-Range": "bytes 0-9/20"}
    async with door.http.post(url, data={"filename": "a", "file": BytesIO(b"x" * 10)}, headers=headers) as response:
        assert response.status == 400
    assert await door.nothing_is_left()


async def test_every_way_gives_the_digest_back(door: Door) -> None:
    url = f"{door.url}/api/open/upload"
    async with door.http.put(f"{url}/a.mp4", data=CONTENT) as response:
        assert response.headers["Repr-Digest"] == digest("sha-256", CONTENT)
    async with door.http.post(url, data={"filename": "a", "file": BytesIO(b"x")}) as response:
        assert response.headers["Repr-Digest"] == digest("sha-256", b"x")
    headers = {"Tus-Resumable": "1.0.0", "Upload-Length": "1", "Upload-Metadata": "filename YQ=="}
    headers["Content-Type"] = "application/offset+octet-stream"
    async with door.http.post(f"{door.url}/api/open/files", data=b"x", headers=headers) as response:
        assert response.headers["Repr-Digest"] == digest("sha-256", b"x")


async def test_what_can_not_be_taken(open_door: Open) -> None:
    async with open_door(upload_stall_seconds=0.3) as door:
        assert (await put(door, b""))[0] == 400
        assert (await put(door, pieces(b"")))[0] == 400
        assert (await put(door, b"x" * 1_000_001))[0] == 413
        assert (await put(door, pieces(b"x" * 1_200_000)))[0] == 413
        for rest, status in ((b"\r\n", b"411"), (b"Content-Length: 10\r\n\r\nx", b"408")):
            async with door.connection() as (reader, writer), asyncio.timeout(10):
                writer.write(b"PUT /api/open/upload/a HTTP/1.1\r\nHost: x\r\n" + rest)
                assert (await reader.readline()).split()[1] == status
        assert await door.nothing_is_left()


async def test_curl_uploads_a_file_and_a_pipe(door: Door, tmp_path: Path) -> None:
    path = tmp_path / "測試 a.mp4"
    path.write_bytes(CONTENT)
    for more in ([], ["-X", "POST"], ["-H", "Transfer-Encoding: chunked"], ["-H", "Expect: 100-continue"]):
        told = await answer(["curl", "-sS", "-f", *more, "-T", str(path), f"{door.url}/api/open/upload/"])
        assert '"code": 0' in told
    piped = f"cat '{path}' | curl -sS -f -T - {door.url}/api/open/upload/b.mp4"
    assert '"code": 0' in await answer(["sh", "-c", piped])
    for number in range(1, 6):
        file = (await door.file(number))["result"]
        assert file["filename"] == ("b.mp4" if number == 5 else path.name)
        assert file["sha256"] == hashlib.sha256(CONTENT).hexdigest()


@pytest.mark.parametrize("method", ["PUT", "POST"])
async def test_ffmpeg_streams_what_it_records(open_door: Open, method: str) -> None:
    async with open_door(folder_bytes=64_000_000) as door:
        url = f"{door.url}/api/open/upload/gate-7.ts?camera=gate-7"
        source = ["-f", "lavfi", "-i", "testsrc=duration=2:size=320x240:rate=10"]
        ffmpeg = [str(shutil.which("ffmpeg")), "-v", "error", *source, "-c:v", "mpeg2video", "-f", "mpegts"]
        await answer([*ffmpeg, "-method", method, url])
        async with asyncio.timeout(10):
            while not await door.count("file_upload_info"):  # ffmpeg does not wait for the answer
                await asyncio.sleep(0.02)
        file = (await door.file(1))["result"]
        (path,) = door.files_on_disk()
        assert (file["filename"], file["size"]) == ("gate-7.ts", path.stat().st_size)
        assert path.read_bytes()[:1] == b"G"
