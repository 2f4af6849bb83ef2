"""The back-office's SQL. Every list is read along its primary key, and no count goes further than a bound."""

from collections.abc import Sequence
from dataclasses import dataclass

from roadvault_common.catalogue import left_out
from roadvault_common.files import set_aside_store, sweep_store
from roadvault_common.retention import asking, ends, periods
from roadvault_common.retention.asking import Asked
from roadvault_common.sql import audits
from roadvault_common.sql.db import Database, Row
from roadvault_common.sql.states import FolderStatus
from roadvault_common.work import backlog, outage_store, repair
from roadvault_common.work.stages import STAGES, Stage

PAGE = 50
_SHOWN_FAILURES = 5
# A straight join begins with the files: else the server may begin with the folders, which are few, and sort all files.
_FILES = (
    "SELECT file.file_id, file.file_name, file.size, file.create_time, file.zip_id, folder.folder_id,"
    " folder.status AS folder_status, zip.cid, zip.status AS zip_status, zip.path AS zip_path, zip.pin_failed_at,"
    " EXISTS (SELECT 1 FROM evidence_info WHERE zip_id = zip.zip_id AND valid = 1 AND proven_at IS NOT NULL) AS proven,"
    " (SELECT status FROM download_info WHERE file_id = file.file_id ORDER BY download_id DESC LIMIT 1) AS request,"
    " aside.file_id IS NOT NULL AS set_aside, aside.lost_at IS NOT NULL AS lost"
    " FROM file_upload_info AS file STRAIGHT_JOIN folder_info AS folder ON folder.folder_id = file.folder_id"
    " LEFT JOIN zip_ipfs_info AS zip ON zip.zip_id = file.zip_id"
    " LEFT JOIN set_aside_info AS aside ON aside.file_id = file.file_id"
)
_ARCHIVES = (
    f"SELECT zip_id, kind, folder_id, {FolderStatus.PACKED} AS folder_status, files, size, cid,"  # noqa: S608 - our own numbers
    " status AS zip_status, replicas, expired_on,"
    " expires_at, path AS zip_path, pin_failed_at, create_time,"
    " EXISTS (SELECT 1 FROM evidence_info WHERE zip_id = zip_ipfs_info.zip_id AND valid = 1 AND proven_at IS NOT NULL)"
    " AS proven, COALESCE(pin_reason, order_reason, watch_reason, prove_reason, drop_reason) AS reason,"
    " (SELECT audited_at FROM audit_info WHERE zip_id = zip_ipfs_info.zip_id AND place = 'network') AS audited_at,"
    " COALESCE((SELECT reason FROM audit_info WHERE zip_id = zip_ipfs_info.zip_id AND place = 'network'),"
    " (SELECT reason FROM audit_info WHERE zip_id = zip_ipfs_info.zip_id AND place = 'local')) AS audit_problem"
    " FROM zip_ipfs_info"
)
_WAITING = (
    "zip_id, replicas, pinned_at, COALESCE(prove_reason, order_reason, watch_reason) AS reason FROM zip_ipfs_info"
)
_UNPROVEN = (
    "NOT EXISTS (SELECT 1 FROM evidence_info WHERE zip_id = zip_ipfs_info.zip_id AND valid = 1"
    " AND proven_at IS NOT NULL)"
)


@dataclass(frozen=True)
class Slice:
    """One page of a list, newest first, and the keys that lead on."""

    rows: list[Row]
    newer: int | None
    older: int | None


@dataclass(frozen=True)
class Failures:
    """What has failed in one stage: how many (up to 10 000), and the latest of them."""

    stage: Stage
    count: int
    rows: list[Row]


@dataclass(frozen=True)
class Ends:
    """How many archives end soon (up to 10 000), the first of them, and the periods whose keys were destroyed."""

    soon: int
    rows: list[Row]
    destroyed: Sequence[Row]


class PagesStore:
    """Reads what the pages show; `retry` is all it writes."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def files(self, before: int | None, after: int | None) -> Slice:
        """Return files before or after a file id."""
        return await self._slice(_FILES, "file.file_id", "file_id", before, after)

    async def archives(self, before: int | None, after: int | None) -> Slice:
        """Return archives before or after an archive's id."""
        return await self._slice(_ARCHIVES, "zip_id", "zip_id", before, after)

    async def catalogue(self) -> Row | None:
        """Return the newest catalogue's `cid`, `name`, `made_at` and `archives` (how many); None if there is none."""
        row = await self._db.fetch_one("SELECT cid, name, made_at, archives FROM catalogue_info WHERE one = 1")
        return row if row is not None and row["cid"] is not None else None

    async def _slice(self, select: str, column: str, key: str, before: int | None, after: int | None) -> Slice:
        if after is not None:
            where, args, order = f" WHERE {column} > %s", (after, PAGE + 1), "ASC"
        elif before is not None:
            where, args, order = f" WHERE {column} < %s", (before, PAGE + 1), "DESC"
        else:
            where, args, order = "", (PAGE + 1,), "DESC"  # type: ignore[assignment]
        rows = await self._db.fetch_all(f"{select}{where} ORDER BY {column} {order} LIMIT %s", args)
        more, rows = len(rows) > PAGE, rows[:PAGE]
        if after is not None:
            rows.reverse()
        has_newer = more if after is not None else before is not None
        has_older = True if after is not None else more
        return Slice(
            rows,
            rows[0][key] if rows and has_newer else None,
            rows[-1][key] if rows and has_older else None,
        )

    async def failures(self) -> list[Failures]:
        """Return the stages in which something failed, with the latest failures of each."""
        return [found for stage in STAGES if (found := await self._failures(stage)).count]

    async def _failures(self, stage: Stage) -> Failures:
        rows = await backlog.failures(self._db, stage, _SHOWN_FAILURES)
        return Failures(stage, await backlog.count_failed(self._db, stage) if rows else 0, rows)

    async def waiting(self, days: float) -> list[Row]:
        """Return archives kept here that have been on IPFS for `days` without valid proof of it, the oldest first."""
        never_dropped, restored = (
            f"(SELECT {_WAITING} WHERE {kept} AND {since} < UTC_TIMESTAMP(6) - INTERVAL %s SECOND AND {_UNPROVEN}"
            f" ORDER BY {since} LIMIT %s)"
            for kept, since in (("dropped_at IS NULL", "pinned_at"), ("restored_at IS NOT NULL", "restored_at"))
        )
        bound = (days * 86_400, _SHOWN_FAILURES)
        return await self._db.fetch_all(
            f"{never_dropped} UNION ALL {restored} ORDER BY pinned_at LIMIT %s", (*bound, *bound, _SHOWN_FAILURES)
        )

    async def set_aside(self) -> tuple[int, list[Row]]:
        """Return how many uploads were set aside and wait for a person (up to 10 000), and some of them."""
        rows = await set_aside_store.waiting(self._db, _SHOWN_FAILURES)
        return await set_aside_store.count(self._db) if rows else 0, rows

    async def audit_problems(self) -> list[Row]:
        """Return archives of which the last audit found something wrong, some of each place."""
        return await audits.problems(self._db, _SHOWN_FAILURES)

    async def left_out(self) -> tuple[int, list[Row]]:
        """Return how many archives a recovery left out, and some of them, parts of a catalogue first."""
        rows = await left_out.listed(self._db, _SHOWN_FAILURES)
        return await left_out.count(self._db) if rows else 0, rows

    async def ends(self) -> Ends:
        """Return what ends soon, and which period keys were destroyed lately."""
        rows = await ends.soon(self._db, _SHOWN_FAILURES)
        count = await ends.count_soon(self._db) if rows else 0
        return Ends(count, rows, await periods.destroyed(self._db))

    async def ends_ask(self, usual: int) -> Asked | None:
        """Return what does not end before a person allows it; None if there is nothing."""
        return await asking.asked(self._db, usual)

    async def stopped_sweeps(self) -> list[Row]:
        """Return the sweeps that have stopped to ask, but for those that a person has let go on."""
        return [row for row in await sweep_store.stopped(self._db) if row["allowed"] is None]

    async def away(self) -> list[Row]:
        """Return what services find away now, the longest first."""
        return await outage_store.away(self._db)

    async def due(self) -> list[tuple[Stage, int]]:
        """Return how many rows are due in each stage, counted up to 10 000."""
        return [(stage, await backlog.count_due(self._db, stage)) for stage in STAGES]

    async def retry(self, stage: Stage, row_id: int) -> bool:
        """Give a failed row a new start; False if it has not failed."""
        return await repair.retry(self._db, stage, row_id)
