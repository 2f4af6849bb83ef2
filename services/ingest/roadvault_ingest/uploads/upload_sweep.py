"""Removes uploads that nobody went on with, and forgets those that became files, and keys, when their time is over."""

import asyncio
from pathlib import Path

import structlog

from roadvault_common.files import tags
from roadvault_common.files.identity import Identity
from roadvault_common.files.vault import RECEIVED, Vault
from roadvault_common.sql.db import Database
from roadvault_ingest.uploads.unfinished import Busy, Lost, Unfinished
from roadvault_ingest.uploads.upload_store import UploadStore

log = structlog.get_logger()

_STEPS = 20
"""Times that a sweep asks for more; the next one goes on."""


class UploadSweep:
    """Sweeps the resumable uploads of one data directory."""

    def __init__(self, store: UploadStore, db: Database, vault: Vault) -> None:
        self._store = store
        self._vault = vault
        self._identity = Identity(db, vault.root, vault.store, only_looks=True)
        self._tagged = tags.refusal(vault.root / RECEIVED) is None

    async def sweep(self) -> None:
        """Remove what has expired.

        Raises:
            IdentityMismatch: The database is not the directory's.
        """
        for _ in range(_STEPS):
            rows = await self._store.expired()
            if not rows:
                break
            await self._identity.look()
            for row in rows:
                await self._expire(row["upload_id"], self._vault.path(row["path"]))
        for _ in range(_STEPS):
            if not await self._store.forget():
                break

    async def _expire(self, upload_id: str, path: Path) -> None:
        file = Unfinished(path)
        try:
            await asyncio.to_thread(file.take, create=False)
            lost = False
        except Busy:
            await self._store.put_off(upload_id)
            return
        except Lost:  # an older dump of the database was restored: the file may have been acknowledged
            lost = True
        try:
            if not await self._store.expire(upload_id):
                return
            log.info("an upload has expired", upload_id=upload_id)
            # What may be more than it seems lies where it is, unnamed, until the sweep moves it to quarantine.
            if self._tagged and not lost:
                await asyncio.to_thread(file.remove)
        finally:
            file.discard()
