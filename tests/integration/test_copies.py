"""Reserve copies: an upload is acknowledged once a second store has its bytes durably, too."""

import asyncio
import io
import os
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from free_ports import pick_free
from servers_services import Service, Services
from tus_requests import Client

from roadvault_common.files import copy_store
from roadvault_common.sql.db import Database

SECRET = "a secret among the stores"


@pytest.fixture
async def pair(services: Services, tmp_path: Path, db: Database) -> tuple[Service, Service, Path]:
    """Main, whose uploads are copied, north, which takes the copies, and where north's files are."""
    (port,) = pick_free(1)
    directory = tmp_path / "north"
    north = services(
        "ingest", store="north", data_dir=directory, copy_secret=SECRET, copy_port=port,
        store_copy_url=f"http://127.0.0.1:{port}",
    )  # fmt: skip
    main = services("ingest", upload_copies=2, copy_secret=SECRET)
    for one in (north, main):
        await one.start()
    async with asyncio.timeout(20):
        while not await copy_store.takers(db, "main"):
            await asyncio.sleep(0.1)
    return main, north, directory


async def put(ingest: Service, content: bytes, name: str = "a.mp4") -> tuple[int, dict[str, object]]:
    url = f"{ingest.url}/api/open/upload/{name}"
    async with aiohttp.ClientSession() as http, http.put(url, data=io.BytesIO(content)) as answer:
        return answer.status, await answer.json()


async def copies(db: Database, directory: Path) -> list[bytes]:
    rows = await db.fetch_all("SELECT store, path FROM copy_info ORDER BY file_id")
    assert {row["store"] for row in rows} <= {"north"}
    return [(directory / row["path"]).read_bytes() for row in rows]


@pytest.mark.parametrize("size", [1, 300_000, 9_000_000])
async def test_a_second_store_has_what_was_acknowledged(
    pair: tuple[Service, Service, Path], db: Database, size: int
) -> None:
    main, _, directory = pair
    content = os.urandom(size)
    status, told = await put(main, content)
    assert status == 200, told
    assert await copies(db, directory) == [content]


async def test_a_copy_comes_along_while_the_upload_does(pair: tuple[Service, Service, Path]) -> None:
    main, _, directory = pair
    go_on = asyncio.Event()

    async def body() -> AsyncIterator[bytes]:
        yield os.urandom(3_000_000)
        await go_on.wait()
        yield os.urandom(10)

    url = f"{main.url}/api/open/upload/a.mp4"
    async with aiohttp.ClientSession() as http:
        asking = asyncio.create_task(http.put(url, data=body()))
        async with asyncio.timeout(20):
            while sum(path.stat().st_size for path in (directory / "reserve").rglob("*") if path.is_file()) < 2_000_000:
                await asyncio.sleep(0.05)
        assert not asking.done()
        go_on.set()
        async with await asking as answer:
            assert answer.status == 200


async def test_a_resumable_upload_is_copied_before_it_is_a_file(
    pair: tuple[Service, Service, Path], db: Database
) -> None:
    main, _, directory = pair
    async with aiohttp.ClientSession() as http:
        tus = Client(http, main.url)
        url = await tus.begun(10)
        assert (await tus.patch(url, 0, b"hello")).status == 204
        assert await copies(db, directory) == []
        assert (await tus.patch(url, 5, b"world")).status == 204
    assert await copies(db, directory) == [b"helloworld"]


async def test_without_a_second_store_nothing_is_acknowledged_and_nothing_stays(
    pair: tuple[Service, Service, Path], db: Database, data_dir: Path
) -> None:
    main, north, _ = pair
    north.terminate()
    await north.ended(20)
    status, told = await put(main, b"frames")
    assert status == 503, told
    assert "no other store" in str(told["message"])
    assert await db.fetch_value("SELECT COUNT(*) FROM file_upload_info") == 0
    assert [path for path in (data_dir / "received").rglob("*") if path.is_file()] == []
    await north.start()
    async with asyncio.timeout(20):
        while (await put(main, b"frames"))[0] != 200:
            await asyncio.sleep(0.2)


async def test_copies_go_once_the_network_has_the_upload_and_not_before(
    pair: tuple[Service, Service, Path], db: Database
) -> None:
    main, _, directory = pair
    for content in (b"one", b"two"):
        assert (await put(main, content))[0] == 200
    await db.execute("UPDATE file_upload_info SET path = NULL WHERE file_id = 1")  # as a drop does, after its proof
    async with asyncio.timeout(20):
        while await db.fetch_value("SELECT COUNT(*) FROM copy_info") > 1:
            await asyncio.sleep(0.1)
    assert await copies(db, directory) == [b"two"]
    assert len([path for path in (directory / "reserve").rglob("*") if path.is_file()]) == 1


async def test_a_lost_stores_uploads_are_those_of_who_has_copies(
    pair: tuple[Service, Service, Path], db: Database
) -> None:
    main, _, directory = pair
    for content in (b"one", b"two"):
        assert (await put(main, content))[0] == 200
    assert await db.transact(lambda tx: copy_store.rescue(tx, [1, 2, 3])) == {1, 2}
    rows = await db.fetch_all(
        "SELECT file.path, folder.store, folder.status, folder.files, pack_due IS NOT NULL AS due FROM file_upload_info"
        " AS file JOIN folder_info AS folder USING (folder_id) ORDER BY file_id"
    )
    assert [(row["store"], row["status"], row["files"], row["due"]) for row in rows] == [("north", 1, 2, 1)] * 2
    assert [(directory / row["path"]).read_bytes() for row in rows] == [b"one", b"two"]


async def test_only_who_knows_the_secret_leaves_anything(pair: tuple[Service, Service, Path], db: Database) -> None:
    _, _, directory = pair
    (taker,) = await copy_store.takers(db, "main")
    token = "ab" * 16
    async with aiohttp.ClientSession() as http:
        for headers, path, status in (
            ({}, f"main/ab/{token}", 401),
            ({"Authorization": "Bearer wrong"}, f"main/ab/{token}", 401),
            ({"Authorization": f"Bearer {SECRET}"}, f"main/ab/{token}x", 404),
            ({"Authorization": f"Bearer {SECRET}"}, f"%2e%2e/ab/{token}", 404),
        ):
            async with http.put(f"{taker['copy_url']}/copies/{path}", data=b"x", headers=headers) as answer:
                assert answer.status == status, path
    assert [path for path in (directory / "reserve").rglob("*") if path.is_file()] == []
