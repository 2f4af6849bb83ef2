"""Files in a watched folder: opened, marked, moved and removed without ever leaving it by a link.

Each directory on the way is opened without following links, where the system can do that; elsewhere (Windows) the
resolved path has to lie in the folder.
"""

import errno
import hashlib
import io
import json
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PureWindowsPath

from roadvault_agent import names
from roadvault_agent.bucket import Bucket
from roadvault_agent.state import Row, Version

_BY_DIRECTORY = os.open in os.supports_dir_fd
_NO_LINK = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
_NO_WAIT = getattr(os, "O_NONBLOCK", 0)
_DIRECTORY = getattr(os, "O_DIRECTORY", 0)
_PIECE_BYTES = 1 << 20
_PRINT_BYTES = 1 << 16


class Changed(Exception):
    """The file is not what it was."""


class Vanished(Exception):
    """The file is not there: it was removed, or what it lies on was."""


@contextmanager
def _at(folder: str, path: str) -> Iterator[tuple[str, int | None]]:
    """Give what `os` functions want for a file: its name, and the open directory that it is in."""
    if not _BY_DIRECTORY:
        whole = Path(folder, path)
        if not whole.parent.resolve().is_relative_to(Path(folder).resolve()):
            raise Vanished("a link leads out of the folder")
        whole = whole.absolute()
        yield names.reachable(PureWindowsPath(whole)) if os.name == "nt" else str(whole), None
        return
    *directories, name = path.split("/")
    descriptor = os.open(folder, os.O_RDONLY | _DIRECTORY | os.O_CLOEXEC)  # a folder that is away may come back
    try:
        for directory in directories:
            inner = os.open(directory, os.O_RDONLY | _DIRECTORY | _NO_LINK, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = inner
        yield name, descriptor
    except (FileNotFoundError, NotADirectoryError) as error:
        raise Vanished(str(error)) from None
    finally:
        os.close(descriptor)


def _is(state: os.stat_result, version: Version) -> bool:
    return stat.S_ISREG(state.st_mode) and (state.st_size, state.st_mtime_ns) == (version.size, version.mtime_ns)


class Reading(io.FileIO):
    """A file that is read for an upload: not faster than allowed, and only as long as it is what it was."""

    def __init__(self, descriptor: int, version: Version, bucket: Bucket) -> None:
        super().__init__(descriptor, "rb")
        self._version = version
        self._bucket = bucket

    def read(self, size: int | None = -1, /) -> bytes:
        """Read some of it.

        Raises:
            Changed: It is being written to.
        """
        self.check()
        size = self._bucket.piece if size is None or size < 0 else min(size, self._bucket.piece)
        self._bucket.take(size)
        return super().read(size)

    def check(self) -> None:
        """See that it is what it was.

        Raises:
            Changed: It is not.
        """
        if not _is(os.fstat(self.fileno()), self._version):
            raise Changed("the file was changed while it was read")

    def sha256(self) -> str:
        """Return its SHA-256, as fast as it can be read.

        Raises:
            Changed: It is being written to.
        """
        digest = hashlib.sha256()
        self.seek(0)
        while piece := super().read(_PIECE_BYTES):
            digest.update(piece)
        self.check()
        self.seek(0)
        return digest.hexdigest()


@contextmanager
def opened(version: Version, bucket: Bucket) -> Iterator[Reading]:
    """Open a file for reading.

    Raises:
        Changed: It is not what it was.
        Vanished: It is not there.
    """
    with _at(version.folder, version.path) as (name, directory):
        descriptor = os.open(name, os.O_RDONLY | _NO_LINK | _NO_WAIT, dir_fd=directory)
    with Reading(descriptor, version, bucket) as file:
        file.check()
        yield file


def fingerprint(folder: str, path: str) -> bytes:
    """Return a hash of a file's beginning and end."""
    with _at(folder, path) as (name, directory):
        descriptor = os.open(name, os.O_RDONLY | _NO_LINK | _NO_WAIT, dir_fd=directory)
    with io.FileIO(descriptor, "rb") as file:
        digest = hashlib.sha256(file.read(_PRINT_BYTES))
        file.seek(max(file.tell(), os.fstat(descriptor).st_size - _PRINT_BYTES))
        digest.update(file.read(_PRINT_BYTES))
    return digest.digest()


def mark(row: Row) -> None:
    """Write a mark beside a file: which one it is in the archive."""
    told = {"fileID": row.file_id, "sha256": row.sha256, "size": row.version.size}
    with _at(row.version.folder, row.version.path) as (name, directory):
        base, last = os.path.split(name)
        fresh, target = (os.path.join(base, one) for one in (names.OURS + row.key, names.of_mark(last)))  # noqa: PTH118
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | _NO_LINK, 0o644, dir_fd=directory)
        with os.fdopen(descriptor, "w") as file:
            file.write(json.dumps(told) + "\n")
            file.flush()
            os.fsync(file.fileno())
        os.replace(fresh, target, src_dir_fd=directory, dst_dir_fd=directory)


def remove(row: Row, into: Path | None) -> None:
    """Remove a file, or move it below `into`. What is not the file that was sent stays where it is.

    It first gets a name of our own, and is looked at under that one: what somebody puts in its place is left alone.
    Killed anywhere, this can be done again.

    Raises:
        Changed: There is another file in its place.
        OSError: It can't be done now.
    """
    with _at(row.version.folder, row.version.path) as (name, directory):
        base, last = os.path.split(name)
        parked = os.path.join(base, names.OURS + row.key)  # noqa: PTH118
        with suppress(FileNotFoundError):
            if not _is(os.stat(name, dir_fd=directory, follow_symlinks=False), row.version):
                raise Changed("another file is in its place")
            os.rename(name, parked, src_dir_fd=directory, dst_dir_fd=directory)
        try:
            state = os.stat(parked, dir_fd=directory, follow_symlinks=False)
        except FileNotFoundError:  # it was removed before, and then maybe not named yet
            if into is not None:
                _name(row, into)
            return
        if not _is(state, row.version):
            _put_back(parked, name, os.path.join(base, names.beside(last, row.key)), directory)  # noqa: PTH118
            raise Changed("it was written to at the last moment")
        if into is not None:
            _keep(row, parked, directory, into)
        with suppress(FileNotFoundError):
            os.unlink(parked, dir_fd=directory)


def _put_back(parked: str, name: str, other: str, directory: int | None) -> None:
    for target in (name, other):
        try:
            os.stat(target, dir_fd=directory, follow_symlinks=False)
        except FileNotFoundError:
            os.rename(parked, target, src_dir_fd=directory, dst_dir_fd=directory)
            return


def _keep(row: Row, parked: str, directory: int | None, into: Path) -> None:
    """Give a file another place, durably; it may go from where it was then."""
    fresh = into / (names.OURS + row.key)
    into.mkdir(parents=True, exist_ok=True)
    try:
        os.rename(parked, fresh, src_dir_fd=directory)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        _copy(row, parked, directory, fresh)
    _name(row, into)


def _name(row: Row, into: Path) -> None:
    """Name what is in place as it was named, if the disk takes that; never over another file."""
    fresh = into / (names.OURS + row.key)
    parts = row.version.path.split("/")
    for plain in (parts, [names.for_windows(part) for part in parts]):
        target = into.joinpath(*plain)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            if os.path.lexists(target):
                target = target.with_name(names.beside(target.name, row.key))
            with suppress(FileNotFoundError):
                fresh.rename(target)
        except OSError as error:
            if plain is not parts or error.errno not in {errno.EINVAL, errno.ENAMETOOLONG}:
                raise
        else:
            break
    if _DIRECTORY:
        descriptor = os.open(target.parent, os.O_RDONLY | _DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _copy(row: Row, parked: str, directory: int | None, fresh: Path) -> None:
    """Copy it to another disk, and see that the copy is right."""
    digest, half = hashlib.sha256(), fresh.with_name(fresh.name + ".part")
    try:
        with (
            io.FileIO(os.open(parked, os.O_RDONLY | _NO_LINK, dir_fd=directory), "rb") as source,
            half.open("wb") as copy,
        ):
            while piece := source.read(_PIECE_BYTES):
                digest.update(piece)
                copy.write(piece)
            copy.flush()
            os.fsync(copy.fileno())
        if digest.hexdigest() != row.sha256:
            raise OSError(  # noqa: TRY301 - the half is removed for it, too
                f"what was read to be moved is not what was sent: {row.version.path}"
            )
        os.utime(half, ns=(row.version.mtime_ns, row.version.mtime_ns))
    except OSError:
        half.unlink(missing_ok=True)
        raise
    half.rename(fresh)
