"""The door as a process of its own: what it needs, what it can't do, and what it tells."""

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import aiohttp
import pymysql
import pytest
from chaos.crowd import left_by_itself
from prometheus_client import REGISTRY
from servers_door import LinkDoor, extracted, token
from servers_faults import Proxied
from servers_process import Running
from servers_services import Services

from roadvault_common.sql.db import Database
from roadvault_stack.mariadb import MariaDB
from roadvault_stack.ports import HOST

ROOT = Path(__file__).parents[2]
BYTES = bytes(range(256)) * 40


@contextmanager
def granted(mariadb: Running[MariaDB], database_url: str, statements: list[str]) -> Iterator[str]:
    """Make a user by these statements; give the URL of the test's database for it."""
    database = database_url.rpartition("/")[2]
    with mariadb.server.connect(admin=True) as connection, connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement.replace("roadvault.", f"{database}."))
        try:
            yield f"mysql://door:narrow-password@{HOST}:{mariadb.server.port}/{database}"
        finally:
            cursor.execute("DROP USER door")


def by_hand(_: Path) -> list[str]:
    """Return the statements in the door's README."""
    text = (ROOT / "services" / "door" / "README.md").read_text().partition("```sql\n")[2].partition("```")[0]
    return text.replace("'…'", "'narrow-password'").strip().split("\n")


def by_compose(secrets: Path) -> list[str]:
    """Return those of the file that docker compose's MariaDB is started with: again and again."""
    password = secrets / "door_database_password"
    password.write_text("narrow-password\n")
    password.chmod(0o444)
    text = (ROOT / "deploy" / "database-users.sql").read_text().replace("/run/secrets", str(secrets))
    return 2 * [line for line in text.splitlines() if "door" in line]


@pytest.mark.parametrize("how", [by_hand, by_compose])
async def test_the_door_reads_four_tables_and_writes_nothing(
    how: Callable[[Path], list[str]],
    services: Services,
    mariadb: Running[MariaDB],
    database_url: str,
    db: Database,
    data_dir: Path,
    servers_dir: Path,
) -> None:
    link = f"/d/{token(await extracted(db, data_dir, BYTES))}"
    with granted(mariadb, database_url, how(servers_dir)) as url:
        door = services("door", database_url=url)
        for name in ("REDIS_URL", "MASTER_KEYS", "IPFS_RPC_URL", "IPFS_GATEWAY_URL"):
            del door.environment[f"ROADVAULT_{name}"]
        before = _files(data_dir)
        await door.start()
        async with aiohttp.ClientSession() as http, http.get(door.public_url + link) as response:
            assert (response.status, await response.read()) == (200, BYTES)
        narrow = dict(host=HOST, port=mariadb.server.port, user="door", password="narrow-password")  # noqa: C408
        with pymysql.connect(**narrow, database=url.rpartition("/")[2]) as connection:
            for statement in (
                "UPDATE download_info SET path = NULL",
                "SELECT * FROM zip_ipfs_info",
                "CREATE TABLE own (a INT)",
            ):
                with connection.cursor() as cursor, pytest.raises(pymysql.err.OperationalError, match="denied"):
                    cursor.execute(statement)
        door.terminate()
        await left_by_itself(door)
        assert _files(data_dir) == before


def _files(directory: Path) -> set[tuple[str, int]]:
    return {(str(path), path.stat().st_mtime_ns) for path in (directory, *directory.rglob("*"))}


async def test_the_door_sees_downloads_alone_and_is_not_ready_without_them(
    services: Services, db: Database, data_dir: Path
) -> None:
    link = f"/d/{token(await extracted(db, data_dir, BYTES))}"
    for name in ("received", "archives"):
        (data_dir / name).rmdir()
    door = services("door")
    await door.start()
    (data_dir / "downloads").rename(data_dir / "elsewhere")
    async with aiohttp.ClientSession() as http:
        async with http.get(f"{door.url}/readyz") as response:
            assert response.status == 503
            assert "downloads/" in (await response.json())["checks"]["disk"]
        async with http.get(door.public_url + link) as response:
            assert response.status == 404
        (data_dir / "elsewhere").rename(data_dir / "downloads")
        async with http.get(door.public_url + link) as response:
            assert response.status == 200


async def test_no_log_line_holds_a_links_token(
    services: Services, proxied_database: Proxied, db: Database, data_dir: Path
) -> None:
    door = services("door", database_url=proxied_database.url, log_level="debug")
    await door.start()
    secret = token(await extracted(db, data_dir, BYTES))
    url = f"{door.public_url}/d/{secret}"
    async with aiohttp.ClientSession() as http:
        with proxied_database.proxies.down("database"):
            async with http.get(url) as response:
                assert (response.status, response.headers["Retry-After"]) == (503, "5")
                assert await response.text() == "not possible right now; try again\n"
        for wrong, status in ((url, 200), (f"{url}x", 403), (f"{url}/x", 404)):
            async with http.get(wrong) as response:
                assert response.status == status
    host, port = door.public_url.removeprefix("http://").split(":")
    spoilt = (f"GET /d/{secret} x HTTP/1.1", f"GET /d/{secret}\x00 HTTP/1.1", f"/d/{secret}", f"BAD\x01 /d/{secret}")
    for line in spoilt:
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(f"{line}\r\nHost: {secret}\r\n\r\n".encode())
        answer = await reader.read()
        assert answer.startswith((b"HTTP/1.0 400 ", b"HTTP/1.1 400 "))
        assert secret.encode() not in answer
        writer.close()
    door.terminate()
    await left_by_itself(door)
    log = door.log.read_text()
    (line,) = [json.loads(line) for line in log.splitlines() if "request failed" in line]
    assert line["route"] == "/d/{token}"
    assert "Traceback" not in log
    for piece in secret.split("."):
        assert piece not in log


async def test_the_bytes_of_links_are_counted(link_door: LinkDoor) -> None:
    url = await link_door.link(b"0123456789")
    served, whole, part = _served(), _answered(200), _answered(206)
    for method, asked in (("GET", ""), ("GET", "bytes=2-4"), ("HEAD", "")):
        await link_door.ask(url, method, Range=asked)
    assert _served() - served == 13
    assert (_answered(200) - whole, _answered(206) - part) == (2, 1)


def _served() -> float:
    return REGISTRY.get_sample_value("roadvault_stage_bytes_total", {"stage": "serve"}) or 0


def _answered(status: int) -> float:
    labels = {"route": "/d/{token}", "status": str(status)}
    return REGISTRY.get_sample_value("roadvault_http_seconds_count", labels) or 0
