"""Restoring archives: whole ones from the network, and of those that are kept here what has rotted.

What has rotted is made anew from the archive's file where that is whole, which needs nobody; else it comes from the
network.
"""

from collections.abc import Callable

import structlog

from roadvault_common.errors import DiskFull, IpfsUnavailable, NetworkAway
from roadvault_common.ipfs import own_blocks
from roadvault_common.ipfs.dag import linked
from roadvault_common.ipfs.rpc import CHUNK_BYTES, Ipfs
from roadvault_common.work import reasons
from roadvault_common.work.breakers import Breaker
from roadvault_common.work.lease import Lease
from roadvault_common.work.outcome import Done, Failed, Outcome, Wait
from roadvault_common.work.reasons import Reason
from roadvault_pinner.copies.adding import Adding
from roadvault_pinner.node import shelter
from roadvault_pinner.node.garbage import Garbage
from roadvault_pinner.node.room import KuboRoom
from roadvault_pinner.store import Archive, PinnerStore

log = structlog.get_logger()


class Restorer:
    """Restores archives; `on_anew` is called when one is to be added anew from its file."""

    def __init__(
        self,
        ipfs: Ipfs,
        store: PinnerStore,
        adding: Adding,
        room: KuboRoom,
        garbage: Garbage,
        network: Breaker,
        on_anew: Callable[[], None],
    ) -> None:
        self._ipfs = ipfs
        self._store = store
        self._adding = adding
        self._room = room
        self._garbage = garbage
        self._network = network
        self._on_anew = on_anew

    async def restore(self, lease: Lease) -> Outcome:
        """Fetch an archive back whose replicas have fallen too low, so that the network can copy it from us again.

        Likewise one that our node still has, but no longer whole: only what has rotted is fetched.
        """
        archive = await self._store.archive(lease.row_id)
        if archive.cid is None:
            return Failed(Reason("no_cid", "the archive has no CID to fetch"))
        if not archive.kept and (away := await self._away()):
            return away
        await self._adding.keep_label(archive)
        broken, lacking = await self._look_for_rot(archive, archive.cid, lease) if archive.kept else ([], archive.size)
        if broken and await self._adding.is_whole(archive, lease):
            return await self._add_anew(archive.cid, broken, lease)
        if broken and not archive.replicas and await self._ipfs.has_pinned(archive.cid):
            told = _only_copy(archive, len(broken))  # if the rest did not come, Kubo would let go of it
            return Failed(told) if archive.asked else Wait(told.again(f"the market was not asked yet: {told}"))
        try:
            async with self._room.for_restore(lacking, archive.zip_id):
                return await self._fetch(archive, archive.cid, broken, lacking, lease)
        except DiskFull as full:
            return Wait(reasons.of(full))  # a longer one than an outage's: all that is kept was read

    async def _fetch(self, archive: Archive, cid: str, broken: list[str], lacking: int, lease: Lease) -> Outcome:
        if broken and (away := await self._away()):
            return away
        if broken:
            below = [] if archive.node is None else linked(archive.node)  # where the root itself has rotted
            await shelter.keep(self._ipfs, cid, [cid, *map(str, below)])
            await self._step_aside(cid, broken)
        await self._ipfs.fetch_and_pin(cid, lease.progress)
        await shelter.release(self._ipfs, cid)
        self._garbage.pinned += lacking
        await self._store.close_restored(lease)
        log.info("archive fetched back and pinned", cid=cid)
        return Done()

    async def _away(self) -> Wait | None:
        """Return a wait while there is no network: a longer one than an outage's, since all that is kept was read."""
        try:
            await self._network.require()
        except NetworkAway as away:
            return Wait(reasons.of(away))
        return None

    async def _look_for_rot(self, archive: Archive, cid: str, lease: Lease) -> tuple[list[str], int]:
        """Return the blocks that are not whole in our node, and how many bytes are to be fetched at the most."""
        broken, unseen = await own_blocks.broken_and_unseen(self._ipfs, cid, archive.size, lease.progress)
        return broken, (len(broken) + unseen) * CHUNK_BYTES

    async def _step_aside(self, cid: str, broken: list[str]) -> None:
        # Our node asks nobody for a block as long as it believes to have it; what is pinned can't be removed.
        await self._ipfs.unpin(cid)
        try:
            await own_blocks.forget(self._ipfs, broken)
        except IpfsUnavailable as error:
            await self._garbage.see_pins(error)  # Kubo has to follow all pins before it removes a block
            raise
        log.warning("rotten blocks of an archive stepped aside", blocks=len(broken))

    async def _add_anew(self, cid: str, broken: list[str], lease: Lease) -> Outcome:
        """Have what our node lacks made anew from the archive's file, of which nothing can be lost meanwhile."""
        await self._step_aside(cid, broken)  # an add writes no block that our node believes to have
        await self._store.close_kept(lease, Done())
        self._on_anew()
        return Done()


def _only_copy(archive: Archive, broken: int) -> Reason:
    words = (
        f"{broken} blocks of the archive have rotted here, or are gone, and the network is not known to hold it:"
        f" nothing was changed. Bring {archive.path or 'it'} back from a backup, then retry; or retry once the market"
        " counts replicas"
    )
    return Reason("only_copy", words, blocks=broken)
