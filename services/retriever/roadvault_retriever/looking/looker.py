"""The stage *look*: opens videos while they are here, for facts and pictures, and stays out of everybody's way."""

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress
from zoneinfo import ZoneInfo

import structlog
from prometheus_client import Counter, Gauge

from roadvault_common.errors import IntegrityError, LeaseLost, PermanentError, SettingsError, brief
from roadvault_common.events.bus import Bus
from roadvault_common.files.new_file import disk_errors
from roadvault_common.files.sweep import Sweeper
from roadvault_common.files.vault import POSTERS, Vault
from roadvault_common.metrics import STAGE_BYTES
from roadvault_common.sql.db import Database
from roadvault_common.work.breakers import Breaker
from roadvault_common.work.lease import Lease
from roadvault_common.work.outcome import Done, Outcome
from roadvault_common.work.stages import LOOK
from roadvault_common.work.worker import Worker
from roadvault_retriever.config import RetrieverSettings
from roadvault_retriever.looking.machine import Machine
from roadvault_retriever.looking.store import Kept, LookStore, Subject
from roadvault_retriever.streaming.source import Refused, Sources
from roadvault_video import sandbox
from roadvault_video.looking import Look, look
from roadvault_video.sandbox import Limits
from roadvault_video.source import Source

log = structlog.get_logger()

LOOKS = Counter("roadvault_looks", "Files that were looked at, by what came of it", ["result"])
PICTURE_BYTES = Gauge("roadvault_picture_bytes", "Bytes of pictures of videos that are kept")
_ENROL_SECONDS = 1.0, 10.0
"""Between two looks for files that came: between these."""
_PACKING_REST, _DISK_REST, _BUSY_REST = 5.0, 30.0, 15.0
"""While somebody packs, or others have much of the processors, a look begins each so many seconds: a container's lowest
priority is lowest in that container alone, and memory and disk are shared all the same."""
_ATTEMPTS = 3
"""A file at which its worker died so often is not looked at again; one that could not be read, not until asked for."""
_ASKED_BYTES = 256 << 20
_TOLD_BYTES = 1 << 20
_DIRECTORIES = 256

for _result in ("pictures", "facts", "nothing", "not_here"):
    LOOKS.labels(_result)


class NotHere(PermanentError):
    """A file's bytes are not on our disk any more."""


class _Followed:
    """A source that notes the lease's progress."""

    def __init__(self, source: Source, lease: Lease) -> None:
        self.size = source.size
        self._source, self._lease = source, lease

    async def read(self, offset: int, size: int) -> bytes:
        data = await self._source.read(offset, size)
        self._lease.progress(len(data))
        return data


class Looker:
    """Looks at files; `looking` is the stage's worker."""

    def __init__(
        self,
        settings: RetrieverSettings,
        db: Database,
        bus: Bus,
        vault: Vault,
        sources: Sources,
        needs: Sequence[Breaker],
    ) -> None:
        self._settings = settings
        self._vault = vault
        self._sources = sources
        self._store = LookStore(db, vault.store)
        self._zone = ZoneInfo(settings.camera_zone)
        self._limits = Limits(settings.look_seconds, settings.look_memory_bytes, _ASKED_BYTES, _TOLD_BYTES)
        self._sweeper = Sweeper(settings, db, vault, POSTERS, self._store.named)
        at_once = max(settings.looks_at_once, 1)
        self.looking = Worker(
            LOOK,
            self._look,
            db,
            bus,
            lease_seconds=settings.lease_seconds,
            concurrency=at_once,
            store=vault.store,
            needs=needs,
        )
        self.looking.rests = self._rests
        self._began = -_BUSY_REST
        self._machine = Machine()
        least, most = _ENROL_SECONDS
        self.enrol_seconds = min(settings.sweep_seconds, most, max(settings.look_after_seconds, least))
        """Between two looks for files that came."""

    async def check(self) -> None:
        """See that videos can be parsed safely here.

        Raises:
            SettingsError: They can't.
        """
        try:
            await sandbox.check()
        except SettingsError as error:
            raise SettingsError(f"{error}; ROADVAULT_LOOKS_AT_ONCE=0 does without pictures") from error

    async def enrol(self) -> None:
        """Find files that came."""
        while await self._store.enrol(self._settings.look_after_seconds):
            self.looking.nudge()

    async def _rests(self) -> float:
        """Leave the disk to who has to write, and the processor to who packs."""
        if await asyncio.to_thread(self._vault.free_bytes) < self._settings.disk_margin_bytes:
            return _DISK_REST
        packing = await self._store.packing()
        if packing.waits:
            return _PACKING_REST
        is_busy = await asyncio.to_thread(self._machine.is_busy) or packing.goes_on
        return self._began + _BUSY_REST - time.monotonic() if is_busy else 0

    async def _look(self, lease: Lease) -> Outcome:
        self._began = time.monotonic()
        if lease.attempt > _ATTEMPTS:
            # Who wrote a reason lived, and could not have its bytes: another time it may.
            words = None if lease.reason else f"its workers died, {_ATTEMPTS} times"
            await self._store.close_unlooked(lease, words)
            LOOKS.labels("nothing").inc()
            return Done()
        subject = await self._store.subject(lease.row_id)
        try:
            source = await self._source(subject)
            seen = await look(_Followed(source, lease), subject.name, self._limits, self._zone)
        except (Refused, NotHere, IntegrityError) as error:  # nobody is to be asked for a picture
            log.debug("not looked at", error=brief(error))
            await self._store.close_unlooked(lease, None)
            LOOKS.labels("not_here").inc()
            return Done()
        await self._keep(lease, seen)
        LOOKS.labels("pictures" if seen.pictures else "facts" if seen.found.video_codec else "nothing").inc()
        STAGE_BYTES.labels(LOOK.name).inc(lease.done)
        log.debug("looked at", pictures=len(seen.pictures), unreadable=seen.unreadable)
        return Done()

    async def _source(self, subject: Subject) -> Source:
        """Return a file's bytes; for a first look, which nobody has asked for, only if they are here.

        Raises:
            NotHere: They aren't.
            Refused: The file has ended, or no copy is left.
        """
        source = await self._sources.open(subject.file_id)
        if not subject.asked and not source.is_here:
            raise NotHere("its copies here went before it was looked at")
        return source

    async def _keep(self, lease: Lease, seen: Look) -> None:
        kept: Kept | None = None
        if seen.pictures:
            directory = f"{POSTERS}/{lease.row_id % _DIRECTORIES:02x}"
            places, data = [at for at, _ in seen.pictures], [jpeg for _, jpeg in seen.pictures]
            kept = Kept(f"{directory}/{lease.row_id}-{lease.token}", [len(jpeg) for jpeg in data], places)
            await asyncio.to_thread(self._vault.make_directory, directory)
            await asyncio.to_thread(self._write, kept.path, b"".join(data))
        elif seen.unreadable is None:
            seen.unreadable = "no picture is in it"
        try:
            before = await self._store.close_looked(lease, seen, kept)
        except LeaseLost:
            if kept is not None:
                await asyncio.to_thread(self._vault.remove, kept.path)
            raise  # on any other error a row may name the file; if none does, the sweep of unnamed files takes it
        if before is not None:
            await asyncio.to_thread(self._vault.remove, before)

    def _write(self, relative: str, data: bytes) -> None:
        """Write pictures, which can be made again and so are not synced: who reads them sees if they are whole."""
        path = self._vault.path(relative)
        try:
            with disk_errors(path), path.open("xb") as file:
                file.write(data)
        except BaseException:
            with suppress(OSError):
                path.unlink()
            raise

    async def keep_bound(self) -> None:
        """Have pictures go that nobody has seen for the longest time, while there are more than there may be."""
        while (too_many := await self._store.picture_bytes() - self._settings.poster_bytes) > 0:
            paths = await self._store.forget_unseen(too_many)
            if not paths:
                break
            await asyncio.to_thread(self._remove, paths)
        PICTURE_BYTES.set(await self._store.picture_bytes())

    def _remove(self, paths: list[str]) -> None:
        for path in paths:
            self._vault.remove(path)

    async def sweep_orphans(self) -> None:
        """Move pictures that no row names to quarantine: attempts that were cut short."""
        await self._sweeper.sweep()
