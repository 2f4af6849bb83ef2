"""The files in which processes tell each other what room on the disk they have reserved.

Each process has one in `ledger/`, which it holds with flock for as long as it lives: one whose lock can be had belongs
to a process that is gone, counts for nothing, and is removed. Files are read and written under the lock of one more
file, for microseconds. None of it has to outlive a power cut, so nothing is synced.
"""

import fcntl
import os
import secrets
import time
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path
from threading import Event
from typing import NamedTuple

from pydantic import BaseModel, ValidationError

from roadvault_common.errors import Outage, SettingsError
from roadvault_common.files.new_file import disk_errors, write_all
from roadvault_common.files.room import Purpose, Reservation

LEDGER = "ledger"
"""The directory's name in the data directory."""
_LOCK, _NOTES, _COPIES, _ELSEWHERE = "lock", "process-", "kubo-copies", "kubo-elsewhere"
_WAIT_SECONDS, _TRY_SECONDS = 5.0, 0.001
"""How long another process may hold the lock, which a suspended one could do for ever; and between two tries."""


class Note(BaseModel):
    """What one process has reserved, in bytes by purpose, and what goes with that."""

    reserved: dict[str, int] = {}
    files: dict[str, int] = {}
    """Files, relative to the data directory, that are written to room which counts as reserved, and how long they may
    become: what of them is on the disk is reserved no more. Of uploads there are too many: they are taken off above."""
    moved: int = 0
    """Bytes, counted up from the process's start, that were reserved for archives of uploads and that the database
    counts by now among those which wait to be packed."""
    wanted: int = 0
    """Bytes for which there was no room a moment ago, and which uploads leave to whoever waits for them."""
    packing: frozenset[int] = frozenset()
    """Folders whose archives have their room reserved: they need no other."""
    pinning: frozenset[int] = frozenset()
    """Archives whose copies in Kubo's repository have."""


class KuboNote(NamedTuple):
    """Of our Kubo: whether it copies archives on this disk, and whether its repository is known to be on another."""

    copies: bool = False
    elsewhere: bool = False


class Book:
    """The files, as one process reads and writes them. All methods block; but for `locked` all need the lock."""

    def __init__(self, root: Path) -> None:
        self._root, self._directory = root, root / LEDGER
        self.name = f"{_NOTES}{secrets.token_hex(8)}"
        """The name of this process's own file."""
        self._own: FileIO | None = None
        self._length = 0
        """Bytes that are in it."""

    def check(self) -> None:
        """See that the file system has locks.

        Raises:
            SettingsError: It has none.
        """
        try:
            with suppress(Outage), self.locked():  # a lock that is held, and a full disk, are no lack of locks
                pass
        except OSError as error:
            raise SettingsError(
                f"{self._directory}: processes can't lock files there ({error.strerror}), and would not see what room"
                " the others need: put ROADVAULT_DATA_DIR on a local file system such as ext4 or XFS, or on NFS with"
                " its lock service"
            ) from error

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes out until the block ends.

        Raises:
            Outage: Another process has held the lock for seconds.
            DiskFull: There is no room for the file that is locked.
        """
        with disk_errors(self._directory / _LOCK):
            descriptor = os.open(self._directory / _LOCK, os.O_RDWR | os.O_CREAT, 0o660)
        try:
            end = time.monotonic() + _WAIT_SECONDS
            while not _taken(descriptor, fcntl.LOCK_EX):
                if time.monotonic() > end:
                    raise Outage(
                        f"another process has locked {self._directory / _LOCK} for {_WAIT_SECONDS:.0f} s: it hangs, or"
                        " is suspended"
                    )
                Event().wait(_TRY_SECONDS)  # time.sleep() ends with EINVAL where a clock is bent (libfaketime)
            yield
        finally:
            os.close(descriptor)

    def others(self) -> Mapping[str, Note]:
        """Return what all other living processes have noted, by the names of their files."""
        notes = {}
        for path in self._directory.iterdir():
            if path.name.startswith(_NOTES) and path.name != self.name:
                with suppress(FileNotFoundError):
                    note = _note_of(path)
                    if note is None:
                        path.unlink()
                    else:
                        notes[path.name] = note
        return notes

    def write(self, note: Note) -> None:
        """Note what this process has reserved.

        Raises:
            DiskFull: There is no room for that.
        """
        path = self._directory / self.name
        with disk_errors(path):
            if self._own is None or os.fstat(self._own.fileno()).st_nlink == 0:
                self._own, self._length = path.open("wb", buffering=0), 0
                weakref.finalize(self, self._own.close)
                fcntl.flock(self._own, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Blanks hide what is left of a longer one: so no more room is needed than there is. And they make the room
            # for a longer one first: on a disk that has none, what stands there stays whole.
            text = note.model_dump_json().encode().ljust(self._length)
            try:
                self._own.seek(self._length)
                write_all(self._own, b" " * (len(text) - self._length))
                self._own.seek(0)
                write_all(self._own, text)
            except OSError:
                if self._length == 0:  # others would find a process that tells nothing
                    path.unlink(missing_ok=True)
                    self._own.close()
                    self._own = None
                raise
            self._length = len(text)

    def written(self, note: Note) -> dict[str, int]:
        """Return how many bytes of each of its files are on the disk."""
        return {path: min(most, self._size(path)) for path, most in note.files.items()}

    def _size(self, path: str) -> int:
        try:
            return (self._root / path).stat().st_size
        except FileNotFoundError:
            return 0

    def kubo(self) -> KuboNote:
        """Return what is noted of our Kubo; nothing is, until a pinner has asked it."""
        return KuboNote((self._directory / _COPIES).exists(), (self._directory / _ELSEWHERE).exists())

    def set_kubo(self, kubo: KuboNote) -> None:
        """Note it; that stays when all processes are gone."""
        for name, is_so in ((_COPIES, kubo.copies), (_ELSEWHERE, kubo.elsewhere)):
            path = self._directory / name
            with disk_errors(path):
                if is_so:
                    path.touch()
                else:
                    path.unlink(missing_ok=True)


def moved_since(seen: Mapping[str, Note], notes: Mapping[str, Note]) -> int:
    """Return the bytes that the database may count only since it was asked, and that are no longer reserved."""
    return sum(note.moved - (seen[name].moved if name in seen else 0) for name, note in notes.items())


def settled(seen: Mapping[str, Note], notes: Mapping[str, Note]) -> bool:
    """Tell whether all that the database was not asked for since it had its room then has it now."""
    there = zip(in_hand(seen), in_hand(notes), strict=True)
    return seen.keys() <= notes.keys() and all(before <= now for before, now in there)


def in_hand(notes: Mapping[str, Note]) -> tuple[frozenset[int], frozenset[int]]:
    """Return the folders, and the archives, of which all processes have reserved the room that their way out needs."""
    packing, pinning = ((note.packing for note in notes.values()), (note.pinning for note in notes.values()))
    return frozenset[int]().union(*packing), frozenset[int]().union(*pinning)


def with_granted(note: Note, reservation: Reservation, granted: int) -> Note:
    """Return a note with what was granted besides."""
    purpose, row, file = reservation.purpose, reservation.row, reservation.file
    changes: dict[str, object] = {"reserved": {**note.reserved, purpose: note.reserved[purpose] + granted}}
    if file is not None:
        changes["files"] = {**note.files, file: note.files.get(file, 0) + granted}
    if row is not None and purpose is Purpose.PACKING:
        changes["packing"] = note.packing | {row}
    if row is not None and purpose is Purpose.PINNING:
        changes["pinning"] = note.pinning | {row}
    return note.model_copy(update=changes)


def _taken(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _note_of(path: Path) -> Note | None:
    """Return what a process has noted, or None if it is gone, or had no room on the disk to note anything."""
    try:
        with path.open("rb", buffering=0) as file:
            text = b"" if _taken(file.fileno(), fcntl.LOCK_SH) else file.read().strip()
            return Note.model_validate_json(text) if text else None
    except ValidationError:
        raise Outage(f"{path} can't be understood: is a process of another version running?") from None
