"""The packer: turns a closed folder into one encrypted archive."""

import asyncio
from collections.abc import Sequence
from functools import partial

import structlog

from roadvault_common.archive.crypto import ArchiveKey, MasterKeys
from roadvault_common.errors import LeaseLost
from roadvault_common.events.bus import Bus
from roadvault_common.events.kinds import FolderSealed
from roadvault_common.files.ledger import Ledger, Purpose
from roadvault_common.files.sweep import Sweeper
from roadvault_common.files.vault import ARCHIVES, Vault
from roadvault_common.metrics import STAGE_BYTES
from roadvault_common.sql.db import Database
from roadvault_common.work import breakers
from roadvault_common.work.breakers import Breakers
from roadvault_common.work.lease import PACK, Lease
from roadvault_common.work.outcome import Done, Failed, Outcome
from roadvault_common.work.stage import Worker
from roadvault_packer.archive import Member, Packed, most_bytes, pack
from roadvault_packer.config import PackerSettings
from roadvault_packer.store import PackerStore, Sealed

log = structlog.get_logger()


class Packer:
    """Packs folders; `packing` is the stage's worker."""

    def __init__(self, settings: PackerSettings, db: Database, bus: Bus, vault: Vault, keys: MasterKeys) -> None:
        self._bus = bus
        self._vault = vault
        self._keys = keys
        self._store = PackerStore(db)
        self.ledger = Ledger(db, vault)
        self._sweeper = Sweeper(settings, db, vault, ARCHIVES, self._store.named)
        needs = [breakers.database(db), breakers.disk(vault)]
        self.breakers = Breakers(*needs, breakers.redis(bus))
        seconds, at_once = settings.lease_seconds, settings.concurrency
        self.packing = Worker(PACK, self._pack, db, bus, lease_seconds=seconds, concurrency=at_once, needs=needs)

    async def _pack(self, lease: Lease) -> Outcome:
        folder = await self._store.folder(lease.row_id)
        members = await self._store.files(lease.row_id)
        if folder is None or not members:
            return Failed("the folder has no files")
        if len(members) != folder["files"]:
            return Failed(f"the folder's row counts {folder['files']} files, there are {len(members)}")
        await self._vault.remove_remains(f"{ARCHIVES}/{lease.row_id}-*", partial(self._store.named_under, lease))
        name = f"{lease.row_id}-{lease.token}.7z.enc"
        path = f"{ARCHIVES}/{name}"
        async with self.ledger.keep(Purpose.PACKING, most_bytes(members), row=lease.row_id, file=path):
            return await self._write(lease, members, path, name)

    async def _write(self, lease: Lease, members: Sequence[Member], path: str, name: str) -> Outcome:
        key = ArchiveKey.new()
        packed: Packed = await asyncio.to_thread(
            pack, lease.row_id, members, self._vault.root, self._vault.path(path), key, lease.progress
        )
        sealed = Sealed(path, name, self._keys.wrap(key.key), self._keys.ids[0], key.iv.hex(), packed)
        try:
            zip_id = await self._store.seal(lease, sealed)
        except LeaseLost:
            await asyncio.to_thread(self._vault.remove, path)
            raise  # on any other error a row may name the archive; if none does, the sweep of unnamed files takes it
        STAGE_BYTES.labels(PACK.name).inc(packed.size)
        log.info("folder sealed", zip_id=zip_id, files=len(members), bytes=packed.size)
        await self._bus.emit(FolderSealed(zip_id=zip_id))
        return Done()

    async def sweep_orphans(self) -> None:
        """Move archives that no row names to quarantine: attempts that were cut short."""
        await self._sweeper.sweep()
