"""Ingests and doors behind a load balancer, a real HAProxy with the example that is deployed."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager, suppress
from pathlib import Path

import aiohttp
import pytest
from chaos.crowd import Crowd, restart, upload
from free_ports import accepts, pick_free
from servers_door import extracted, token
from servers_services import Service, Services
from tus_requests import Client

from roadvault_common.sql.db import Database
from roadvault_stack import programs
from roadvault_stack.ports import HOST

CLIENTS = 8
ROOT = Path(__file__).parents[2]


async def test_two_ingests_behind_a_load_balancer_restart_without_a_failed_request(
    services: Services, db: Database
) -> None:
    ingests = [services("ingest", ingest_worker=f"ingest-{n}", notice_seconds=2) for n in (1, 2)]
    async with _balanced(*ingests) as url:
        crowd = Crowd(url)
        async with asyncio.TaskGroup() as group:
            for _ in range(CLIENTS):
                group.create_task(crowd.client())
            resumed = group.create_task(_resumed(url, crowd.over))
            for _ in range(2):
                for ingest in ingests:
                    await restart(ingest)
                    await _served(ingest, url)
            crowd.over.set()
    assert set(crowd.results) == {"good"}, crowd.results
    row = await db.fetch_one("SELECT COUNT(*) AS n FROM file_upload_info")
    assert resumed.result()
    assert row == {"n": len({*crowd.file_ids, *resumed.result()})}


async def _resumed(url: str, over: asyncio.Event) -> list[int]:
    """Upload one file after the other, in pieces, without looking whether anybody restarts; return their ids."""
    file_ids, content = [], os.urandom(500_000)
    async with aiohttp.ClientSession() as http:
        tus = Client(http, url)
        while not over.is_set():
            answered = await tus.begin(len(content))
            at, offset = tus.at(answered), 0
            while offset < len(content):
                answered = await tus.patch(at, offset, content[offset : offset + 100_000])
                assert answered.status == 204, answered
                offset = answered.offset
            file_ids.append(answered.file_id)
    return file_ids


async def test_who_asks_for_an_upload_while_no_ingest_is_there_is_not_told_to_begin_anew() -> None:
    async with _haproxy() as (url, _), aiohttp.ClientSession() as http:
        for method, status in (("HEAD", 423), ("PATCH", 503)):
            async with http.request(method, f"{url}/api/open/files/{'0' * 32}") as answered:
                assert answered.status == status


async def test_clients_behind_a_load_balancer_count_each_by_itself(services: Services, db: Database) -> None:
    bounds = {"proxies": HOST, "requests_per_peer": 1}
    ingests = [services("ingest", ingest_worker=f"ingest-{n}", **bounds) for n in (1, 2)]
    async with _balanced(*ingests) as url:
        async with aiohttp.ClientSession() as http:
            file_id = await upload(http, url, b"frames")

        async def ask(client: str, number: int) -> int:
            # Each says that it is another one, as who wants more than its share would.
            headers, fields = (
                {"X-Forwarded-For": f"192.0.2.{number}"},
                {"fileID": file_id, "cbUrl": f"http://c/{number}"},
            )
            async with (
                aiohttp.ClientSession(connector=aiohttp.TCPConnector(local_addr=(client, 0))) as http,
                http.post(f"{url}/api/open/downFile", json=fields, headers=headers) as response,
            ):
                return response.status

        assert [await ask("127.0.0.2", 1), await ask("127.0.0.2", 2), await ask("127.0.0.3", 3)] == [200, 429, 200]
    rows = await db.fetch_all("SELECT peer FROM download_info ORDER BY download_id")
    assert [row["peer"] for row in rows] == ["127.0.0.2", "127.0.0.3"]


async def test_one_address_has_its_share_of_links_behind_a_load_balancer(
    services: Services, db: Database, data_dir: Path
) -> None:
    door = services("door", public_peer_connections=0)
    await door.start()
    path = f"/d/{token(await extracted(db, data_dir, b'frames'))}"
    async with _haproxy(ROADVAULT_DOOR=door.public_url.removeprefix("http://")) as (_, url):
        host, port = url.removeprefix("http://").split(":")
        half = ExitStack()

        async def hold() -> None:
            """Hold the 100 that one address may have, with a head that never ends: HAProxy lets each go after 10 s."""
            half.close()
            opened = (asyncio.open_connection(host, int(port), local_addr=("127.0.0.2", 0)) for _ in range(100))
            for _, writer in await asyncio.gather(*opened):
                writer.write(b"GET /d/x HTTP/1.1\r\nHost: x\r\nX-Half: ")
                half.callback(writer.close)

        async def follow(client: str) -> int:
            async with (
                aiohttp.ClientSession(connector=aiohttp.TCPConnector(local_addr=(client, 0))) as http,
                http.get(url + path) as response,
            ):
                return response.status

        with pytest.raises(aiohttp.ClientError):
            async with asyncio.timeout(60):
                while True:
                    await hold()
                    for _ in range(3):
                        if await follow("127.0.0.2") == 200:  # HAProxy has not counted all of them yet
                            await asyncio.sleep(0.05)
        assert await follow("127.0.0.3") == 200
        half.close()


@asynccontextmanager
async def _balanced(*ingests: Service) -> AsyncIterator[str]:
    """Two ingests behind HAProxy; give its URL."""
    for ingest in ingests:
        await ingest.start()
    places = {f"ROADVAULT_INGEST_{n}": ingest.url.removeprefix("http://") for n, ingest in enumerate(ingests, 1)}
    async with _haproxy(**places) as (url, _):
        for ingest in ingests:
            await _served(ingest, url)
        yield url


@asynccontextmanager
async def _haproxy(**places: str) -> AsyncIterator[tuple[str, str]]:
    """HAProxy, by the file in deploy/; give its URLs for the intranet and for links."""
    addresses = [f"{HOST}:{port}" for port in pick_free(2)]
    nowhere = dict.fromkeys(("ROADVAULT_INGEST_1", "ROADVAULT_INGEST_2", "ROADVAULT_DOOR"), f"{HOST}:9")
    listening = dict(zip(("ROADVAULT_HAPROXY_ADDRESS", "ROADVAULT_HAPROXY_LINKS_ADDRESS"), addresses, strict=True))
    balancer = await asyncio.create_subprocess_exec(
        programs.find("haproxy"), "-db", "-f", str(ROOT / "deploy" / "haproxy.cfg"),
        env={**nowhere, **listening, **places},
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        async with asyncio.timeout(20):
            while not all(accepts(int(address.rpartition(":")[2])) for address in addresses):
                await asyncio.sleep(0.05)
        intranet, links = (f"http://{address}" for address in addresses)
        yield intranet, links
    finally:
        balancer.terminate()
        await balancer.wait()


async def _served(ingest: Service, balancer: str) -> None:
    """Ask through the load balancer until this ingest is one of those that answer."""
    async with asyncio.timeout(20), aiohttp.ClientSession() as http:
        while True:
            with suppress(aiohttp.ClientError):
                async with http.get(f"{balancer}/api/open/file/0") as response:
                    await response.read()
                async with http.get(f"{ingest.url}/metrics") as response:
                    if 'route="/api/open/file/{file_id}"' in await response.text():
                        return
            await asyncio.sleep(0.05)
