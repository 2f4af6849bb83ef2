"""For how long files have been in a state, by the monotonic clock: a wall clock that is set forward ages nothing.

The age is kept in an extended attribute of the file, so that it outlives the process. A restart of the machine, whose
monotonic clock begins anew, takes up to an hour off it. Where the file system has no such attributes it begins anew
with the process.
"""

import os
import time
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

_BOOT = Path("/proc/sys/kernel/random/boot_id")
"""Names the run of the machine: the monotonic clock is one for all its processes, and begins anew with the next."""
_NOTE_SECONDS = 3600.0
"""How often an age is noted: what a restart of the machine may take off it."""


class Mark(NamedTuple):
    """A file with the same mark is the same and was not written to."""

    inode: int
    changed: int
    """Nanoseconds."""
    size: int
    """Bytes."""


class _Note(NamedTuple):
    mark: Mark
    boot: str
    at: float
    """By the monotonic clock of that run of the machine."""
    age: float
    """Seconds, at that time."""


def mark_of(path: Path) -> Mark:
    """Return a file's mark."""
    state = path.lstat()
    return Mark(state.st_ino, state.st_mtime_ns, state.st_size)


class Ages:
    """Ages of the files that are in one state; `attribute` names it. The methods block."""

    def __init__(self, attribute: str) -> None:
        self._attribute = attribute
        self._noted: dict[Path, _Note] = {}
        """Of files that take no attribute, as the last walk and this one saw them."""
        self._before: dict[Path, _Note] = {}

    def begin(self) -> None:
        """Begin a walk: files that it does not come by are forgotten."""
        self._before, self._noted = self._noted, {}

    def age(self, path: Path, mark: Mark) -> float:
        """Return for how many seconds the file has been seen so, unchanged; 0 for the first time."""
        boot, now = _BOOT.read_text().strip(), time.monotonic()
        note = self._recall(path)
        if note is None or note.mark != mark:
            note = _Note(mark, boot, now, 0)
            self._note(path, note)
        elif note.boot != boot or now - note.at >= _NOTE_SECONDS:
            note = _Note(mark, boot, now, note.age + (now - note.at if note.boot == boot else 0))
            self._note(path, note)
        elif path in self._before:
            self._noted[path] = note
        return note.age + now - note.at

    def forget(self, path: Path) -> None:
        """Have the file's age begin anew."""
        with suppress(OSError):
            os.removexattr(path, self._attribute)
        self._noted.pop(path, None)
        self._before.pop(path, None)

    def _recall(self, path: Path) -> _Note | None:
        with suppress(OSError, ValueError):
            boot, inode, changed, size, at, age = os.getxattr(path, self._attribute).decode().split()
            return _Note(Mark(int(inode), int(changed), int(size)), boot, float(at), float(age))
        return self._noted.get(path) or self._before.get(path)

    def _note(self, path: Path, note: _Note) -> None:
        try:
            os.setxattr(path, self._attribute, " ".join(map(str, (note.boot, *note.mark, note.at, note.age))).encode())
        except OSError:  # gone by now, or the file system has no such attributes
            self._noted[path] = note
