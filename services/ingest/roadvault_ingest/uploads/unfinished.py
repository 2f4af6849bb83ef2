"""The bytes of an upload that comes in several requests: one of them at a time goes on, in whatever process."""

import fcntl
import hashlib
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from roadvault_common.files import tags
from roadvault_common.files.new_file import NewFile, disk_errors, sync_directory

_READ_BYTES = 1 << 20


class Busy(Exception):
    """Another process goes on with the upload."""


class Lost(Exception):
    """What was durable of the upload is not there, or is a file's by now, of which the database does not know."""


class Known(NamedTuple):
    """SHA-256 of an upload's beginning."""

    size: int
    sha256: "hashlib._Hash"


class Unfinished(NewFile):
    """An upload's bytes so far. Who has the lock on the file goes on with it; a killed process lets go at once."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._lock: int | None = None
        self._new = self._stopped = self._broken = False

    def take(self, *, create: bool = True) -> bool:
        """Take the lock until `discard`; return whether there is a file, which is made if it is to be.

        Raises:
            Busy: Another process has it.
            Lost: It is a file's by now.
            DiskFull: There is no room for it.
        """
        flags = os.O_RDWR | (os.O_CREAT if create else 0)
        with disk_errors(self.path):
            try:
                descriptor = os.open(self.path, flags, 0o666)
            except FileNotFoundError:
                return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            gone = os.fstat(descriptor).st_nlink == 0
        except BlockingIOError:
            gone = True
        if gone:  # or it has just been removed
            os.close(descriptor)
            raise Busy
        self._lock = descriptor
        if tags.has(self.path):
            raise Lost
        return True

    def go_on(self, came: int, known: Known | None) -> None:
        """Go on behind the first `came` bytes, which are durable; what lies behind them goes. Hash what is not `known`.

        Raises:
            Lost: There are fewer.
        """
        self._file = self.path.open("r+b", buffering=0)
        length = self._file.seek(0, os.SEEK_END)
        if length < came:
            raise Lost
        self._file.truncate(came)
        self._new = came == 0
        begin, sha256 = known if known is not None and known.size <= came else (0, hashlib.sha256())
        self._hash = sha256.copy()
        self._file.seek(begin)
        buffer = memoryview(bytearray(min(_READ_BYTES, came - begin)))
        while begin < came and not self._stopped:
            count = self._file.readinto(buffer[: came - begin])
            if not count:
                raise Lost
            self._hash.update(buffer[:count])
            begin += count
        self.size = self.began = begin

    def join(self, parts: Sequence[Path]) -> None:
        """Append what other files have.

        Raises:
            Lost: One of them is gone.
            DiskFull: There is no room for it.
        """
        buffer = memoryview(bytearray(_READ_BYTES))
        for path in parts:
            try:
                part = path.open("rb", buffering=0)
            except FileNotFoundError:
                raise Lost from None
            with part:
                while (count := part.readinto(buffer)) and not self._stopped:
                    self.write(buffer[:count])
            self.flush()

    def stop(self) -> None:
        """Have `go_on` or `join` end early: nobody goes on."""
        self._stopped = True

    def known(self) -> Known:
        """Return the hash of the bytes so far."""
        return Known(self.size, self._hash.copy())

    def flush(self) -> None:
        """Make what was appended so far durable, and its name.

        Raises:
            DiskFull: There was no room for it.
        """
        self._check()
        try:
            super().flush()
            if self._new:
                with disk_errors(self.path):
                    sync_directory(self.path.parent)
                self._new = False
        except BaseException:
            self._broken = True  # the kernel tells it only once
            raise

    def sync(self) -> None:
        """Make the file durable, and close it; its name is not durable yet."""
        self._check()
        super().sync()

    def _check(self) -> None:
        if self._broken:
            raise OSError(f"what came of {self.path.name} could not be made durable")

    def discard(self) -> None:
        """Let go of it. What came stays: the upload's row has it."""
        self.discarded = True
        if self._file is not None:
            self._file.close()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def set_aside(self, away: Callable[[], None]) -> None:  # noqa: ARG002 - as of a file that nobody goes on with
        """As `discard`."""
        self.discard()

    def remove(self) -> None:
        """Remove the file, and let go of it."""
        with suppress(FileNotFoundError):
            self.path.unlink()
        self.discard()
