"""Receivers as there are, on loopback: what they are sent, and which answers count as taken."""

import asyncio
import ssl
from collections.abc import Callable
from pathlib import Path

import orjson
import pytest
from certificates import certificate
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from servers_receiver import FOREVER, call, receiver

from roadvault_common.errors import SettingsError
from roadvault_notifier.webhook import CallbackNotTaken, CallbackRefused, ClientAway

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@pytest.mark.parametrize(
    ("path", "sent"),
    [
        ("/cb?sig=rX7%2FXCC2w%3D%2B%27%40%3A&t=a+b%20c", None),
        ("/cb?n=%D6%D0%CE%C4&x=1", None),
        ("/a//b/./c/../d", None),
        ("//a", None),
        ("?token=1", "/?token=1"),
        ("", "/"),
        ("/cb?a&b=&a=2;c=3&[x]=|", None),
        ("/cb?", None),
        ("/cb?x=1#top", "/cb?x=1"),
        ("/完成?名=值", "/%E5%AE%8C%E6%88%90?%E5%90%8D=%E5%80%BC"),
    ],
)
async def test_a_url_is_called_byte_for_byte(path: str, sent: str | None) -> None:
    async with receiver(OK) as client:
        await call(f"http://127.0.0.1:{client.port}{path}")
    ((head, _),) = client.asked
    assert head.split(b"\r\n")[0].decode() == f"POST {path if sent is None else sent} HTTP/1.1"


async def test_a_callback_has_the_headers_that_strict_servers_ask_for() -> None:
    async with receiver(OK) as client:
        await call(f"http://127.0.0.1:{client.port}/cb")
    ((head, body),) = client.asked
    lines = dict(line.split(": ", 1) for line in head.decode().strip().split("\r\n")[1:])
    assert lines["Host"] == f"127.0.0.1:{client.port}"
    assert (lines["Content-Type"], lines["Content-Length"]) == ("application/json", str(len(body)))
    assert lines.keys().isdisjoint({"Transfer-Encoding", "Expect", "Content-Encoding"})
    assert orjson.loads(body).keys() == {"fileID", "fileUrl"}


TAKEN: dict[str, list[bytes | None]] = {
    "no content": [b"HTTP/1.1 204 No Content\r\n\r\n"],
    "chunked": [b"HTTP/1.1 202 Accepted\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"],
    "HTTP/1.0": [b"HTTP/1.0 200 OK\r\n\r\nok"],
    "an error in the body": [b'HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{"code":1}'],
    "a body that ends early": [b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nok"],
    "a body that stalls": [b"HTTP/1.1 200 OK\r\n\r\no", FOREVER],
    "headers, and the body never": [b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n", FOREVER],
    "headers that stall": [b"HTTP/1.1 200 OK\r\nContent-Le", FOREVER],
    "gzip that is none": [b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 7\r\n\r\nsuccess"],
    "zstd": [b"HTTP/1.1 200 OK\r\nContent-Encoding: zstd\r\nContent-Length: 7\r\n\r\nsuccess"],
    "chunks that are none": [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nsuccess"],
    "two lengths": [b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\nok"],
    "no content, with some": [b"HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\nok"],
    "more than its length": [b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok and more"],
    "a header without a colon": [b"HTTP/1.1 200 OK\r\nWARNING\r\n\r\n"],
    "LF line ends": [b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok"],
    "no reason": [b"HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nok"],
    "a reason in Latin-1": ["HTTP/1.1 200 Angenommen für später\r\n\r\n".encode("latin-1")],
    "12 kB of cookies": [b"HTTP/1.1 200 OK\r\nSet-Cookie: a=" + b"x" * 12_000 + b"\r\n\r\nok"],
    "a page of 1 MB": [b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n", b"x" * 1_000_000],
    "after a continue": [b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n"],
    "after early hints": [b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n", OK],
    "byte by byte": [bytes([byte]) for byte in OK],
}


@pytest.mark.parametrize("answer", TAKEN)
async def test_2xx_is_taken_by_its_status_line_alone(answer: str) -> None:
    async with receiver(*TAKEN[answer]) as client:
        await call(f"http://127.0.0.1:{client.port}/cb")
    assert len(client.asked) == 1


NOT_TAKEN: dict[str, tuple[list[bytes | None], str]] = {
    "an error page": ([b"HTTP/1.1 500 root:secret\r\nX-Secret: 1\r\n\r\n<html>secret"], "answered 500"),
    "not found": ([b"HTTP/1.1 404 X\r\n\r\n"], "answered 404"),
    "another status": ([b"HTTP/1.1 599 X\r\n\r\n"], "answered 599"),
    "another protocol": ([b"SSH-2.0-OpenSSH_secret\r\n"], "answered, but not in HTTP"),
    "no status": ([b"HTTP/1.1 secret\r\n\r\n"], "answered, but not in HTTP"),
    "a line without end": ([b"HTTP/1.1 200 " + b"secret" * 30_000, FOREVER], "answered, but not in HTTP"),
    "hints without end": ([b"HTTP/1.1 103 X\r\n\r\n" * 1000, FOREVER], "answered, but not in HTTP"),
    "half a status line": ([b"HTTP/1.1 200 OK"], "connection broke off"),
    "nothing": ([], "connection broke off"),
    "silence": ([FOREVER], "timed out"),
    "drips": ([b"HTTP/1.1 2", FOREVER], "timed out"),
}


@pytest.mark.parametrize("answer", NOT_TAKEN)
async def test_all_else_is_tried_again_and_named_in_our_own_words(answer: str) -> None:
    pieces, words = NOT_TAKEN[answer]
    async with receiver(*pieces) as client:
        with pytest.raises(CallbackNotTaken) as caught:
            await call(f"http://127.0.0.1:{client.port}/cb", seconds=0.5)
    assert str(caught.value) == f"the callback was not taken: {words}"
    assert isinstance(caught.value, ClientAway) == (not words.startswith("answered 5") and words != "answered 404")


async def test_nobody_there_is_named_in_our_own_words() -> None:
    async with receiver() as client:
        pass
    urls = {f"http://127.0.0.1:{client.port}/": "connection refused", "http://nowhere.invalid/": "name not found"}
    for url, words in urls.items():
        with pytest.raises(ClientAway, match=f"^the callback was not taken: {words}$"):
            await call(url)


async def test_410_means_no_more() -> None:
    async with receiver(b"HTTP/1.1 410 Gone\r\n\r\n") as client:
        with pytest.raises(CallbackRefused, match="410"):
            await call(f"http://127.0.0.1:{client.port}/")


@pytest.mark.parametrize(
    ("location", "words"),
    [
        ("https://www.client.example/cb?token=secret", "answered 308, a redirect to https://www.client.example, which"),
        ("HTTP://client.example:8080", "answered 308, a redirect to HTTP://client.example:8080, which"),
        ("http://[::1]:80/", r"answered 308, a redirect to http://\[::1\]:80, which"),
        ("/login?secret", "answered 308, a redirect on the same host, which is not followed$"),
        ("https://user:secret@client.example/", "answered 308, a redirect$"),
        ("https://" + "a" * 300 + "/secret", "answered 308, a redirect$"),
        ("https://\x1b]0;secret\x07/", "answered 308, a redirect$"),
        ("", "answered 308, a redirect$"),
    ],
)
async def test_a_redirect_is_not_followed_and_says_where_it_leads(location: str, words: str) -> None:
    answer = f"HTTP/1.1 308 X\r\nContent-Length: 0\r\nlocation: {location}\r\n\r\n".encode()
    async with receiver(answer) as client:
        with pytest.raises(CallbackNotTaken, match=f"^the callback was not taken: {words}") as caught:
            await call(f"http://127.0.0.1:{client.port}/cb")
    assert "secret" not in str(caught.value)
    assert len(client.asked) == 1


async def test_an_ipv6_address_is_called() -> None:
    async with receiver(OK, host="::1") as client:
        await call(f"http://[::1]:{client.port}/cb")
    assert f"Host: [::1]:{client.port}\r\n".encode() in client.asked[0][0]


# --- certificates ----------------------------------------------------------------------------------------------------


@pytest.fixture
def server_tls(tmp_path: Path) -> Callable[..., ssl.SSLContext]:
    """Make a server's TLS; the CA at the root is in `ca.pem`, and another one stands between the two."""
    root_key, between_key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    root = certificate("root", root_key, ca=True)
    between = certificate("between", between_key, (root.subject, root_key), ca=True)
    pem = serialization.Encoding.PEM
    (tmp_path / "ca.pem").write_bytes(root.public_bytes(pem))

    def made(
        *, name: str = "localhost", days: int = 2, whole_chain: bool = True, self_signed: bool = False
    ) -> ssl.SSLContext:
        key = ec.generate_private_key(ec.SECP256R1())
        leaf = certificate(name, key, None if self_signed else (between.subject, between_key), days=days)
        chain = [leaf, between] if whole_chain and not self_signed else [leaf]
        private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        (tmp_path / "server.pem").write_bytes(private + b"".join(one.public_bytes(pem) for one in chain))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(tmp_path / "server.pem")
        return context

    return made


async def test_a_private_ca_is_a_setting(server_tls: Callable[..., ssl.SSLContext], tmp_path: Path) -> None:
    async with receiver(OK, tls=server_tls()) as client:
        await call(f"https://localhost:{client.port}/cb", ca_file=tmp_path / "ca.pem")
        assert len(client.asked) == 1
        with pytest.raises(ClientAway, match=r"TLS certificate not verified$"):
            await call(f"https://localhost:{client.port}/cb")
    for bad in ("nowhere.pem", "server.txt"):
        (tmp_path / "server.txt").write_text("no certificate")
        with pytest.raises(SettingsError, match="ROADVAULT_CALLBACK_CA_FILE"):
            await call("https://localhost/", ca_file=tmp_path / bad)


@pytest.mark.parametrize(
    "wrong", [{"self_signed": True}, {"days": -1}, {"whole_chain": False}, {"name": "other.example"}], ids=str
)
async def test_a_certificate_that_can_not_be_verified_is_tried_again(
    server_tls: Callable[..., ssl.SSLContext], tmp_path: Path, wrong: dict[str, object]
) -> None:
    async with receiver(OK, tls=server_tls(**wrong)) as client:
        with pytest.raises(ClientAway, match=r"^the callback was not taken: TLS certificate not verified$"):
            await call(f"https://localhost:{client.port}/cb", ca_file=tmp_path / "ca.pem")
    assert client.asked == []


async def test_no_tls_where_tls_is_asked_for_is_tried_again() -> None:
    async def plain(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(OK)
        writer.close()

    async with await asyncio.start_server(plain, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(ClientAway, match=r"^the callback was not taken: TLS failed$"):
            await call(f"https://localhost:{port}/cb")
