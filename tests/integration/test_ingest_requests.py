"""Requests for files over HTTP, and the links that serve them."""

import asyncio
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest
from pydantic import SecretStr
from servers_ingest import SECRET, Door, Open

from roadvault_common.links import Links


@pytest.mark.parametrize("as_json", [True, False])
async def test_a_download_request_is_recorded_and_joined(door: Door, *, as_json: bool) -> None:
    _, body = await door.upload(b"frames")
    file_id = body["result"]["fileID"]
    for url in ("http://client/cb", "http://client/cb", "https://other/cb"):
        fields = {"fileID": file_id if as_json else str(file_id), "cbUrl": url}
        json, data = (fields, None) if as_json else (None, fields)
        async with door.http.post(f"{door.url}/api/open/downFile", json=json, data=data) as response:
            assert await response.json() == {"code": 0, "status": 0, "result": "ok"}
    state = (await door.file(file_id))["result"]
    assert [request["cbUrl"] for request in state["requests"]] == ["https://other/cb", "http://client/cb"]
    row = await door.db.fetch_one("SELECT cb_url, status FROM file_upload_info WHERE file_id = %s", (file_id,))
    assert row == {"cb_url": "https://other/cb", "status": 2}


@pytest.mark.parametrize(
    ("fields", "status", "message"),
    [
        ({"fileID": 99, "cbUrl": "http://client/"}, 404, "no file 99"),
        ({"fileID": "x", "cbUrl": "http://client/"}, 400, "fileID"),
        ({"fileID": True, "cbUrl": "http://client/"}, 400, "fileID"),
        ({"fileID": "9" * 30, "cbUrl": "http://client/"}, 400, "fileID"),
        ({"cbUrl": "http://client/"}, 400, "fileID"),
        ({"fileID": 1, "cbUrl": "ftp://client/"}, 400, "http"),
        ({"fileID": 1, "cbUrl": "file:///etc/passwd"}, 400, "http"),
        ({"fileID": 1, "cbUrl": "http://"}, 400, "http"),
        ({"fileID": 1, "cbUrl": "http://a:99999/"}, 400, "URL"),
        ({"fileID": 1, "cbUrl": "http://a b/"}, 400, "http"),
        ({"fileID": 1, "cbUrl": "http://user:secret@client/"}, 400, "password"),
        ({"fileID": 1, "cbUrl": "http://client/" + "a" * 3000}, 400, "2048"),
        ({"fileID": 1}, 400, "http"),
        (["not", "an", "object"], 400, "object"),
    ],
)
async def test_bad_download_requests(door: Door, fields: object, status: int, message: str) -> None:
    async with door.http.post(f"{door.url}/api/open/downFile", json=fields) as response:
        body = await response.json()
    assert (response.status, body["code"]) == (status, status)
    assert message in body["message"]
    assert await door.count("download_info") == 0


async def test_a_link_serves_ranges_until_it_expires(door: Door) -> None:
    _, body = await door.upload(b"0123456789", "摄像 1.mp4")
    extracted = door.vault.root / "downloads/1/token"
    extracted.parent.mkdir()
    extracted.write_bytes(b"0123456789")
    download_id = await door.db.transact(
        lambda tx: tx.insert(
            "INSERT INTO download_info (file_id, cb_url, status, path)"
            " VALUES (%s, 'http://c/', 1, 'downloads/1/token')",
            (body["result"]["fileID"],),
        )
    )
    links, now = Links(SecretStr(SECRET)), datetime.now(UTC)
    url = f"{door.public_url}/d/{links.token(download_id, now + timedelta(minutes=1))}"
    async with door.http.get(url) as response:
        assert (response.status, await response.read()) == (200, b"0123456789")
        assert response.headers["Content-Type"] == "video/mp4"
        assert "attachment" in response.headers["Content-Disposition"]
        assert response.headers["X-Content-Type-Options"] == "nosniff"
    async with door.http.get(url, headers={"Range": "bytes=2-4"}) as response:
        assert (response.status, await response.read()) == (206, b"234")
    expired = links.token(download_id, now - timedelta(seconds=1))
    forged = Links(SecretStr("another secret, as long")).token(download_id, now + timedelta(minutes=1))
    for token in (expired, forged, "nonsense"):
        async with door.http.get(f"{door.public_url}/d/{token}") as response:
            assert response.status == 403
    extracted.unlink()
    async with door.http.get(url) as response:
        assert response.status == 404
    for path in ("/", "/file", "/api/open/file/1", "/metrics"):
        async with door.http.get(door.public_url + path) as response:
            assert response.status == 404


async def test_a_client_that_takes_a_link_too_slowly_is_cut_off(open_door: Open) -> None:
    async with open_door(download_bytes_per_second=1e9, upload_stall_seconds=0.5, folder_bytes=64_000_000) as door:
        _, body = await door.upload(b"x" * 30_000_000)
        row = await door.db.fetch_one("SELECT path FROM file_upload_info")
        assert row is not None
        download_id = await door.db.transact(
            lambda tx: tx.insert(
                "INSERT INTO download_info (file_id, cb_url, status, path) VALUES (%s, 'http://c/', 1, %s)",
                (body["result"]["fileID"], row["path"]),
            )
        )
        token = Links(SecretStr(SECRET)).token(download_id, datetime.now(UTC) + timedelta(minutes=1))
        host, port = door.public_url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port), limit=1024)
        writer.write(f"GET /d/{token} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        await asyncio.sleep(1.5)  # the client does not read; its buffers fill, and the time is over
        taken = 0
        with suppress(ConnectionError):
            while piece := await reader.read(1 << 20):
                taken += len(piece)
        writer.close()
        assert 0 < taken < 30_000_000


async def test_more_uploads_than_fit_are_told_to_come_again(open_door: Open) -> None:
    async with open_door(uploads_at_once=2) as door:
        answers = await asyncio.gather(*(door.upload(b"x" * 300_000) for _ in range(10)))
        statuses = [status for status, _ in answers]
        assert set(statuses) == {200, 503}
        assert len(door.files_on_disk()) == statuses.count(200)
        assert (await door.upload(b"later"))[0] == 200
