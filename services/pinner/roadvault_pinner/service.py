"""The pinner: puts archives on IPFS, and drops local copies once they may go."""

import asyncio
import time
from contextlib import suppress
from functools import partial

import structlog

from roadvault_common.archive.crypto import MasterKeys
from roadvault_common.archive.local import beside
from roadvault_common.errors import (
    Domain,
    IntegrityError,
    IpfsDiskFull,
    IpfsUnavailable,
    Outage,
    RoadVaultError,
    brief,
)
from roadvault_common.events.bus import Bus
from roadvault_common.events.kinds import ZipPinned
from roadvault_common.files.ledger import Ledger
from roadvault_common.files.vault import Vault
from roadvault_common.ipfs import own_blocks, peering
from roadvault_common.ipfs.rpc import GC_SECONDS, Ipfs
from roadvault_common.metrics import STAGE_BYTES
from roadvault_common.sql.db import Database
from roadvault_common.work import breakers
from roadvault_common.work.audit_gauges import next_in
from roadvault_common.work.breakers import Breaker, Breakers
from roadvault_common.work.lease import Lease
from roadvault_common.work.outcome import Done, Failed, Outcome, Wait
from roadvault_common.work.reasons import Reason
from roadvault_common.work.stages import DROP, PIN, PUBLISH, RESTORE, SHRED
from roadvault_common.work.worker import Worker
from roadvault_pinner.catalogue.publishing import Publisher
from roadvault_pinner.config import PinnerSettings
from roadvault_pinner.copies.adding import Adding
from roadvault_pinner.copies.restoring import Restorer
from roadvault_pinner.ends.shredding import Shredder
from roadvault_pinner.node import shelter
from roadvault_pinner.node.garbage import Garbage
from roadvault_pinner.node.room import KuboRoom
from roadvault_pinner.node.shared_run import SharedRun
from roadvault_pinner.store import Archive, Look, PinnerStore

log = structlog.get_logger()

_DROPS_AT_ONCE = 50
"""Archives dropped in one pass: they share one garbage collection."""
_DROP_LEASE_SECONDS = 2 * GC_SECONDS + 600
"""A garbage collection reports no progress while it walks all pins, and one under way is waited for before it. A drop
whose worker dies waits this long, which hurts nobody."""
_EMPTY_SECONDS = 900
"""While the disk of our node is full, garbage is collected so often though nothing is dropped."""
_LOOK_SECONDS = 120
"""A drop waits so long for what has to be seen anew; whoever sees it makes the drop due sooner."""
_LAST_LOOKS, _LAST_LOOK_SECONDS = 60, 2.0
"""After a garbage collection the archive is in no node of ours: a new count is waited for at once, for two minutes."""


class Pinner:
    """Pins, drops, fetches back and ends archives, publishes the catalogue.

    `pinning`, `dropping`, `restoring`, `shredding` and `publishing` are the stages' workers.
    """

    def __init__(
        self, settings: PinnerSettings, db: Database, bus: Bus, vault: Vault, keys: MasterKeys, ipfs: Ipfs
    ) -> None:
        self._settings = settings
        self._bus = bus
        self._vault = vault
        self._keys = keys
        self._ipfs = ipfs
        self._store = PinnerStore(db, vault.store)
        self.ledger = Ledger(db, vault, settings.disk_margin_bytes)
        self.room = KuboRoom(ipfs, vault, self.ledger, filestore=settings.ipfs_filestore)
        self._adding = Adding(vault, keys, ipfs, self._store, filestore=settings.ipfs_filestore)
        glance = partial(ipfs.check, stores=False)
        self.node = node = [breakers.database(db), Breaker(Domain.IPFS, ipfs.check_pinning, glance=glance)]
        network = Breaker(Domain.NETWORK, partial(peering.check_peers, ipfs))
        # Of what stores nothing, such as drops, none rests: that is what makes room.
        storing = [*node, Breaker(Domain.IPFS_DISK, self._check_disk, glance=glance)]
        self.breakers = Breakers(*storing, network, breakers.redis(bus))
        worker = partial(Worker, db=db, bus=bus, store=vault.store)
        seconds, at_once = settings.lease_seconds, settings.concurrency
        self.pinning = worker(PIN, self._pin, lease_seconds=seconds, concurrency=at_once, needs=storing)
        self.dropping = worker(
            DROP, self._drop, lease_seconds=_DROP_LEASE_SECONDS, concurrency=_DROPS_AT_ONCE, needs=node
        )
        publisher = Publisher(
            db, bus, keys, ipfs, look_every=settings.catalogue_seconds, order_every=settings.catalogue_order_seconds
        )
        self.publishing = worker(PUBLISH, publisher.publish, lease_seconds=seconds, concurrency=1, needs=storing)
        self._garbage = Garbage(ipfs, self._store)
        restorer = Restorer(ipfs, self._store, self._adding, self.room, self._garbage, network, self.pinning.nudge)
        self.restoring = worker(
            RESTORE, restorer.restore, lease_seconds=seconds, concurrency=at_once, needs=storing, uses=[network]
        )
        self._garbage.on_broken = self.restoring.nudge
        self._collect_garbage = SharedRun(self._garbage.collect)
        self._emptying: asyncio.Task[None] | None = None
        self._emptied_at = float("-inf")
        self.shredder = Shredder(db, vault, ipfs, self._collect_garbage, settings.shred_archives)
        self.shredding = worker(
            SHRED,
            self.shredder.shred,
            lease_seconds=max(seconds, _DROP_LEASE_SECONDS),
            concurrency=_DROPS_AT_ONCE,
            needs=node,
        )

    async def _check_disk(self) -> None:
        """See that our node has room for a block; if not, have it begin to throw away what reads and cut adds left.

        Raises:
            IpfsDiskFull: It has none.
            IpfsAway: It can't be told.
        """
        try:
            await self._ipfs.check()
        except IpfsDiskFull:
            if time.monotonic() - self._emptied_at >= _EMPTY_SECONDS:
                self._emptied_at = time.monotonic()
                self._emptying = asyncio.create_task(self._empty())
            raise

    async def tidy(self) -> None:
        """Have our node throw away what reads left, once that is much: it is on the disk that all share.

        Raises:
            IpfsUnavailable: It is away, or can't.
        """
        if await self._garbage.is_much():
            await self._collect_garbage()

    async def _empty(self) -> None:
        with suppress(RoadVaultError):  # who drops archives sees it, too
            await self._collect_garbage()

    async def _pin(self, lease: Lease) -> Outcome:
        archive = await self._store.archive(lease.row_id)
        if archive.path is None:
            return Failed(Reason("no_local_copy", "the archive has no local copy and no CID"))
        try:
            async with self.room.for_add(archive.size, archive.zip_id):
                cid, node = await self._adding.add(archive, lease)
        except (IntegrityError, IpfsUnavailable) as error:
            if isinstance(error, Outage) or archive.cid is None or not await self._rot(archive.cid, error, lease):
                raise
            log.warning("what is kept here has rotted; what is not whole is to be fetched", error=brief(error))
            await self._store.close_rotten(lease)
            self.restoring.nudge()
            return Done()
        if not self._settings.ipfs_filestore:
            self._garbage.pinned += archive.size
        dag_size = await self._ipfs.dag_size(cid)
        # An add writes no block that our node believes to have: one that has rotted there would stay.
        inspect_in = next_in(self._settings) if archive.cid is None else 0
        await self._store.close_pinned(lease, cid, dag_size, node, inspect_in=inspect_in)
        STAGE_BYTES.labels(PIN.name).inc(archive.size)
        log.info("archive pinned", cid=cid, bytes=archive.size, dag_bytes=dag_size)
        await self._bus.emit(ZipPinned(zip_id=lease.row_id))
        self.dropping.nudge()
        return Done()

    async def _rot(self, cid: str, error: Exception, lease: Lease) -> bool:
        """Tell whether an archive can't be pinned again since the file has rotted, or blocks in our node have."""
        if isinstance(error, IntegrityError):
            return True
        broken = await own_blocks.broken_blocks(self._ipfs, cid, lease.progress)
        return await own_blocks.has_any(self._ipfs, broken)  # what is gone is no reason why it can't be added

    async def _drop(self, lease: Lease) -> Outcome:
        archive = await self._store.archive(lease.row_id)
        if archive.cid is None:
            return Done()
        uploads = archive.uploads_dropped_at is None
        if uploads and self._settings.keep_uploads_until == "pinned":
            await self._drop_uploads(lease)
            uploads = False
        look = await self._store.look_again(lease) if uploads or archive.kept else Look(held=False)
        if look.waits is not None:
            return Wait(look.waits, after=_LOOK_SECONDS)
        if look.held:
            kept = await self._drop_proven(archive, archive.cid, lease, uploads=uploads)
            if kept is not None:
                return kept
        elif archive.kept and not await self._ipfs.has_pinned(archive.cid):
            return await self._keep(look, lease)  # an attempt before this one came as far as to unpin it
        await self._store.close_dropped(lease, archive=look.held)
        if look.held:
            log.info("local copies dropped")
        return Done()

    async def _drop_proven(self, archive: Archive, cid: str, lease: Lease, *, uploads: bool) -> Outcome | None:
        """Remove what the network is proven to hold, and return None, unless a last look before that forbids it.

        Then everything stays, our node is to hold the archive again, and the lease is closed with what is returned.
        """
        if archive.kept:
            await shelter.release(self._ipfs, cid)
            await self._ipfs.unpin(cid)
            await self._collect_garbage()
            lease.progress()
            look = await self._look_last(lease)
            if not look.may_go:
                return await self._keep(look, lease)
        if uploads:
            await self._drop_uploads(lease)
        if archive.path is not None:
            for path in (archive.path, beside(archive.path)):
                await asyncio.to_thread(self._vault.remove, path)
        return None

    async def _keep(self, look: Look, lease: Lease) -> Outcome:
        outcome: Outcome = Done()
        if look.waits is not None:
            outcome = Wait(look.waits, after=_LOOK_SECONDS)
        await self._store.close_kept(lease, outcome)
        log.warning("local copies stay after all", reason=look.waits or "there is no valid evidence")
        return outcome

    async def _look_last(self, lease: Lease) -> Look:
        """Look again after a garbage collection; a count that has grown old in it is waited for a little."""
        look = await self._store.look_again(lease)
        for _ in range(_LAST_LOOKS):
            if look.waits is None:
                break
            await asyncio.sleep(_LAST_LOOK_SECONDS)
            look = await self._store.look_again(lease)
        return look

    async def _drop_uploads(self, lease: Lease) -> None:
        paths = await self._store.upload_paths(lease.row_id)
        await asyncio.to_thread(self._remove_all, paths, lease)
        await self._store.note_uploads_dropped(lease)
        log.info("uploads dropped", files=len(paths))

    def _remove_all(self, paths: list[str], lease: Lease) -> None:
        for path in paths:
            self._vault.remove(path)
            lease.progress()
