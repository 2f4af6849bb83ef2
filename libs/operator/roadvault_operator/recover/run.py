"""One recovery of archives: from all the sources that were named, into one database."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from roadvault_common.archive import local as local_copies
from roadvault_common.archive.crypto import MasterKeys, PeriodKey
from roadvault_common.archive.keyring import period_keys
from roadvault_common.catalogue import left_out
from roadvault_common.errors import (
    ChainUnavailable,
    IpfsUnavailable,
    MasterKeyMissing,
    PermanentError,
    RoadVaultError,
    brief,
)
from roadvault_common.ipfs.reading import Reader
from roadvault_common.ipfs.rpc import Ipfs
from roadvault_common.retention import periods
from roadvault_common.settings.archives import IpfsSettings, KeySettings
from roadvault_common.sql.db import Database, Row
from roadvault_operator.config import OperatorSettings
from roadvault_operator.recover import catalogue as catalogues
from roadvault_operator.recover import chain, custody_log, left_holds, pinning, sources
from roadvault_operator.recover.candidates import Candidate, Report
from roadvault_operator.recover.catalogue import Catalogue, Unread
from roadvault_operator.recover.chain import Blocks, Ordered
from roadvault_operator.recover.reading import Opener, Place
from roadvault_operator.recover.restoring import Restoring

_UNSEEN = "it was not looked at: it waits for the whole catalogue"
_EMPTY_DIRECTORY = "QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn"
"""What Kubo pins in each new repository."""
Advance = Callable[[int, int], None]
"""Told how many more there are, and how many of them are done."""


@dataclass(frozen=True)
class Sources:
    """Where to look for archives."""

    catalogue: bool = False
    """By the name that is derived from the first master key."""
    catalogue_cid: str | None = None
    cids: tuple[str, ...] = ()
    pins: bool = False
    archives: bool = False
    pinning_service: bool = False
    chain: Blocks | None = None

    @property
    def any(self) -> bool:
        """Whether there is one."""
        return self != Sources()


class Recovery:
    """Finds archives and brings them back. Use `Recovery.open`."""

    def __init__(
        self,
        wanted: Sources,
        keys: MasterKeys,
        opened: dict[str, PeriodKey],
        reader: Reader,
        node: Ipfs,
        root: Path,
    ) -> None:
        self._sources = wanted
        self._keys = keys
        self._periods = opened
        self._reader = reader
        self._node = node
        self._root = root
        self._catalogue: Catalogue | None = None
        self._ordered: Ordered | None = None
        self._failed: list[str] = []
        """Sources, and parts of them, that could not be read."""
        self._unread = dict[str, str]()
        """Segments of the catalogue by their CIDs, and why."""
        self._lines: list[Row] = []
        """Of the catalogue's custody log, where that could not be brought back."""
        self.shredded: list[str] = []
        """CIDs of archives that did not come back, as they had ended."""

    @classmethod
    @asynccontextmanager
    async def open(cls, wanted: Sources, root: Path, keyring: str) -> AsyncIterator["Recovery"]:
        """Make one, by the settings; `root` is the data directory, `keyring` a text that has period keys.

        Raises:
            IntegrityError: A line of the keyring is damaged.
            MasterKeyMissing: The master key that seals it is not among ours.
        """
        ipfs, keys = IpfsSettings(), MasterKeys(KeySettings().master_keys)
        seconds = ipfs.ipfs_stall_seconds
        async with AsyncExitStack() as stack:
            node = await stack.enter_async_context(Ipfs.open(ipfs.ipfs_rpc_url, seconds, ipfs.ipfs_rpc_token))
            gateway = Reader.open(OperatorSettings().ipfs_gateway_url, seconds, node=node)
            opened = period_keys(keyring, keys)
            yield cls(wanted, keys, opened, await stack.enter_async_context(gateway), node, root)

    async def given_out(self, advance: Advance, *, notes: bool = True) -> dict[str, int]:
        """Look for the catalogue, and in the chain's blocks, if these are sources; return the highest numbers known.

        `advance` is told of blocks; without `notes` nothing is noted of them in the data directory.

        Raises:
            PermanentError: One can't be read: without it archives would get new numbers, which nobody takes back.
        """
        wanted = self._sources
        try:
            if wanted.catalogue_cid is not None:
                self._catalogue = await catalogues.read(self._reader, wanted.catalogue_cid, self._keys)
            elif wanted.catalogue:
                self._catalogue = await catalogues.newest(self._reader, self._node, self._keys)
        except RoadVaultError as error:
            if wanted.chain is None or wanted.catalogue_cid is not None:
                raise _unreadable(error) from error
            trouble: RoadVaultError | None = error
        else:
            trouble = None
        if wanted.chain is not None:
            await self._look_in_blocks(wanted.chain, advance, notes=notes)
        if trouble is not None and self._catalogue is None:
            raise _unreadable(trouble) from trouble
        if self._catalogue is None:
            return {}
        return await asyncio.to_thread(self._catalogue.given_out, self._root, datetime.now(UTC))

    async def _look_in_blocks(self, wanted: Blocks, advance: Advance, *, notes: bool) -> None:
        """Look for what the account ordered, and for the catalogue among it if it was not come by otherwise."""
        market = None if self._catalogue is None else self._catalogue.head.market
        genesis = market if market is not None and market.startswith("0x") else None
        self._ordered = await chain.ordered(wanted, self._root, genesis, advance, notes=notes)
        if self._catalogue is None:
            try:
                self._catalogue = await chain.newest_catalogue(self._reader, self._ordered, self._keys)
            except RoadVaultError as error:
                raise _unreadable(error) from error

    @property
    def told(self) -> list[str]:
        """What is to be said of the sources that were looked for by `given_out`."""
        told = [] if self._ordered is None else [self._ordered.told]
        if self._ordered is not None and self._catalogue is not None and self._catalogue.cid in self._ordered.cids:
            told.append(
                f"the catalogue {self._catalogue.cid}, of {self._catalogue.head.made:%Y-%m-%d %H:%M} UTC, is used"
            )
        return told

    @property
    def made(self) -> datetime | None:
        """When the catalogue was made that is a source, UTC as the database has times; None if none is."""
        return None if self._catalogue is None else self._catalogue.head.made.astimezone(UTC).replace(tzinfo=None)

    async def run(self, db: Database, advance: Advance, *, changes: bool = True) -> Report:
        """Bring back into a database what it lacks, period keys first.

        Archives that come from elsewhere take up their local copies, too, which nothing would name else. Without
        `changes`, in a rehearsal, the disk is looked at only where it is a source, and our node forgets nothing.

        Raises:
            DatabaseUnavailable: The database is away: run it again.
        """
        catalogue = self._catalogue
        gone = () if catalogue is None else catalogue.head.destroyed or ()
        destroyed = await periods.bring_back(db, self._keys, [*self._periods.values()], gone)
        for row in destroyed:
            self._periods.pop(row["period_key"], None)
        if catalogue is not None:
            head = catalogue.head
            await left_out.begin(db, head.segments, catalogue.log if head.custody is not None else None)
        lost = [] if catalogue is None else await custody_log.bring_back(db, catalogue, self._reader, self._keys)
        if catalogue is not None and lost:
            self._lines = await custody_log.lost(catalogue, self._reader, self._keys)
        held = await left_holds.keep(db)  # of a run that was killed before it had
        pinned = await self._pinned()
        disk = changes or self._sources.archives
        local = await asyncio.to_thread(sources.on_disk, self._root) if disk else []
        opened = {**await self._kept(db), **self._periods}
        opener = Opener(self._keys, opened, self._reader, self._root)
        shredded = await custody_log.shredded(db, self._lines)
        restoring = Restoring(
            db, self._reader, opener, local, pinned, shredded, self.made, self._node if changes else None
        )

        def progress() -> None:
            advance(0, 1)

        await restoring.run(self._candidates(pinned, advance), progress)
        left = restoring.left if self._sources.archives else await restoring.known_left()
        await restoring.run(_each(left if not self._failed else (), advance), progress)
        if changes:
            await local_copies.note_unopened(db, self._unseen(left) | restoring.unopened)
        if catalogue is not None:
            read = [one.cid for one in catalogue.head.segments if one.cid not in self._unread]
            await left_out.end(db, [*read, *restoring.ended], self._unread, restoring.left_out, catalogue.head.made)
            await left_out.follow(db, catalogue.cid)
        restoring.report.destroyed = destroyed
        restoring.report.held += [*held, *await left_holds.keep(db)]
        self.shredded = restoring.ended
        restoring.report.failed += [*lost, *self._failed]
        if self._ordered is not None and self._ordered.missing is not None:
            restoring.report.failed.append(self._ordered.missing)
        return restoring.report

    def _unseen(self, left: Iterable[Candidate]) -> dict[str, str]:
        """Return local copies that wait for the next run, as a source could not be read, with why."""
        paths = [one.place.path for one in left if one.place.path is not None] if self._failed else []
        return {path: _UNSEEN for path in paths if local_copies.may_be_noted(path)}

    async def hold(self, db: Database) -> list[str]:
        """Bring back holds that the custody log tells of, and nothing else does; return what is to be told.

        Raises:
            DatabaseUnavailable: The database is away: run it again.
        """
        return await custody_log.bring_back_holds(db, self._lines)

    async def _kept(self, db: Database) -> dict[str, PeriodKey]:
        """Return the period keys that the database has by now, of a run before this one."""
        try:
            return {one.id: one for one in await periods.living(db, self._keys)}
        except MasterKeyMissing:
            return {}

    async def _candidates(self, pinned: set[str], advance: Advance) -> AsyncGenerator[Candidate, None]:
        """Yield what may be an archive on the network, first what is known best."""
        if self._catalogue is not None:
            advance(self._catalogue.archives, 0)
            async for record in self._catalogue.records(self._reader, self._keys):
                if isinstance(record, Unread):
                    self._failed.append(str(record))
                    self._unread[record.segment.cid] = record.reason
                else:
                    yield Candidate(Place(record.cid), record)
            if self._failed:
                self._failed.append("other sources wait for the whole catalogue: they would give new numbers")
                return
        async for candidate in _each([Candidate(Place(cid)) for cid in self._sources.cids], advance):
            yield candidate
        service = await self._listed_by_service() if self._sources.pinning_service else []
        found = [Candidate(Place(cid), sure=False) for cid in [*(pinned if self._sources.pins else ()), *service]]
        async for candidate in _each([*found, *self._ordered_candidates()], advance):
            yield candidate

    def _ordered_candidates(self) -> list[Candidate]:
        found = self._ordered
        if found is None:
            return []
        return [Candidate(Place(cid), sure=False, run_out=found.run_out(cid)) for cid in found.cids]

    async def _pinned(self) -> set[str]:
        """Return what our node pins: of archives that it has that is noted, whichever source they come from."""
        try:
            return {cid async for cid in self._node.pins() if cid != _EMPTY_DIRECTORY}
        except IpfsUnavailable as error:
            self._failed += [f"what our own IPFS node pins: {brief(error)}"] if self._sources.pins else []
            return set()

    async def _listed_by_service(self) -> list[str]:
        try:
            return await pinning.listed(OperatorSettings())
        except ChainUnavailable as error:
            self._failed.append(brief(error))
            return []


def _unreadable(error: RoadVaultError) -> PermanentError:
    return PermanentError(
        f"the catalogue can't be read, and nothing was changed: {brief(error)}. Try again later, or name it by"
        " --catalogue-cid; other sources go without it, but give archives new numbers"
    )


async def _each(candidates: Iterable[Candidate], advance: Advance) -> AsyncGenerator[Candidate, None]:
    some = list(candidates)
    advance(len(some), 0)
    for candidate in some:
        yield candidate
