"""Requests that are none, hostile ones, and clients that go: a fitting answer, and one line in the log for each."""

import asyncio
import json

import pytest
from servers_services import Services

HOST = b"Host: localhost\r\n"
UPLOAD, FETCH = b"POST /api/open/upload HTTP/1.1", b"POST /api/open/downFile HTTP/1.1"
FORM = b"Content-Type: multipart/form-data; boundary=b"
CHUNKED = b"Transfer-Encoding: chunked"


def request(line: bytes, *headers: bytes, body: bytes = b"") -> bytes:
    return b"".join((line, b"\r\n", HOST, *(header + b"\r\n" for header in headers), b"\r\n", body))


def get(path: bytes, *headers: bytes) -> bytes:
    return request(b"GET " + path + b" HTTP/1.1", *headers)


NO_HTTP = [
    b"GET / HTTP/9.9\r\n\r\n",
    b"GET / HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1\nHost: x\n\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    *(
        get(path)
        for path in (b"/" + b"a" * 9000, b"/\x1b]0;owned\x07", b"/\xc2\x9b31m", b"/\xff", b"/#\xff", b"http://[::1/")
    ),
    *(
        get(b"/", header)
        for header in (b"Host: b", b"X: " + b"a" * 9000, b"X: a\x00b", b"X: a\x1b[31mb", b"X\x1b: b", b"X : a")
    ),
    *(get(b"/", header) for header in (b"Cookie: lang=\x1b[31m", b": a", b"X: a\r\n b", b"Sec-WebSocket-Key1: x")),
    get(b"/", *(b"X-%d: a" % number for number in range(200))),
    get(b"/?" + b"a=1&" * 3000),
    *(
        request(UPLOAD, FORM, b"Content-Length: " + length)
        for length in (b"-1", b"x", b"9" * 30, b"1\r\nContent-Length: 2")
    ),
    *(
        request(UPLOAD, FORM, b"Transfer-Encoding: " + coding)
        for coding in (b"x", b"chunked, gzip", b"chunked\r\nContent-Length: 3")
    ),
    *(
        request(UPLOAD, FORM, CHUNKED, body=body)
        for body in (b"zz\r\n", b"3\r\nabcdef\r\n", b"3\nabc\n", b"f" * 20 + b"\r\n")
    ),
    *(
        request(line, CHUNKED, body=b"3\r\nabcdef\r\n")
        for line in (b"GET / HTTP/1.1", b"POST /nowhere HTTP/1.1", b"PUT / HTTP/1.1")
    ),
]
"""What aiohttp's parser refuses: 400."""
HOSTILE = [
    *(
        get(path)
        for path in (b"/%ff", b"/%00", b"//evil.example/", b"/static/..%2f..%2fetc", b"/static/" + b"a" * 5000)
    ),
    *(get(path) for path in (b"/api/open/file/%ff", b"/api/open/file/\xc2\xb2", b"http://xn--/", b"ftp://localhost/x")),
    *(request(method + b" / HTTP/1.1") for method in (b"TRACE", b"PUT", b"DELETE")),
    request(UPLOAD, FORM, b"Expect: \xff", b"Content-Length: 3", body=b"abc"),
    request(UPLOAD, b"Content-Type: \xff", b"Content-Length: 3", body=b"abc"),
    request(FETCH, b"Content-Type: application/json", b"Content-Length: 5000", body=b"[" * 5000),
    *(
        request(UPLOAD, FORM, b"Content-Encoding: " + encoding, b"Content-Length: 5", body=b"\xff\xfe\xfd\xfc\xfb")
        for encoding in (b"gzip", b"deflate", b"br", b"zstd")
    ),
    *(
        request(
            b"POST /retry HTTP/1.1",
            b"Content-Type: application/x-www-form-urlencoded; charset=" + charset,
            b"Content-Length: 7",
            body=b"a=c%ff\xff",
        )
        for charset in (b"\xff", b"idna", b"hex", b"zlib")
    ),
    request(
        b"POST /retry HTTP/1.1",
        FORM,
        b"Content-Length: 81",
        body=b"--b\r\nContent-Disposition: form-data; name=a\r\nContent-Encoding: gzip\r\n\r\nxx\r\n--b--\r\n",
    ),
]
"""What is understood, and refused: 4xx."""
GOES = [
    request(UPLOAD, FORM, b"Content-Length: 1000", body=b"--b\r\n"),
    request(UPLOAD, FORM, CHUNKED, body=b"5\r\n--b"),
    request(FETCH, b"Content-Type: application/json", b"Content-Length: 1000", body=b"{"),
]
"""Clients that hang up half way."""


async def status_of(port: int, sent: bytes, *, hang_up: bool = False) -> int:
    """Send it; return the answer's status, or 0 if there is none."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(sent)
        if hang_up:
            writer.write_eof()
        async with asyncio.timeout(20):
            line = await reader.readline()
        return int(line.split()[1]) if line else 0
    except ConnectionError:
        return 0
    finally:
        writer.close()


@pytest.mark.parametrize("name", ["ingest", "door"])
@pytest.mark.parametrize("form", ["json", "console"])
async def test_each_is_answered_and_told_in_one_line(services: Services, form: str, name: str) -> None:
    service = services(name, log_format=form)
    await service.start()
    before = len(service.log.read_text().splitlines())
    own = service.url.rpartition(":")[2]
    port = int(own if name == "ingest" else service.environment["ROADVAULT_PUBLIC_PORT"])
    for sent in NO_HTTP:
        assert await status_of(port, sent) in {400, 0}, sent  # 0: it was closed before all of it was read
    for sent in HOSTILE:
        assert 400 <= await status_of(port, sent) < 500, sent
    for sent in GOES:
        assert await status_of(port, sent, hang_up=True) in {0, 404}
    service.terminate()
    assert (await service.ended(20))[0] == 0
    log = service.log.read_bytes().decode()
    lines = log.splitlines()[before:]
    assert len(lines) <= len(NO_HTTP) + len(HOSTILE) + len(GOES) + 5
    assert len(lines) > len(NO_HTTP) / 2
    assert log.replace("\n", "").isprintable()
    for piece in ("Traceback", "exception", "owned", "31m"):
        assert piece not in log
    if form == "json":
        assert {json.loads(line)["service"] for line in lines} == {name}
        assert {json.loads(line)["level"] for line in lines} == {"info"}
