"""The clients that exist, as programs of their own: what each sends by itself is taken as it was meant.

The ones of Java, Node and Go stand in `tests/clients`. Names are Chinese, since that is where clients differ.
"""

import hashlib
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlencode

import pytest
from clients_run import answer
from servers_ingest import Door

NAME = "京A12345_前方.mp4"
CONTENT = os.urandom(1_000_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()
_PLACE = Path(sys.prefix) / "clients"
JAVA = ["java", "-XX:TieredStopAtLevel=1", "-cp", f"{_PLACE}/java/classes:{_PLACE}/java/jars/*", "Clients"]
NODE = ["node", f"{_PLACE}/node/clients.cjs"]
GO = [f"{_PLACE}/go/go-client"]


def python(lines: str) -> list[str]:
    """Return the command of a short program whose arguments are the URL, and the file and its name or the body."""
    begin = "import sys, json; url, first, *more = sys.argv[1:]; name = more[0] if more else ''\n"
    return [sys.executable, "-W", "error", "-c", begin + lines + "\nprint(r.status_code); print(r.text)"]


TOOLBELT = """
import requests
from requests_toolbelt import MultipartEncoder
m = MultipartEncoder({"filename": name, "file": (name, open(first, "rb"), "video/mp4")})
r = requests.post(url, data=m, headers={"Content-Type": m.content_type})"""
AIOHTTP = """
import aiohttp, asyncio, types
async def send():
    form = aiohttp.FormData()
    form.add_field("file", open(first, "rb"), filename=name)
    async with aiohttp.ClientSession() as session, session.post(url, data=form) as answer:
        return types.SimpleNamespace(status_code=answer.status, text=await answer.text())
r = asyncio.run(send())"""
UPLOADS: dict[str, Sequence[str]] = {
    **{name: [*JAVA, name] for name in ("okhttp-upload", "apache5-upload", "apache5-extended", "apache4-upload")},
    **{name: [*NODE, name] for name in ("axios-upload", "axios-web-form", "fetch-upload", "fetch-stream")},
    **{name: [*GO, name] for name in ("go-upload", "go-stream")},
    "requests": python("import requests\nr = requests.post(url, files={'file': (name, open(first, 'rb'))})"),
    "requests-field": python(
        "import requests\nr = requests.post(url, files={'file': open(first, 'rb')}, data={'filename': name})"
    ),
    "requests-toolbelt": python(TOOLBELT),
    "aiohttp": python(AIOHTTP),
    "httpx": python("import httpx\nr = httpx.post(url, files={'file': (name, open(first, 'rb'))})"),
}
ASKED = {"fileID": 0, "cbUrl": "http://client.example/done?sig=a%2Fb"}
REQUESTS: dict[str, Sequence[str]] = {
    **{name: [*JAVA, name] for name in ("okhttp-json", "okhttp-text", "apache5-text", "jdk-json")},
    **{name: [*NODE, name] for name in ("axios-object", "axios-string", "axios-params", "axios-form", "fetch-string")},
    **{name: [*GO, name] for name in ("go-json", "go-form")},
    "requests-json": python("import requests\nr = requests.post(url, json=json.loads(first))"),
    "requests-data": python("import requests\nr = requests.post(url, data=first)"),
    "requests-form": python("import requests\nr = requests.post(url, data=json.loads(first))"),
    "requests-params": python("import requests\nr = requests.post(url, params=json.loads(first))"),
    "httpx-json": python("import httpx\nr = httpx.post(url, json=json.loads(first))"),
    "httpx-content": python("import httpx\nr = httpx.post(url, content=first)"),
    "curl": ["curl", "-sS", "-w", "%{stderr}%{http_code}", "-d"],
    "wget": ["wget", "-q", "-O", "-", "--post-data"],
}


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clients") / NAME
    path.write_bytes(CONTENT)
    return path


async def about(door: Door, body: str) -> tuple[str, str]:
    """Return the name and the SHA-256 of the file that the API's answer names."""
    kept = (await door.file(json.loads(body)["result"]["fileID"]))["result"]
    return kept["filename"], kept["sha256"]


async def test_an_upload_keeps_its_name_and_its_bytes(door: Door, video: Path) -> None:
    wrong = {}
    for client, command in UPLOADS.items():
        status, _, body = (await answer(command, f"{door.url}/api/open/upload", str(video), NAME)).partition("\n")
        if status != "200" or await about(door, body) != (NAME, SHA256):
            wrong[client] = (status, body)
    assert wrong == {}


async def test_a_name_in_gbk_that_nobody_declares_is_refused_in_words(door: Door, video: Path) -> None:
    """Apache HttpClient 4 as Chinese tutorials have it: neither header nor field says which charset it is."""
    out = await answer([*JAVA, "apache4-gbk"], f"{door.url}/api/open/upload", str(video), NAME)
    status, _, body = out.partition("\n")
    assert status == "400"
    assert "is not UTF-8" in json.loads(body)["message"]
    assert await door.nothing_is_left()


async def test_curl_uploads(door: Door, video: Path) -> None:
    for more in (["-F", f"filename={NAME}"], ["-H", "Expect: 100-continue"], ["--http1.0"], []):
        body = await answer(["curl", "-sS", *more, "-F", f"file=@{video}"], f"{door.url}/api/open/upload")
        assert await about(door, body) == (NAME, SHA256), more


async def test_a_request_is_recorded(door: Door) -> None:
    wrong = {}
    for client in REQUESTS:
        _, uploaded = await door.upload(b"frames")
        fields = {**ASKED, "fileID": uploaded["result"]["fileID"]}
        out = await answer(*_ordered(client, f"{door.url}/api/open/downFile", json.dumps(fields)))
        row = await door.db.fetch_one("SELECT file_id, cb_url FROM download_info ORDER BY download_id DESC LIMIT 1")
        if '"result": "ok"' not in out or row != {"file_id": fields["fileID"], "cb_url": fields["cbUrl"]}:
            wrong[client] = (out, row)
    assert wrong == {}


def _ordered(client: str, url: str, body: str) -> tuple[Sequence[str], str, str]:
    if client == "go-form":
        return REQUESTS[client], url, urlencode(json.loads(body))
    first, second = (body, url) if client in {"curl", "wget"} else (url, body)
    if client == "wget":
        return [*REQUESTS[client][:-1], f"--post-data={body}"], "--", url
    return REQUESTS[client], first, second


async def test_what_puts_a_raw_body_is_told_how_in_the_apis_shape(door: Door, video: Path) -> None:
    out = await answer(["curl", "-sS", "-T", str(video)], f"{door.url}/api/open/upload")
    told = json.loads(out)
    assert told["code"] in {405, 415}
    assert told["message"]
    assert await door.nothing_is_left()
