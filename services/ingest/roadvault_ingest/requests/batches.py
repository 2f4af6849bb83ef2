"""Batches: many files that one client asks for at once, each with its callback, and with one when all have ended."""

from collections.abc import Sequence

import structlog

from roadvault_common.access.tokens import Grant
from roadvault_common.events.bus import Bus
from roadvault_common.events.kinds import DownloadRequested
from roadvault_common.files.span import Span
from roadvault_common.sql.db import Database, Row
from roadvault_common.web import callback_url
from roadvault_common.web.callback_url import CallbackUrl
from roadvault_common.work import breakers
from roadvault_common.work.lease import Lease
from roadvault_common.work.outcome import Done, Outcome, Wait
from roadvault_common.work.reasons import Reason
from roadvault_common.work.stages import ASK
from roadvault_common.work.worker import Worker
from roadvault_ingest.access.who import WHO, Kind, Who, current
from roadvault_ingest.config import IngestSettings
from roadvault_ingest.lists.files_store import FilesStore
from roadvault_ingest.lists.filters import LARGEST_PAGE, Filters, Order, only_seen
from roadvault_ingest.problems import NotFound, Problem
from roadvault_ingest.requests.batch_store import BatchStore
from roadvault_ingest.requests.routing import Routing

log = structlog.get_logger()

_PAGES = 50
"""Pages that a filter is followed for: each looks at a thousand files."""
_RUNG = 100
"""Requests of a batch that the retriever is told of. It finds the others by itself, between those of other clients."""
_NAMED = 5
"""Numbers that a message names."""
_LEASE_SECONDS, _AT_ONCE = 60, 4


class Batches:
    """Takes batches, asks for their files, and cancels them; `asking` is the stage's worker."""

    def __init__(self, settings: IngestSettings, db: Database, bus: Bus, routing: Routing) -> None:
        self._settings = settings
        self._bus = bus
        self._routing = routing
        self._files = FilesStore(db)
        self.store = BatchStore(db)
        self.asking = Worker(
            ASK, self._ask, db, bus, lease_seconds=_LEASE_SECONDS, concurrency=_AT_ONCE, needs=[breakers.database(db)]
        )

    async def add(
        self, wanted: Sequence[int] | Filters, url: CallbackUrl, peer: str | None, span: Span | None = None
    ) -> tuple[int, int]:
        """Take a batch of files, or clips, by numbers or by a filter; return its number, and how many files it is of.

        Raises:
            NotFound: There is no such file.
            TooMany: As many batches as may be are open.
            Problem: They are too many.
        """
        most = self._settings.batch_files
        if isinstance(wanted, Filters):
            file_ids = await self._fitting(wanted, most)
        else:
            file_ids = sorted(set(wanted))
        if len(file_ids) > most:
            raise Problem(f"a batch can be of {most} files, and these are more; ask for them in several")
        if unknown := await self.store.unknown(file_ids):
            named = ", ".join(map(str, unknown[:_NAMED])) + (", …" if len(unknown) > _NAMED else "")
            raise NotFound(f"there is no file {named}; nothing was asked for")
        if not file_ids:
            raise NotFound("no file fits; nothing was asked for")
        batch_id = await self.store.add(file_ids, url, peer, self._settings.batches_per_peer, span)
        log.info("batch taken", batch_id=batch_id, files=len(file_ids))
        self.asking.nudge()
        return batch_id, len(file_ids)

    async def _fitting(self, filters: Filters, most: int) -> list[int]:
        """Return the numbers of the files that fit, in order; some more than `most` if they are more."""
        order, found = Order(limit=LARGEST_PAGE), set[int]()
        for _ in range(_PAGES):
            rows, mark = await self._files.page(only_seen(filters), order)
            found |= {row["file_id"] for row in rows}
            if mark is None or len(found) > most:
                return sorted(found)
            order = order._replace(after=mark)
        raise Problem("the filter leads through too many files; narrow it down, by a camera and times for instance")

    async def batch(self, batch_id: int) -> Row:
        """Return a batch, if it is one of who asks.

        Raises:
            NotFound: There is none of theirs.
        """
        row = await self.store.batch(batch_id)
        if row is None or not current().owns(row["token_id"]):
            raise NotFound(f"there is no batch {batch_id}")
        return row

    async def cancel(self, batch_id: int) -> None:
        """Cancel what of a batch has not ended, soon.

        Raises:
            NotFound: There is no such batch.
        """
        await self.batch(batch_id)
        if await self.store.cancel(batch_id):
            self.asking.nudge()

    async def _ask(self, lease: Lease) -> Outcome:
        batch = await self.store.batch(lease.row_id)
        if batch is None:
            return Done()
        asker = Who(Kind(batch["who_kind"]), batch["who_name"], Grant(frozenset()), batch["token_id"])
        reset = WHO.set(asker)
        try:
            return await self._ask_as(lease, batch)
        finally:
            WHO.reset(reset)

    async def _ask_as(self, lease: Lease, batch: Row) -> Outcome:
        url, rung, most = callback_url.read(batch["cb_url"]), 0, self._settings.requests_per_file
        while (
            requests := await self.store.ask_some(lease, batch, url, most, await self._routing.choose())
        ) is not None:
            for asked in requests[: _RUNG - rung]:
                await self._bus.emit(DownloadRequested(download_id=asked.download_id), asked.store)
            rung = min(_RUNG, rung + len(requests))
            lease.progress()
        cancelled = await self.store.is_cancelled(lease)
        after = 0 if cancelled else None
        while after is not None and (after := await self.store.cancel_some(lease, after)) is not None:
            lease.progress()
        seconds = await self.store.close_asked(lease, cancelled=cancelled)
        return Done() if seconds is None else Wait(Reason("cancelled", "it was cancelled"), seconds)
