"""`quarantine/` below the data directory: what no row names lies there for days before it is removed.

What came from `received/` lies in `quarantine/received/`, and so on; a file is called after the time and its path.
A file is moved by giving it a second name that nothing has, durably, before the first one goes: it always has one.
"""

import os
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote, unquote

from roadvault_common.errors import PermanentError
from roadvault_common.files.ages import Ages
from roadvault_common.files.new_file import disk_errors, sync_directory

QUARANTINE = "quarantine"
_TIME = "%Y%m%dT%H%M%SZ"
UNNAMED = "user.roadvault.unnamed"
"""Attribute of a file that no row names: for how long a sweep has known it so."""
SET_ASIDE = "user.roadvault.quarantined"
"""Attribute of a file in quarantine: for how long it has lain there."""


class Entry(NamedTuple):
    """A file in quarantine."""

    name: str
    """As it is called in lists and commands: `received/20261127T020000Z-00%2F…`."""
    origin: str
    """Its path before, relative to the data directory."""
    since: datetime
    """By the wall clock, for people."""
    size: int
    """Bytes."""


class Quarantine:
    """Moves files there and back. All methods block."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._directory = root / QUARANTINE

    def path(self, name: str) -> Path:
        """Return where an entry lies."""
        return self._directory / name

    def set_aside(self, relative: str) -> None:
        """Move a file to quarantine, durably, unless it is gone."""
        directory, _, rest = relative.partition("/")
        source, ending = self._root / relative, f"-{quote(rest, safe='')}"
        target = self._directory / directory / f"{datetime.now(UTC):{_TIME}}{ending}"
        with suppress(FileNotFoundError):
            Ages(SET_ASIDE).forget(source)
            _move(source, self._begun(source, target.parent, ending) or target)

    def _begun(self, source: Path, directory: Path, ending: str) -> Path | None:
        """Return the name that the file has in quarantine already: a process was killed while it moved it."""
        if source.lstat().st_nlink == 1:
            return None
        names = (path for path in directory.iterdir() if path.name.endswith(ending))
        return next((path for path in names if path.samefile(source)), None)

    def restore(self, name: str) -> str:
        """Move a file back to where it came from, durably; return that path, relative to the data directory.

        Raises:
            PermanentError: There is no such file in quarantine, or another one where it came from.
        """
        entry = self.entry(name)
        target = self._root / entry.origin
        if not target.parent.is_dir():
            target.parent.mkdir()
            sync_directory(target.parent.parent)
        Ages(UNNAMED).forget(self.path(name))  # else the next sweep would move it again
        try:
            _move(self.path(name), target)
        except FileExistsError:
            raise PermanentError(f"{entry.origin} is there again; {name} stays in quarantine") from None
        return entry.origin

    def purge(self, name: str) -> None:
        """Remove a file from quarantine for good, unless it is gone."""
        path = self.path(name)
        path.unlink(missing_ok=True)
        sync_directory(path.parent)

    def entry(self, name: str) -> Entry:
        """Return what is known of a file in quarantine.

        Raises:
            PermanentError: There is none of that name.
        """
        directory, _, rest = name.partition("/")
        time, _, origin = unquote(rest).partition("-")
        try:
            since = datetime.strptime(time, _TIME).replace(tzinfo=UTC)
            size = self.path(name).lstat().st_size
        except (ValueError, OSError):
            raise PermanentError(f"there is no {name} in quarantine") from None
        if not origin or ".." in Path(name).parts or ".." in Path(origin).parts:
            raise PermanentError(f"there is no {name} in quarantine")
        return Entry(name, f"{directory}/{origin}", since, size)

    def entries(self, directory: str) -> Iterator[Entry]:
        """Yield what came from a directory; what was put there by hand is no entry and stays."""
        with suppress(FileNotFoundError), os.scandir(self._directory / directory) as found:
            for one in found:
                with suppress(PermanentError):
                    yield self.entry(f"{directory}/{one.name}")


def _move(source: Path, target: Path) -> None:
    """Move a file to a name that does not exist, unless it is this file's by now.

    Raises:
        FileExistsError: Another file has the name.
        DiskFull: There is no room for a name.
    """
    try:
        with disk_errors(target):
            os.link(source, target, follow_symlinks=False)
    except FileExistsError:
        if not target.samefile(source):
            raise
    sync_directory(target.parent)
    source.unlink()
    sync_directory(source.parent)
