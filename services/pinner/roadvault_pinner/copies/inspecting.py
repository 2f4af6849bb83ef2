"""Inspects what is kept here, again and again: rot is found before the copy is needed.

All blocks of an archive are read from our IPFS node alone; with the filestore they are the file's own bytes. Where Kubo
has a copy of its own, the file is read besides.
"""

from collections.abc import Callable, Sequence

import structlog

from roadvault_common.archive.crypto import MasterKeys
from roadvault_common.archive.verify import VerifiedStream
from roadvault_common.errors import IntegrityError
from roadvault_common.events.bus import Bus
from roadvault_common.files.vault import Vault
from roadvault_common.ipfs import own_blocks
from roadvault_common.ipfs.rpc import CHUNK_BYTES, Ipfs
from roadvault_common.metrics import STAGE_BYTES
from roadvault_common.sql import audits
from roadvault_common.sql.audits import Audit, Place
from roadvault_common.sql.db import Database
from roadvault_common.work import reasons
from roadvault_common.work.audit_gauges import FAILURES, next_in
from roadvault_common.work.breakers import Breaker
from roadvault_common.work.lease import Lease
from roadvault_common.work.outcome import Done, Outcome, Wait
from roadvault_common.work.reasons import Reason
from roadvault_common.work.stages import INSPECT
from roadvault_common.work.worker import Worker
from roadvault_pinner.config import PinnerSettings
from roadvault_pinner.copies.inspect_store import InspectStore
from roadvault_pinner.store import Archive, PinnerStore

log = structlog.get_logger()

_BUSY_SECONDS = 600
"""An archive that another stage works on, or is to, is inspected once that has ended."""


class Inspector:
    """Inspects archives; `inspecting` is the stage's worker. `on_rot` is called when one is to be restored."""

    def __init__(
        self,
        settings: PinnerSettings,
        db: Database,
        bus: Bus,
        vault: Vault,
        keys: MasterKeys,
        ipfs: Ipfs,
        needs: Sequence[Breaker],
        on_rot: Callable[[], None],
    ) -> None:
        self._settings = settings
        self._db = db
        self._bus = bus
        self._vault = vault
        self._keys = keys
        self._ipfs = ipfs
        self._on_rot = on_rot
        self._archives = PinnerStore(db, vault.store)
        self._store = InspectStore(db)
        self.inspecting = Worker(
            INSPECT,
            self._inspect,
            db,
            bus,
            lease_seconds=settings.lease_seconds,
            store=vault.store,
            concurrency=1,  # it reads all day, and is in nobody's way
            needs=needs,
        )
        self.inspecting.rests = self._rests

    async def _rests(self) -> float:
        return await audits.seconds_to_rest(self._db, Place.LOCAL, self._settings.audit_day_bytes)

    async def _inspect(self, lease: Lease) -> Outcome:
        archive = await self._archives.archive(lease.row_id)
        if archive.cid is None or not archive.kept:
            return Done()
        await audits.spend(self._db, Place.LOCAL, archive.size)
        rot = await self._in_node(archive.cid, archive.size, lease) or await self._in_file(archive, lease)
        STAGE_BYTES.labels(INSPECT.name).inc(archive.size)
        again = next_in(self._settings)
        audit = Audit(archive.files if rot is None else 0, archive.size, "all blocks, from our node alone", rot)
        news = await self._store.close_inspected(lease, audit, again)
        if news is None:
            return Wait(Reason("at_work", "another stage works on the archive"), after=_BUSY_SECONDS)
        if rot is not None:
            FAILURES.labels(Place.LOCAL).inc()
            log.error("what is kept here has rotted; what is not whole is to be fetched", reason=rot.words)
            self._on_rot()
        if news:
            told = f"{rot}. What is not whole steps aside for the network's by itself; look at the disk's health"
            await self._bus.dead_letter(INSPECT.name, told, row=lease.row_id)
        return Done()

    async def _in_node(self, cid: str, size: int, lease: Lease) -> Reason | None:
        """Return what is wrong with the blocks in our node, or None."""
        if not await self._ipfs.has_pinned(cid):
            return Reason("not_pinned", "our IPFS node does not pin it any more")
        broken, unseen = await own_blocks.broken_and_unseen(self._ipfs, cid, size, lease.progress)
        if broken or unseen:
            leaves = -(-size // CHUNK_BYTES)
            wrong = max(len(broken), unseen)
            words = f"of {leaves} blocks in our IPFS node {wrong} are not whole, or not there"
            return Reason("blocks_broken", words, blocks=wrong, of=leaves)
        return None

    async def _in_file(self, archive: Archive, lease: Lease) -> Reason | None:
        """Return what is wrong with the archive's file, where our node does not read it anyway, or None."""
        if archive.path is None or self._settings.ipfs_filestore:
            return None
        members = await self._archives.members(archive.zip_id)
        key = self._keys.unwrap(archive.key, archive.iv, archive.master_key, archive.period_key)
        path = self._vault.path(archive.path)
        try:
            async for _ in VerifiedStream(path, archive.size, key, members, lease.progress):
                pass
        except IntegrityError as error:
            return reasons.of(error)
        return None
