"""The sweep of a directory: what no row names for hours goes to quarantine, and from there, after days, for good.

Before it moves or removes anything it sees that the database is still the directory's own. One that would move more
than is usual moves nothing, and asks: the fault may be in the rows.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

import structlog

from roadvault_common import metrics
from roadvault_common.errors import PermanentError
from roadvault_common.files import sweep_store as store
from roadvault_common.files.ages import Ages, Mark, mark_of
from roadvault_common.files.identity import Identity
from roadvault_common.files.quarantine import SET_ASIDE, UNNAMED, Entry
from roadvault_common.files.vault import Vault
from roadvault_common.settings.config import SweepSettings
from roadvault_common.sql.db import Database
from roadvault_common.stores import MAIN

log = structlog.get_logger()

Named = Callable[[list[str]], Awaitable[set[str]]]
"""Returns those of some paths, relative to the data directory, that a row names."""

_BATCH = 500
"""Paths looked up in one query."""
_WHATEVER_SHARE = 10
"""So many times what is moved without asking is more than is usual, however much lies there."""
_DAY_SECONDS = 86_400


@dataclass
class Found:
    """What a walk has come by: how many files, and of those that no row names for long enough how many, and bytes."""

    most: int
    """Paths that are kept of them: a sweep that finds more will not move any."""
    seen: int = 0
    files: int = 0
    bytes: int = 0
    paths: list[str] = field(default_factory=list)

    def add(self, path: str, size: int) -> None:
        """Count a file that no row names."""
        self.files += 1
        self.bytes += size
        if len(self.paths) < self.most:
            self.paths.append(path)


class Sweeper:
    """Sweeps one of the directories below the data directory."""

    def __init__(self, settings: SweepSettings, db: Database, vault: Vault, directory: str, named: Named) -> None:
        self._settings = settings
        self._db = db
        self._vault = vault
        self._directory = directory
        self._name = sweep_name(vault.store, directory)
        self._named = named
        self._identity = Identity(db, vault.root, vault.store, only_looks=True)
        self._unnamed, self._set_aside = Ages(UNNAMED), Ages(SET_ASIDE)
        metrics.STOPPED_SWEEP.labels(directory).set(0)

    async def sweep(self) -> None:
        """Move what no row names to quarantine, and remove from there what lay long enough; or ask, and do nothing.

        Raises:
            IdentityMismatch: The database is not the directory's.
        """
        await self._identity.look()
        allowed = await store.allowed(self._db, self._name)
        found = await self._find(max(allowed, _WHATEVER_SHARE * self._settings.sweep_files))
        if self._is_unusual(found) and found.files > allowed:
            await store.stop(self._db, self._name, found.files, found.bytes, found.seen)
            metrics.STOPPED_SWEEP.labels(self._directory).set(found.files)
            log.error(
                "a sweep asks: it would move more than is usual; see `roadvault quarantine list`",
                directory=self._directory, files=found.files, bytes=found.bytes, seen=found.seen,
            )  # fmt: skip
        else:
            await self._move(found)
            await store.went_on(self._db, self._name)
            metrics.STOPPED_SWEEP.labels(self._directory).set(0)
            await self._remove_old()
        await asyncio.to_thread(self._measure)

    def _is_unusual(self, found: Found) -> bool:
        usual = self._settings.sweep_files
        most = _WHATEVER_SHARE * usual
        return found.files > most or found.files > max(usual, self._settings.sweep_share * found.seen)

    async def _find(self, most: int) -> Found:
        found, walk = Found(most), self._walk()
        self._unnamed.begin()
        while batch := await asyncio.to_thread(next, walk, None):
            found.seen += len(batch)
            named = await self._named(list(batch))
            unnamed = [path for path in batch if path not in named]
            for path in await asyncio.to_thread(self._old, batch, unnamed):
                found.add(path, batch[path].size)
        return found

    def _old(self, batch: dict[str, Mark], unnamed: list[str]) -> list[str]:
        seconds, root = self._settings.orphan_hours * 3600, self._vault.root
        return [path for path in unnamed if self._unnamed.age(root / path, batch[path]) >= seconds]

    def _walk(self) -> Iterator[dict[str, Mark]]:
        """Yield the files below the directory, a batch of one directory at a time."""
        for folder, _, names in os.walk(self._vault.root / self._directory):
            for start in range(0, len(names), _BATCH):
                batch: dict[str, Mark] = {}
                for name in names[start : start + _BATCH]:
                    path = Path(folder, name)
                    with suppress(FileNotFoundError):
                        batch[str(path.relative_to(self._vault.root))] = mark_of(path)
                if batch:
                    yield batch

    async def _move(self, found: Found) -> None:
        for start in range(0, len(found.paths), _BATCH):
            # The walk may have taken long: rows, and the database itself, may be others by now.
            some = found.paths[start : start + _BATCH]
            moved = sorted(set(some) - await self._named(some))
            await self._identity.look()
            await asyncio.to_thread(self._vault.set_aside, moved)
        if found.files:
            log.info("unnamed files moved to quarantine", directory=self._directory, files=found.files)

    async def _remove_old(self) -> None:
        self._set_aside.begin()
        entries = self._vault.quarantine.entries(self._directory)
        while some := await asyncio.to_thread(_some, entries):
            named = await self._named([entry.origin for entry in some])
            await self._identity.look()
            await asyncio.to_thread(self._decide, some, named)

    def _decide(self, entries: list[Entry], named: set[str]) -> None:
        """Bring back what a row names after all, and remove what lay long enough."""
        quarantine, seconds = self._vault.quarantine, self._settings.quarantine_days * _DAY_SECONDS
        for entry in entries:
            with suppress(FileNotFoundError, PermanentError):  # another process was quicker, or the place is taken
                if entry.origin in named:
                    quarantine.restore(entry.name)
                    log.warning("a row names a file in quarantine: it was brought back", path=entry.origin)
                elif self._set_aside.age(quarantine.path(entry.name), mark_of(quarantine.path(entry.name))) >= seconds:
                    quarantine.purge(entry.name)
                    log.info("removed from quarantine", path=entry.origin, bytes=entry.size)

    def _measure(self) -> None:
        files = size = 0
        oldest = now = datetime.now(UTC)
        for entry in self._vault.quarantine.entries(self._directory):
            files, size, oldest = files + 1, size + entry.size, min(oldest, entry.since)
        metrics.QUARANTINE_FILES.labels(self._directory).set(files)
        metrics.QUARANTINE_BYTES.labels(self._directory).set(size)
        metrics.QUARANTINE_OLDEST.labels(self._directory).set((now - oldest).total_seconds())


def sweep_name(store: str, directory: str) -> str:
    """Return what the row of a sweep that has stopped is called: of the store main as its directory."""
    return directory if store == MAIN else f"{store}/{directory}"


def _some(entries: Iterator[Entry]) -> list[Entry]:
    return list(islice(entries, _BATCH))
