"""The retriever's SQL.

Whatever is given a lease raises LeaseLost if another worker has the row, and has then written nothing.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from roadvault_common.errors import PermanentError
from roadvault_common.files.span import Span, columns
from roadvault_common.sql.binding import bind
from roadvault_common.sql.custody_lines import Act, Line, record
from roadvault_common.sql.db import Database, Transaction, marks, transacted
from roadvault_common.sql.mirror import fail_request, mirror, named_paths
from roadvault_common.sql.states import FileStatus, RequestStatus
from roadvault_common.stores import MAIN
from roadvault_common.work import lease as leases
from roadvault_common.work.lease import Lease
from roadvault_common.work.outcome import Done, Outcome, Wait
from roadvault_common.work.reasons import Reason
from roadvault_common.work.stages import FETCH, RESTORE
from roadvault_retriever.located import COLUMNS, JOINS, Located, seen_from

_WAITING = 1000
"""Requests that one extraction serves at once; of more the others take it as they are due."""
_AT_ONCE = 1000
"""Requests that are put off at once."""
_SAME = "clip_from <=> %s AND clip_to <=> %s AND clip_clock = %s"
"""Requests for the same of a file: a clip between the same times, or all of it."""


@dataclass(frozen=True)
class Wanted(Located):
    """A request, and where its file may be found."""

    download_id: int
    recorded_at: datetime | None
    """When the recording began, in UTC, if its client said so, or else a look found it."""
    span: Span | None
    """Between which times a clip of it is wanted; None: all of it."""

    @property
    def nearest(self) -> str:
        """The source that should have it."""
        return "received" if self.path is not None else "archive" if self.zip_path is not None else "ipfs"


class Made(NamedTuple):
    """A clip that was made: what it is called, its bytes, and as JSON what else there is to say of it."""

    clip_name: str
    size: int
    sha256: str
    note: str


@dataclass(frozen=True)
class Shared:
    """A file that was brought back, and where its bytes came from; requests of the same file, or clip, may share it."""

    path: str
    source: str
    clip: Made | None = None


class RetrieverStore:
    """Reads requests, writes what became of them."""

    def __init__(self, db: Database, store: str = MAIN) -> None:
        self._db = db
        self._name = store

    async def wanted(self, download_id: int) -> Wanted:
        """Return a request with its file and archive.

        Raises:
            PermanentError: There is none.
        """
        row = await self._db.fetch_one(
            f"SELECT download.download_id, {COLUMNS},"  # noqa: S608 - two constants
            " COALESCE(file.recorded_at, video.recorded_at) AS recorded_at, clip_from, clip_to, clip_clock"
            f" FROM download_info AS download JOIN file_upload_info AS file USING (file_id) {JOINS}"
            " LEFT JOIN video_info AS video ON video.file_id = file.file_id WHERE download.download_id = %s",
            (download_id,),
        )
        if row is None:
            raise PermanentError(f"there is no request {download_id} with a file")
        row, span = seen_from(row, self._name), Span.of(row)
        return Wanted(**{name: row[name] for name in row if not name.startswith("clip_")}, span=span)

    async def put_off(self, zip_id: int, seconds: float) -> int:
        """Have requests for files of an archive wait that are due and nobody's; return how many.

        Those whose upload is still there have no need of the archive, and are left out.
        """
        due = await self._db.fetch_all(
            "SELECT download.download_id FROM download_info AS download JOIN file_upload_info AS file USING (file_id)"
            " WHERE download.store = %s AND download.fetch_due <= UTC_TIMESTAMP(6) AND download.fetch_token IS NULL"
            " AND file.zip_id = %s AND file.path IS NULL ORDER BY download.fetch_due LIMIT %s",
            (self._name, zip_id, _AT_ONCE),
        )
        if not due:
            return 0
        return await self._db.execute(
            "UPDATE download_info SET fetch_due = UTC_TIMESTAMP(6) + INTERVAL %s SECOND"  # noqa: S608 - placeholders
            f" WHERE download_id IN ({marks(due)}) AND fetch_token IS NULL",
            (seconds, *(row["download_id"] for row in due)),
        )

    async def note_begun(self, wanted: Wanted) -> None:
        """Mirror that the file is being downloaded."""
        await self._db.transact(lambda tx: mirror(tx, wanted.file_id, wanted.download_id, FileStatus.DOWNLOADING))

    async def mend(self, zip_id: int | None) -> None:
        """Have the pinner look at an archive that our node is to hold, and may hold no longer whole."""

        async def write(tx: Transaction) -> None:
            kept = await tx.fetch_one(
                "SELECT zip_id FROM zip_ipfs_info WHERE zip_id = %s AND cid IS NOT NULL"
                " AND (path IS NOT NULL OR restored_at IS NOT NULL) FOR UPDATE",
                (zip_id,),
            )
            if kept is not None:  # one that was dropped by now would be fetched back in vain
                await leases.make_due(tx, RESTORE, kept["zip_id"], hurry=False)

        await self._db.transact(write)

    @transacted
    async def close_ended(self, tx: Transaction, lease: Lease, reason: Reason) -> None:
        """Close the lease of a request for a file that has ended meanwhile: nobody has to look at it."""
        await leases.hold(tx, lease)
        await leases.end(tx, FETCH, lease.row_id, reason)
        await fail_request(tx, lease.row_id)
        lease.closed = True

    @transacted
    async def hand_over(self, tx: Transaction, lease: Lease, store: str, outcome: Outcome) -> None:
        """Close the lease with `outcome`, and have another store bring the file back."""
        await leases.close(tx, lease, outcome)
        await tx.execute("UPDATE download_info SET store = %s WHERE download_id = %s", (store, lease.row_id))

    async def take_over(self, away_seconds: float) -> int:
        """Take requests that are due at stores which were not heard for so long, for files that the network has.

        Return how many, some at a time.
        """
        away = await self._db.fetch_all(
            "SELECT name FROM store_info WHERE name <> %s AND COALESCE(heard_at, create_time)"
            " < UTC_TIMESTAMP(6) - INTERVAL %s SECOND",
            (self._name, away_seconds),
        )
        return sum([await self._take_over_from(row["name"]) for row in away])

    async def _take_over_from(self, store: str) -> int:
        rows = await self._db.fetch_all(
            "SELECT download_id FROM (SELECT download_id, file_id FROM download_info WHERE store = %s"
            " AND fetch_due <= UTC_TIMESTAMP(6) ORDER BY fetch_due LIMIT %s) AS due"
            " JOIN file_upload_info AS file USING (file_id) JOIN zip_ipfs_info AS zip USING (zip_id)"
            " WHERE cid IS NOT NULL AND replicas > 0 LIMIT %s",
            (store, 10 * _AT_ONCE, _AT_ONCE),
        )
        if not rows:
            return 0
        return await self._db.execute(
            f"UPDATE download_info SET store = %s WHERE download_id IN ({marks(rows)})"  # noqa: S608 - marks
            " AND fetch_due <= UTC_TIMESTAMP(6)",
            (self._name, *(row["download_id"] for row in rows)),
        )

    async def say_here(self, link_url: str | None, stream_url: str | None) -> None:
        """Note that this store takes requests, and where its links and videos are."""
        await self._db.execute(
            "UPDATE store_info SET heard_at = UTC_TIMESTAMP(6), link_url = %s, stream_url = %s WHERE name = %s",
            (link_url, stream_url, self._name),
        )

    @transacted
    async def look(
        self, tx: Transaction, lease: Lease, wanted: Wanted, damaged: Collection[str], waits: Wait
    ) -> Shared | Wait | None:
        """Return an extraction of the file that nobody is about to remove, other than `damaged` ones, if there is one.

        Else, if another request has somebody at work on the file, close the lease with `waits`, and return that. Of
        those that look at the same time the last finds nobody: each gives up its lease as it finds another. Return
        None if it is for this request to bring the file back.
        """
        others = ("", *damaged)
        await hold_file(tx, wanted.file_id)
        there = await tx.fetch_one(
            "SELECT path, source, clip_name, clip_size, clip_sha256, clip_note FROM download_info"  # noqa: S608
            f" WHERE file_id = %s AND path IS NOT NULL AND expire_token IS NULL AND path NOT IN ({marks(others)})"
            f" AND {_SAME} AND store = %s LIMIT 1",
            (wanted.file_id, *others, *columns(wanted.span), self._name),
        )
        if there is not None:
            path, source, *made = there.values()
            return Shared(path, source, None if wanted.span is None else Made(*made))
        at_work = await tx.fetch_one(
            "SELECT 1 FROM download_info WHERE file_id = %s AND download_id <> %s AND fetch_token IS NOT NULL"  # noqa: S608
            f" AND fetch_due > UTC_TIMESTAMP(6) AND {_SAME} AND store = %s LIMIT 1",
            (wanted.file_id, lease.row_id, *columns(wanted.span), self._name),
        )
        if at_work is None:
            return None
        await leases.close(tx, lease, waits)
        return waits

    @transacted
    async def close_shared(
        self, tx: Transaction, lease: Lease, wanted: Wanted, shared: Shared, keep_seconds: float
    ) -> bool:
        """Close the lease with another request's extraction; False, and nothing was written, if it may be gone."""
        await hold_file(tx, wanted.file_id)
        named = await tx.fetch_one(
            "SELECT 1 FROM download_info WHERE file_id = %s AND path = %s AND expire_token IS NULL LIMIT 1",
            (wanted.file_id, shared.path),
        )
        if named is None:
            return False
        await leases.close(tx, lease, Done())
        await _note_extracted(tx, lease.row_id, shared, keep_seconds)
        facts = {"from": "an extraction for another request", "request": lease.row_id}
        await record(tx, Line(Act.FETCHED, facts, wanted.file_id))
        await mirror(tx, wanted.file_id, lease.row_id, FileStatus.DOWNLOADED)
        return True

    @transacted
    async def close_extracted(
        self,
        tx: Transaction,
        lease: Lease,
        wanted: Wanted,
        made: Shared,
        keep_seconds: float,
        *,
        instead_of: Collection[str] = (),
    ) -> list[int]:
        """Close the lease: the file is extracted, its callback is due, and so it is for all who wait for the file.

        Requests that name one of `instead_of`, which are damaged, name the new extraction from now on. Return those
        whose callbacks are due.
        """
        await hold_file(tx, wanted.file_id)
        await leases.close(tx, lease, Done())
        rows = await tx.fetch_all(
            "SELECT download_id FROM download_info WHERE file_id = %s AND fetch_due IS NOT NULL"  # noqa: S608
            f" AND {_SAME} AND store = %s LIMIT %s",
            (wanted.file_id, *columns(wanted.span), self._name, _WAITING),
        )
        waited = [row["download_id"] for row in rows if await leases.settle(tx, FETCH, row["download_id"])]
        for download_id in (lease.row_id, *waited):
            await _note_extracted(tx, download_id, made, keep_seconds)
        for path in instead_of:
            await _put_in_place(tx, made, wanted.file_id, path)
        facts = {"from": made.source, "request": lease.row_id, "requests": 1 + len(waited)}
        await record(tx, Line(Act.FETCHED, facts, wanted.file_id))
        await mirror(tx, wanted.file_id, max(lease.row_id, *waited, 0), FileStatus.DOWNLOADED)
        return [lease.row_id, *waited]

    async def named_under(self, lease: Lease, paths: list[str]) -> set[str]:
        """As `named`, while nobody but `lease` can record an extraction of the request."""
        await self._db.transact(lambda tx: leases.hold(tx, lease))
        return await self.named(paths)

    async def named(self, paths: list[str]) -> set[str]:
        """Return those of `paths` that are the extraction of a request."""
        return await named_paths(self._db, "download_info", paths)


async def hold_file(tx: Transaction, file_id: int) -> None:
    """Have decisions about one file's extractions wait for each other."""
    await bind(tx, "file_upload_info", file_id)


async def _put_in_place(tx: Transaction, made: Shared, file_id: int, path: str) -> None:
    """Have requests that name a damaged extraction name the new one: another making of a clip may have other bytes."""
    clip = (None, None) if made.clip is None else made.clip[1:3]
    await tx.execute(
        "UPDATE download_info SET path = %s, clip_size = %s, clip_sha256 = %s"
        " WHERE file_id = %s AND path = %s AND expire_token IS NULL",
        (made.path, *clip, file_id, path),
    )


async def _note_extracted(tx: Transaction, download_id: int, made: Shared, keep_seconds: float) -> None:
    await tx.execute(
        "UPDATE download_info SET path = %s, source = %s, status = %s, extracted_at = UTC_TIMESTAMP(6),"
        " callback_due = UTC_TIMESTAMP(6), expire_due = UTC_TIMESTAMP(6) + INTERVAL %s SECOND WHERE download_id = %s",
        (made.path, made.source, RequestStatus.EXTRACTED.value, keep_seconds, download_id),
    )
    if made.clip is not None:
        await tx.execute(
            "UPDATE download_info SET clip_name = %s, clip_size = %s, clip_sha256 = %s, clip_note = %s"
            " WHERE download_id = %s",
            (*made.clip, download_id),
        )
