"""Which uploads are taken: as many as the disk has room for, together with the archives that they become."""

from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from roadvault_common.errors import CommitUnknown, DiskFull, Outage
from roadvault_common.files.ledger import Ledger
from roadvault_common.files.new_file import NewFile
from roadvault_common.files.room import Purpose, Reservation, blocks
from roadvault_common.web.connections import counts_for
from roadvault_ingest.problems import NoRoom, Unavailable

_FIRST_BYTES, _STEP_BYTES = 1 << 20, 64 << 20
"""Room for an upload whose length is not known: at first, then always twice as much, by this many more at the most."""
_FULL_RETRY_SECONDS = 60
"""What a client is told to wait when the disk is full: about the time to pack and drop a folder."""


class Admission:
    """Admits uploads for which the ledger has room, for them and what becomes of them: so many at once, and of a peer.

    One whose length is known has room for all of it from the start, and so is refused before it is sent in vain.
    """

    def __init__(self, ledger: Ledger, at_once: int, per_peer: int) -> None:
        self._ledger = ledger
        self._at_once = at_once
        self._per_peer = per_peer
        self._of_peer = Counter[str]()
        self._count = 0
        """Uploads under way; each takes 1 to 2 MB of memory at its most."""
        self._under_way: dict[NewFile, tuple[int, Reservation]] = {}
        """Bytes that each of those admitted may come to, as far as room is kept for it."""

    @asynccontextmanager
    async def admit(self, file: NewFile, length: int | None, peer: str) -> AsyncIterator[None]:
        """Keep room for up to `length` bytes of an upload until the block ends; without a length, `grow` does.

        Raises:
            NoRoom: The disk has too little.
            Unavailable: Too many uploads are under way, or the database does not say what waits to be packed.
        """
        room = Reservation(Purpose.UPLOADS, on_disk=lambda: blocks(file.size - file.began))
        with self.turn(peer):
            try:
                await self._reserve(file, room, _FIRST_BYTES if length is None else length)
                yield
            finally:
                # What stays on the disk has its row by now, or may have: packing needs as much again.
                moved = 0 if file.discarded else self._ledger.way_out(file.size - file.began)
                self._ledger.end(room, moved=moved)
                self._under_way.pop(file, None)

    @contextmanager
    def turn(self, peer: str) -> Iterator[None]:
        """Count an upload as under way until the block ends.

        Raises:
            Unavailable: Too many are.
        """
        peer = counts_for(peer) if peer else ""
        if self._count >= self._at_once:
            raise Unavailable(f"{self._count} uploads are under way; try again", retry_after=5)
        if self._of_peer[peer] >= self._per_peer:
            raise Unavailable(f"{self._per_peer} uploads from your address are under way; try again", retry_after=5)
        self._count += 1
        self._of_peer[peer] += 1
        try:
            yield
        finally:
            self._count -= 1
            self._of_peer[peer] -= 1
            if not self._of_peer[peer]:
                del self._of_peer[peer]

    @asynccontextmanager
    async def hand_over(self, size: int) -> AsyncIterator[None]:
        """Find room for `size` bytes of an upload, and for their way out, which a row counts once the block has ended.

        Raises:
            NoRoom: The disk has too little.
            Unavailable: The database does not say what waits to be packed.
        """
        room = Reservation(Purpose.UPLOADS)
        moved = 0
        try:
            await self._grow(room, blocks(size) + self._ledger.way_out(size))
            yield
            moved = room.size
        except CommitUnknown:
            moved = room.size
            raise
        finally:
            self._ledger.end(room, moved=moved)

    async def grow(self, file: NewFile, size: int) -> None:
        """Keep room for an upload that comes to `size` bytes, and for some more ahead if that is more than was kept.

        Raises:
            NoRoom: The disk has too little by now.
            Unavailable: The database does not say what waits to be packed.
        """
        kept, room = self._under_way[file]
        if size - file.began > kept:
            await self._reserve(file, room, max(size - file.began, kept + min(kept, _STEP_BYTES)))

    async def _reserve(self, file: NewFile, room: Reservation, most: int) -> None:
        """Have room for `most` bytes of an upload, and for their way out."""
        await self._grow(room, blocks(most) + self._ledger.way_out(most) - room.size)
        self._under_way[file] = (most, room)

    async def _grow(self, room: Reservation, more: int) -> None:
        try:
            await self._ledger.grow(room, more)
        except DiskFull as error:
            raise NoRoom(
                "the disk has no room for this upload now; try again later", retry_after=_FULL_RETRY_SECONDS
            ) from error
        except Outage as error:
            raise Unavailable("the database is away; try again", retry_after=5) from error
