"""One recovery of archives: from all the sources that were named, into one database."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from roadvault_common.archive.crypto import MasterKeys, PeriodKey
from roadvault_common.archive.keyring import period_keys
from roadvault_common.errors import ChainUnavailable, IpfsUnavailable, PermanentError, RoadVaultError, brief
from roadvault_common.ipfs.reading import Reader
from roadvault_common.ipfs.rpc import Ipfs
from roadvault_common.settings.archives import IpfsSettings, KeySettings
from roadvault_common.sql.db import Database
from roadvault_operator.config import OperatorSettings
from roadvault_operator.recover import catalogue as catalogues
from roadvault_operator.recover import custody_log, pinning, sources
from roadvault_operator.recover.catalogue import Catalogue
from roadvault_operator.recover.reading import Opener, Place
from roadvault_operator.recover.restoring import Candidate, Report, Restoring

_EMPTY_DIRECTORY = "QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn"
"""What Kubo pins in each new repository."""
Advance = Callable[[int, int], None]
"""Told how many more there are, and how many of them are done."""


@dataclass(frozen=True)
class Sources:
    """Where to look for archives."""

    catalogue: bool = False
    """By the names that are derived from the master keys."""
    catalogue_cid: str | None = None
    cids: tuple[str, ...] = ()
    pins: bool = False
    archives: bool = False
    pinning_service: bool = False

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
        periods: Mapping[str, PeriodKey],
        reader: Reader,
        node: Ipfs,
        root: Path,
    ) -> None:
        self._sources = wanted
        self._keys = keys
        self._periods = periods
        self._reader = reader
        self._node = node
        self._root = root
        self._catalogue: Catalogue | None = None
        self._failed: list[str] = []
        """Sources, and parts of them, that could not be read."""

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
            periods = period_keys(keyring, keys)
            yield cls(wanted, keys, periods, await stack.enter_async_context(gateway), node, root)

    async def given_out(self) -> dict[str, int]:
        """Look for the catalogue, if that is a source; return the highest numbers that it knows.

        Raises:
            PermanentError: It can't be read: without it archives would get new numbers, which nobody takes back.
        """
        cid = self._sources.catalogue_cid
        try:
            if cid is not None:
                self._catalogue = await catalogues.read(self._reader, cid, self._keys)
            elif self._sources.catalogue:
                self._catalogue = await catalogues.newest(self._reader, self._node, self._keys)
        except RoadVaultError as error:
            raise PermanentError(
                f"the catalogue can't be read, and nothing was changed: {brief(error)}. Try again later, or name it by"
                " --catalogue-cid; other sources go without it, but give archives new numbers"
            ) from error
        if self._catalogue is None:
            return {}
        return await asyncio.to_thread(self._catalogue.given_out, self._root, datetime.now(UTC))

    @property
    def made(self) -> datetime | None:
        """When the catalogue was made that is a source, UTC as the database has times; None if none is."""
        return None if self._catalogue is None else self._catalogue.head.made.astimezone(UTC).replace(tzinfo=None)

    async def run(self, db: Database, advance: Advance) -> Report:
        """Bring back into a database what it lacks.

        Raises:
            DatabaseUnavailable: The database is away: run it again.
        """
        catalogue = self._catalogue
        lost = [] if catalogue is None else await custody_log.bring_back(db, catalogue, self._reader, self._keys)
        pinned = await self._pinned()
        local = await asyncio.to_thread(sources.on_disk, self._root) if self._sources.archives else []
        restoring = Restoring(
            db, self._reader, Opener(self._keys, self._periods, self._reader, self._root), local, pinned
        )

        def progress() -> None:
            advance(0, 1)

        await restoring.run(self._candidates(pinned, advance), progress)
        await restoring.run(_each(restoring.left if not self._failed else (), advance), progress)
        if catalogue is not None:
            await custody_log.bring_back_holds(db)
        restoring.report.failed += [*lost, *self._failed]
        return restoring.report

    async def _candidates(self, pinned: set[str], advance: Advance) -> AsyncGenerator[Candidate, None]:
        """Yield what may be an archive on the network, first what is known best."""
        if self._catalogue is not None:
            advance(self._catalogue.archives, 0)
            async for record in self._catalogue.records(self._reader, self._keys):
                if isinstance(record, str):
                    self._failed.append(record)
                else:
                    yield Candidate(Place(record.cid), record)
            if self._failed:
                self._failed.append("other sources wait for the whole catalogue: they would give new numbers")
                return
        async for candidate in _each([Candidate(Place(cid)) for cid in self._sources.cids], advance):
            yield candidate
        service = await self._listed_by_service() if self._sources.pinning_service else []
        found = [Candidate(Place(cid), sure=False) for cid in [*(pinned if self._sources.pins else ()), *service]]
        async for candidate in _each(found, advance):
            yield candidate

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


async def _each(candidates: Iterable[Candidate], advance: Advance) -> AsyncGenerator[Candidate, None]:
    some = list(candidates)
    advance(len(some), 0)
    for candidate in some:
        yield candidate
