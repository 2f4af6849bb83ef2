"""The retriever: brings one file back and verifies it; expires old extractions."""

import asyncio
import random
from collections.abc import AsyncGenerator, Collection, Iterator, Sequence
from contextlib import aclosing, suppress
from functools import partial

import structlog
from prometheus_client import Counter

from roadvault_common.archive.crypto import ArchiveKey, MasterKeys
from roadvault_common.errors import (
    DiskFull,
    Domain,
    IntegrityError,
    IpfsRotten,
    IpfsUnavailable,
    LeaseLost,
    NoProvider,
    brief,
)
from roadvault_common.events.bus import Bus
from roadvault_common.events.kinds import DownloadRequested, FileExtracted
from roadvault_common.files.ledger import Ledger
from roadvault_common.files.room import Purpose, Reservation, blocks
from roadvault_common.files.sweep import Sweeper
from roadvault_common.files.vault import DOWNLOADS, Vault
from roadvault_common.ipfs.reading import Reader
from roadvault_common.metrics import STAGE_BYTES
from roadvault_common.sql.db import Database
from roadvault_common.work import breakers, reasons
from roadvault_common.work.breakers import Breaker, Breakers
from roadvault_common.work.lease import Lease
from roadvault_common.work.outcome import Done, Failed, Outcome, Wait
from roadvault_common.work.reasons import Reason
from roadvault_common.work.stages import EXPIRE, FETCH
from roadvault_common.work.worker import Worker
from roadvault_retriever.clips.making import ROOM_BYTES, Clips
from roadvault_retriever.config import RetrieverSettings
from roadvault_retriever.expiry_store import ExpiryStore
from roadvault_retriever.sources import Missing, Unreadable, extract, from_disk, is_whole
from roadvault_retriever.store import RetrieverStore, Shared, Wanted
from roadvault_retriever.streaming.blocks import Blocks as Cached
from roadvault_retriever.streaming.source import Sources

log = structlog.get_logger()

SOURCES = Counter("roadvault_fetch_sources", "Files brought back, by where their bytes came from", ["source"])
ROT = Counter("roadvault_fetch_rot", "Copies whose bytes were not the file's; another source was tried", ["source"])
UNREADABLE = Counter(
    "roadvault_fetch_unreadable", "Local copies that the disk did not give out; another source was tried", ["source"]
)
SHARED = Counter("roadvault_fetch_shared", "Requests served by an extraction that was made for another")
_WAIT_SECONDS = (10.0, 30.0)
"""Between these, a request is looked at again while its file is being brought back for another."""
_NO_PROVIDER_SECONDS = 600
"""Other requests for files of an archive that nobody provides wait this long: each that looks takes half a minute."""
_HASTENED = 100
"""Extractions that may go at once when the disk is short."""
_CALLBACK_WAITS_SECONDS = 3600
"""An extraction whose callback is still to be tried is looked at again after this."""

Source = tuple[str, AsyncGenerator[bytes, None], ArchiveKey | None]
"""A name, the bytes, and the key to decrypt them with."""


class Retriever:
    """Brings files back; `fetching` and `expiring` are the stages' workers."""

    def __init__(
        self, settings: RetrieverSettings, db: Database, bus: Bus, vault: Vault, keys: MasterKeys, reader: Reader
    ) -> None:
        self._settings = settings
        self._bus = bus
        self._vault = vault
        self._keys = keys
        self._reader = reader
        self._store = RetrieverStore(db, vault.store)
        self.mend = self._store.mend
        self._expiry = ExpiryStore(db, vault.store)
        self.ledger = Ledger(db, vault, settings.disk_margin_bytes)
        self.sources = Sources(db, vault, keys, reader, self.ledger, self.mend)
        self.cached = Cached(settings.stream_cache_bytes)
        self._clips = Clips(vault, self.ledger, self.sources, self.cached, settings.clip_bytes)
        self._sweeper = Sweeper(settings, db, vault, DOWNLOADS, self._store.named)
        for source in ("received", "archive", "ipfs"):
            for counter in (SOURCES, ROT, UNREADABLE):
                counter.labels(source)  # Prometheus sees no increase in a series that begins at 1
        seconds, at_once = settings.lease_seconds, settings.concurrency
        database, disk = breakers.database(db), breakers.disk(vault)
        glance = partial(reader.check, stores=False)
        self._network = [
            Breaker(Domain.IPFS, reader.check, glance=glance),
            Breaker(Domain.NETWORK, reader.check_peers),
        ]
        """What is asked for only where no copy is at hand."""
        # Our Kubo gives what it has with a full disk, too, so that nothing rests.
        uses = [*self._network, Breaker(Domain.IPFS_DISK, reader.check, glance=glance)]
        self.breakers = Breakers(database, disk, breakers.redis(bus), *uses)
        worker = partial(Worker, db=db, bus=bus, lease_seconds=seconds, concurrency=at_once, store=vault.store)
        self.local = [database, disk]
        """What is needed by whoever writes files here."""
        self.fetching = worker(FETCH, self._fetch, needs=self.local, uses=uses)
        self.expiring = worker(EXPIRE, self._expire, needs=[database])

    async def _fetch(self, lease: Lease) -> Outcome:
        """Take the file's extraction if there is one, wait if another request is about to have one, else make one."""
        wanted = await self._store.wanted(lease.row_id)
        if wanted.shredded_at is not None:
            day = f"{wanted.shredded_at:%Y-%m-%d}"
            await self._store.close_ended(lease, Reason("ended", f"the file ended on {day}", on=day))
            return Done()
        after = random.uniform(*_WAIT_SECONDS)  # noqa: S311 - jitter
        waits = Wait(Reason("shared_fetch", "the file is being brought back for another request"), after)
        damaged = set[str]()
        while isinstance(found := await self._store.look(lease, wanted, damaged, waits), Shared):
            if not await is_whole(self._vault.path(found.path), found.clip or wanted, lease):
                damaged.add(found.path)
            elif await self._store.close_shared(lease, wanted, found, self._settings.extraction_seconds):
                await self._ring([lease.row_id], shared=1)
                return Done()
        return found or await self._bring_back(lease, wanted, damaged)

    async def _bring_back(self, lease: Lease, wanted: Wanted, damaged: Collection[str]) -> Outcome:
        """Have room for the file, and extract it; without room, what nobody can fetch any more is expired for it.

        What comes from the network our Kubo keeps, too, until it collects garbage.
        """
        directory = f"{DOWNLOADS}/{lease.row_id}"
        path = f"{directory}/{lease.token}"
        await self._vault.remove_remains(f"{directory}/*", partial(self._store.named_under, lease))
        try:
            size = blocks(wanted.size) if wanted.span is None else min(blocks(wanted.size), ROOM_BYTES)
            needed = size if wanted.is_here else size + self.ledger.kubo_keeps(size)
            async with self.ledger.keep(Purpose.EXTRACTIONS, needed, row=lease.row_id, file=path) as room:
                await self._store.note_begun(wanted)
                await asyncio.to_thread(self._vault.make_directory, directory)
                return await self._extract(lease, wanted, damaged, path, room)
        except DiskFull as error:
            words = f"{error}; {await self._hasten_expiry()} extractions expire now"
            raise DiskFull(words, code=error.code, **error.params) from error

    async def _extract(
        self, lease: Lease, wanted: Wanted, damaged: Collection[str], path: str, room: Reservation
    ) -> Outcome:
        """Extract the file for this request and all that wait for it, and in place of damaged extractions of it."""
        made, keep = await self._make(wanted, path, lease, room), self._settings.extraction_seconds
        if made is None:
            return await self._nowhere(lease, wanted)
        try:
            served = await self._store.close_extracted(lease, wanted, made, keep, instead_of=damaged)
        except LeaseLost:
            await asyncio.to_thread(self._vault.remove, path)
            raise  # on any other error a row may name the file; if none does, the sweep of unnamed files takes it
        size = (made.clip or wanted).size
        SOURCES.labels(made.source).inc()
        STAGE_BYTES.labels(FETCH.name).inc(size)
        log.info("file extracted", file_id=wanted.file_id, source=made.source, bytes=size, requests=len(served))
        await self._ring(served, shared=len(served) - 1)
        for one in damaged:
            await self._vault.remove_remains(one, self._store.named)
        return Done()

    async def _make(self, wanted: Wanted, path: str, lease: Lease, room: Reservation) -> Shared | None:
        """Extract the file, or the clip that is wanted of it; None if there is no source."""
        if wanted.span is None:
            source = await self._from_first_source(wanted, path, lease, room)
            return None if source is None else Shared(path, source)
        try:
            source, clip = await self._clips.make(lease, wanted, wanted.span, path, room)
        except NoProvider:
            await self._put_off(wanted)
            raise
        return Shared(path, source, clip)

    async def _nowhere(self, lease: Lease, wanted: Wanted) -> Outcome:
        """Nothing was where the row had said: look at once where its copies went, if they did go; else give up."""
        if await self._store.wanted(wanted.download_id) != wanted:
            # A process that was suspended for long finds that its file was packed and put on the network meanwhile.
            return Wait(Reason("copies_moved", "the file's copies moved while they were looked for"), 0)
        if wanted.elsewhere is not None:
            words = f"the file is at the store {wanted.elsewhere} alone: its services bring it back"
            outcome = Wait(Reason("at_store", words, store=wanted.elsewhere), 0)
            await self._store.hand_over(lease, wanted.elsewhere, outcome)
            await self._bus.emit(DownloadRequested(download_id=lease.row_id), wanted.elsewhere)
            return outcome
        words = f"file {wanted.file_id}: no copy is left: no upload, no local archive, no CID{_aside(wanted)}"
        return Failed(Reason("no_copy", words, file=wanted.file_id))

    async def _ring(self, download_ids: Sequence[int], *, shared: int) -> None:
        SHARED.inc(shared)
        await asyncio.gather(*(self._bus.emit(FileExtracted(download_id=download_id)) for download_id in download_ids))

    async def _from_first_source(self, wanted: Wanted, path: str, lease: Lease, room: Reservation) -> str | None:
        """Extract the file from the first source that has it, and name it; None if there is no source.

        Raises:
            IntegrityError: Sources had it, and none of them had the right bytes.
            Unreadable: There is a local copy that may be read another time, and no other.
        """
        rot: IntegrityError | None = None
        unreadable: Unreadable | None = None
        for name, pieces, key in self._sources(wanted, lease, room):
            try:
                await extract(pieces, key, wanted, self._vault.path(path), lease)
            except Missing as missing:
                log.debug("not at this source", source=name, error=brief(missing))
            except Unreadable as error:
                UNREADABLE.labels(name).inc()
                log.warning("a copy can't be read", source=name, error=brief(error))
                unreadable = error
            except IntegrityError as error:
                ROT.labels(name).inc()
                log.warning("a copy is damaged", source=name, error=brief(error))
                rot = IntegrityError(f"{brief(error)}{_aside(wanted)}")
            except IpfsUnavailable as error:
                if rot is not None or unreadable is not None or isinstance(error, IpfsRotten):
                    await self._store.mend(wanted.zip_id)
                raise
            else:
                return name
        if rot is not None:
            await self._store.mend(wanted.zip_id)
        trouble = unreadable or rot
        if trouble is not None:
            raise trouble
        return None

    def _sources(self, wanted: Wanted, lease: Lease, room: Reservation) -> Iterator[Source]:
        """Yield where the file may be, nearest first."""
        if wanted.path is not None:
            yield "received", from_disk(self._vault.path(wanted.path), 0, wanted.size), None
        if wanted.key is None or wanted.iv is None or wanted.zip_offset is None:
            return
        key = self._keys.unwrap(wanted.key, wanted.iv, wanted.master_key, wanted.period_key)
        if wanted.zip_path is not None:
            yield "archive", from_disk(self._vault.path(wanted.zip_path), wanted.zip_offset, wanted.size), key
        if wanted.on_ipfs is not None:
            yield "ipfs", self._from_network(wanted, wanted.on_ipfs, wanted.zip_offset, lease, room), key

    async def _from_network(
        self, wanted: Wanted, archive: str, offset: int, lease: Lease, room: Reservation
    ) -> AsyncGenerator[bytes, None]:
        """Yield a file's bytes from the network, if that is there.

        Raises:
            Outage: It isn't, or our node isn't.
            DiskFull: It was to come from here, and there is no room for what our node keeps of it.
            NoProvider: Nobody has it; other requests for the archive, which would hold a slot each, wait, too.
        """
        for breaker in self._network:
            await breaker.require()
        if wanted.is_here and (more := self.ledger.kubo_keeps(blocks(wanted.size))):
            await self.ledger.grow(room, more)
        try:
            async with aclosing(self._reader.read(archive, offset, wanted.size, lease.progress)) as pieces:
                async for piece in pieces:
                    yield piece
        except NoProvider:
            await self._put_off(wanted)
            raise

    async def _put_off(self, wanted: Wanted) -> None:
        if wanted.zip_id is not None:
            await self._store.put_off(wanted.zip_id, _NO_PROVIDER_SECONDS)

    async def stand_in(self) -> None:
        """Say that this store takes requests, and take over those of stores that have not said so for long."""
        await self._store.say_here(self._settings.store_link_url, self._settings.store_stream_url)
        while taken := await self._store.take_over(self._settings.store_away_seconds):
            log.warning("took over requests of a store that is away", requests=taken)
            self.fetching.nudge()

    async def keep_room(self) -> None:
        """Expire what nobody can fetch any more while the disk is under its margin, though nobody asks for a file."""
        free = await asyncio.to_thread(self._vault.free_bytes)
        if free < self.ledger.margin_bytes and (hastened := await self._hasten_expiry()):
            log.info("the disk is short: extractions expire early", free=free, extractions=hastened)

    async def _hasten_expiry(self) -> int:
        hastened = await self._expiry.hasten_expiry(_HASTENED)
        self.expiring.nudge()
        return hastened

    async def _expire(self, lease: Lease) -> Outcome:
        extraction = await self._expiry.extraction(lease.row_id)
        if extraction.link_lives_seconds > 0:
            return Done(again_after=extraction.link_lives_seconds + 1)
        if extraction.callback_waits:
            return Done(again_after=_CALLBACK_WAITS_SECONDS)
        if extraction.path is None or not await self._expiry.close_unless_last(lease, extraction):
            if extraction.path is not None:
                await asyncio.to_thread(self._remove, extraction.path)
            await self._expiry.close_expired(lease, extraction)
        log.info("extraction expired", file_id=extraction.file_id)
        return Done()

    def _remove(self, path: str) -> None:
        self._vault.remove(path)
        with suppress(OSError):  # another attempt's file is still there; it goes with its own row or the sweep
            self._vault.path(path).parent.rmdir()

    async def sweep_orphans(self) -> None:
        """Move extractions that no row names to quarantine: attempts that were cut short."""
        await self._sweeper.sweep()


def _aside(wanted: Wanted) -> str:
    """Return what to add to a reason where the upload had rotted before it was packed."""
    if wanted.set_aside is None:
        return ""
    return f"; it was set aside before it was packed (`roadvault set-aside` decides): {reasons.words(wanted.set_aside)}"
