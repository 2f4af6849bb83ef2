"""Requests for files over HTTP, and the links that serve them."""

import asyncio

import aiohttp
import pytest
from prometheus_client import REGISTRY
from servers_ingest import Door, Open
from servers_services import Services


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


async def test_requests_are_counted_by_route(door: Door) -> None:
    refused, unknown = _answered("/api/open/file/{file_id}", 404), _answered("none", 404)
    for path in ("/api/open/file/99", "/d/secret", "/nowhere"):
        async with door.http.get(door.url + path) as response:
            assert response.status == 404
    assert _answered("/api/open/file/{file_id}", 404) - refused == 1
    assert _answered("none", 404) - unknown == 2


def _answered(route: str, status: int) -> float:
    labels = {"route": route, "status": str(status)}
    return REGISTRY.get_sample_value("roadvault_http_seconds_count", labels) or 0


async def test_no_log_line_holds_what_a_client_sent(services: Services) -> None:
    ingest = services("ingest", log_level="debug")
    await ingest.start()
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    body = b"--b\r\nContent-Disposition: form-data; =;=hush\r\n\r\nx\r\n--b--\r\n"
    url = f"{ingest.url}/api/open/upload"
    async with aiohttp.ClientSession() as http, http.post(url, data=body, headers=headers) as response:
        assert response.status == 400
    ingest.terminate()
    assert (await ingest.ended(20))[0] == 0
    assert "hush" not in ingest.log.read_text()


async def test_more_uploads_than_fit_are_told_to_come_again(open_door: Open) -> None:
    async with open_door(uploads_at_once=2) as door:
        answers = await asyncio.gather(*(door.upload(b"x" * 300_000) for _ in range(10)))
        statuses = [status for status, _ in answers]
        assert set(statuses) == {200, 503}
        assert len(door.files_on_disk()) == statuses.count(200)
        assert (await door.upload(b"later"))[0] == 200


async def test_who_hangs_up_while_asking_for_a_file_never_leaves_its_answer_to_another(door: Door) -> None:
    one, other = [(await door.upload(b"frames", name))[1]["result"]["fileID"] for name in ("one.mp4", "other.mp4")]
    for _ in range(100):
        async with door.connection() as (_, writer):
            writer.write(f"GET /api/open/file/{one} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            asking = asyncio.create_task(door.file(other))
            await asyncio.sleep(0)
            writer.transport.abort()
            told = (await asking)["result"]
            assert (told["fileID"], told["filename"]) == (other, "other.mp4")
