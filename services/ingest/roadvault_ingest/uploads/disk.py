"""How uploads get to disk: long ones each by a thread that takes them from the wire, short ones many at a time."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from roadvault_common.files.new_file import NewFile, disk_errors, sync_directory
from roadvault_ingest.uploads.wire import FLUSH_BYTES, Buffers

T = TypeVar("T")

_TOGETHER, _THREADS = 32, 2
"""Short files that a thread takes at a time, and such threads: more of them keep each other from Python's lock."""
WIRES = 8
"""Long uploads that a thread of their own takes from the wire at a time, each with two buffers of 2 MiB."""

_Short = tuple[NewFile, Sequence[bytes], asyncio.Future[None]]


class Disk:
    """Makes uploads durable."""

    def __init__(self, *, direct: bool) -> None:
        self.direct = direct
        """Whether long uploads go past the page cache."""
        self._pool = ThreadPoolExecutor(WIRES, thread_name_prefix="uploads")
        self._buffers = [Buffers() for _ in range(WIRES)]
        self._short: list[_Short] = []
        self._finishing = set[asyncio.Task[None]]()

    @contextmanager
    def lend(self) -> Iterator[Buffers | None]:
        """Lend two buffers to a long upload, whose bytes `run` may then take from the wire; None if all are lent."""
        buffers = self._buffers.pop() if self._buffers else None
        try:
            yield buffers
        finally:
            if buffers is not None:
                self._buffers.append(buffers)

    async def run(self, work: Callable[[], T], stop: Callable[[], None]) -> T:
        """Do `work` in a thread of long uploads; whoever is cancelled meanwhile has it stop, and waits for its end."""
        return await to_its_end(asyncio.get_running_loop().run_in_executor(self._pool, work), stop)

    async def write(self, file: NewFile, pieces: Sequence[bytes]) -> None:
        """Write more of a long upload that has no buffers.

        Raises:
            DiskFull: There was no room for it.
        """
        await to_its_end(asyncio.ensure_future(asyncio.to_thread(_write, file, pieces)))

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


async def to_its_end(work: asyncio.Future[T], stop: Callable[[], None] = lambda: None) -> T:
    """Wait for a thread's work; whoever is cancelled meanwhile tells it to stop, and waits for its end all the same."""
    try:
        return await asyncio.shield(work)
    finally:
        if not work.done():
            stop()
            await asyncio.wait({work})


def _write(file: NewFile, pieces: Sequence[bytes]) -> None:
    before = file.size
    file.write(b"".join(pieces))
    if before // FLUSH_BYTES != file.size // FLUSH_BYTES:
        file.flush()


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
