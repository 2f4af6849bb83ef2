"""The pinner: puts archives on IPFS, and drops local copies once they may go."""

import asyncio
from functools import partial

import structlog

from roadvault_common.bus import Bus
from roadvault_common.crypto import MasterKeys
from roadvault_common.db import Database
from roadvault_common.errors import IpfsUnavailable
from roadvault_common.events import ZipPinned
from roadvault_common.ipfs import Ipfs
from roadvault_common.lease import DROP, PIN, RESTORE, Lease
from roadvault_common.metrics import STAGE_BYTES
from roadvault_common.outcome import Done, Failed, Outcome
from roadvault_common.stage import Worker
from roadvault_common.vault import Vault
from roadvault_common.verify import VerifiedStream
from roadvault_pinner.config import PinnerSettings
from roadvault_pinner.shared_run import SharedRun
from roadvault_pinner.store import Archive, PinnerStore

log = structlog.get_logger()

_DROPS_AT_ONCE = 50
"""Archives dropped in one pass: they share one garbage collection."""
_DROP_LEASE_SECONDS = 1800
"""A garbage collection reports no progress and walks all pins; a drop that dies waits this long, which hurts nobody."""


class Pinner:
    """Pins, drops and fetches back archives; `pinning`, `dropping` and `restoring` are the stages' workers."""

    def __init__(
        self, settings: PinnerSettings, db: Database, bus: Bus, vault: Vault, keys: MasterKeys, ipfs: Ipfs
    ) -> None:
        self._settings = settings
        self._bus = bus
        self._vault = vault
        self._keys = keys
        self._ipfs = ipfs
        self._store = PinnerStore(db)
        self._collect_garbage = SharedRun(ipfs.collect_garbage)
        worker = partial(Worker, db=db, bus=bus, well=ipfs.check)
        seconds, at_once = settings.lease_seconds, settings.concurrency
        self.pinning = worker(PIN, self._pin, lease_seconds=seconds, concurrency=at_once)
        self.dropping = worker(DROP, self._drop, lease_seconds=_DROP_LEASE_SECONDS, concurrency=_DROPS_AT_ONCE)
        self.restoring = worker(RESTORE, self._restore, lease_seconds=seconds, concurrency=at_once)

    async def _pin(self, lease: Lease) -> Outcome:
        archive = await self._store.archive(lease.row_id)
        if archive.path is None:
            return Failed("the archive has no local copy and no CID")
        cid = await self._add(archive, lease)
        dag_size = await self._ipfs.dag_size(cid)
        await self._store.close_pinned(lease, cid, dag_size)
        STAGE_BYTES.labels(PIN.name).inc(archive.size)
        log.info("archive pinned", cid=cid, bytes=archive.size, dag_bytes=dag_size)
        await self._bus.emit(ZipPinned(zip_id=lease.row_id))
        self.dropping.nudge()
        return Done()

    async def _add(self, archive: Archive, lease: Lease) -> str:
        """Send the archive to Kubo, every member checked on the way; return its CID."""
        path = self._vault.path(archive.path or "")
        members = await self._store.members(archive.zip_id)
        key = self._keys.unwrap(archive.key, archive.iv, archive.master_key)
        stream = VerifiedStream(path, archive.size, key, members, lease.progress)
        try:
            added = await self._ipfs.add(stream, path if self._settings.ipfs_filestore else None)
        except IpfsUnavailable:
            if stream.failure is not None:
                raise stream.failure from None
            raise
        return added.cid

    async def _drop(self, lease: Lease) -> Outcome:
        archive = await self._store.archive(lease.row_id)
        uploads, local = self._may_go(archive)
        if uploads:
            paths = await self._store.upload_paths(archive.zip_id)
            await asyncio.to_thread(self._remove_all, paths, lease)
        if local and archive.cid is not None:
            await self._ipfs.unpin(archive.cid)
            await self._collect_garbage()
            if archive.path is not None:
                await asyncio.to_thread(self._vault.remove, archive.path)
        await self._store.close_dropped(lease, uploads=uploads, archive=local)
        if uploads or local:
            log.info("local copies dropped", uploads=uploads, archive=local)
        return Done()

    async def _restore(self, lease: Lease) -> Outcome:
        """Fetch an archive back whose replicas have fallen too low, so that the network can copy it from us again."""
        archive = await self._store.archive(lease.row_id)
        if archive.cid is None:
            return Failed("the archive has no CID to fetch")
        await self._ipfs.fetch_and_pin(archive.cid, lease.progress)
        await self._store.close_restored(lease)
        log.info("archive fetched back and pinned", cid=archive.cid)
        return Done()

    def _may_go(self, archive: Archive) -> tuple[bool, bool]:
        """Tell whether the uploads, and whether the local archive, may be removed now."""
        replicated = archive.cid is not None and archive.replicated_at is not None
        pinned_is_enough = self._settings.keep_uploads_until == "pinned"
        uploads = archive.cid is not None and archive.uploads_dropped_at is None and (replicated or pinned_is_enough)
        return uploads, replicated and (archive.path is not None or archive.restored_at is not None)

    def _remove_all(self, paths: list[str], lease: Lease) -> None:
        for path in paths:
            self._vault.remove(path)
            lease.progress()
