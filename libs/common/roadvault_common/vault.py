"""The data directory: where files are, and how they are written so that nothing half-done is ever taken for whole.

Every file has its writer's random token in its name, is created exclusively, and is never renamed. What no row names
is swept after hours by the service that writes there.
"""

import asyncio
import os
import secrets
import shutil
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path

from roadvault_common.errors import DiskFull, SettingsError
from roadvault_common.new_file import sync_directory
from roadvault_common.placement import spread

RECEIVED = "received"
ARCHIVES = "archives"
DOWNLOADS = "downloads"
FANOUT = 256
"""Directories below `received/`, so that none of them grows large."""
_NEIGHBOURS = 64
"""Uploads that follow each other into one of these: those that end together need their directory synced but once."""

_SWEEP_BATCH = 500
"""Paths looked up in one query."""
_Mark = tuple[int, int, int]
"""Inode, time of the last change (ns) and bytes: a file with the same mark is the same and was not written to."""
_SINCE = "user.roadvault.unnamed"
"""Extended attribute of a file that no row names: since when a sweep has known it so, for those after a restart."""
_BOOT = Path("/proc/sys/kernel/random/boot_id")
"""Names the run of the machine: the monotonic clock is one for all its processes, and begins anew with the next."""


class Vault:
    """Paths below the data directory; the database stores them relative to it."""

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()
        self._unnamed: dict[str, tuple[_Mark, float]] = {}
        self._uploads = count()

    def prepare(self) -> None:
        """Make the directories, and check that they are one file system that can be written.

        Raises:
            SettingsError: They are not.
        """
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            for name in (RECEIVED, ARCHIVES, DOWNLOADS):
                (self.root / name).mkdir(exist_ok=True)
            spread(self.root / RECEIVED)
            for number in range(FANOUT):
                (self.root / RECEIVED / f"{number:02x}").mkdir(exist_ok=True)
            # Also where another process made them just now: what it has not synced yet is not to be relied on.
            for directory in (self.root / RECEIVED, self.root, self.root.parent):
                sync_directory(directory)
        except OSError as error:
            raise SettingsError(f"ROADVAULT_DATA_DIR can't be used: {error}") from error
        devices = {(self.root / name).stat().st_dev for name in (RECEIVED, ARCHIVES, DOWNLOADS)}
        if len(devices) != 1:
            raise SettingsError(f"{self.root}: received, archives and downloads must be on one file system")

    def path(self, relative: str) -> Path:
        """Return the absolute path of what a row names.

        Raises:
            SettingsError: It points outside the data directory.
        """
        path = (self.root / relative).resolve()
        if not path.is_relative_to(self.root):
            raise SettingsError(f"{relative!r} points outside the data directory")
        return path

    def new_upload(self) -> str:
        """Return the relative path of an upload to come; its name is random and nobody else's."""
        directory = next(self._uploads) // _NEIGHBOURS % FANOUT
        return f"{RECEIVED}/{directory:02x}/{secrets.token_hex(16)}"

    async def ping(self) -> None:
        """Raise DiskFull if the file system can't be read; one that hangs answers nothing, which the caller times."""
        try:
            await asyncio.to_thread(os.listdir, self.root)
        except OSError as error:
            raise DiskFull(f"the data directory can't be read: {error}") from error

    def make_directory(self, relative: str) -> None:
        """Make a directory, durably, unless it is there; its parent must be."""
        path = self.path(relative)
        path.mkdir(exist_ok=True)
        sync_directory(path.parent)

    def free_bytes(self) -> int:
        """Return the room left for an unprivileged writer."""
        return shutil.disk_usage(self.root).free

    def remove(self, relative: str) -> None:
        """Remove a file if it is there. Blocks, like the disk."""
        self.path(relative).unlink(missing_ok=True)

    async def remove_remains(self, pattern: str, named: Callable[[list[str]], Awaitable[set[str]]]) -> int:
        """Remove files that match `pattern`, but for those that `named` returns: what earlier attempts at a row left.

        `named` is called after the files were listed and has to raise LeaseLost unless the caller has the row even
        then: so what a successor writes, whose name is new, was not listed. Return how many were removed.
        """
        found = await asyncio.to_thread(lambda: [str(path.relative_to(self.root)) for path in self.root.glob(pattern)])
        remains = set(found) - await named(found) if found else set()
        for path in remains:
            await asyncio.to_thread(self.remove, path)
        return len(remains)

    async def sweep_unnamed(
        self, directory: str, seconds: float, named: Callable[[list[str]], Awaitable[set[str]]]
    ) -> int:
        """Remove files below `directory` that were unchanged and named by no row for `seconds`; return how many.

        `named` takes relative paths and returns those that a row names. The time goes by the monotonic clock, so a
        wall clock that is set forward removes nothing. It begins anew when the machine does; where the file system has
        no extended attributes, when the process does.
        """
        removed, now = 0, time.monotonic()
        marks = await asyncio.to_thread(lambda: dict(self._marks(directory)))
        paths, since = list(marks), self._unnamed
        self._unnamed = {path: seen for path, seen in since.items() if not path.startswith(f"{directory}/")}
        for start in range(0, len(paths), _SWEEP_BATCH):
            batch = paths[start : start + _SWEEP_BATCH]
            for path in set(batch) - await named(batch):
                mark, first = since.get(path) or await asyncio.to_thread(self._recall, path) or (None, now)
                if mark != marks[path]:
                    first = now
                    await asyncio.to_thread(self._note, path, marks[path], first)
                if now - first >= seconds:
                    await asyncio.to_thread(self.remove, path)
                    removed += 1
                else:
                    self._unnamed[path] = marks[path], first
        return removed

    def _recall(self, path: str) -> tuple[_Mark, float] | None:
        """Return what a sweep, perhaps of a process before this one, has noted on a file."""
        with suppress(OSError, ValueError):
            boot, inode, changed, size, first = os.getxattr(self.root / path, _SINCE).decode().split()
            if boot == _BOOT.read_text().strip():
                return (int(inode), int(changed), int(size)), float(first)
        return None

    def _note(self, path: str, mark: _Mark, first: float) -> None:
        with suppress(OSError):  # gone by now, or the file system has no such attributes
            note = " ".join(map(str, (_BOOT.read_text().strip(), *mark, first)))
            os.setxattr(self.root / path, _SINCE, note.encode())

    def _marks(self, directory: str) -> Iterator[tuple[str, _Mark]]:
        for folder, _, names in os.walk(self.root / directory):
            for name in names:
                path = Path(folder, name)
                with suppress(FileNotFoundError):
                    state = path.stat()
                    yield str(path.relative_to(self.root)), (state.st_ino, state.st_mtime_ns, state.st_size)
