"""How uploads get to disk: a long one by three threads while it comes in, short ones many at a time in one thread."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

from roadvault_common.vault import NewFile, disk_errors, sync_directory

_FLUSH_BYTES = 64 << 20
"""So little is left for the sync at the end that the client waits for."""
_TOGETHER, _THREADS = 32, 2
"""Short files that a thread takes at a time, and such threads: more of them keep each other from Python's lock."""

_Short = tuple[NewFile, Sequence[bytes], asyncio.Future[None]]


class Disk:
    """Makes uploads durable. `share` says how many bytes of one may wait in memory for a thread, right now."""

    def __init__(self, share: Callable[[], int]) -> None:
        self._share = share
        self._short: list[_Short] = []
        self._finishing = set[asyncio.Task[None]]()

    def sink(self, file: NewFile) -> "Sink":
        """Return where a long upload goes as it comes in."""
        return Sink(file, self._share)

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


class Sink:
    """One long upload's way to disk."""

    def __init__(self, file: NewFile, share: Callable[[], int]) -> None:
        self._file = file
        self._share = share
        self._lanes = (Lane(file.append), Lane(file.hash))
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
        for error in results:
            if error is not None:
                raise error


class Lane:
    """Does one thing to each piece, in order, in a thread that it has for as long as there are any."""

    def __init__(self, work: Callable[[bytes], None]) -> None:
        self._work = work
        self._waiting = deque[bytes]()
        self._added = self._done = 0
        self._running: asyncio.Future[None] | None = None

    async def add(self, pieces: Sequence[bytes], most: int) -> None:
        """Add pieces; wait until all is done if more than `most` bytes are not."""
        self._waiting += pieces
        self._added += sum(map(len, pieces))
        if self._running is not None and (self._running.done() or self._added - self._done > most):
            await self._running
            self._running = None
        if self._running is None and self._waiting:
            self._running = asyncio.ensure_future(asyncio.to_thread(self._run))

    def _run(self) -> None:
        while self._waiting:
            piece = self._waiting.popleft()
            self._work(piece)
            self._done += len(piece)

    async def finish(self) -> None:
        """Wait until all is done."""
        if self._running is not None:
            await self._running
        # A piece may have come as the thread had just found that there were no more.
        if self._waiting:
            await asyncio.to_thread(self._run)
