"""Long uploads, which a thread takes from the wire: every byte in its place, and no client keeps the thread."""

import asyncio
import hashlib
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from servers_ingest import Door, Open, answer_of, multipart

from roadvault_common.errors import DiskFull
from roadvault_common.files.new_file import BLOCK_BYTES, NewFile
from roadvault_ingest.config import IngestSettings
from roadvault_ingest.problems import TooSlow
from roadvault_ingest.uploads.receive import WIRE_BYTES
from roadvault_ingest.uploads.wire import BUFFER_BYTES, Buffers, Patience, Wire

FILE, NAME = "name=file; filename=a", ("name=filename", b"late.mp4")
LONG = os.urandom(WIRE_BYTES + 3 * BUFFER_BYTES)
MARK = b"\r\n--boundary"


@pytest.fixture(params=[True, False], ids=["direct", "cached"])
async def door(request: pytest.FixtureRequest, open_door: Open) -> Door:  # type: ignore[misc]
    async with open_door(direct_uploads=request.param, folder_bytes=100_000_000) as opened:
        yield opened


def head(body: bytes, more: int = 0) -> bytes:
    return (
        b"POST /api/open/upload HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=b\r\n"
        b"Content-Length: %d\r\n\r\n" % (len(body) + more)
    )


@pytest.mark.parametrize("late", [True, False])
async def test_a_long_upload_is_what_was_sent_and_its_connection_ends(door: Door, late: bool) -> None:  # noqa: FBT001
    body = multipart((FILE, LONG), NAME) if late else multipart(NAME, (FILE, LONG))
    async with door.connection() as (reader, writer), asyncio.timeout(30):
        writer.write(head(body) + body)
        top, answer = await answer_of(reader)
        assert (top.split()[1], b"connection: close" in top.lower()) == (b"200", True)
        assert await reader.read() == b""
    row = (await door.file(answer["result"]["fileID"]))["result"]
    assert (row["filename"], row["size"], row["sha256"]) == ("late.mp4", len(LONG), hashlib.sha256(LONG).hexdigest())
    (path,) = door.files_on_disk()
    assert path.read_bytes() == LONG


async def test_a_length_that_is_two_bytes_too_long_is_answered_at_once(door: Door) -> None:
    body = multipart(NAME, (FILE, LONG))
    async with door.connection() as (reader, writer), asyncio.timeout(30):
        writer.write(head(body, more=2) + body)
        top, _ = await answer_of(reader)
        assert top.split()[1] == b"200"
        assert await reader.read() == b""


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (multipart((FILE, LONG))[:-20], "ends early"),
        (multipart((FILE, LONG), ("name=x", b"x" * 70_000)), "65536 bytes besides"),
        (multipart((FILE, LONG), (FILE, LONG)), "more than one file"),
        (multipart((FILE, LONG), end=b"--bogus"), "malformed"),
    ],
)
async def test_a_long_form_that_is_wrong_is_refused_and_nothing_is_left(door: Door, body: bytes, message: str) -> None:
    async with door.connection() as (reader, writer), asyncio.timeout(30):
        writer.write(head(body) + body)
        top, answer = await answer_of(reader)
        assert (top.split()[1], message in answer["message"]) == (b"400", True), answer
    assert await door.nothing_is_left()


async def test_a_client_that_hangs_up_leaves_nothing(door: Door) -> None:
    body = multipart((FILE, LONG))
    async with door.connection() as (_, writer):
        writer.write(head(body) + body[:-1000])
        while not any(path.stat().st_size for path in door.files_on_disk()):
            await asyncio.sleep(0.01)
    async with asyncio.timeout(20):
        while not await door.nothing_is_left():
            await asyncio.sleep(0.01)


async def test_a_long_upload_that_stalls_is_given_up(open_door: Open) -> None:
    body = multipart((FILE, LONG))
    async with open_door(upload_stall_seconds=0.5, folder_bytes=100_000_000) as door:
        async with door.connection() as (reader, writer), asyncio.timeout(30):
            writer.write(head(body) + body[:-1000])
            top, answer = await answer_of(reader)
            assert (top.split()[1], "nothing arrived for" in answer["message"]) == (b"408", True)
        assert await door.nothing_is_left()


async def test_an_ingest_that_closes_waits_for_no_client(open_door: Open) -> None:
    body = multipart((FILE, LONG))
    async with asyncio.timeout(20):
        async with open_door(folder_bytes=100_000_000) as door, door.connection() as (_, writer):
            writer.write(head(body) + body[:-1000])
            while not any(path.stat().st_size for path in door.files_on_disk()):
                await asyncio.sleep(0.01)
        assert door.files_on_disk() == []
    assert not [thread for thread in threading.enumerate() if thread.name == "uploads" and thread.is_alive()]


# --- the thread's own work ------------------------------------------------------------------------------------------


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    ours.settimeout(0)
    with closing(ours), closing(theirs):
        yield ours, theirs


def skimmed(pair: tuple[socket.socket, socket.socket], file: NewFile, body: bytes, first: int) -> bytes:
    ours, theirs = pair
    wire = Wire(ours, len(body) - first, Patience(IngestSettings.model_construct()))
    sender = threading.Thread(target=theirs.sendall, args=(body[first:],))
    sender.start()
    end = wire.skim(body[:first], MARK, file, Buffers(), lambda _: None)
    while wire.left:
        end += wire.read()
    sender.join()
    file.finish()
    return end


@pytest.mark.parametrize("shift", [-len(MARK), -5, -1, 0, 1, BLOCK_BYTES - len(MARK), BLOCK_BYTES - 3, BLOCK_BYTES])
@pytest.mark.parametrize("direct", [True, False])
def test_a_boundary_is_found_wherever_a_buffer_ends(
    tmp_path: Path,
    pair: tuple[socket.socket, socket.socket],
    shift: int,
    direct: bool,  # noqa: FBT001
) -> None:
    content, behind = os.urandom(2 * BUFFER_BYTES + shift), b"--\r\n" + b"x" * 100
    file = NewFile(tmp_path / "file")
    file.bypass_cache(on=direct)
    assert skimmed(pair, file, content + MARK + behind, 300_000) == MARK + behind
    assert file.path.read_bytes() == content
    assert (file.size, file.sha256) == (len(content), hashlib.sha256(content).hexdigest())


def test_what_has_come_already_may_be_more_than_a_buffer(
    tmp_path: Path, pair: tuple[socket.socket, socket.socket]
) -> None:
    content, file = os.urandom(4 * BUFFER_BYTES), NewFile(tmp_path / "file")
    assert skimmed(pair, file, content + MARK + b"--", 3 * BUFFER_BYTES + 77) == MARK + b"--"
    assert file.path.read_bytes() == content


def test_room_is_asked_for_before_it_is_taken(tmp_path: Path, pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    content, file, asked = os.urandom(20 << 20), NewFile(tmp_path / "file"), list[int]()

    def room(size: int) -> None:
        assert size > file.size
        asked.append(size)

    sender = threading.Thread(target=theirs.sendall, args=(content + MARK,))
    sender.start()
    wire = Wire(ours, len(content + MARK), Patience(IngestSettings.model_construct()))
    wire.skim(b"", MARK, file, Buffers(), room)
    sender.join()
    file.finish()
    assert (len(asked) <= 4, max(asked) >= file.size) == (True, True)


class Refused(NewFile):
    """A file that has no room after its first buffer, and is slow to say so."""

    def append(self, data: bytes | memoryview) -> None:
        time.sleep(0.05)
        if self.size:
            raise DiskFull("no room")
        super().append(data)


@pytest.mark.parametrize("buffers", [2, 4])
def test_a_write_that_fails_beside_the_next_read_is_told_and_leaves_the_buffers_fit(
    tmp_path: Path, pair: tuple[socket.socket, socket.socket], buffers: int
) -> None:
    ours, _ = pair
    body, lent = os.urandom(buffers * BUFFER_BYTES), Buffers()
    wire = Wire(ours, 0, Patience(IngestSettings.model_construct()))
    refused = Refused(tmp_path / "refused")
    with pytest.raises(DiskFull):
        wire.skim(body + MARK, MARK, refused, lent, lambda _: None)
    refused.discard()
    file = NewFile(tmp_path / "file")
    wire.skim(body + MARK, MARK, file, lent, lambda _: None)
    file.finish()
    assert file.sha256 == hashlib.sha256(body).hexdigest()
    assert file.path.read_bytes() == body


def test_a_client_that_hangs_up_leaves_no_write_behind(
    tmp_path: Path, pair: tuple[socket.socket, socket.socket]
) -> None:
    ours, theirs = pair
    theirs.close()
    wire = Wire(ours, 3 * BUFFER_BYTES, Patience(IngestSettings.model_construct()))
    file = NewFile(tmp_path / "file")
    with pytest.raises(ConnectionResetError):
        wire.skim(os.urandom(2 * BUFFER_BYTES), MARK, file, Buffers(), lambda _: None)
    assert file.size == file.path.stat().st_size == BUFFER_BYTES
    file.discard()


def test_a_trickle_is_told_from_a_stall() -> None:
    settings = IngestSettings.model_construct(upload_stall_seconds=1, upload_bytes_per_second=100)
    patience = Patience(settings)
    patience.note(0.9, 10)
    assert patience.left == pytest.approx(0.2)
    assert "100 bytes a second" in str(patience.end())
    assert isinstance(Patience(settings).end(), TooSlow)
    assert "nothing arrived for 1 s" in str(Patience(settings).end())
