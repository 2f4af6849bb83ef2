"""How uploads get to disk: long ones by a few threads while they come in, short ones many at a time in one thread."""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from mmap import mmap
from pathlib import Path
from queue import SimpleQueue
from threading import Thread

from roadvault_common.files.new_file import BUFFER_BYTES, NewFile, disk_errors, sync_directory

_FLUSH_BYTES = 64 << 20
"""So little is left for the sync at the end that the client waits for."""
_TOGETHER, _THREADS = 32, 2
"""Short files that a thread takes at a time, and such threads: more of them keep each other from Python's lock."""
_LONG_THREADS = 4
"""Threads that write and hash long uploads, however many of these there are."""
_DIRECT = 8
"""Long uploads that go past the page cache at a time, each with a buffer; the page cache gathers better what more of
them write a little at a time."""

_Short = tuple[NewFile, Sequence[bytes], asyncio.Future[None]]
_Jobs = SimpleQueue[Callable[[], None] | None]
"""None ends the thread that takes them."""


class Disk:
    """Makes uploads durable.

    `share` says how many bytes of one may wait in memory for a thread, right now; with `direct` the first few long ones
    that come at a time go past the page cache.
    """

    def __init__(self, share: Callable[[], int], *, direct: bool) -> None:
        self._share = share
        self._threads = Threads(_LONG_THREADS)
        self._buffers = [mmap(-1, BUFFER_BYTES) for _ in range(_DIRECT if direct else 0)]
        self._short: list[_Short] = []
        self._finishing = set[asyncio.Task[None]]()

    def sink(self, file: NewFile) -> "Sink":
        """Return where a long upload goes as it comes in."""
        return Sink(file, self._share, self._threads, self._buffers)

    async def finish(self, file: NewFile, rest: Sequence[bytes]) -> None:
        """Write what is left of an upload, all of it if it is short, and make file and name durable.

        Raises:
            DiskFull: There was no room.
        """
        if file.size:
            await asyncio.to_thread(_finish, file, rest)
            return
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._short.append((file, rest, done))
        if len(self._finishing) < _THREADS:
            self._finishing.add(asyncio.create_task(self._finish_short()))
        await done

    async def _finish_short(self) -> None:
        try:
            while self._short:
                await self._finish_some()
        finally:
            # Not in a callback, which comes later: a file that came before it would wait for ever.
            self._finishing -= {asyncio.current_task()}

    async def _finish_some(self) -> None:
        taken, self._short = self._short[:_TOGETHER], self._short[_TOGETHER:]
        batch = [one for one in taken if not one[2].cancelled()]  # who waited for it removes the file
        try:
            errors = await asyncio.to_thread(_finish_together, [(file, rest) for file, rest, _ in batch])
        except BaseException:  # the process ends
            for _, _, done in batch:
                done.cancel()
            raise
        for (_, _, done), error in zip(batch, errors, strict=True):
            if done.cancelled():
                continue
            if error is None:
                done.set_result(None)
            else:
                done.set_exception(error)


def _finish(file: NewFile, rest: Sequence[bytes]) -> None:
    for piece in rest:
        file.write(piece)
    file.finish()


def _finish_together(batch: Sequence[tuple[NewFile, Sequence[bytes]]]) -> list[Exception | None]:
    """Write files, then make them durable, then their names; return what went wrong with each."""
    errors: list[Exception | None] = [None] * len(batch)

    def each(work: Callable[[NewFile, Sequence[bytes]], None]) -> None:
        for number, (file, rest) in enumerate(batch):
            if errors[number] is None:
                try:
                    work(file, rest)
                except Exception as error:  # noqa: BLE001 - it is for the one who waits for this file
                    errors[number] = error

    synced = set[Path]()

    def sync_name(file: NewFile, _: Sequence[bytes]) -> None:
        if file.path.parent not in synced:
            with disk_errors(file.path):
                sync_directory(file.path.parent)
            synced.add(file.path.parent)

    each(lambda file, rest: file.write(b"".join(rest)))
    each(lambda file, _: file.sync())
    each(sync_name)
    return errors


class Threads:
    """Threads that do, each in order, what long uploads give them; there are none while there are no such uploads."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._queues: list[_Jobs] = []
        self._turn = self._users = 0

    def begin(self) -> None:
        """Keep the threads until `end`."""
        self._users += 1

    def end(self) -> None:
        """Let the threads end if nobody else needs them."""
        self._users -= 1
        if not self._users:
            for queue in self._queues:
                queue.put(None)
            self._queues = []

    def queue(self) -> _Jobs:
        """Return where the next of the threads takes its jobs, each thread in turn."""
        self._turn = (self._turn + 1) % self._most
        while len(self._queues) <= self._turn:
            queue = _Jobs()
            Thread(target=_do_all, args=(queue,), name="uploads", daemon=True).start()
            self._queues.append(queue)
        return self._queues[self._turn]


def _do_all(jobs: _Jobs) -> None:
    while (job := jobs.get()) is not None:
        job()


class Sink:
    """One long upload's way to disk; past the page cache if one of `buffers` is free, which it takes meanwhile."""

    def __init__(self, file: NewFile, share: Callable[[], int], threads: Threads, buffers: list[mmap]) -> None:
        self._file = file
        self._buffers = buffers
        self._buffer = buffers.pop() if buffers else None
        if self._buffer is not None:
            file.bypass_cache(self._buffer)
        self._share = share
        self._lanes = (Lane(file.append, threads.queue()), Lane(file.hash, threads.queue()))
        self._threads = threads
        threads.begin()
        self._flushed = 0
        self._flushing: asyncio.Future[None] | None = None

    async def add(self, pieces: Sequence[bytes]) -> None:
        """Have more of it written and hashed.

        Raises:
            DiskFull: There was no room for what came before.
        """
        for lane in self._lanes:
            await lane.add(pieces, self._share())
        if self._file.size - self._flushed >= _FLUSH_BYTES:
            if self._flushing is not None:
                await self._flushing
            self._flushed = self._file.size
            self._flushing = asyncio.ensure_future(asyncio.to_thread(self._file.flush))

    async def finish(self) -> None:
        """Wait until no thread has the file in hand; raise what went wrong in one of them."""
        ends = [lane.finish() for lane in self._lanes]
        results = await asyncio.gather(*ends, *filter(None, [self._flushing]), return_exceptions=True)
        self._threads.end()
        if self._buffer is not None:
            results += await asyncio.gather(asyncio.to_thread(self._file.settle), return_exceptions=True)
            self._buffers.append(self._buffer)
        for error in results:
            if error is not None:
                raise error


class Lane:
    """Does one thing to each piece of an upload, in order, in a thread that it shares with other uploads."""

    def __init__(self, work: Callable[[bytes], None], queue: _Jobs) -> None:
        self._work = work
        self._queue = queue
        self._loop = asyncio.get_running_loop()
        self._added = self._done = 0
        self._wanted = -1
        """Bytes left at which somebody waits to go on; -1 if nobody does."""
        self._reached = asyncio.Event()
        self._error: BaseException | None = None

    async def add(self, pieces: Sequence[bytes], most: int) -> None:
        """Add pieces; if more than `most` bytes are not done then, wait until half of that are."""
        for piece in pieces:
            self._added += len(piece)
            self._queue.put(partial(self._do, piece))
        if self._added - self._done > most:
            await self._until(most // 2)
        if self._error is not None:
            raise self._error

    async def finish(self) -> None:
        """Wait until all is done."""
        await self._until(0)
        if self._error is not None:
            raise self._error

    async def _until(self, left: int) -> None:
        # Said before it is looked at: the thread looks after it has counted, so one of the two sees the other.
        self._wanted = left
        while self._added - self._done > left:
            self._reached.clear()
            if self._added - self._done > left:
                await self._reached.wait()
        self._wanted = -1

    def _do(self, piece: bytes) -> None:
        try:
            if self._error is None:
                self._work(piece)
        except BaseException as error:  # noqa: BLE001 - it is for the one who waits
            self._error = error
        self._done += len(piece)
        if self._added - self._done <= self._wanted:
            self._loop.call_soon_threadsafe(self._reached.set)
