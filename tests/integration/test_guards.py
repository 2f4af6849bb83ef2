"""What browsers send for other sites' pages is refused, under whatever name; programs, and our own pages, pass.

The headers are those that browsers send by the Fetch standard and W3C's Fetch Metadata: `Sec-Fetch-*` where the address
is https or localhost, `Origin` with every POST, also over plain HTTP; a page can set none of them itself.
"""

import asyncio
import json
from itertools import product
from typing import Any

import pytest
from servers_ingest import Door, Open, answer_of, multipart
from servers_services import Services

FORM = multipart(('name=file; filename="a.mp4"', b"frames"))
NAVIGATE = {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
ELSEWHERE = [
    # A form, fetch() without CORS, an image, a script and a frame of another site; another port of this host.
    ("POST", {"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example", **NAVIGATE}),
    ("POST", {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "empty"}),
    ("GET", {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"}),
    ("GET", {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "script"}),
    ("GET", {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"}),
    ("GET", {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "cors", "Sec-Fetch-Dest": "empty"}),
    ("OPTIONS", {"Origin": "http://evil.example", "Access-Control-Request-Method": "POST"}),
    # Over plain HTTP: a form, and one of a sandboxed page.
    ("POST", {"Origin": "http://evil.example"}),
    ("POST", {"Origin": "null"}),
    ("POST", {"Origin": "http://127.0.0.1:1"}),
]
OURS = [
    ("GET", {}),
    ("GET", {"Sec-Fetch-Site": "none", **NAVIGATE}),
    ("GET", {"Sec-Fetch-Site": "cross-site", **NAVIGATE}),  # a link in a mail
    ("GET", {"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "script"}),
]


async def ask(door: Door, request: str, *headers: str, body: bytes = b"") -> tuple[int, dict[str, Any]]:
    """Send a request as it stands; return its status, and the body of the answer."""
    head = "\r\n".join((request, *headers, f"Content-Length: {len(body)}", "", "")).encode()
    async with door.connection() as (reader, writer), asyncio.timeout(10):
        writer.write(head + body)
        answered, told = await answer_of(reader)
        return int(answered.split(b" ")[1]), told


async def test_what_a_page_of_another_site_sends_is_refused(door: Door) -> None:
    _, uploaded = await door.upload(b"frames")
    fields = {"fileID": str(uploaded["result"]["fileID"]), "cbUrl": "http://evil.example/"}
    for (method, headers), path in product(ELSEWHERE, ("downFile", "upload", "file/1", "nowhere")):
        data = fields if method == "POST" else None
        async with door.http.request(method, f"{door.url}/api/open/{path}", data=data, headers=headers) as response:
            assert (response.status, (await response.json())["code"]) == (403, 403), (method, headers, path)
            assert not [name for name in response.headers if name.lower().startswith("access-control")]
    assert (await door.count("download_info"), await door.count("file_upload_info")) == (0, 1)


async def test_what_a_user_and_our_own_pages_ask_for_is_answered(door: Door) -> None:
    _, uploaded = await door.upload(b"frames")
    url = f"{door.url}/api/open/file/{uploaded['result']['fileID']}"
    for method, headers in OURS:
        async with door.http.request(method, url, headers=headers) as response:
            assert response.status == 200, headers
            assert response.headers["Cross-Origin-Resource-Policy"] == "same-origin"
    host = door.url.removeprefix("http://")
    for sent in (
        ("Sec-Fetch-Site: same-origin", f"Origin: http://{host}", "Sec-Fetch-Mode: cors", "Sec-Fetch-Dest: empty"),
        ("Sec-Fetch-Site: same-origin", f"Origin: http://{host}", "Sec-Fetch-Mode: navigate"),
        (f"Origin: http://{host}",),
        (f"Origin: https://{host.upper()}",),  # behind a proxy that has the TLS
    ):
        kind = "Content-Type: multipart/form-data; boundary=b"
        status, _ = await ask(door, "POST /api/open/upload HTTP/1.1", f"Host: {host}", kind, *sent, body=FORM)
        assert status == 200, sent


NAMES = [
    *((name, 404) for name in ("127.0.0.1", "10.1.2.3:7001", "[::1]", "[fe80::1]:7001", "localhost:7001")),
    *((name, 404) for name in ("LOCALHOST.", "ingest", "ingest:7000", "", "vault.example.org:7001")),
    *((name, 404) for name in ("VAULT.example.ORG.", "a.b.cams.example.org")),
    *(
        (name, 421)
        for name in ("evil.example", "evil.example:7001", "127.0.0.1.evil.example", "localhost.evil.example")
    ),
    *(
        (name, 421)
        for name in ("cams.example.org", "xcams.example.org", "x.vault.example.org", "127.1", "evil.example..")
    ),
    *(
        (name, 421)
        for name in ("evil.example:80:80", "[::1]evil.example", "a@evil.example", "[evil.example]", "\xff.\xff")
    ),
]


async def test_only_our_names_are_answered_to(open_door: Open) -> None:
    async with open_door(hosts="Vault.example.org, *.cams.example.org") as door:
        for host, status in NAMES:
            got, told = await ask(door, "GET /api/open/file/99 HTTP/1.1", f"Host: {host}")
            assert (got, told["code"]) == (status, status), host
            assert ("ROADVAULT_HOSTS" in told["message"]) == (status == 421)
        # Whatever it is, it is shown and does nothing.
        _, told = await ask(door, "GET / HTTP/1.1", f"Host: \u202e{'evil' * 99}.\u009b31mexample")
        assert len(told["message"]) < 250
        assert told["message"].isprintable()


async def test_a_name_in_the_target_counts_and_none_is_none_of_another(door: Door) -> None:
    for request, headers, status in (
        ("GET http://evil.example/api/open/file/99 HTTP/1.1", ("Host: localhost",), 421),
        ("GET http://localhost/api/open/file/99 HTTP/1.1", ("Host: evil.example",), 421),
        ("GET http://user@evil.example:80/api/open/file/99 HTTP/1.1", ("Host: localhost",), 421),
        ("GET http://localhost:80/api/open/file/99 HTTP/1.1", ("Host: localhost",), 404),
        ("GET http://[::1]:80/api/open/file/99 HTTP/1.1", ("Host: localhost",), 404),
        ("CONNECT evil.example:80 HTTP/1.1", ("Host: localhost",), 421),
        ("GET /api/open/file/99 HTTP/1.0", (), 404),
        # A host that can't be decoded: aiohttp alone never answered, and kept the connection.
        ("GET http://xn--/ HTTP/1.1", ("Host: localhost",), 404),
    ):
        assert (await ask(door, request, *headers))[0] == status, request
    async with door.connection() as (reader, writer), asyncio.timeout(10):
        writer.write(b"GET /api/open/file/99 HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n")
        assert (await reader.readline()).split()[1] == b"400"


@pytest.mark.parametrize("name", ["ingest", "notifier"])
async def test_every_service_refuses_other_names_and_sites(services: Services, name: str) -> None:
    service = services(name)
    await service.start()
    host, port = service.url.removeprefix("http://").split(":")
    for path in ("/metrics", "/healthz", "/readyz", "/"):
        for headers, status in (
            ("Host: evil.example", 421),
            ("Host: localhost\r\nOrigin: http://evil.example", 403),
            ("Host: localhost\r\nSec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: no-cors", 403),
        ):
            reader, writer = await asyncio.open_connection(host, int(port))
            writer.write(f"GET {path} HTTP/1.1\r\n{headers}\r\n\r\n".encode())
            _, told = await answer_of(reader)
            assert told["code"] == status, path
            writer.close()


async def test_a_compressed_body_is_refused_before_it_comes(door: Door) -> None:
    encodings = ("gzip", "deflate", "br", "zstd", "x-gzip", "GZIP", "identity, gzip", "nonsense")
    for encoding, path in product(encodings, ("upload", "downFile", "nowhere")):
        head = f"POST /api/open/{path} HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=b\r\n"
        async with door.connection() as (reader, writer), asyncio.timeout(10):
            writer.write(f"{head}Content-Encoding: {encoding}\r\nExpect: 100-continue\r\n".encode())
            writer.write(b"Content-Length: 900000\r\n\r\n")  # of which nothing is sent: nor is it asked for
            answered, told = await answer_of(reader)
        assert answered.startswith(b"HTTP/1.1 415 ")
        assert b"\r\naccept-encoding: identity\r\n" in answered.lower()
        assert b"\r\nconnection: close\r\n" in answered.lower()
        assert (told["code"], "compressed" in told["message"]) == (415, True)
    assert await door.nothing_is_left()


async def test_so_is_one_that_is_compressed_for_the_way_and_one_that_is_not_is_taken(door: Door) -> None:
    kind = "Content-Type: multipart/form-data; boundary=b"
    chunked = b"%x\r\n%s\r\n0\r\n\r\n" % (len(FORM), FORM)
    for coding, status in (("gzip, chunked", 415), ("chunked", 200), ("CHUNKED", 200)):
        async with door.connection() as (reader, writer), asyncio.timeout(10):
            head = f"POST /api/open/upload HTTP/1.1\r\nHost: x\r\n{kind}\r\nTransfer-Encoding: {coding}\r\n\r\n"
            writer.write(head.encode() + chunked)
            _, told = await answer_of(reader)
        assert told["code"] == (0 if status == 200 else status), coding
    for encoding in ("identity", ""):
        request = "POST /api/open/upload HTTP/1.1"
        assert (await ask(door, request, "Host: x", kind, f"Content-Encoding: {encoding}", body=FORM))[0] == 200


async def test_an_expectation_that_nobody_knows_is_passed_over(door: Door) -> None:
    body = json.dumps({"fileID": 99, "cbUrl": "http://client/"}).encode()
    for expected in ("foo", "\xff"):
        headers = ("Host: x", "Content-Type: application/json", f"Expect: {expected}")
        assert (await ask(door, "POST /api/open/downFile HTTP/1.1", *headers, body=body))[0] == 404
