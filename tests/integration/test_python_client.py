"""`roadvault-client` against the real services: the client that blocks, and the one that is awaited."""

import asyncio
import fcntl
import hashlib
import inspect
import io
import os
from pathlib import Path

import pytest
from free_ports import pick_free
from servers_door import LinkDoor
from servers_ingest import Door, Open
from servers_line import line
from servers_services import Services
from servers_talk import Talk

from roadvault_client import (
    AsyncClient,
    Client,
    Conflict,
    ConnectionFailed,
    NeverReached,
    NoRoom,
    NotFound,
    Options,
    Refused,
    Retries,
    TookTooLong,
    WrongBytes,
    WrongHash,
    receive,
)

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
NAME = "京A12345_前方.mp4"


def test_both_clients_have_the_same_methods() -> None:
    def methods(kind: type) -> dict[str, object]:
        public = {name: one for name, one in inspect.getmembers(kind, inspect.isfunction) if not name.startswith("_")}
        return {name: list(inspect.signature(one).parameters.values())[1:] for name, one in public.items()}

    assert methods(Client) == methods(AsyncClient)
    assert {"upload", "file", "wait", "request", "custody", "receipt", "download"} <= methods(Client).keys()


async def test_a_file_is_uploaded_and_known(door: Door, talk: Talk, tmp_path: Path) -> None:
    content = os.urandom(700_000)
    (tmp_path / NAME).write_bytes(content)
    told: list[tuple[int, int | None]] = []
    uploaded = await talk(door.url, "upload", tmp_path / NAME, progress=lambda sent, of: told.append((sent, of)))
    assert (uploaded.name, uploaded.size, uploaded.sha256) == (NAME, 700_000, hashlib.sha256(content).hexdigest())
    assert told[-1] == (700_000, 700_000)
    assert told == sorted(told)
    file = await talk(door.url, "file", uploaded.file_id)
    assert (file["filename"], file["size"], file["sha256"]) == (NAME, 700_000, uploaded.sha256)
    (received,) = await talk(door.url, "custody", uploaded.file_id)
    assert received["act"] == "received"
    assert await talk(door.url, "custody", uploaded.file_id, before=received["line"] or 1) == []


async def test_what_is_open_is_read_from_where_it_stands(door: Door, talk: Talk) -> None:
    file = io.BytesIO(b"header" + b"frames" * 1000)
    file.seek(6)
    assert (await talk(door.url, "upload", file, "a.mp4")).size == 6000
    with pytest.raises(ValueError, match="what the file is to be called"):
        await talk(door.url, "upload", file)


async def test_what_a_pipe_brings_is_sent_in_one_request(door: Door, talk: Talk) -> None:
    reader, writer = os.pipe()
    content = os.urandom(900_000)
    writing = asyncio.create_task(asyncio.to_thread(_write, writer, content))
    with os.fdopen(reader, "rb") as pipe:
        uploaded = await talk(door.url, "upload", pipe, "live.ts")
    await writing
    assert (uploaded.size, uploaded.sha256) == (900_000, hashlib.sha256(content).hexdigest())


def _write(descriptor: int, content: bytes) -> None:
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)


async def test_bytes_that_are_not_those_meant_are_refused(door: Door, talk: Talk) -> None:
    with pytest.raises(WrongHash) as caught:
        await talk(door.url, "upload", io.BytesIO(b"frames"), "a.mp4", sha256="0" * 64)
    assert caught.value.code == 422
    assert await door.nothing_is_left()


async def test_errors_have_kinds_and_say_when_to_come_back(door: Door, open_door: Open, talk: Talk) -> None:
    with pytest.raises(NotFound, match="there is no file 404"):
        await talk(door.url, "file", 404)
    with pytest.raises(Refused, match="plain name") as refused:
        await talk(door.url, "upload", io.BytesIO(b"frames"), "a/b.mp4")
    assert (refused.value.status, refused.value.code, refused.value.retry_after) == (400, 400, None)
    file_id = (await talk(door.url, "upload", io.BytesIO(b"frames"), "a.mp4")).file_id
    with pytest.raises(Conflict):
        await talk(door.url, "receipt", file_id)
    async with open_door(disk_margin_bytes=1 << 60) as full:
        with pytest.raises(NoRoom) as no_room:
            await talk(full.url, "upload", io.BytesIO(b"frames"), "a.mp4")
    assert no_room.value.retry_after


async def test_a_server_that_is_away_is_tried_again(door: Door, talk: Talk) -> None:
    (port,) = pick_free(1)
    with pytest.raises(ConnectionFailed) as caught:
        await talk(f"http://127.0.0.1:{port}", "file", 1)
    assert not caught.value.sent
    file_id = (await door.upload(b"frames"))[1]["result"]["fileID"]
    tries = 0

    async def stumble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Break off twice, then hand on."""
        nonlocal tries
        tries += 1
        request = await reader.readuntil(b"\r\n\r\n")
        if tries > 2:
            host, _, behind = door.url.removeprefix("http://").partition(":")
            answers, onward = await asyncio.open_connection(host, int(behind))
            onward.write(request.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
            writer.write(await answers.read())
            onward.close()
        writer.close()

    server = await asyncio.start_server(stumble, "127.0.0.1", port)
    async with server:
        assert (await talk(f"http://127.0.0.1:{port}", "file", file_id))["fileID"] == file_id
    assert tries == 3


async def test_waiting_ends_with_what_was_waited_for_or_with_the_reason_why_not(door: Door, talk: Talk) -> None:
    file_id = (await door.upload(b"frames"))[1]["result"]["fileID"]
    with pytest.raises(TookTooLong, match="waiting in an open folder"):
        await talk(door.url, "wait", file_id, "packed", 0.1)
    await door.db.execute(
        "INSERT INTO zip_ipfs_info (folder_id, zip_name, `key`, iv, size, files) SELECT folder_id, 'a', 'k', 'i', 6, 1"
        " FROM folder_info"
    )
    await door.db.execute("UPDATE file_upload_info SET zip_id = (SELECT zip_id FROM zip_ipfs_info)")
    waiting = asyncio.create_task(talk(door.url, "wait", file_id, "pinned", 20))
    await asyncio.sleep(0.2)
    await door.db.execute("UPDATE zip_ipfs_info SET pinned_at = UTC_TIMESTAMP(6)")
    assert (await waiting)["archive"]["pinned"]
    await door.db.execute("UPDATE folder_info SET status = 3, pack_reason = 'its disk is gone'")
    with pytest.raises(NeverReached, match=f"file {file_id} won't be proven: packing failed: its disk is gone"):
        await talk(door.url, "wait", file_id, "proven", 20)


def names(directory: Path) -> list[str]:
    return [path.name for path in directory.iterdir()]


@pytest.fixture
async def all_services(services: Services) -> str:
    """Start what a file needs to come back from its upload; return ingest's URL."""
    door = services("door")
    notifier = services("notifier", public_url=door.public_url, callback_secret=SECRET)
    ingest = services("ingest")
    await asyncio.gather(*(one.start() for one in (ingest, door, services("retriever"), notifier)))
    return ingest.url


async def test_a_file_is_asked_for_called_back_and_downloaded(all_services: str, talk: Talk, tmp_path: Path) -> None:
    content = os.urandom(300_000)
    file_id = (await talk(all_services, "upload", io.BytesIO(content), NAME)).file_id
    with receive(SECRET) as receiver:
        await talk(all_services, "request", file_id, receiver.url)
        callback = await asyncio.to_thread(receiver.wait, file_id, 30)
    (tmp_path / "to").mkdir()
    target = tmp_path / "to" / "back.mp4"
    assert await talk(all_services, "download", callback.url, target) == hashlib.sha256(content).hexdigest()
    assert target.read_bytes() == content
    assert names(tmp_path / "to") == ["back.mp4"]


async def test_a_download_goes_on_where_it_broke_off(link_door: LinkDoor, talk: Talk, tmp_path: Path) -> None:
    content = os.urandom(1_000_000)
    link = await link_door.link(content)
    path, target = link.removeprefix(link_door.url), tmp_path / "a.mp4"
    async with line(link_door.url) as broken:
        broken.break_after = 150_000
        assert await talk(broken.url, "download", broken.url + path, target) == hashlib.sha256(content).hexdigest()
    assert target.read_bytes() == content
    assert len(broken.asked) >= 7


async def test_a_later_run_goes_on_too_and_takes_no_other_files_bytes(
    link_door: LinkDoor, talk: Talk, tmp_path: Path
) -> None:
    content = os.urandom(400_000)
    first, other = await link_door.link(content), await link_door.link(os.urandom(400_000))
    target = tmp_path / "a.mp4"
    async with line(link_door.url) as broken:
        broken.break_after = 50_000
        with pytest.raises(ConnectionFailed):
            await talk_once(broken.url + first.removeprefix(link_door.url), target)
    assert not target.exists()
    (part,) = names(tmp_path)
    assert (tmp_path / part).stat().st_size > 40_000
    await talk(link_door.url, "download", other, target)
    assert await talk(link_door.url, "download", first, target) == hashlib.sha256(content).hexdigest()
    assert target.read_bytes() == content


async def talk_once(url: str, target: Path) -> None:
    async with AsyncClient(url, **vars(Options(retries=Retries(attempts=1)))) as client:
        await client.download(url, target)


async def test_wrong_bytes_are_not_kept(link_door: LinkDoor, talk: Talk, tmp_path: Path) -> None:
    content = os.urandom(100_000)
    link, target = await link_door.link(content), tmp_path / "a.mp4"
    with pytest.raises(WrongBytes):
        await talk(link_door.url, "download", link, target, sha256="0" * 64)
    etag = f'"{hashlib.sha256(content).hexdigest()}"'
    (tmp_path / f".{hashlib.sha256(etag.encode()).hexdigest()[:16]}.part").write_bytes(b"something else")
    with pytest.raises(WrongBytes):
        await talk(link_door.url, "download", link, target)
    assert names(tmp_path) == []
    assert await talk(link_door.url, "download", link, target, sha256=hashlib.sha256(content).hexdigest())


async def test_downloads_of_the_same_bytes_at_once_do_not_mix(link_door: LinkDoor, talk: Talk, tmp_path: Path) -> None:
    content = os.urandom(2_000_000)
    links = [await link_door.link(content) for _ in range(2)]
    targets = [tmp_path / "a.mp4", tmp_path / "b.mp4", tmp_path / "a.mp4"]
    async with line(link_door.url) as broken:
        broken.break_after = 400_000
        urls = [broken.url + link.removeprefix(link_door.url) for link in (*links, links[0])]
        await asyncio.gather(*(talk(broken.url, "download", url, to) for url, to in zip(urls, targets, strict=True)))
    assert [path.read_bytes() == content for path in targets] == [True] * 3
    assert sorted(names(tmp_path)) == ["a.mp4", "b.mp4"]


async def test_a_download_beside_another_of_the_same_bytes_leaves_nothing_that_nobody_finds(
    link_door: LinkDoor, tmp_path: Path
) -> None:
    content = os.urandom(1_000_000)
    link = await link_door.link(content)
    etag = f'"{hashlib.sha256(content).hexdigest()}"'
    part = tmp_path / f".{hashlib.sha256(etag.encode()).hexdigest()[:16]}.part"
    with part.open("wb") as others:
        fcntl.flock(others, fcntl.LOCK_EX)
        async with line(link_door.url) as broken:
            broken.break_after = 200_000
            with pytest.raises(ConnectionFailed):
                await talk_once(broken.url + link.removeprefix(link_door.url), tmp_path / "a.mp4")
    assert names(tmp_path) == [part.name]


async def test_a_link_that_is_over_is_not_tried_again(link_door: LinkDoor, talk: Talk, tmp_path: Path) -> None:
    with pytest.raises(Refused) as caught:
        await talk(link_door.url, "download", f"{link_door.url}/d/forged", tmp_path / "a.mp4")
    assert caught.value.status == 403


async def test_a_token_goes_to_the_server_and_not_along_with_links(tmp_path: Path) -> None:
    heads: list[bytes] = []

    async def note(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(note, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with AsyncClient(url, token="secret") as client:
            with pytest.raises(NotFound):
                await client.file(1)
            with pytest.raises(NotFound):
                await client.download(f"{url}/d/x", tmp_path / "a")
    assert [b"Bearer secret" in head for head in heads] == [True, False]
