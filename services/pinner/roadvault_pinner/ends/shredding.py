"""The end of an archive: its key is destroyed, then all that our disk and our node have of it is removed.

Once the key is gone there is no way back, so that comes first, by itself, and with a last look at what keeps the
archive; whatever cuts the rest short, the next attempt goes on with it.
"""

import asyncio
from collections.abc import Awaitable, Callable

import structlog
from prometheus_client import Gauge

from roadvault_common.archive.local import beside
from roadvault_common.files.vault import Vault
from roadvault_common.ipfs.rpc import Ipfs
from roadvault_common.retention import asking, ends
from roadvault_common.sql.db import Database
from roadvault_common.work.lease import Lease
from roadvault_common.work.outcome import Done, Outcome
from roadvault_pinner.ends.shred_store import Ended, ShredStore
from roadvault_pinner.node import shelter

log = structlog.get_logger()

SOON = Gauge(
    "roadvault_shreds_soon", f"Archives that end within {ends.SOON_DAYS} days, those on hold too, up to 10 000"
)
ASKS = Gauge(
    "roadvault_shred_asks",
    "Archives whose time is over, and period keys that open nothing here, that wait until a person allows them to end",
)


class Shredder:
    """Ends archives whose time is over."""

    def __init__(
        self, db: Database, vault: Vault, ipfs: Ipfs, collect_garbage: Callable[[], Awaitable[None]], usual: int
    ) -> None:
        self._db = db
        self._vault = vault
        self._ipfs = ipfs
        self._collect_garbage = collect_garbage
        self._store = ShredStore(db, usual)
        self._usual = usual

    async def shred(self, lease: Lease) -> Outcome:
        """End an archive, unless something keeps it."""
        decided = await self._store.decide(lease)
        if not isinstance(decided, Ended):
            return decided
        if decided.cid is not None:
            await shelter.release(self._ipfs, decided.cid)
            await self._ipfs.unpin(decided.cid)
            await self._collect_garbage()
            lease.progress()
        await asyncio.to_thread(self._remove, decided, lease)
        await self._store.close(lease)
        log.warning("archive ended: its key is destroyed, and nothing of it is left here")
        return Done()

    def _remove(self, ended: Ended, lease: Lease) -> None:
        archive = [] if ended.path is None else [ended.path, beside(ended.path)]
        for path in (*ended.uploads, *ended.extractions, *ended.pictures, *archive):
            self._vault.remove(path)
            lease.progress()

    async def measure(self) -> None:
        """Show how many archives end soon, and how many would, and wait for a person."""
        SOON.set(await ends.count_soon(self._db))
        asked = await asking.asked(self._db, self._usual)
        ASKS.set(0 if asked is None else asked.archives + len(asked.periods))
