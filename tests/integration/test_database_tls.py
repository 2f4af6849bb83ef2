"""A database behind TLS, with a user who needs it: the server is who it says it is, or no password is sent to it."""

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from certificates import certificate
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from free_ports import pick_free
from servers_process import Running

from roadvault_common.errors import DatabaseUnavailable
from roadvault_common.sql.db import Database
from roadvault_common.sql.migrate import check_schema, migrate
from roadvault_common.sql.servers import connect
from roadvault_stack.mariadb import MariaDB

NAME = "localhost"


@dataclass
class Secured:
    """A server that is `localhost` by its certificate, and the files of its authority and of another."""

    running: Running[MariaDB]
    authority: Path
    another: Path

    def url(self, host: str = NAME, authority: Path | None = None) -> str:
        option = f"?ssl_ca={authority}" if authority else ""
        return f"mysql://secured:pw@{host}:{self.running.server.port}/roadvault{option}"


@pytest.fixture(scope="module")
def secured(servers_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    directory = tmp_path_factory.mktemp("tls")
    keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(3)]
    authority, another = certificate("authority", keys[0], ca=True), certificate("another", keys[1], ca=True)
    served = certificate(NAME, keys[2], (authority.subject, keys[0]))
    for name, made in (("ca", authority), ("another", another), ("cert", served)):
        (directory / f"{name}.pem").write_bytes(made.public_bytes(Encoding.PEM))
    secret = keys[2].private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    (directory / "key.pem").write_bytes(secret)
    running = Running(MariaDB(servers_dir / "mariadb-tls", pick_free(1)[0], "test-password", durable=False))
    running.more = [f"--ssl-{name}={directory / name}.pem" for name in ("cert", "key")]
    with ExitStack() as stack:
        stack.callback(running.stop)
        running.start()
        with running.server.connect("mysql", admin=True) as connection, connection.cursor() as cursor:
            cursor.execute("CREATE USER secured@'127.0.0.1' IDENTIFIED BY 'pw' REQUIRE SSL")
            cursor.execute("GRANT ALL ON `roadvault%`.* TO secured@'127.0.0.1'")
        yield Secured(running, directory / "ca.pem", directory / "another.pem")


async def test_all_of_it_goes_over_tls(secured: Secured) -> None:
    url = secured.url(authority=secured.authority)
    await asyncio.to_thread(migrate, url)
    async with Database.open(url) as db:
        await check_schema(db)
        await db.ping()
        row = await db.fetch_one("SHOW SESSION STATUS LIKE 'Ssl_version'")
        assert row is not None
        assert row["Value"].startswith("TLS")


async def test_who_is_not_the_server_learns_nothing(secured: Secured) -> None:
    wrong = {
        "without TLS": (secured.url(), "Access denied"),
        "another authority": (secured.url(authority=secured.another), "certificate verify failed"),
        "another name": (secured.url("127.0.0.1", secured.authority), "certificate verify failed"),
    }
    for url, words in wrong.values():
        async with Database.open(url, size=1) as db:
            with pytest.raises(DatabaseUnavailable, match=words):
                await db.ping()
    for url, words in [*wrong.values()][1:]:
        with pytest.raises(Exception, match=words):
            await asyncio.to_thread(connect, url)


async def test_a_server_without_tls_gets_no_password(secured: Secured) -> None:
    """As somebody would be on the way who says that the server knows no TLS."""
    heard = bytearray()

    async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        greeting = b"\x0a10.11.0-MariaDB\0" + b"\x01\0\0\0" + b"12345678\0"
        # What a server says that it can, without CLIENT_SSL (0x0800); then the rest of its challenge.
        greeting += b"\xfe\xf7\x2d\x02\0\xff\x81\x15" + b"\0" * 10 + b"123456789012\0mysql_native_password\0"
        writer.write(len(greeting).to_bytes(3, "little") + b"\0" + greeting)
        await writer.drain()
        heard.extend(await reader.read(1000))
        writer.write(b"no TLS here")
        while data := await reader.read(1000):
            heard.extend(data)
        writer.close()

    server = await asyncio.start_server(plain, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        url = f"mysql://secured:pw@localhost:{port}/roadvault?ssl_ca={secured.authority}"
        async with Database.open(url, size=1) as db:
            with pytest.raises(DatabaseUnavailable):
                await asyncio.wait_for(db.ping(), 20)
        with pytest.raises(Exception, match=r"(?i)ssl|tls|lost"):
            await asyncio.to_thread(connect, url)
    assert b"secured" not in heard
