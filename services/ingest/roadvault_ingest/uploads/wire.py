"""Takes a long upload's file from its connection to the disk in a thread, past the event loop.

Each byte is copied once, by the kernel, into a buffer in which it is looked through for the form's next boundary (a
plain body has none), hashed and written as it lies. The event loop, aiohttp and the form's parser see the body's
beginning, and its end from the boundary on.
"""

import asyncio
import os
import select
import socket
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from mmap import MAP_ANONYMOUS, MAP_PRIVATE, mmap

from aiohttp import web

from roadvault_common.files.new_file import BLOCK_BYTES, NewFile
from roadvault_ingest.config import IngestSettings
from roadvault_ingest.problems import TooSlow

BUFFER_BYTES = 2 << 20
"""What is written at a time."""
FLUSH_BYTES = 64 << 20
"""So little is left for the sync at the end that the client waits for."""
_ROOM_BYTES = 16 << 20
"""Room on the disk is asked for so far ahead."""
_REST_BYTES = 1 << 16
"""What is read at a time of what comes behind the file."""

Room = Callable[[int], Awaitable[None]]
"""Sees to it that an upload of that many bytes has room on the disk; raises NoRoom if it has not."""


class Patience:
    """How long a client may let us wait for its body.

    `upload_stall_seconds` at a time, and in all for so long and what its bytes take at `upload_bytes_per_second`: so
    one stall is forgiven, a trickle is not. What we ourselves let it wait does not count.
    """

    def __init__(self, settings: IngestSettings) -> None:
        self._stall_seconds = settings.upload_stall_seconds
        self._bytes_per_second = settings.upload_bytes_per_second
        self._came, self._waited = 0, 0.0

    @property
    def left(self) -> float:
        """Seconds that it may let us wait now."""
        return min(self._stall_seconds, self._in_all)

    @property
    def _in_all(self) -> float:
        return self._stall_seconds + self._came / self._bytes_per_second - self._waited

    def note(self, seconds: float, count: int) -> None:
        """Note that we waited so long, and that then so many bytes came."""
        self._waited += seconds
        self._came += count

    def end(self) -> TooSlow:
        """Return what to tell the client when it has let us wait for `left` seconds."""
        if self._in_all < self._stall_seconds:
            return TooSlow(f"the body came at less than {self._bytes_per_second:.0f} bytes a second")
        return TooSlow(f"nothing arrived for {self._stall_seconds:.0f} s")


class Buffer:
    """Memory that begins at a block, as writes past the page cache need it: BUFFER_BYTES, and a block more.

    It is the process's own, page by page, once it is written to: who gets no long upload has none of it.
    """

    def __init__(self) -> None:
        self._memory = mmap(-1, BUFFER_BYTES + BLOCK_BYTES, MAP_PRIVATE | MAP_ANONYMOUS)
        self.view = memoryview(self._memory)

    def find(self, mark: bytes, begin: int, end: int) -> int:
        """Return where `mark` is between two places; -1 if it is not."""
        return self._memory.find(mark, begin, end)


class Buffers:
    """Two buffers of a long upload, and a thread that writes one of them while the other is filled and hashed.

    So the disk, which keeps its writer waiting, and the hash, which takes a core, don't wait for each other.
    """

    def __init__(self) -> None:
        self.pair = Buffer(), Buffer()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="writer")
        self._writing: Future[None] | None = None

    def write(self, file: NewFile, data: memoryview) -> None:
        """Begin to append `data`, once what was begun before is written.

        Raises:
            DiskFull: There was no room for that.
        """
        self.wait()
        self._writing = self._thread.submit(_append, file, data)

    def wait(self) -> None:
        """Wait until all is written.

        Raises:
            DiskFull: There was no room for it.
        """
        writing, self._writing = self._writing, None
        if writing is not None:
            writing.result()


def _append(file: NewFile, data: memoryview) -> None:
    file.append(data)
    if not (file.size % FLUSH_BYTES or file.bypasses):
        file.flush()


class Wire:
    """The connection of a request, of whose body `left` bytes are still to come. All but `stop` is for one thread."""

    def __init__(self, connection: socket.socket, left: int, patience: Patience) -> None:
        self._socket = connection
        self._poll = select.poll()
        self._poll.register(connection, select.POLLIN)
        self._patience = patience
        self.left = left

    def stop(self) -> None:
        """Have the thread stop, as if the client had hung up."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RD)

    def skim(self, first: bytes, mark: bytes, file: NewFile, buffers: Buffers, room: Callable[[int], None]) -> bytes:
        """Write to `file` what comes up to `mark`, or what can't be a part of it; return the last that was read.

        That begins with the mark, or else the body is over. `first` has come already; the mark has a block at most.

        Raises:
            ConnectionResetError: The client hung up.
            TooSlow: The client is.
            DiskFull: There is no room.
        """
        try:
            return self._skim(first, mark, file, buffers, room)
        finally:
            buffers.wait()

    def _skim(self, first: bytes, mark: bytes, file: NewFile, buffers: Buffers, room: Callable[[int], None]) -> bytes:
        buffer, other = buffers.pair
        view, pending, have, looked = buffer.view, memoryview(first), 0, 0
        size = granted = file.size
        while True:
            if pending:
                taken = min(len(pending), len(view) - have)
                view[have : have + taken], pending = pending[:taken], pending[taken:]
                have += taken
            else:
                have += self._receive(view[have:])
            found = buffer.find(mark, looked, have)
            over = found >= 0 or not (pending or self.left)
            if have < len(view) and not over:
                looked = max(have - len(mark) + 1, 0)
                continue
            if size + have > granted:
                granted = size + max(have, min(_ROOM_BYTES, self.left))
                room(granted)
            if over:
                buffers.wait()
                file.bypass_cache(on=False)
                file.write(view[: max(found, 0)])
                return b"".join((view[max(found, 0) : have], pending))
            buffers.write(file, view[:BUFFER_BYTES])
            file.hash(view[:BUFFER_BYTES])
            size += BUFFER_BYTES
            other.view[:BLOCK_BYTES] = view[BUFFER_BYTES:]  # the mark may begin in front of it
            buffer, other, view = other, buffer, other.view
            have, looked = BLOCK_BYTES, 0

    def pour(self, first: bytes, file: NewFile, buffers: Buffers, room: Callable[[int], None]) -> None:
        """Write to `file` all that comes; `first` has come already, and may begin anywhere in a block of the file.

        Also what came before the client hung up, or was too slow.

        Raises:
            ConnectionResetError: The client hung up.
            TooSlow: The client is.
            DiskFull: There is no room.
        """
        try:
            self._pour(first, file, buffers, room)
        finally:
            buffers.wait()

    def _pour(self, first: bytes, file: NewFile, buffers: Buffers, room: Callable[[int], None]) -> None:
        (this, other), pending, have = buffers.pair, memoryview(first), 0
        size = granted = file.size
        view = this.view[:BUFFER_BYTES]
        try:
            while pending or self.left:
                if pending:
                    taken = min(len(pending), len(view) - have)
                    view[have : have + taken], pending = pending[:taken], pending[taken:]
                    have += taken
                else:
                    have += self._receive(view[have:])
                if have < len(view) or not (pending or self.left):
                    continue
                if size + have > granted:
                    granted = size + max(have, min(_ROOM_BYTES, self.left))
                    room(granted)
                buffers.write(file, view)
                file.hash(view)
                size += have
                this, other, have = other, this, 0
                view = this.view[:BUFFER_BYTES]
        finally:
            buffers.wait()
            room(size + have)
            file.bypass_cache(on=False)
            file.write(view[:have])

    def read(self) -> bytes:
        """Return more of what comes behind the file; nothing at the end.

        Raises:
            ConnectionResetError: The client hung up.
            TooSlow: The client is.
        """
        data = bytearray(min(_REST_BYTES, self.left))
        return bytes(data[: self._receive(memoryview(data))]) if data else b""

    def _receive(self, view: memoryview) -> int:
        """Wait for more of the body, and return how many bytes of the view it has filled."""
        while True:
            try:
                count = self._socket.recv_into(view[: self.left])
            except BlockingIOError:
                self._wait()
                continue
            if not count:
                raise ConnectionResetError("the client hung up")
            self._patience.note(0, count)
            self.left -= count
            return count

    def _wait(self) -> None:
        began, most = time.monotonic(), self._patience.left
        if not self._poll.poll(max(most, 0) * 1000):
            raise self._patience.end()
        self._patience.note(time.monotonic() - began, 0)


@contextmanager
def taken_over(request: web.Request, left: int, patience: Patience) -> Iterator[Wire]:
    """Take a request's connection over, of whose body aiohttp has given all that it has read.

    It can take no other request afterwards: aiohttp does not know where that would begin.

    Raises:
        ConnectionResetError: The client has hung up.
    """
    if request.transport is None:
        raise ConnectionResetError("the client hung up")
    request.protocol.pause_reading()
    with socket.socket(fileno=os.dup(request.transport.get_extra_info("socket").fileno())) as connection:
        connection.settimeout(0)
        wire = Wire(connection, left, patience)
        try:
            yield wire
        finally:
            if not wire.left:
                request.content.feed_eof()
            request.protocol.resume_reading()


def from_thread(room: Room) -> Callable[[int], None]:
    """Return what a thread calls to ask the event loop for room."""
    loop = asyncio.get_running_loop()
    return lambda size: asyncio.run_coroutine_threadsafe(_ask(room, size), loop).result()


async def _ask(room: Room, size: int) -> None:
    await room(size)
