"""One account of the disk's room, for all processes that write to the data directory.

Who is going to write reserves room for it first. Of what is free nothing can be had that another has reserved and not
yet written, and, but by the way out, nothing that the way out needs, nor the margin. The way out of a full disk is to
pack what was uploaded and to put the archives on IPFS: after that uploads go, and once the network holds the archives
these, too; removing takes no room. What it needs is the size of all that waits to be packed, and, if our Kubo copies
archives on this disk, that again, and the archives that wait for it. An upload reserves twice, for itself and for its
share of an archive; of a resumable one the database counts both for a while. So what was taken can always be packed,
whatever else is under way: no upload, extraction or restore was let in before its room was there beside that. What
others write to the disk is up to the margin.

Nothing is counted twice but for moments, and what moves is never missed: a writer's reservation shrinks by what is seen
of its file on the disk; an upload's share of an archive that the database counts by now is known by the `moved` of the
process that took it; what has its room reserved is left out of what the database counts.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import NamedTuple, TypeVar

from roadvault_common import metrics
from roadvault_common.errors import DiskFull, Outage
from roadvault_common.files import ledger_store as store
from roadvault_common.files.ledger_book import Book, KuboNote, Note, in_hand, moved_since, settled, with_granted
from roadvault_common.files.room import WAY_OUT, Purpose, Reservation, Waits
from roadvault_common.files.vault import Vault
from roadvault_common.sql.db import Database

T = TypeVar("T")

_LOOKS = 10
"""Times that the account is looked at for one decision: it may have moved on while the database was asked."""
_ANSWER_SECONDS = 10
"""A database that takes longer is away: what reserves must not queue behind it."""
_AHEAD_BYTES, _AHEAD_SHARE = 256 << 20, 16
"""What a process reserves ahead for uploads, so that small ones need no look: at most so much, and such a part of what
is left. The first is a second's worth of fast uploads."""
TIDY_SECONDS, _UNUSED_SECONDS = 0.2, 0.5
"""How often what uploads have written is taken off the account; and for how long what is ahead stands unused."""
_WANTED_SHARE = 16
"""Uploads leave such a part of the disk, at most, to others who wait for room: clients come again at once, and would
take each bit of it before those do. One large file that is asked for must not shut uploads out, however."""


class _Answer(NamedTuple):
    """How the account stood, and what came of a wish for room."""

    notes: Mapping[str, Note]
    reserved: int
    free: int
    left: int
    """Bytes that nobody has reserved and nobody needs; may be negative."""
    granted: int
    settled: bool
    """Whether nothing has moved since the database was asked, so that another look would say the same."""


class Ledger:
    """The account, as one process sees it; `margin_bytes` stay free of all but the way out."""

    def __init__(self, db: Database, vault: Vault, margin_bytes: int = 0) -> None:
        self._db = db
        self._vault = vault
        self.margin_bytes = margin_bytes
        self._book = Book(vault.root)
        # One thread: what it was told first is written first, also if nobody waits for the end of it any more.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="ledger")
        self._deciding = asyncio.Lock()
        self._reservations: set[Reservation] = set()
        self._ahead = self._moved = 0
        self._used_at = 0.0
        """When something of what is reserved ahead was used last, monotonic."""
        self._noted = Note()
        self._seen: Mapping[str, Note] | None = None
        """What all processes had noted at the last look."""
        self._kubo = KuboNote()
        self._waits = Waits()
        for purpose in Purpose:
            metrics.DISK_RESERVED.labels(purpose).set(0)

    @asynccontextmanager
    async def keep(
        self, purpose: Purpose, size: int, *, row: int | None = None, file: str | None = None
    ) -> AsyncIterator[Reservation]:
        """Keep room for `size` bytes until the block ends, which may `grow`; `row` and `file` as of a Reservation.

        Raises:
            DiskFull: There is too little.
            Outage: The database does not say what waits to be packed, or another process has the account locked.
        """
        reservation = Reservation(purpose, row=row, file=file)
        await self.grow(reservation, size)
        try:
            yield reservation
        finally:
            self._reservations.discard(reservation)
            with suppress(Outage):  # then it is noted at the next occasion
                await self.tidy()

    async def grow(self, reservation: Reservation, more: int) -> None:
        """Reserve `more` bytes for something; for an upload `end` has to be called in the end.

        Raises:
            DiskFull: There is too little.
            Outage: As for `keep`.
        """
        if reservation.purpose is not Purpose.UPLOADS:
            async with self._turn():
                await self._decide(reservation, more)
                self._reserve(reservation, more)
        else:
            if more > self._ahead:
                async with self._turn():
                    # Meanwhile smaller ones go on with what is there, so it may be looked at more than once.
                    while (short := more - self._ahead) > 0:
                        granted = await self._decide(reservation, short)
                        self._ahead += granted  # not in one: += would take what was ahead before the wait
            self._ahead -= more
            self._used_at = time.monotonic()
            self._reserve(reservation, more)

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        """Have nobody else of this process decide; who waits for that too long has the answer of those before."""
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                await self._deciding.acquire()
        except TimeoutError:
            raise Outage("the database does not say what waits to be packed, to those who asked before") from None
        try:
            yield
        finally:
            self._deciding.release()

    def _reserve(self, reservation: Reservation, more: int) -> None:
        reservation.size += more
        self._reservations.add(reservation)

    def end(self, upload: Reservation, moved: int) -> None:
        """Give back what an upload has not used; `moved` bytes of it the database counts from now on, for packing."""
        if upload in self._reservations:
            self._reservations.discard(upload)
            self._moved += moved
            self._ahead += max(0, upload.left - moved)

    async def tidy(self) -> None:
        """Take off the account what was written since, and give back what was reserved ahead and is not used.

        Raises:
            Outage: Another process has the account locked, or the disk is full.
        """
        async with self._turn():
            if time.monotonic() - self._used_at > _UNUSED_SECONDS or self._ahead > 2 * _AHEAD_BYTES:
                self._ahead = 0
            note = self._note()
            if note != self._noted:
                await self._in_thread(lambda: self._write(note))
                self._show(note)

    async def set_kubo(self, kubo: KuboNote) -> None:
        """Note for all processes what our Kubo does with this disk.

        Raises:
            Outage: Another process has the account locked, or the disk is full.
        """
        await self._in_thread(lambda: self._set_kubo(kubo))

    def _set_kubo(self, kubo: KuboNote) -> None:
        with self._book.locked():
            self._book.set_kubo(kubo)

    # --- decisions -----------------------------------------------------------------------------------------------

    async def _decide(self, reservation: Reservation, short: int) -> int:
        """Return how many bytes were reserved, at least `short`; raise DiskFull if there are too few."""
        purpose, way_out, needed, margin = reservation.purpose, reservation.purpose in WAY_OUT, 0, 0
        for look in range(_LOOKS):
            seen = self._seen if self._seen is not None else await self._in_thread(self._look)
            if not way_out:
                needed, margin = await self._needed(seen), self.margin_bytes
            answer = await self._in_thread(partial(self._ask, self._note(), reservation, short, needed + margin, seen))
            self._seen = answer.notes
            if answer.granted:
                self._waits.end(reservation)
                self._show(self._noted)
                return answer.granted
            if answer.settled and look:
                break
        if answer.left >= short:
            raise Outage(f"the account of the disk's room changes too fast to reserve {short} bytes for {purpose}")
        self._waits.begin(reservation, reservation.size + short)
        keeps = "" if way_out else f", {needed} are kept to pack what was uploaded, {margin} as the margin"
        words = (
            f"no room for {purpose}: {short} bytes are needed, {answer.free} are free; of these"
            f" {answer.reserved} are reserved{keeps}"
        )
        raise DiskFull(words, code="no_room", need_bytes=short, free_bytes=answer.free)

    async def _needed(self, seen: Mapping[str, Note]) -> int:
        packing, pinning = in_hand(seen)
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                needed = await store.to_pack(self._db, packing, self._vault.store)
                return needed + (await store.to_copy(self._db, pinning, self._vault.store) if self._kubo.copies else 0)
        except TimeoutError:
            raise Outage("the database does not say what waits to be packed") from None

    def _ask(self, mine: Note, reservation: Reservation, short: int, needed: int, seen: Mapping[str, Note]) -> _Answer:
        """Look at the account, and note the wish if there is room for it. Blocks."""
        way_out, uploads = reservation.purpose in WAY_OUT, reservation.purpose is Purpose.UPLOADS
        with self._book.locked():
            notes = {**self._book.others(), self._book.name: mine}
            before, self._kubo = self._kubo, self._book.kubo()
            reserved, free = self._reserved(notes)
            left = free - reserved - needed - (0 if way_out else moved_since(seen, notes))
            if uploads:
                left -= min(sum(note.wanted for note in notes.values()), self._vault.total_bytes() // _WANTED_SHARE)
            final = way_out or (before.copies == self._kubo.copies and settled(seen, notes))
            granted = 0
            if left >= short and final:
                granted = short + (min(_AHEAD_BYTES, (left - short) // _AHEAD_SHARE) if uploads else 0)
                self._noted = with_granted(mine, reservation, granted)
                self._book.write(self._noted)
                notes[self._book.name] = self._noted
        return _Answer(notes, reserved, free, left, granted, final)

    def _reserved(self, notes: Mapping[str, Note]) -> tuple[int, int]:
        """Return what is reserved and not yet written, and what is free."""
        reserved = sum(sum(note.reserved.values()) for note in notes.values())
        # Before and after: a file that grows meanwhile, or goes, does not make for more room than there is.
        before = [self._book.written(note) for note in notes.values()]
        free = self._vault.free_bytes()
        after = [self._book.written(note) for note in notes.values()]
        written = sum(min(one[path], two[path]) for one, two in zip(before, after, strict=True) for path in one)
        return reserved - written, free

    def _look(self) -> Mapping[str, Note]:
        with self._book.locked():
            self._kubo = self._book.kubo()
            return self._book.others()

    def _write(self, note: Note) -> None:
        with self._book.locked():
            self._book.write(note)
            self._noted = note

    def way_out(self, size: int) -> int:
        """Return what the way out needs for an upload of `size` bytes."""
        return size * (2 if self._kubo.copies else 1)

    def kubo_keeps(self, size: int) -> int:
        """Return what our Kubo takes of this disk for `size` bytes that it fetches, as far as is known."""
        return 0 if self._kubo.elsewhere else size

    def _note(self) -> Note:
        """Return what this process has reserved, as it stands."""
        reserved: dict[str, int] = dict.fromkeys(Purpose, 0)
        reserved[Purpose.UPLOADS] = self._ahead
        for one in self._reservations:
            reserved[one.purpose] += one.left
        packing, pinning = (
            frozenset(one.row for one in self._reservations if one.purpose is purpose and one.row is not None)
            for purpose in (Purpose.PACKING, Purpose.PINNING)
        )
        files = {one.file: one.size for one in self._reservations if one.file is not None}
        return Note(
            reserved=reserved,
            files=files,
            moved=self._moved,
            wanted=self._waits.wanted(),
            packing=packing,
            pinning=pinning,
        )

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def _show(self, note: Note) -> None:
        for purpose, size in note.reserved.items():
            metrics.DISK_RESERVED.labels(purpose).set(size)
