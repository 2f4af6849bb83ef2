"""The data directory: where files are, and how they are written so that nothing half-done is ever taken for whole.

Every file has its writer's random token in its name, is created exclusively, and is never renamed. What no row names
is swept to `quarantine/` after hours by the service that writes there (`sweep.py`).
"""

import asyncio
import os
import secrets
import shutil
from collections.abc import Awaitable, Callable, Iterable
from itertools import count
from pathlib import Path

from roadvault_common.errors import DiskFull, SettingsError
from roadvault_common.files.ledger_book import LEDGER, Book
from roadvault_common.files.new_file import disk_errors, half_written, sync_directory
from roadvault_common.files.placement import spread
from roadvault_common.files.quarantine import QUARANTINE, Quarantine
from roadvault_common.stores import MAIN

RECEIVED = "received"
ARCHIVES = "archives"
DOWNLOADS = "downloads"
POSTERS = "posters"
SWEPT = (RECEIVED, ARCHIVES, DOWNLOADS, POSTERS)
"""What no row names there goes to quarantine."""
FANOUT = 256
"""Directories below `received/`, so that none of them grows large."""
_NEIGHBOURS = 64
"""Uploads that follow each other into one of these: those that end together need their directory synced but once."""


class Vault:
    """Paths below the data directory of a store; the database stores them relative to it."""

    def __init__(self, root: Path, store: str = MAIN) -> None:
        self.root = root.resolve()
        self.store = store
        self.quarantine = Quarantine(self.root)
        self._uploads = count()

    def prepare(self) -> None:
        """Make the directories, and check that they are one file system that can be written, and has locks.

        Raises:
            SettingsError: They are not.
        """
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            for name in SWEPT:
                (self.root / name).mkdir(exist_ok=True)
                (self.root / QUARANTINE / name).mkdir(parents=True, exist_ok=True)
            (self.root / LEDGER).mkdir(exist_ok=True)
            spread(self.root / RECEIVED)
            for number in range(FANOUT):
                (self.root / RECEIVED / f"{number:02x}").mkdir(exist_ok=True)
            # Also where another process made them just now: what it has not synced yet is not to be relied on.
            for directory in (self.root / RECEIVED, self.root / QUARANTINE, self.root, self.root.parent):
                sync_directory(directory)
        except OSError as error:
            raise SettingsError(f"ROADVAULT_DATA_DIR can't be used: {error}") from error
        quarantines = [f"{QUARANTINE}/{name}" for name in SWEPT]
        devices = {(self.root / name).stat().st_dev for name in (*SWEPT, LEDGER, QUARANTINE, *quarantines)}
        if len(devices) != 1:
            raise SettingsError(
                f"{self.root}: {', '.join(SWEPT)}, {LEDGER} and {QUARANTINE} must be on one file system"
            )
        Book(self.root).check()

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
        """Make a directory, durably, unless it is there; its parent must be.

        Raises:
            DiskFull: There is no room for it.
        """
        path = self.path(relative)
        with disk_errors(path):
            path.mkdir(exist_ok=True)
            sync_directory(path.parent)

    def free_bytes(self) -> int:
        """Return the room left for an unprivileged writer."""
        return shutil.disk_usage(self.root).free

    def total_bytes(self) -> int:
        """Return the size of the file system."""
        return shutil.disk_usage(self.root).total

    def remove(self, relative: str) -> None:
        """Remove a file if it is there. Blocks, like the disk."""
        self.path(relative).unlink(missing_ok=True)

    def set_aside(self, paths: Iterable[str]) -> None:
        """Move files to quarantine, durably, unless they are gone. Blocks, like the disk."""
        for path in paths:
            self.quarantine.set_aside(path)

    async def remove_remains(self, pattern: str, named: Callable[[list[str]], Awaitable[set[str]]]) -> int:
        """Remove files that match `pattern`, but for those that `named` returns: what earlier attempts at a row left.

        An archive that was written to its end goes to quarantine: where a restored database gives a number out once
        more, it may be good, and belong to a row that is lost. `named` is called after the files were listed and has to
        raise LeaseLost unless the caller has the row even then: so what a successor writes, whose name is new, was not
        listed. Return how many went.
        """
        found = await asyncio.to_thread(lambda: [str(path.relative_to(self.root)) for path in self.root.glob(pattern)])
        remains = set(found) - await named(found) if found else set()
        await asyncio.to_thread(self._remove_or_set_aside, remains)
        return len(remains)

    def _remove_or_set_aside(self, paths: Iterable[str]) -> None:
        for path in paths:
            if half_written(self.path(path)):
                self.remove(path)
            else:
                self.quarantine.set_aside(path)
