"""Records what is durable on the disk, whichever way it came, and tells of it."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import structlog

from roadvault_common.errors import CommitUnknown, DatabaseUnavailable
from roadvault_common.events.bus import Bus
from roadvault_common.events.kinds import FileReceived
from roadvault_common.files.new_file import NewFile
from roadvault_common.files.vault import Vault
from roadvault_common.metrics import STAGE_BYTES
from roadvault_common.stores import MAIN
from roadvault_common.tracing import spans
from roadvault_ingest.access.who import current
from roadvault_ingest.config import IngestSettings
from roadvault_ingest.copies.sending import Copies
from roadvault_ingest.problems import Unavailable, WrongHash
from roadvault_ingest.store import IngestStore, Limits
from roadvault_ingest.uploads.disk import to_its_end
from roadvault_ingest.uploads.placed import Placed
from roadvault_ingest.uploads.receive import Received
from roadvault_ingest.uploads.recorder import Recorder
from roadvault_ingest.uploads.same import Sameness
from roadvault_ingest.uploads.tagging import Tagger

log = structlog.get_logger()

_COMMIT_LOOKS = 5
"""Times that ingest looks for a row after the answer to its COMMIT was lost."""
_LOOK_SECONDS = 1.0
"""Between two of these looks."""


@dataclass(frozen=True)
class Taken:
    """An upload that has become a file, or is one that came before."""

    file_id: int
    sha256: str


class Intake:
    """Where all ways of uploading end."""

    def __init__(
        self,
        settings: IngestSettings,
        store: IngestStore,
        vault: Vault,
        tagger: Tagger,
        bus: Bus,
        copies: Copies,
    ) -> None:
        self.copies = copies
        self._store = store
        self._name = vault.store
        limits = Limits(settings.folder_files, settings.folder_bytes, settings.folder_age_seconds)
        worker = settings.worker if vault.store == MAIN else f"{vault.store}/{settings.worker}"
        self._recorder = Recorder(store, worker, limits, self._announce)
        self._set_aside = vault.set_aside
        self._tagger = tagger
        self._bus = bus
        self._sameness = Sameness(settings.upload_key_hours * 3600, settings.same_upload_seconds)
        self._bytes = STAGE_BYTES.labels("receive")

    async def record(self, file: NewFile, received: Received, key: str | None) -> Taken:
        """Record an upload whose bytes are durable; `key` is the client's own, hashed.

        What came before leaves nothing behind. On any error the file is discarded, unless its row may be there.

        Raises:
            Problem: It was not taken.
        """
        trace = spans.current()
        received = replace(received, who=current().facts, keys=self._sameness.keys(received, key), trace=trace)
        # The client's connection may break here; the row and the file must still agree, so this runs to its end.
        with spans.span("record", facts={"bytes": received.size}) as span:
            placed = await to_its_end(asyncio.create_task(self._record_or_discard(file, received)))
            span.note({"file_id": placed.file_id, "folder_id": placed.folder_id})
        self._bytes.inc(received.size)
        return Taken(placed.file_id, received.sha256)

    async def _record_or_discard(self, file: NewFile, received: Received) -> Placed:
        try:
            placed = await self._recorder.record(received)
        except CommitUnknown:
            return await self._find_committed(file, received)
        except DatabaseUnavailable as error:
            await asyncio.to_thread(file.discard)
            raise Unavailable("the database is away; the file was not taken, send it again", retry_after=5) from error
        except Exception:  # whatever it is, there is no row: the file must not stay without one
            await asyncio.to_thread(file.discard)
            raise
        # Cut short by the end of the process, the file stays: a COMMIT may be under way. The sweep takes it if not.
        if placed.twice:
            await asyncio.to_thread(file.remove)
        if placed.differs:
            raise WrongHash("this Idempotency-Key came before, with other bytes; each upload needs a key of its own")
        return placed

    async def _find_committed(self, file: NewFile, received: Received) -> Placed:
        """Look whether the row is there; the file stays unless the database says that it never will be."""
        for _ in range(_COMMIT_LOOKS):
            try:
                placed = await self._store.find_file(received.path)
            except DatabaseUnavailable:
                await asyncio.sleep(_LOOK_SECONDS)
                continue
            if placed is not None:
                await self._announce([(received, placed)])
                return placed
            await asyncio.to_thread(file.set_aside, partial(self._set_aside, [received.path]))
            raise Unavailable("the database is away; the file was not taken, send it again", retry_after=5)
        raise Unavailable("the database is away; whether the file was taken is not known", retry_after=30)

    async def _announce(self, recorded: Sequence[tuple[Received, Placed]]) -> None:
        """Tag uploads that were recorded, and tell the packer of them, and the log: one line for each transaction."""
        files = [{"file_id": one.file_id, "folder_id": one.folder_id, "bytes": came.size} for came, one in recorded]
        log.info("files received", files=files)
        await asyncio.gather(self._tagger.tag(recorded), self._ring([placed for _, placed in recorded]))

    async def _ring(self, placed: Sequence[Placed]) -> None:
        """Tell the packer of the folders that uploads went to, and of those that closed: one event for each folder."""
        latest = {one.folder_id: one.file_id for one in placed}
        for one in placed:
            if one.closed_folder_id is not None:
                latest.setdefault(one.closed_folder_id, one.file_id)
        events = [FileReceived(file_id=file_id, folder_id=folder_id) for folder_id, file_id in latest.items()]
        await asyncio.gather(*(self._bus.emit(event, self._name) for event in events))
