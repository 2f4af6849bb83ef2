"""Writing files so that nothing half-done is ever taken for whole: new names only, durable before they are named."""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from errno import EDQUOT, EINVAL, ENODATA, ENOSPC
from fcntl import F_GETFL, F_SETFL, fcntl
from io import FileIO
from mmap import mmap
from pathlib import Path

from roadvault_common.errors import DiskFull, TransientError

BUFFER_BYTES = 1 << 20
"""What is written at a time. With a quarter of it uploads took a fifth longer, with twice as much no less."""

_WHOLE = "user.roadvault.whole"
"""Attribute of a file of `create` that was written to its end."""


class NewFile:
    """A file on its way to disk under a name that nobody else uses, hashed as it passes. Its methods block."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: FileIO | None = None
        self._buffer: mmap | None = None
        self._direct: DirectFile | None = None
        self._hash = hashlib.sha256()
        self.size = 0
        """Bytes appended so far."""

    @property
    def sha256(self) -> str:
        """SHA-256 of the bytes so far, in hex."""
        return self._hash.hexdigest()

    def bypass_cache(self, buffer: mmap) -> None:
        """Have what is appended, from the first byte until `settle`, go past the page cache by way of `buffer`."""
        self._buffer = buffer

    def write(self, data: bytes) -> None:
        """Append `data` and hash it.

        Raises:
            DiskFull: There is no room for it.
        """
        self.append(data)
        self.hash(data)

    def append(self, data: bytes) -> None:
        """Append `data`; the file is created at the first call.

        Raises:
            DiskFull: There is no room for it.
        """
        with disk_errors(self.path):
            if self._file is None:
                self._file = self.path.open("xb", buffering=0)
                if self._buffer is not None:
                    self._direct = DirectFile(self._file, self._buffer)
            if self._direct is not None:
                self._direct.write(data)
            else:
                write_all(self._file, data)
        self.size += len(data)

    def hash(self, data: bytes) -> None:
        """Hash what was appended or is going to be, perhaps in another thread."""
        self._hash.update(data)

    def settle(self) -> None:
        """Write what the buffer of `bypass_cache` still holds; it is free then, also when this fails.

        Raises:
            DiskFull: There is no room for it.
        """
        direct, self._direct, self._buffer = self._direct, None, None
        if direct is not None:
            with disk_errors(self.path):
                direct.finish()

    def flush(self) -> None:
        """Have the disk take what was appended so far, while more may be."""
        if self._file is not None:
            with disk_errors(self.path):
                os.fdatasync(self._file.fileno())

    def sync(self) -> None:
        """Make the file durable, and close it; its name is not durable yet."""
        self.settle()
        with disk_errors(self.path):
            file = self._file or self.path.open("xb", buffering=0)
            with file:
                _sync(file, self.path)

    def finish(self) -> None:
        """Make the file and its name durable."""
        self.sync()
        with disk_errors(self.path):
            sync_directory(self.path.parent)

    def discard(self) -> None:
        """Leave nothing behind."""
        if self._file is not None:
            self._file.close()
            self.path.unlink(missing_ok=True)


class DirectFile:
    """A file that is written past the page cache, a whole `buffer` at a time; its methods block.

    Such writes begin and end at a disk's block, 4096 bytes at most, in memory and on the disk; `buffer` does. Where the
    file system knows none, they go the usual way.
    """

    def __init__(self, file: FileIO, buffer: mmap) -> None:
        self._file = file
        self._buffer = buffer
        self._collected = 0
        try:
            self._bypass(on=True)
        except OSError as error:
            if error.errno != EINVAL:
                raise

    def write(self, data: bytes) -> None:
        """Append `data`; up to a buffer of it is on its way only after `finish`."""
        view = memoryview(data)
        while view:
            end = min(self._collected + len(view), len(self._buffer))
            taken = end - self._collected
            self._buffer[self._collected : end] = view[:taken]
            self._collected, view = end, view[taken:]
            if self._collected == len(self._buffer):
                self._write_collected()

    def finish(self) -> None:
        """Write what is left, through the page cache since it may be no whole number of blocks."""
        self._bypass(on=False)
        self._write_collected()

    def _write_collected(self) -> None:
        view, begin = memoryview(self._buffer)[: self._collected], self._file.tell()
        try:
            write_all(self._file, view)
        except OSError as error:
            # The file system takes the flag but not the write, or a full disk took a part that is no whole block.
            if error.errno != EINVAL or not self._bypasses():
                raise
            self._bypass(on=False)
            write_all(self._file, view[self._file.tell() - begin :])
        self._collected = 0

    def _bypasses(self) -> bool:
        return bool(fcntl(self._file.fileno(), F_GETFL) & os.O_DIRECT)

    def _bypass(self, *, on: bool) -> None:
        flags = fcntl(self._file.fileno(), F_GETFL)
        fcntl(self._file.fileno(), F_SETFL, flags | os.O_DIRECT if on else flags & ~os.O_DIRECT)


@contextmanager
def create(path: Path) -> Iterator[FileIO]:
    """Create a file that must not exist yet; durable when the block ends well, gone when it does not.

    Raises:
        DiskFull: There was no room.
        TransientError: Somebody has removed it meanwhile.
    """
    try:
        with disk_errors(path), path.open("xb", buffering=0) as file:
            yield file
            with suppress(OSError):  # the file system has no such attributes
                os.setxattr(file.fileno(), _WHOLE, b"")
            _sync(file, path)
        sync_directory(path.parent)
    except BaseException as error:
        if not isinstance(error, FileExistsError):
            path.unlink(missing_ok=True)
        raise


def half_written(path: Path) -> bool:
    """Tell whether a file of `create` was never finished; False where the file system can't tell."""
    try:
        os.getxattr(path, _WHOLE)
    except OSError as error:
        return error.errno == ENODATA
    return False


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Raise DiskFull for what the operating system says when there is no room."""
    try:
        yield
    except OSError as error:
        if error.errno in {ENOSPC, EDQUOT}:
            raise DiskFull(f"no room on the disk for {path.name}") from error
        raise


def _sync(file: FileIO, path: Path) -> None:
    os.fsync(file.fileno())
    try:
        there = os.path.samestat(path.lstat(), os.fstat(file.fileno()))
    except FileNotFoundError:
        there = False
    if not there:
        # This process stood still: a sweep of unnamed files took it, or a successor that has the row now.
        raise TransientError(f"{path.name} was removed while it was written")


def write_all(file: FileIO, data: bytes | memoryview) -> None:
    """Write all of `data`; an unbuffered file may take only a part at a time."""
    view = memoryview(data)
    while view:
        view = view[file.write(view) :]


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
