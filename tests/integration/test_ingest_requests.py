"""Requests for files over HTTP, and the links that serve them."""

import asyncio
import json
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import aiohttp
import pytest
from prometheus_client import REGISTRY
from pydantic import SecretStr
from servers_faults import Proxied
from servers_ingest import SECRET, Door, Open
from servers_services import Services

from roadvault_common.links import Links
from roadvault_stack.ports import HOST


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
        ({"fileID": 1}, 400, "cbUrl is missing"),
        (["not", "an", "object"], 400, "object"),
    ],
)
async def test_bad_download_requests(door: Door, fields: object, status: int, message: str) -> None:
    async with door.http.post(f"{door.url}/api/open/downFile", json=fields) as response:
        body = await response.json()
    assert (response.status, body["code"]) == (status, status)
    assert message in body["message"]
    assert await door.count("download_info") == 0


async def test_urls_that_no_callback_could_go_to_are_refused_at_once(door: Door) -> None:
    _, uploaded = await door.upload(b"frames")
    for url, status in (
        ("http://xn--/", 400),
        ("http://a..b/", 400),
        (f"http://{'a' * 64}.example/", 400),
        ("http://127.1/", 400),
        ("http://[::1/", 400),
        ("http://[::1]:8080/", 200),
        ("http://北京.example/", 200),
        ("HTTPS://client.example./", 200),
    ):
        fields = {"fileID": uploaded["result"]["fileID"], "cbUrl": url}
        async with door.http.post(f"{door.url}/api/open/downFile", json=fields) as response:
            assert (response.status, url) == (status, url)


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


async def test_requests_and_the_bytes_of_links_are_counted_by_route(door: Door) -> None:
    _, body = await door.upload(b"0123456789")
    download_id = await door.db.transact(
        lambda tx: tx.insert(
            "INSERT INTO download_info (file_id, cb_url, status, path)"
            " SELECT file_id, 'http://c/', 1, path FROM file_upload_info WHERE file_id = %s",
            (body["result"]["fileID"],),
        )
    )
    url = f"{door.public_url}/d/{Links(SecretStr(SECRET)).token(download_id, datetime.now(UTC) + timedelta(hours=1))}"
    served, whole, part = _served(), _answered("/d/{token}", 200), _answered("/d/{token}", 206)
    for method, headers in (("GET", {}), ("GET", {"Range": "bytes=2-4"}), ("HEAD", {})):
        async with door.http.request(method, url, headers=headers) as response:
            await response.read()
    assert _served() - served == 13
    # aiohttp chooses between 200 and 206 as it sends, when the handler has ended.
    assert _answered("/d/{token}", 200) + _answered("/d/{token}", 206) - whole - part == 3
    refused, unknown = _answered("/api/open/file/{file_id}", 404), _answered("none", 404)
    for path in ("/api/open/file/99", "/d/secret", "/nowhere"):
        async with door.http.get(door.url + path) as response:
            assert response.status == 404
    assert _answered("/api/open/file/{file_id}", 404) - refused == 1
    assert _answered("none", 404) - unknown == 2


def _served() -> float:
    count = REGISTRY.get_sample_value("roadvault_stage_bytes_total", {"stage": "serve"})
    assert count is not None
    return count


def _answered(route: str, status: int) -> float:
    labels = {"route": route, "status": str(status)}
    return REGISTRY.get_sample_value("roadvault_http_seconds_count", labels) or 0


async def test_no_log_line_holds_a_links_token_or_what_a_client_sent(
    services: Services, proxied_database: Proxied
) -> None:
    ingest = services("ingest", database_url=proxied_database.url, log_level="debug")
    await ingest.start()
    secret = SecretStr(ingest.environment["ROADVAULT_LINK_SECRET"])
    token = Links(secret).token(1, datetime.now(UTC) + timedelta(hours=1))
    url = f"http://{HOST}:{ingest.environment['ROADVAULT_PUBLIC_PORT']}/d/{token}"
    async with aiohttp.ClientSession() as http:
        with proxied_database.proxies.down("database"):
            async with http.get(url) as response:
                assert response.status == 503
        for wrong, status in ((url, 404), (f"{url}x", 403), (f"{url}/x", 404)):
            async with http.get(wrong) as response:
                assert response.status == status
        headers = {"Content-Type": "multipart/form-data; boundary=b"}
        body = b"--b\r\nContent-Disposition: form-data; =;=hush\r\n\r\nx\r\n--b--\r\n"
        async with http.post(f"{ingest.url}/api/open/upload", data=body, headers=headers) as response:
            assert response.status == 400
    ingest.terminate()
    assert (await ingest.ended(20))[0] == 0
    log = ingest.log.read_text()
    (line,) = [json.loads(line) for line in log.splitlines() if "request failed" in line]
    assert line["route"] == "/d/{token}"
    for piece in (*token.split("."), "hush"):
        assert piece not in log


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
