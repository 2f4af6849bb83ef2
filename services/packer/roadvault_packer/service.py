"""The packer: turns a closed folder into one encrypted archive."""

import asyncio
from collections.abc import Sequence
from functools import partial

import structlog
from prometheus_client import Gauge

from roadvault_common.archive.crypto import MasterKeys
from roadvault_common.archive.local import beside
from roadvault_common.errors import IdentityMismatch, LeaseLost, TransientError, brief
from roadvault_common.events.bus import Bus
from roadvault_common.events.kinds import FolderSealed
from roadvault_common.files.identity import Identity
from roadvault_common.files.ledger import Ledger
from roadvault_common.files.room import Purpose
from roadvault_common.files.sweep import Sweeper
from roadvault_common.files.vault import ARCHIVES, Vault
from roadvault_common.metrics import STAGE_BYTES
from roadvault_common.retention.periods import End, Periods
from roadvault_common.retention.places import Places
from roadvault_common.sql.db import Database
from roadvault_common.work import breakers, reasons
from roadvault_common.work.breakers import Breakers
from roadvault_common.work.lease import Lease
from roadvault_common.work.outcome import Done, Failed, Outcome, Wait
from roadvault_common.work.reasons import Reason
from roadvault_common.work.stages import PACK
from roadvault_common.work.worker import Worker
from roadvault_packer.archive import Packed, most_bytes, pack
from roadvault_packer.config import PackerSettings
from roadvault_packer.store import PackerStore, Sealed
from roadvault_packer.uploads import Spoilt, Unreadable, Upload, faults

log = structlog.get_logger()

SET_ASIDE = Gauge(
    "roadvault_files_set_aside", "Uploads that had rotted before they were packed, and wait for a person, up to 10 000"
)
_LETTERED = 5
"""Reasons that one dead letter tells of."""


class Packer:
    """Packs folders; `packing` is the stage's worker."""

    def __init__(self, settings: PackerSettings, db: Database, bus: Bus, vault: Vault, keys: MasterKeys) -> None:
        self._bus = bus
        self._vault = vault
        self._keys = keys
        self._store = PackerStore(db, vault.store)
        self._days = settings.retention_days
        self.periods = Periods(db, keys, Places(settings.keyring))
        self.ledger = Ledger(db, vault)
        self._sweeper = Sweeper(settings, db, vault, ARCHIVES, self._store.named)
        self._identity = Identity(db, vault.root, vault.store, only_looks=True)
        needs = [breakers.database(db), breakers.disk(vault)]
        self.breakers = Breakers(*needs, breakers.redis(bus))
        seconds, at_once = settings.lease_seconds, settings.concurrency
        self.packing = Worker(
            PACK, self._pack, db, bus, lease_seconds=seconds, concurrency=at_once, store=vault.store, needs=needs
        )

    async def _pack(self, lease: Lease) -> Outcome:
        folder = await self._store.folder(lease.row_id)
        uploads = await self._store.uploads(lease.row_id)
        if folder is None or not folder["files"]:
            return Failed(Reason("no_files", "the folder has no files"))
        if len(uploads) + folder["set_aside"] != folder["files"]:
            there = f"there are {len(uploads)}, and {folder['set_aside']} that were set aside"
            words = f"the folder's row counts {folder['files']} files, {there}"
            have = len(uploads) + folder["set_aside"]
            return Failed(Reason("files_missing", words, have=have, need=folder["files"]))
        if not uploads:
            await self._store.close_without_archive(lease)
            return Done()
        end = None if self._days is None else await self.periods.end_in(self._days)
        await self._vault.remove_remains(f"{ARCHIVES}/{lease.row_id}-*", partial(self._store.named_under, lease))
        name = f"{lease.row_id}-{lease.token}.7z.enc"
        path = f"{ARCHIVES}/{name}"
        async with self.ledger.keep(Purpose.PACKING, most_bytes(uploads), row=lease.row_id, file=path):
            return await self._write(lease, uploads, path, name, end)

    async def _write(self, lease: Lease, uploads: Sequence[Upload], path: str, name: str, end: End | None) -> Outcome:
        keys = self._keys if end is None else end.key
        try:
            packed: Packed = await asyncio.to_thread(
                pack, lease.row_id, uploads, self._vault.root, self._vault.path(path), keys, lease.progress
            )
        except (Spoilt, Unreadable) as error:
            return await self._set_aside(lease, uploads, error)
        sealed = Sealed(path, name, keys.wrap(packed.key.key), keys.ids[0], packed, None if end is None else end.at)
        try:
            zip_id = await self._store.seal(lease, sealed)
        except LeaseLost:
            for one in (path, beside(path)):
                await asyncio.to_thread(self._vault.remove, one)
            raise  # on any other error a row may name the archive; if none does, the sweep of unnamed files takes it
        STAGE_BYTES.labels(PACK.name).inc(packed.size)
        log.info("folder sealed", zip_id=zip_id, files=len(uploads), bytes=packed.size)
        await self._bus.emit(FolderSealed(zip_id=zip_id), self._vault.store)
        return Done()

    async def _set_aside(self, lease: Lease, uploads: Sequence[Upload], met: Spoilt | Unreadable) -> Outcome:
        """Set aside what has rotted among the uploads; the folder is due again at once, to be packed without them.

        One was met while packing. All are read now, so that many cost one more pass, and what was found is kept should
        this process be killed. One that the disk does not give out is tried again first, as often as anything else.
        """
        last = lease.attempt >= PACK.max_attempts
        if isinstance(met, Unreadable) and not last:
            raise met
        found = await asyncio.to_thread(faults, uploads, self._vault.root, lease.progress)
        rotten = {number: reasons.of(fault) for number, fault in found.items() if last or isinstance(fault, Spoilt)}
        if not rotten:
            raise TransientError(f"{brief(met)}; read once more, it was whole")
        try:
            await self._identity.look()  # in a wrong directory everything is missing
        except IdentityMismatch as error:
            return Wait(reasons.of(error))
        first = "; ".join(list(rotten.values())[:_LETTERED])
        reason = f"{len(rotten)} of {len(uploads)} uploads are not what they were: {first}"
        words = f"set aside, and the others are packed: {reason}"
        outcome = Wait(Reason("set_aside", words, files=len(rotten), of=len(uploads)), after=0)
        await self._store.set_aside(lease, rotten, outcome)
        await self._bus.dead_letter("set-aside", f"folder {lease.row_id}: {reason}", row=lease.row_id)
        return outcome

    async def measure(self) -> None:
        """Show how many uploads were set aside and wait for a person."""
        SET_ASIDE.set(await self._store.count_set_aside())

    async def sweep_orphans(self) -> None:
        """Move archives that no row names to quarantine: attempts that were cut short."""
        await self._sweeper.sweep()
