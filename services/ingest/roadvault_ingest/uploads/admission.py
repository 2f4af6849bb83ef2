"""Which uploads are taken: as many as the disk has room for, together with the archives that they become."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from roadvault_common.errors import DatabaseUnavailable
from roadvault_common.files.vault import Vault
from roadvault_ingest.problems import NoRoom, Unavailable
from roadvault_ingest.store import IngestStore
from roadvault_ingest.uploads.receive import Incoming

_LOOK_SECONDS = 0.5
"""How long room that was seen is given away before the disk and the database are looked at again."""
_ANSWER_SECONDS = 10
"""A database that takes longer is away: uploads must not queue behind it."""
_FIRST_BYTES, _STEP_BYTES = 1 << 20, 64 << 20
"""Room for an upload whose length is not known: at first, then always twice as much, by this many more at the most."""
_FULL_RETRY_SECONDS = 60
"""What a client is told to wait when the disk is full: about the time to pack and drop a folder."""


class Admission:
    """Admits uploads while packing, the way out of a full disk, keeps its room: so many at once, and from one address.

    An archive that is being written counts twice for as long as that takes, as what is gone from the disk and as what
    its folder still needs: near its end a disk refuses a folder's worth that it could have taken.
    """

    def __init__(self, store: IngestStore, vault: Vault, margin_bytes: int, at_once: int, per_peer: int) -> None:
        self._store = store
        self._vault = vault
        self._margin_bytes = margin_bytes
        self._at_once = at_once
        self._per_peer = per_peer
        self._of_peer = Counter[str]()
        self._count = 0
        """Uploads under way; each takes 1 to 2 MB of memory at its most."""
        self._under_way: dict[Incoming, int] = {}
        """Bytes that each of those admitted may come to, as far as room is kept for it."""
        self._deciding = asyncio.Lock()
        self._room, self._looked_at = 0, float("-inf")

    @asynccontextmanager
    async def admit(self, incoming: Incoming, length: int | None, peer: str) -> AsyncIterator[None]:
        """Keep room for an upload of up to `length` bytes until the block ends; for one without a length, `grow` does.

        Raises:
            NoRoom: The disk has too little.
            Unavailable: Too many uploads are under way, or the database does not say what waits to be packed.
        """
        if self._count >= self._at_once:
            raise Unavailable(f"{self._count} uploads are under way; try again", retry_after=5)
        if self._of_peer[peer] >= self._per_peer:
            raise Unavailable(f"{self._per_peer} uploads from your address are under way; try again", retry_after=5)
        self._count += 1
        self._of_peer[peer] += 1
        try:
            await self._reserve(incoming, _FIRST_BYTES if length is None else length)
            yield
        finally:
            self._under_way.pop(incoming, None)
            self._count -= 1
            self._of_peer[peer] -= 1
            if not self._of_peer[peer]:
                del self._of_peer[peer]

    async def grow(self, incoming: Incoming, size: int) -> None:
        """Keep room for an upload of `size` bytes, and for some more ahead if that is more than was kept.

        Raises:
            NoRoom: The disk has too little by now.
            Unavailable: The database does not say what waits to be packed.
        """
        kept = self._under_way[incoming]
        if size > kept:
            await self._reserve(incoming, max(size, kept + min(kept, _STEP_BYTES)))

    async def _reserve(self, incoming: Incoming, most: int) -> None:
        # One at a time: of several that come together, those that fit are taken.
        async with self._deciding:
            # Twice: for the upload itself, and for its share of the archive.
            await self._take_room(2 * (most - self._under_way.get(incoming, 0)))
            self._under_way[incoming] = most

    async def _take_room(self, needed: int) -> None:
        if self._room < needed or time.monotonic() - self._looked_at > _LOOK_SECONDS:
            await self._look()
        if self._room < needed:
            raise NoRoom("the disk has no room for this upload now; try again later", retry_after=_FULL_RETRY_SECONDS)
        self._room -= needed

    async def _look(self) -> None:
        """Find out how much room there is to give away."""
        # What is recorded while the database is asked counts here and, perhaps, in its answer: never too little.
        reserved = sum(2 * most - incoming.size for incoming, most in self._under_way.items())
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                unpacked = await self._store.unpacked_bytes()
        except (DatabaseUnavailable, TimeoutError) as error:
            raise Unavailable("the database is away; try again", retry_after=5) from error
        free = await asyncio.to_thread(self._vault.free_bytes)
        self._room = free - unpacked - reserved - self._margin_bytes
        self._looked_at = time.monotonic()
