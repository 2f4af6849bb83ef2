"""Room for what Kubo writes to its repository, which may be on the data directory's disk or on another."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext

from prometheus_client import Gauge

from roadvault_common.errors import IpfsDiskFull
from roadvault_common.files.ledger import Ledger
from roadvault_common.files.ledger_book import KuboNote
from roadvault_common.files.room import Purpose
from roadvault_common.files.vault import Vault
from roadvault_common.ipfs.rpc import Disk, Ipfs

FREE = Gauge("roadvault_ipfs_disk_free_bytes", "Room that our Kubo has on the file system of its repository")
_APART_BYTES, _APART_SHARE = 256 << 20, 16
"""Two looks at the free room that differ by more than so much and such a part of it are no looks at one disk. Disks
apart that happen to be as full as each other only make the ledger count more than it has to."""


class KuboRoom:
    """Keeps room for adds that copy, and for archives that are fetched back."""

    def __init__(self, ipfs: Ipfs, vault: Vault, ledger: Ledger, *, filestore: bool) -> None:
        self._ipfs = ipfs
        self._vault = vault
        self._ledger = ledger
        self._filestore = filestore
        self._apart = 0
        """Bytes that are kept on a disk of Kubo's own."""

    def for_add(self, size: int, zip_id: int) -> AbstractAsyncContextManager[None]:
        """Keep room for an archive of `size` bytes that is added; the filestore copies nothing.

        Raises:
            IpfsDiskFull: Kubo's disk has none.
            IpfsUnavailable: Kubo does not tell.
        """
        return nullcontext() if self._filestore else self._kept(Purpose.PINNING, size, zip_id)

    def for_restore(self, size: int, zip_id: int) -> AbstractAsyncContextManager[None]:
        """Keep room for an archive that is fetched back, as `for_add`; its blocks are copies, filestore or not."""
        return self._kept(Purpose.RESTORES, size, zip_id)

    async def measure(self) -> None:
        """Show how much room Kubo has."""
        FREE.set((await self._ipfs.disk()).available)

    async def note_disk(self) -> None:
        """Tell all who reserve room what Kubo does with their disk: if it copies there, the way out needs as much more.

        Raises:
            IpfsUnavailable: Kubo does not tell.
        """
        elsewhere = await self._elsewhere() is not None
        await self._ledger.set_kubo(KuboNote(copies=not (self._filestore or elsewhere), elsewhere=elsewhere))

    @asynccontextmanager
    async def _kept(self, purpose: Purpose, size: int, zip_id: int) -> AsyncIterator[None]:
        # What Kubo has written of it is not known, since it gathers blocks: all of it is kept until the end.
        needed = size + size // 64 + (1 << 20)  # the DAG's inner nodes, and the ends of a file for each block
        disk = await self._elsewhere()
        if disk is None:
            async with self._ledger.keep(purpose, needed, row=zip_id):
                yield
            return
        if disk.available - self._apart < needed:
            words = (
                f"no room on Kubo's disk for {purpose}: {needed} bytes are needed, {disk.available} are free there"
                f"; of these {self._apart} are reserved"
            )
            raise IpfsDiskFull(words, code="ipfs_no_room", need_bytes=needed, free_bytes=disk.available)
        self._apart += needed
        try:
            yield
        finally:
            self._apart -= needed

    async def _elsewhere(self) -> Disk | None:
        """Return the disk of Kubo's repository, or None if it may be the data directory's."""
        theirs = await self._ipfs.disk()
        ours = await asyncio.to_thread(os.statvfs, self._vault.root)
        free = ours.f_bfree * ours.f_frsize
        apart = abs(free - theirs.free) > _APART_BYTES + max(free, theirs.free) // _APART_SHARE
        return theirs if apart else None
