"""Stores: each works on what lies on its own disk, with its own Kubo; requests go where the bytes are."""

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
import pytest
from free_ports import pick_free
from pydantic import SecretStr
from redis.asyncio import Redis
from servers_door import token
from servers_services import Service, Services

from roadvault_common.errors import IdentityMismatch
from roadvault_common.files.identity import Identity
from roadvault_common.sql.db import Database, Row
from roadvault_common.web.links import Views
from roadvault_ingest.requests.routing import Routing
from roadvault_retriever.store import RetrieverStore
from roadvault_stack.kubo import Kubo

NORTH = "north"


@dataclass
class Store:
    """A store and its services."""

    name: str
    directory: Path
    ingest: Service
    others: list[Service]

    async def start(self) -> None:
        await asyncio.gather(*(one.start() for one in (self.ingest, *self.others)))

    async def upload(self, name: str, content: bytes) -> int:
        async with (
            aiohttp.ClientSession() as http,
            http.put(f"{self.ingest.url}/api/open/upload/{name}", data=content) as answer,
        ):
            told = await answer.json()
            assert answer.status == 200, told
            return int(told["result"]["fileID"])

    async def ask(self, file_id: int) -> int:
        fields = {"fileID": file_id, "cbUrl": "http://127.0.0.1:9/cb"}
        async with (
            aiohttp.ClientSession() as http,
            http.post(f"{self.ingest.url}/api/open/downFile", json=fields) as got,
        ):
            assert got.status == 200, await got.text()
        return file_id


@pytest.fixture
async def stores(services: Services, data_dir: Path, kubo: Kubo, network_kubo: Kubo, tmp_path: Path) -> list[Store]:
    made = list[Store]()
    for name, directory, node in (("main", data_dir, kubo), (NORTH, tmp_path / NORTH, network_kubo)):
        own = {"store": name, "data_dir": directory, "folder_files": 1}
        own |= {"ipfs_filestore": node is kubo, "ipfs_rpc_url": node.rpc_url, "ipfs_gateway_url": node.gateway_url}
        others = [services(one, **own) for one in ("packer", "pinner", "retriever")]
        made.append(Store(name, directory, services("ingest", **own), others))
    for store in made:
        await store.start()
    return made


async def until(db: Database, sql: str, *args: object) -> Row:
    for _ in range(200):
        if (row := await db.fetch_one(sql, args)) is not None:
            return row
        await asyncio.sleep(0.1)
    raise AssertionError(await db.fetch_all("SELECT store, path, fetch_due, fetch_reason FROM download_info"))


async def test_each_store_works_on_its_own_and_requests_go_to_where_the_bytes_are(
    stores: list[Store], db: Database, redis_url: str
) -> None:
    files = {store.name: await store.upload(f"{store.name}.mp4", store.name.encode() * 1000) for store in stores}
    for store in stores:
        archive = await until(
            db,
            "SELECT zip.store, zip.path, zip.cid FROM file_upload_info AS file"
            " JOIN zip_ipfs_info AS zip USING (zip_id) WHERE file_id = %s AND pinned_at IS NOT NULL",
            files[store.name],
        )
        assert archive["store"] == store.name
        assert (store.directory / archive["path"]).exists()
    async with Redis.from_url(redis_url) as redis:
        assert await redis.xlen("folder.sealed") >= 1
        assert await redis.xlen("folder.sealed@north") >= 1
        for asked in stores:  # each is asked for the other's file
            (other,) = (store for store in stores if store is not asked)
            file_id = await asked.ask(files[other.name])
            request = await until(
                db, "SELECT store, path, source FROM download_info WHERE file_id = %s AND path IS NOT NULL", file_id
            )
            assert (request["store"], request["source"]) == (other.name, "archive")
            assert (other.directory / request["path"]).read_bytes() == other.name.encode() * 1000
        assert await redis.xlen("download.requested@north") == 1


async def test_what_no_store_has_on_its_disk_goes_to_the_least_busy_that_is_there(db: Database) -> None:
    routing = Routing(db, "main")
    assert await routing.choose() == "main"  # nobody is known to be there
    await db.execute("INSERT INTO store_info (name, heard_at) VALUES (%s, UTC_TIMESTAMP(6))", (NORTH,))
    await db.execute(
        "INSERT INTO store_info (name, heard_at) VALUES ('south', UTC_TIMESTAMP(6) - INTERVAL 1 HOUR),"
        " ('east', UTC_TIMESTAMP(6))"
    )
    await db.execute("UPDATE store_info SET heard_at = UTC_TIMESTAMP(6), state = 3 WHERE name = 'main'")
    for number in range(3):
        await db.execute(
            "INSERT INTO download_info (file_id, store, cb_url, fetch_due) VALUES (%s, 'east', '', UTC_TIMESTAMP(6))",
            (number,),
        )
    routing = Routing(db, "main")
    assert [await routing.choose() for _ in range(3)] == [NORTH] * 3
    assert {await routing.choose() for _ in range(2)} == {NORTH, "east"}


async def test_requests_of_a_store_that_is_away_are_taken_over_if_the_network_has_their_files(db: Database) -> None:
    await db.execute(
        "INSERT INTO store_info (name, heard_at) VALUES (%s, UTC_TIMESTAMP(6) - INTERVAL 10 MINUTE)", (NORTH,)
    )
    for number, replicas in ((1, 60), (2, 0), (3, 60)):
        await db.execute(
            "INSERT INTO zip_ipfs_info (zip_id, folder_id, store, zip_name, `key`, iv, size, files, cid, replicas)"
            " VALUES (%s, %s, %s, 'x', 'k', '', 1, 1, 'bafy', %s)",
            (number, number, NORTH, replicas),
        )
        await db.execute(
            "INSERT INTO file_upload_info (file_id, file_name, file_type, size, sha256, folder_id, zip_id, zip_offset)"
            " VALUES (%s, 'a', '', 1, '', %s, %s, 0)",
            (number, number, number),
        )
        await db.execute(
            "INSERT INTO download_info (download_id, file_id, store, cb_url, fetch_due) VALUES"
            " (%s, %s, %s, '', UTC_TIMESTAMP(6) + INTERVAL %s SECOND)",
            (number, number, NORTH, 60 if number == 3 else 0),
        )
    store = RetrieverStore(db)
    assert await store.take_over(3600) == 0
    assert await store.take_over(300) == 1
    rows = await db.fetch_all("SELECT store FROM download_info ORDER BY download_id")
    assert [row["store"] for row in rows] == ["main", NORTH, NORTH]
    await RetrieverStore(db, NORTH).say_here("http://north.example", None)
    assert await store.take_over(300) == 0


async def test_a_directory_serves_the_store_that_it_is_of_and_none_that_was_written_off(
    db: Database, data_dir: Path, tmp_path: Path
) -> None:
    north = tmp_path / NORTH
    north.mkdir()
    await Identity(db, data_dir).settle()
    await Identity(db, north, NORTH).settle()
    await Identity(db, north, NORTH, moves_on=True).look()
    for store, directory in (("main", north), (NORTH, data_dir), ("south", north)):
        with pytest.raises(IdentityMismatch):
            await Identity(db, directory, store).settle()
    await db.execute("UPDATE store_info SET state = 3 WHERE name = %s", (NORTH,))
    with pytest.raises(IdentityMismatch, match="written off"):
        await Identity(db, north, NORTH).look()
    await Identity(db, data_dir).look()


async def test_a_door_leads_on_to_the_store_that_has_the_file(services: Services, db: Database) -> None:
    door = services("door")
    await door.start()
    await db.execute(
        "INSERT INTO store_info (name, link_url) VALUES (%s, 'http://north.example/'), ('south', NULL)", (NORTH,)
    )
    for number, store in ((1, NORTH), (2, "south")):
        await db.execute(
            "INSERT INTO file_upload_info (file_id, file_name, file_type, size, sha256, folder_id)"
            " VALUES (%s, 'a', '', 1, '', 1)",
            (number,),
        )
        await db.execute(
            "INSERT INTO download_info (download_id, file_id, store, cb_url, path)"
            " VALUES (%s, %s, %s, '', 'downloads/1/x')",
            (number, number, store),
        )
    async with aiohttp.ClientSession() as http:
        link = token(1, "a secret for signing links")
        async with http.get(f"{door.public_url}/d/{link}", allow_redirects=False) as answer:
            assert (answer.status, answer.headers["Location"]) == (307, f"http://north.example/d/{link}")
        async with http.get(f"{door.public_url}/d/{token(2, 'a secret for signing links')}") as answer:
            assert answer.status == 503


async def test_a_door_plays_what_another_store_alone_has(services: Services, db: Database, tmp_path: Path) -> None:
    secret, ports = "a secret for playing videos", pick_free(2)
    streams = [f"http://127.0.0.1:{port}" for port in ports]
    north = {"store": NORTH, "data_dir": tmp_path / NORTH}
    ingest = services("ingest", **north)
    retrievers = [
        services("retriever", view_secret=secret, stream_port=ports[0], looks_at_once=0, store_stream_url=streams[0]),
        services(
            "retriever", view_secret=secret, stream_port=ports[1], looks_at_once=0, store_stream_url=streams[1], **north
        ),
    ]
    door = services("door", stream_url=streams[0])
    for service in (ingest, *retrievers, door):
        await service.start()
    content = bytes(range(256)) * 3000
    store = Store(NORTH, tmp_path / NORTH, ingest, [])
    file_id = await store.upload("a.mp4", content)
    await until(db, "SELECT 1 FROM store_info WHERE name = %s AND stream_url IS NOT NULL", NORTH)
    token = Views(SecretStr(secret)).token(file_id, datetime.now(UTC) + timedelta(hours=1), {"by": "192.0.2.1"})
    async with aiohttp.ClientSession() as http:
        async with http.get(f"{door.public_url}/v/{token}", headers={"Range": "bytes=1000-1999"}) as answer:
            assert answer.status == 206, await answer.text()
            assert await answer.read() == content[1000:2000]
        async with http.get(f"{door.public_url}/v/{token}") as answer:
            assert await answer.read() == content
