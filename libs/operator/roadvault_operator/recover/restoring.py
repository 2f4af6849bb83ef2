"""Brings archives back, many at once.

Each comes with all of its rows or not at all, so that a run that is killed at any point is simply run again.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import replace
from datetime import datetime
from functools import partial

from roadvault_common.archive import local
from roadvault_common.archive.label import FORMAT
from roadvault_common.catalogue.records import ArchiveRecord
from roadvault_common.errors import DatabaseUnavailable, IntegrityError, IpfsRotten, NoProvider, RoadVaultError, brief
from roadvault_common.files.vault import ARCHIVES
from roadvault_common.ipfs import own_blocks
from roadvault_common.ipfs.reading import Reader
from roadvault_common.ipfs.rpc import Ipfs
from roadvault_common.sql.db import Database
from roadvault_operator.recover import archive_store, end_store, hold_store, known_store, reading
from roadvault_operator.recover.candidates import Candidate, Report
from roadvault_operator.recover.end_store import Shredded
from roadvault_operator.recover.known_store import There
from roadvault_operator.recover.reading import Archive, NotAnArchive, Opener, Place

_LATE = ": too late, that has ended"
_ROTTEN = (
    "; our IPFS node has some of it whole, and some not any more, of which it asks nobody: it goes on holding what it"
    " has. If others have all of it, unpin it there, and collect garbage"
)
_KEPT = "; it stays where it is, until a later run opens it, or `recover --without` its path gives it up"
_SWEPT = "; no row names it: it goes to quarantine after hours, and is removed from there after days"
AT_ONCE = 32
"""Archives that are read at once."""


class Restoring:
    """Brings archives back into one database."""

    def __init__(
        self,
        db: Database,
        reader: Reader,
        opener: Opener,
        copies: Iterable[Place],
        pinned: set[str],
        shredded: Shredded,
        made: datetime | None = None,
        node: Ipfs | None = None,
    ) -> None:
        """Take up local `copies` with their archives; `pinned` are CIDs that our own node pins.

        `shredded` are archives that don't come back; the catalogue, if it is a source, was `made` then (UTC); `node` is
        ours, where it is to forget archives of which it only believes to have something.
        """
        self._db = db
        self._reader = reader
        self._opener = opener
        copies = [*copies]
        self._labelled = {place.label: place for place in copies if place.label is not None}
        self._named = {place.path: place for place in copies}
        self._pinned = pinned
        self._shredded = shredded
        self._made = made
        self._node = node
        self._known = known_store.Known()
        self._seen = set[str]()
        self._unread = dict[str, tuple[ArchiveRecord, str]]()
        """By the path of a local copy, archives of the catalogue that did not come from the network, and why."""
        self._first = dict[str, ArchiveRecord]()
        """Likewise those of format 1 that have their rows."""
        self.ended: list[str] = []
        """CIDs of archives that have ended, and don't come back."""
        self.unopened = dict[str, str]()
        """By their paths, local copies that could not be opened, and why."""
        self.report = Report()

    @property
    def left_out(self) -> list[tuple[ArchiveRecord, str]]:
        """The archives of the catalogue that did not come back, and why."""
        return [*self._unread.values()]

    async def run(self, candidates: AsyncIterator[Candidate], progress: Callable[[], None]) -> None:
        """Bring back what is not there; `progress` is called for each.

        Raises:
            DatabaseUnavailable: The database is away: run it again.
        """
        self._known = await known_store.known(self._db)
        turn = asyncio.Lock()  # an async generator is asked by one at a time

        async def work() -> None:
            while True:
                async with turn:
                    candidate = await anext(candidates, None)
                if candidate is None:
                    return
                await self._attempt(candidate)
                progress()

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(AT_ONCE):
                    group.create_task(work())
        except ExceptionGroup as several:  # of what fails them all the first tells enough
            raise several.exceptions[0] from None

    @property
    def left(self) -> list[Candidate]:
        """The local copies whose archives were not come by otherwise."""
        places = (*self._labelled.values(), *(one for one in self._named.values() if one.label is None))
        unread = {path: record for path, (record, _) in self._unread.items() if record.format == FORMAT}
        records = self._first | unread
        return [Candidate(place, records.get(place.path or "")) for place in places]

    async def known_left(self) -> list[Candidate]:
        """Return those of them whose archives have their rows, or are in the catalogue."""
        known = await known_store.known(self._db)
        return [one for one in self.left if one.record is not None or known.at(one.place) is not None]

    async def _attempt(self, candidate: Candidate) -> None:
        cid = candidate.place.cid
        if cid in self._seen:
            return
        self._seen |= {cid} if cid else set()
        try:
            await self._recover(candidate)
        except NotAnArchive as error:
            if candidate.sure:
                self._note_failed(candidate, f"{candidate}: {brief(error)}")
            else:
                self.report.strange.append(f"{candidate}: {brief(error)}")
        except DatabaseUnavailable:
            raise
        except (RoadVaultError, OSError) as error:
            if candidate.run_out and isinstance(error, NoProvider):
                self.report.strange.append(f"{candidate}: its last order has run out, and nobody gives it")
                return
            more = _ROTTEN if isinstance(error, IpfsRotten) else ""
            if candidate.place.path is not None:
                more = _KEPT if candidate.place.path in self.unopened else _SWEPT
            self._note_failed(candidate, f"{candidate}: {brief(error)}{more}")

    def _note_failed(self, candidate: Candidate, why: str) -> None:
        self.report.failed.append(why)
        if candidate.record is not None and candidate.place.cid is not None:
            self._unread[f"{ARCHIVES}/{candidate.record.zip_name}"] = candidate.record, why

    async def _recover(self, candidate: Candidate) -> None:
        there, record = self._there(candidate), candidate.record
        if record is not None and record.ended is not None:
            await self._note_ended(there or self._known.of(record), record, record.ended)
            return
        if there is not None and not _lacks(there, candidate):
            await self._note_known(there, candidate)
            return
        if there is None and self._is_shredded(candidate, None if record is None else record.folder_id):
            return
        try:
            archive = await self._opened(candidate)
        except IpfsRotten:
            if not await self._forgotten(candidate.place.cid or ""):
                raise
            archive = await self._opened(candidate)
        except (RoadVaultError, OSError) as error:
            if candidate.place.path is not None and local.may_be_noted(candidate.place.path):
                self.unopened[candidate.place.path] = brief(error)
            raise
        there = there or self._known.same(archive)
        if there is None and self._is_shredded(candidate, archive.manifest.folder):
            self._note_done(archive.place)
            return
        if there is None:
            pinned = archive.place.cid in self._pinned
            await archive_store.add(self._db, archive, self._opener.keys, candidate.record, pinned=pinned)
            self.report.archives += 1
            self.report.files += len(archive.manifest.files)
        else:
            await known_store.complete(self._db, there, archive, candidate.record, held=self._held(there, archive))
            self.report.completed.add(there.zip_id)
            await self._note_known(there, candidate)
        self._note_done(archive.place)

    async def _note_ended(self, there: There | None, record: ArchiveRecord, ended: datetime) -> None:
        """Note an archive whose key was destroyed, by the catalogue: one that lives here is over, others don't come."""
        at = archive_store.utc(ended)
        self._shredded.folders[record.folder_id] = self._shredded.cids[record.cid] = at
        if there is None:
            self.report.ended += 1
            self.ended.append(record.cid)
            self._note_done(self._named.get(f"{ARCHIVES}/{record.zip_name}", Place()))
            return
        self.report.known.add(there.zip_id)
        if not there.ended:
            told = await self._db.transact(partial(end_store.end_again, zip_id=there.zip_id, shredded_at=at))
            self.report.over += [] if told is None else [told]

    def _is_shredded(self, candidate: Candidate, folder_id: int | None) -> bool:
        """Tell whether an archive without rows was shredded, and no later catalogue has it living; that is noted."""
        record, cid = candidate.record, candidate.place.cid
        at = self._shredded.at(None if record is None else record.zip_id, folder_id, cid)
        if at is None or (record is not None and self._made is not None and self._made > at):
            return False  # where it lived on, as in a restored dump, a person has yet to decide
        self.report.ended += 1
        self.report.over.append(f"{candidate}: it was shredded on {at:%Y-%m-%d %H:%M} UTC, and does not come back")
        self.ended += [cid] if cid else []
        return True

    async def _forgotten(self, cid: str) -> bool:
        """Have our node forget an archive whose files are gone from the disk: it asks nobody for what it refers to.

        Where it has any of it, it goes on holding that: the network is not known to have all.
        """
        leaves = [] if self._node is None else await own_blocks.lost_leaves(self._node, cid)
        if self._node is None or not leaves:
            return False
        await self._node.unpin(cid)
        await own_blocks.forget(self._node, leaves)
        self._pinned.discard(cid)
        return True

    def _there(self, candidate: Candidate) -> There | None:
        """Return the archive that has its rows already."""
        place, record = candidate.place, candidate.record
        found = self._known.at(place)
        return self._known.at(Place(record.cid)) if found is None and record is not None else found

    def _held(self, there: There, archive: Archive) -> bool | None:
        """Return whether our node holds an archive whose row names a local copy that is gone; None: it is there."""
        if there.path is None or self._opener.has(there.path):
            return None
        return archive.place.cid in self._pinned

    async def _note_known(self, there: There, candidate: Candidate) -> None:
        self.report.known.add(there.zip_id)
        record = candidate.record
        if record is not None and (record.holds or record.more_holds):
            held = await hold_store.bring_back_late(self._db, there.zip_id, record)
            self.report.held += [f"{one}, of archive {there.zip_id}{_LATE * there.ended}" for one in held]
        if record is not None and not there.ended:
            await self._follow_end(there, record)
        if record is not None and there.cid is not None and await known_store.follow(self._db, there, record):
            self.report.completed.add(there.zip_id)
        if record is not None and record.format == 1:
            self._first[f"{ARCHIVES}/{record.zip_name}"] = record
        self._note_done(candidate.place)

    async def _follow_end(self, there: There, record: ArchiveRecord) -> None:
        """Have an archive that has its rows end when the catalogue says, if that is later."""
        ends = None if record.ends is None else archive_store.utc(record.ends)
        if ends == there.ends or self._made is None:
            return
        follow = partial(end_store.follow_end, zip_id=there.zip_id, ends_at=ends, made=self._made)
        told = await self._db.transact(follow)
        if told is not None:
            self.report.ends.append(told)
            self.report.completed.add(there.zip_id)

    def _note_done(self, place: Place) -> None:
        self._labelled.pop(place.label or b"", None)
        self._named.pop(place.path, None)
        _, told = self._unread.pop(place.path or "", (None, ""))
        if told:  # the disk has what the network has not
            self.report.failed.remove(told)

    async def _opened(self, candidate: Candidate) -> Archive:
        """Open an archive, by its local copy if there is one that is good."""
        place, record = candidate.place, candidate.record
        if record is not None and record.format == 1:
            copy = self._named.get(f"{ARCHIVES}/{record.zip_name}")
            return await self._best(partial(self._opener.unlabelled, record=record), place, copy)
        if place.label is None and place.cid is None:
            raise IntegrityError("it has no label beside it; what it opens with is in the catalogue, if anywhere")
        if place.label is None:
            place = await reading.look(self._reader, place.cid or "")
        archive = await self._best(self._opener.labelled, place, self._labelled.get(place.label or b""))
        if record is not None and record.folder_id != archive.manifest.folder:
            raise IntegrityError(f"it is of folder {archive.manifest.folder}, not {record.folder_id}")
        return archive

    async def _best(self, open_at: Callable[[Place], Awaitable[Archive]], place: Place, copy: Place | None) -> Archive:
        if copy is not None and place.path is None:
            try:
                return await open_at(replace(place, path=copy.path))
            except (IntegrityError, OSError) as error:
                self.report.spoilt.append(f"{copy.path}: {brief(error)}")
        return await open_at(place)


def _lacks(there: There, candidate: Candidate) -> bool:
    """Tell whether an archive's rows lack a CID, or a local copy, that was found."""
    if there.ended:
        return False
    named = candidate.place.cid is not None or candidate.record is not None
    return (there.cid is None and named) or (there.path is None and candidate.place.path is not None)
