"""Which uploads are taken: as many as the disk has room for, together with the archives that they become."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from roadvault_common.errors import DatabaseUnavailable
from roadvault_common.vault import Vault
from roadvault_ingest.problems import NoRoom, Unavailable
from roadvault_ingest.receive import Incoming
from roadvault_ingest.store import IngestStore

_UNPACKED_SECONDS = 0.5
"""How old the database's answer may be when an upload is admitted."""
_ANSWER_SECONDS = 10
"""A database that takes longer is away: uploads must not queue behind it."""
_FULL_RETRY_SECONDS = 60
"""What a client is told to wait when the disk is full: about the time to pack and drop a folder."""


class Admission:
    """Admits uploads while packing, the way out of a full disk, keeps its room, and up to `at_once` of them.

    An archive that is being written counts twice for as long as that takes, as what is gone from the disk and as what
    its folder still needs: near its end a disk refuses a folder's worth that it could have taken.
    """

    def __init__(self, store: IngestStore, vault: Vault, margin_bytes: int, at_once: int) -> None:
        self._store = store
        self._vault = vault
        self._margin_bytes = margin_bytes
        self._at_once = at_once
        self._count = 0
        """Uploads under way; each takes up to about 1 MB of memory."""
        self._under_way: dict[Incoming, int] = {}
        """Bytes that each of those admitted may come to."""
        self._deciding = asyncio.Lock()
        self._unpacked, self._asked_at, self._recorded_since = 0, float("-inf"), 0

    @asynccontextmanager
    async def admit(self, incoming: Incoming, length: int) -> AsyncIterator[None]:
        """Keep room for an upload of up to `length` bytes until the block ends.

        Raises:
            NoRoom: The disk has too little.
            Unavailable: Too many uploads are under way, or the database does not say what waits to be packed.
        """
        if self._count >= self._at_once:
            raise Unavailable(f"{self._count} uploads are under way; try again", retry_after=5)
        self._count += 1
        try:
            # One at a time: of several that come together, those that fit are taken.
            async with self._deciding:
                await self._check(length)
                self._under_way[incoming] = length
            yield
        finally:
            self._under_way.pop(incoming, None)
            self._count -= 1

    def recorded(self, size: int) -> None:
        """Note that an upload of `size` bytes was recorded: it waits to be packed now."""
        self._recorded_since += size

    async def _check(self, length: int) -> None:
        if await self._fits(length):
            return
        self._asked_at = float("-inf")  # nobody is refused for a folder that was packed a moment ago
        if not await self._fits(length):
            raise NoRoom("the disk has no room for this upload now; try again later", retry_after=_FULL_RETRY_SECONDS)

    async def _fits(self, length: int) -> bool:
        unpacked = await self._unpacked_bytes()
        free = await asyncio.to_thread(self._vault.free_bytes)
        # Each upload takes its bytes twice: for itself, of which some are written, and for its share of the archive.
        reserved = sum(2 * most - incoming.size for incoming, most in self._under_way.items())
        return free >= unpacked + reserved + 2 * length + self._margin_bytes

    async def _unpacked_bytes(self) -> int:
        """Return the bytes that wait to be packed, as asked a moment ago, and what was recorded here since."""
        if time.monotonic() - self._asked_at > _UNPACKED_SECONDS:
            recorded = self._recorded_since
            try:
                async with asyncio.timeout(_ANSWER_SECONDS):
                    self._unpacked = await self._store.unpacked_bytes()
            except (DatabaseUnavailable, TimeoutError) as error:
                raise Unavailable("the database is away; try again", retry_after=5) from error
            # What was recorded while the database was asked may not be in its answer.
            self._recorded_since -= recorded
            self._asked_at = time.monotonic()
        return self._unpacked + self._recorded_since
