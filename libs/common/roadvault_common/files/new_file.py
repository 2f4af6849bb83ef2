"""Writing files so that nothing half-done is ever taken for whole: new names only, durable before they are named."""

import hashlib
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from errno import EDQUOT, EINVAL, ENODATA, ENOSPC
from fcntl import F_GETFL, F_SETFL, fcntl
from io import FileIO
from pathlib import Path

from roadvault_common.errors import DiskFull, TransientError

BLOCK_BYTES = 4096
"""No disk has longer blocks: what goes past the page cache begins and ends at one, in memory and in the file."""
_WHOLE = "user.roadvault.whole"
"""Attribute of a file of `create` that was written to its end."""


class NewFile:
    """A file on its way to disk under a name that nobody else uses, hashed as it passes. Its methods block."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: FileIO | None = None
        self._hash = hashlib.sha256()
        self.also: list[hashlib._Hash] = []
        """Hashes of other kinds that are made on the way."""
        self.began = 0
        """Bytes that were there before the first was appended."""
        self.size = 0
        """Bytes so far."""
        self.discarded = False

    @property
    def sha256(self) -> str:
        """SHA-256 of the bytes so far, in hex."""
        return self._hash.hexdigest()

    def bypass_cache(self, *, on: bool) -> None:
        """Have what is appended from now on go past the page cache, in whole blocks; or through it again.

        Where the file system knows no such writes, or refuses one, they go through the cache.
        """
        file = self._opened()
        flags = fcntl(file.fileno(), F_GETFL)
        try:
            fcntl(file.fileno(), F_SETFL, flags | os.O_DIRECT if on else flags & ~os.O_DIRECT)
        except OSError as error:
            if error.errno != EINVAL:
                raise

    def write(self, data: bytes | memoryview) -> None:
        """Append `data` and hash it.

        Raises:
            DiskFull: There is no room for it.
        """
        self.append(data)
        self.hash(data)

    def hash(self, data: bytes | memoryview) -> None:
        """Hash what is appended by itself."""
        for one in (self._hash, *self.also):
            one.update(data)

    def append(self, data: bytes | memoryview) -> None:
        """Append `data`; the file is created at the first call.

        Raises:
            DiskFull: There is no room for it.
        """
        file = self._opened()
        with disk_errors(self.path):
            begin = file.tell() if self.bypasses else 0
            try:
                write_all(file, data)
            except OSError as error:
                # The file system takes the flag but not the write, or a full disk took a part that is no whole block.
                if error.errno != EINVAL or not self.bypasses:
                    raise
                self.bypass_cache(on=False)
                write_all(file, memoryview(data)[file.tell() - begin :])
        self.size += len(data)

    @property
    def bypasses(self) -> bool:
        """Whether what is appended goes past the page cache."""
        return self._file is not None and bool(fcntl(self._file.fileno(), F_GETFL) & os.O_DIRECT)

    def _opened(self) -> FileIO:
        if self._file is None:
            with disk_errors(self.path):
                self._file = self.path.open("xb", buffering=0)
        return self._file

    def flush(self) -> None:
        """Have the disk take what was appended so far, while more may be."""
        if self._file is not None:
            with disk_errors(self.path):
                os.fdatasync(self._file.fileno())

    def sync(self) -> None:
        """Make the file durable, and close it; its name is not durable yet."""
        with self._opened() as file, disk_errors(self.path):
            _sync(file, self.path)

    def finish(self) -> None:
        """Make the file and its name durable."""
        self.sync()
        with disk_errors(self.path):
            sync_directory(self.path.parent)

    def discard(self) -> None:
        """Leave nothing behind."""
        self.discarded = True
        if self._file is not None:
            self._file.close()
            self.path.unlink(missing_ok=True)

    def set_aside(self, away: Callable[[], None]) -> None:
        """Let go of it, and have it moved `away`: as far as can be told no row names it."""
        self.discarded = True
        if self._file is not None:
            self._file.close()
            away()

    def remove(self) -> None:
        """Remove the file."""
        self.discard()


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


def replace(path: Path, content: bytes) -> None:
    """Put a new file in the place of one, whole and durable at every moment; one writer at a time.

    Raises:
        DiskFull: There was no room.
    """
    for left in path.parent.glob(f"{path.name}.*"):  # of a writer that was killed: nobody else writes now
        left.unlink(missing_ok=True)
    fresh = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    with disk_errors(path):
        with fresh.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
        sync_directory(path.parent)


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
