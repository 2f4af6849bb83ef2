"""A provider's key in a URL is in no log, no error, no answer and no table, whatever the other side does with it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import aiohttp
import pytest
from free_ports import pick_free
from pydantic import SecretStr, ValidationError
from servers_hostile import CID as FILE
from servers_orderer import CID, SIZE, balance
from servers_services import Service, Services

from roadvault_common.errors import RedisUnavailable, RoadVaultError, brief
from roadvault_common.events.bus import Bus
from roadvault_common.events.kinds import FolderSealed
from roadvault_common.ipfs import asking
from roadvault_common.ipfs.reading import Reader
from roadvault_common.ipfs.rpc import Ipfs
from roadvault_common.settings.config import explain
from roadvault_common.sql.db import Database
from roadvault_crust_orderer.config import OrdererSettings
from roadvault_crust_orderer.markets.chain import Chain
from roadvault_crust_orderer.markets.pinning import PinningMarket
from roadvault_stack.ports import HOST

KEY, USER, QUERY = "k3y-that-nobody-may-see", "us3r-that-nobody-may-see", "qu3ry%20that-nobody-may-see"
SECRETS = (KEY, USER, QUERY, "qu3ry that-nobody-may-see")


def _answer(status: str, body: str) -> Callable[[str], bytes]:
    return lambda path: (
        f"HTTP/1.1 {status}\r\nConnection: close\r\nContent-Type: application/json\r\n"
        f"Location: /elsewhere{path}\r\nContent-Length: {len(body.format(path=path))}\r\n\r\n{body.format(path=path)}"
    ).encode()


ANSWERS: dict[str, Callable[[str], bytes]] = {
    "nothing": lambda _: b"",
    "echo": _answer("404 Not Found", "cannot POST {path}"),
    "error": _answer(
        "200 OK", '{{"jsonrpc": "2.0", "id": 1, "error": {{"code": -32000, "message": "no quota: {path}"}}}}'
    ),
    "reason": _answer("400 Bad Request", '{{"error": {{"reason": "NO", "details": "{path} is not allowed"}}}}'),
    "nonsense": _answer("200 OK", "[1, 2]"),
    "no json": _answer("200 OK", "what is {path}?"),
    "malformed": lambda path: f"HTTP/1.1 200 OK\r\nContent-Length: {path}\r\n\r\n".encode(),
    "no http": lambda path: f"{path} {path}\r\n\r\n".encode(),
    "redirect": _answer("302 Found", ""),
}
"""What a server does with a request, by a name; it is told the path."""


@asynccontextmanager
async def answering(answer: Callable[[str], bytes]) -> AsyncIterator[int]:
    """Serve one answer for everything; yield the port."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        writer.write(answer(head.split()[1].decode()))
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(serve, HOST, 0) as server:
        yield server.sockets[0].getsockname()[1]


def secret_url(scheme: str, port: int) -> str:
    return f"{scheme}://{USER}:{KEY}@{HOST}:{port}/v1/{KEY}?apikey={QUERY}"


def assert_hidden(seen: str) -> None:
    for secret in SECRETS:
        assert secret not in seen


@pytest.mark.parametrize("name", ANSWERS)
async def test_a_nodes_url_is_not_quoted(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    async with answering(ANSWERS[name]) as port:
        for scheme in ("http", "ws"):
            async with Chain.open(secret_url(scheme, port), SecretStr("//Alice"), 5) as chain:
                errors = await asyncio.gather(chain.ping(), chain.head(), balance(chain), return_exceptions=True)
            assert all(isinstance(error, RoadVaultError) for error in errors), errors
            assert_hidden(repr(errors))
    assert_hidden("".join(capfd.readouterr()))


@pytest.mark.parametrize("name", ANSWERS)
async def test_urls_of_pinning_service_gateway_and_kubo_are_not_quoted(
    name: str, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "_PAUSES", (0.01,))
    async with answering(ANSWERS[name]) as port:
        url = secret_url("http", port).partition("?")[0].replace(f"{USER}:{KEY}@", "")
        async with (
            PinningMarket.open(url, SecretStr(USER), [], 5) as pinning,
            Reader.open(url, 5) as reader,
            Ipfs.open(url, 5) as kubo,
        ):
            asked = [
                pinning.ping(),
                pinning.submit('{"name": "a.b"}'),
                anext(reader.read(FILE, 0, 5)),
                reader.check(),
                kubo.ping(),
            ]
            results = await asyncio.gather(*asked, return_exceptions=True)
        failed = [error for error in results if isinstance(error, BaseException)]
        assert failed or name == "reason"
        assert_hidden("".join([*map(brief, failed), repr(results)]))
    assert_hidden("".join(capfd.readouterr()))


@pytest.mark.parametrize(
    "name", ["crust_url", "pinning_url", "proof_gateway_url", "witness_rpc_url", "witness_gateway_url"]
)
@pytest.mark.parametrize("url", [f"{HOST}/{KEY}", f"https://:443/{KEY}", f"https://{HOST}:{KEY}/", f"https://[{KEY}/"])
def test_a_url_that_is_none_is_refused_without_quoting_it(name: str, url: str) -> None:
    given = {"database_url": "mysql://h/db", "redis_url": "redis://h", "master_keys": "k", "crust_seed": "//Alice"}
    with pytest.raises(ValidationError) as refused:
        OrdererSettings.model_validate({**given, name: url})
    said = explain(refused.value)
    assert f"ROADVAULT_{name.upper()}: must be scheme://host" in said
    assert_hidden(said)


async def _shown(orderer: Service) -> str:
    """Return what anybody sees of a running service."""
    answers = []
    async with aiohttp.ClientSession() as http:
        for path in ("metrics", "readyz", "healthz"):
            async with http.get(f"{orderer.url}/{path}") as response:
                answers.append(await response.text())
    return "\n".join([*answers, orderer.log.read_text()])


async def _until_tried(db: Database) -> None:
    async with asyncio.timeout(30):
        while not await db.fetch_one("SELECT 1 FROM zip_ipfs_info WHERE order_reason IS NOT NULL"):
            await asyncio.sleep(0.05)


async def test_the_key_is_nowhere(services: Services, database_url: str) -> None:
    """The service as it runs, with a node of each kind of trouble."""
    async with answering(ANSWERS["echo"]) as echo, answering(ANSWERS["error"]) as error:
        urls = [secret_url(scheme, port) for scheme in ("http", "ws") for port in (pick_free(1)[0], echo, error)]
        orderer = services("crust-orderer", crust_url=",".join(urls), crust_seed="//Alice", log_level="debug")
        async with Database.open(database_url) as db:
            await db.execute(
                "INSERT INTO zip_ipfs_info (folder_id, zip_name, `key`, iv, size, files, cid, dag_size, order_due)"
                " VALUES (1, 'a', 'k', 'i', %s, 1, %s, %s, UTC_TIMESTAMP(6))",
                (SIZE, CID.format(0), SIZE),
            )
            await orderer.launch()
            await _until_tried(db)
            rows = repr(await db.fetch_all("SELECT * FROM zip_ipfs_info"))
            seen = await _shown(orderer) + rows
    assert "Connection refused" in rows
    assert f"{HOST}:{echo}" in rows
    assert '"ready": false' in seen
    assert_hidden(seen)


REDIS = (
    "redis://{user}:{key}@{nobody}/0",
    "redis://:{key}@{odd}/0",
    "redis+sentinel://{user}:{key}@{nobody},{odd}/rv/0?sentinel_password={query}",
    "rediss+sentinel://:{key}@{nobody},{odd}/rv",
)


ODD = {
    "older than Redis 6": b"-ERR unknown command `HELLO`, with args beginning with: `3`, `AUTH`, `%(key)s`, \r\n",
    "cut short": b"-ERR unknown command `HELLO`, with args beginning with: `3`, `AUTH`, `k3y-that-nob\r\n",
    "quoted": b"-ERR no: %(key)s\r\n",
    "quoted as wrong": b"-WRONGPASS no: %(key)s\r\n",
    "a number": b":1\r\n",
    "a list": b"*2\r\n$3\r\nAUT\r\n$%(length)d\r\n%(key)s\r\n",
    "no RESP": b"HELLO 3 AUTH %(key)s\r\n\r\n",
    "nothing": b"",
}
"""What something that is no Redis of ours answers to a password."""


@asynccontextmanager
async def saying(words: bytes) -> AsyncIterator[int]:
    """Answer each piece that comes with the same; yield the port."""
    values = {b"user": USER.encode(), b"key": KEY.encode(), b"length": len(KEY)}

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(10_000) and words:
            writer.write(words % values)
        writer.close()

    async with await asyncio.start_server(serve, HOST, 0) as server:
        yield server.sockets[0].getsockname()[1]


@pytest.mark.parametrize("name", ODD)
async def test_an_answer_that_quotes_a_password_is_not_quoted(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    async with saying(ODD[name]) as port:
        for form in (*REDIS[:3], "redis+sentinel://{nobody},{odd}/rv"):
            url = form.format(user=USER, key=KEY, query=KEY, nobody=f"{HOST}:{port}", odd=f"{HOST}:{port}")
            async with Bus.open(SecretStr(url), "pinner") as bus:
                assert not await bus.emit(FolderSealed(zip_id=1))
                with pytest.raises(RedisUnavailable) as away:
                    await bus.ping()
            seen = f"{away.value!r} {capfd.readouterr()}"
            assert KEY not in url or "k3y" not in seen


@pytest.mark.parametrize("url", REDIS[2:3])
async def test_a_password_of_redis_is_nowhere(services: Services, url: str) -> None:
    async with answering(ANSWERS["no http"]) as port:
        hosts = {"nobody": f"{HOST}:{pick_free(1)[0]}", "odd": f"{HOST}:{port}"}
        settings = {"redis_url": url.format(user=USER, key=KEY, query=QUERY, **hosts), "sweep_seconds": 0.2}
        running = [services(name, log_level="debug", **settings) for name in ("ingest", "pinner")]
        await asyncio.gather(*(one.start() for one in running))
        async with asyncio.timeout(30), aiohttp.ClientSession() as http:
            while not all(['"redis": {"reason"' in await _shown(one) for one in running]):
                await asyncio.sleep(0.1)
            async with http.get(f"{running[0].url}/system") as response:
                page = await response.text()
        seen = "".join([page, *[await _shown(one) for one in running]])
    assert "ROADVAULT_REDIS_URL" in page
    assert "no events for now" in seen
    assert_hidden(seen)


def test_what_quotes_a_url_of_redis_is_shortened() -> None:
    for url in REDIS:
        whole = url.format(user=USER, key=KEY, query=QUERY, nobody="a:26379", odd="b.example:26379")
        assert_hidden(brief(ValueError(f"no good: {whole}")))
        assert_hidden(brief(ValueError(f"no good: '{whole}', nor \"{whole}\"")))
