"""The fixtures themselves: private servers that start, answer, and come back with their data."""

import io
import os
import subprocess
import threading
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import pymysql
import pytest
from multidict import CIMultiDict
from servers_leaks import lasting_keys
from servers_process import Running

from roadvault_stack.kubo import Kubo
from roadvault_stack.mariadb import MariaDB
from roadvault_stack.redis_server import Redis


def test_database_is_migrated_and_read_committed(database_url: str, mariadb: Running[MariaDB]) -> None:
    name = urlsplit(database_url).path.lstrip("/")
    with mariadb.server.connect(name) as connection, connection.cursor() as cursor:
        cursor.execute("SHOW TABLES LIKE 'file_upload_info'")
        assert cursor.fetchone() is not None
        cursor.execute("SELECT @@tx_isolation, @@character_set_database")
        assert cursor.fetchone() == ("READ-COMMITTED", "utf8mb4")


def test_mariadb_lets_nobody_in_without_a_password(mariadb: Running[MariaDB]) -> None:
    for user in ("root", ""):
        with pytest.raises(pymysql.err.OperationalError, match="Access denied"):
            pymysql.connect(host="127.0.0.1", port=mariadb.server.port, user=user, password="")


def test_mariadb_keeps_its_data_across_a_crash(mariadb: Running[MariaDB]) -> None:
    with mariadb.server.connect() as connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE kept (number INT)")
        cursor.execute("INSERT INTO kept VALUES (7)")
    mariadb.kill()
    assert not mariadb.server.answers()
    mariadb.start()
    with mariadb.server.connect() as connection, connection.cursor() as cursor:
        cursor.execute("SELECT number FROM kept")
        assert cursor.fetchall() == ((7,),)
        cursor.execute("DROP TABLE kept")


def test_redis_restarts_empty_and_each_test_has_its_own_database(redis_url: str, redis_server: Running[Redis]) -> None:
    number = int(urlsplit(redis_url).path.lstrip("/"))
    assert number > 0
    with redis_server.server.client(number) as client:
        client.set("roadvault:kept", 1)
        redis_server.restart()
        assert client.dbsize() == 0


def test_a_server_outlives_the_thread_that_restarted_it(redis_server: Running[Redis]) -> None:
    worker = threading.Thread(target=redis_server.restart)
    worker.start()
    worker.join()
    assert redis_server._process is not None
    with pytest.raises(subprocess.TimeoutExpired):
        redis_server._process.wait(0.3)


def test_keys_that_would_stay_for_ever_are_named(redis_server: Running[Redis]) -> None:
    client = redis_server.server.client(0)
    client.set("forgotten", 1)
    client.set("fading", 1, ex=60)
    client.set("roadvault:lasting", 1)
    client.xadd("file.received", {"data": "1"})
    leaks = lasting_keys(client)
    client.flushdb()
    client.close()
    assert leaks == ["forgotten"]


def _stored(kubo: Kubo) -> int:
    return sum(file.stat().st_size for file in (kubo.home / "blocks").rglob("*.data"))


async def test_filestore_takes_files_of_the_data_directory_and_the_network_reads_them(
    kubo: Kubo, network_kubo: Kubo, data_dir: Path
) -> None:
    content = os.urandom(3_000_000)
    path = data_dir / "archives" / "archive"
    path.write_bytes(content)
    before = _stored(kubo)
    async with aiohttp.ClientSession(raise_for_status=True) as http:
        cid = await _add_in_place(http, kubo, path, io.BytesIO(content))
        async with http.get(f"{network_kubo.gateway_url}/ipfs/{cid}") as response:
            assert await response.read() == content
    assert _stored(kubo) - before < len(content), "the filestore should not copy the archive"


async def _add_in_place(http: aiohttp.ClientSession, kubo: Kubo, path: Path, content: io.BytesIO) -> str:
    with aiohttp.MultipartWriter("form-data") as form:
        part = form.append(content, CIMultiDict({"Abspath": str(path)}))
        part.set_content_disposition("form-data", name="file", filename="archive")
    options = {"nocopy": "true", "raw-leaves": "true", "cid-version": "1"}
    async with http.post(f"{kubo.rpc_url}/api/v0/add", params=options, data=form) as response:
        return str((await response.json(content_type=None))["Hash"])


def test_nodes_know_only_each_other_and_reconnect(network_kubo_server: Running[Kubo], kubo: Kubo) -> None:
    network_kubo_server.restart()
    peers = (kubo.rpc("swarm/peers") or {}).get("Peers") or []
    assert {peer["Peer"] for peer in peers} <= {network_kubo_server.server.peer_id}
    listening = (network_kubo_server.server.rpc("swarm/addrs/local") or {})["Strings"]
    assert all(address.startswith("/ip4/127.0.0.2/tcp/") for address in listening)
