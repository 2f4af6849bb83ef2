"""The uploads that a folder is packed from: read and checked, so that one that has rotted is told from the others."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from io import FileIO
from pathlib import Path

from roadvault_common.errors import IntegrityError, TransientError
from roadvault_common.files.facts import NOTHING, Facts

Progress = Callable[[int], None]

_PIECE_BYTES = 1 << 20


@dataclass(frozen=True)
class Upload:
    """A file to pack; `path` is relative to the data directory, None once it was dropped; it was received then, UTC."""

    file_id: int
    file_name: str
    size: int
    sha256: str
    path: str | None
    create_time: datetime
    facts: Facts = NOTHING


class Spoilt(IntegrityError):
    """An upload is gone, or is not what its row says."""


class Unreadable(TransientError):
    """The disk does not give an upload out; another time it may."""

    code = "unreadable"


@contextmanager
def opened(upload: Upload, root: Path) -> Iterator[FileIO]:
    """Open an upload.

    Raises:
        Spoilt: It is not there.
        Unreadable: It can't be opened.
    """
    if upload.path is None:
        raise Spoilt(f"file {upload.file_id}: the upload was dropped before its folder was packed")
    try:
        file = (root / upload.path).open("rb", buffering=0)
    except FileNotFoundError:
        raise Spoilt(f"file {upload.file_id}: the upload {upload.path} is missing from the disk") from None
    except OSError as error:
        raise _unreadable(upload, error) from error
    with file:
        yield file


def read(upload: Upload, file: FileIO, size: int) -> bytes:
    """Read a piece of an upload.

    Raises:
        Unreadable: The disk does not give it out.
    """
    try:
        return file.read(size) or b""
    except OSError as error:
        raise _unreadable(upload, error) from error


def compare(upload: Upload, length: int, sha256: str) -> None:
    """Compare what was read of an upload with its row.

    Raises:
        Spoilt: It is something else.
    """
    if length != upload.size:
        raise Spoilt(f"file {upload.file_id}: {upload.path} has {length} bytes, its row says {upload.size}")
    if sha256 != upload.sha256:
        raise Spoilt(f"file {upload.file_id}: {upload.path} does not have the SHA-256 of its row")


def faults(uploads: Sequence[Upload], root: Path, progress: Progress) -> dict[int, Spoilt | Unreadable]:
    """Read all uploads, and return what is wrong with them, by file id. Blocks; run it in a thread."""
    found: dict[int, Spoilt | Unreadable] = {}
    for upload in uploads:
        try:
            _look(upload, root, progress)
        except (Spoilt, Unreadable) as error:
            found[upload.file_id] = error
    return found


def _look(upload: Upload, root: Path, progress: Progress) -> None:
    digest, length = hashlib.sha256(), 0
    with opened(upload, root) as file:
        while data := read(upload, file, _PIECE_BYTES):
            digest.update(data)
            length += len(data)
            progress(len(data))
    compare(upload, length, digest.hexdigest())


def _unreadable(upload: Upload, error: OSError) -> Unreadable:
    return Unreadable(f"file {upload.file_id}: {upload.path} can't be read: {error.strerror or error}")
