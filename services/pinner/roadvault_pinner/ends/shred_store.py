"""The SQL of archives that end."""

from dataclasses import dataclass

from roadvault_common.archive.crypto import SHREDDED
from roadvault_common.retention.asking import held_back
from roadvault_common.retention.ends import HELD
from roadvault_common.sql.custody_lines import Act, Line, record
from roadvault_common.sql.db import Database, Row, Transaction, transacted
from roadvault_common.sql.mirror import fail_request, mirror
from roadvault_common.sql.states import ArchiveStatus, FileStatus, RequestStatus
from roadvault_common.videos import pictures
from roadvault_common.work import lease as leases
from roadvault_common.work.lease import Lease
from roadvault_common.work.outcome import Done, Outcome, Wait
from roadvault_common.work.reasons import Reason
from roadvault_common.work.stages import (
    AUDIT,
    CALLBACK,
    DROP,
    EXPIRE,
    FETCH,
    INSPECT,
    ORDER,
    PIN,
    PROVE,
    RESTORE,
    WATCH,
)

_HELD_SECONDS = 86_400
"""An archive on hold is looked at again after so long; who releases it makes it due at once."""
_AT_WORK_SECONDS = 30
_ASKED_SECONDS = 600
"""Likewise one that waits for a person, who makes it due."""
_PLACED = (PIN, DROP, RESTORE)
"""The stages that put copies of an archive on our disk or node, or take them away: they are not cut short."""
_AT_WORK = ", ".join(
    stage.sql("IF({token} IS NOT NULL AND {due} > {now}, '{name}', NULL)", name=stage.name) for stage in _PLACED
)
_AT_WORK = f"CONCAT_WS(', ', {_AT_WORK})"


@dataclass(frozen=True)
class Ended:
    """What is left of an archive whose key was destroyed. Paths are relative to the data directory."""

    path: str | None
    cid: str | None
    uploads: list[str]
    extractions: list[str]
    pictures: list[str]


class ShredStore:
    """Decides that an archive ends, and writes down that it is gone."""

    def __init__(self, db: Database, usual: int) -> None:
        self._db = db
        self._usual = usual
        """Archives that end at once without a person being asked."""

    @transacted
    async def decide(self, tx: Transaction, lease: Lease) -> Outcome | Ended:
        """Destroy the key of an archive whose time is over, unless something keeps it: then return what.

        An end that is moved, and a hold, lock the archive's row, too: they come before this, or find it too late.
        """
        row = await tx.fetch_one(
            f"SELECT path, cid, {_AT_WORK} AS at_work FROM zip_ipfs_info WHERE zip_id = %s FOR UPDATE",  # noqa: S608
            (lease.row_id,),
        )
        await leases.hold(tx, lease)
        end = await tx.fetch_one(
            "SELECT period_key, ends_at, shredded_at,"  # noqa: S608
            " TIMESTAMPDIFF(MICROSECOND, UTC_TIMESTAMP(6), ends_at) / 1000000 AS seconds,"
            f" {HELD.format(zip='retention_info')} AS held FROM retention_info WHERE zip_id = %s",
            (lease.row_id,),
        )
        if row is None or end is None:
            return Done()
        if end["shredded_at"] is None:
            kept = _kept(row, end)
            if kept is not None:
                return kept
            if (asks := await held_back(tx, end["ends_at"], self._usual)) is not None:
                return Wait(asks, after=_ASKED_SECONDS)
            await _destroy(tx, lease.row_id)
            facts = {"ends": f"{end['ends_at']:%Y-%m-%dT%H:%M:%SZ}", "periodKey": end["period_key"]}
            await record(tx, Line(Act.SHREDDED, facts, zip_id=lease.row_id))
        uploads, extractions = await _uploads(tx, lease.row_id), await _extractions(tx, lease.row_id)
        shown = await _pictures(tx, lease.row_id)
        return Ended(row["path"], row["cid"], uploads, extractions, [*shown.values()])

    @transacted
    async def close(self, tx: Transaction, lease: Lease) -> None:
        """Close the lease: nothing of the archive is left here but its rows."""
        await leases.close(tx, lease, Done())
        await tx.execute(
            "UPDATE zip_ipfs_info SET path = NULL, restored_at = NULL,"
            " uploads_dropped_at = COALESCE(uploads_dropped_at, UTC_TIMESTAMP(6)),"
            " dropped_at = COALESCE(dropped_at, UTC_TIMESTAMP(6)) WHERE zip_id = %s",
            (lease.row_id,),
        )
        await tx.execute(
            "UPDATE file_upload_info AS file JOIN download_info AS download USING (file_id) SET download.path = NULL"
            " WHERE file.zip_id = %s AND download.path IS NOT NULL",
            (lease.row_id,),
        )
        await tx.execute(
            "UPDATE file_upload_info SET path = NULL WHERE zip_id = %s AND path IS NOT NULL", (lease.row_id,)
        )
        if shown := await _pictures(tx, lease.row_id):
            await pictures.forget(tx, shown)


def _kept(row: Row, end: Row) -> Outcome | None:
    """Return what keeps an archive, or None."""
    if end["seconds"] is None:
        return Done()
    if end["seconds"] > 0:
        return Done(again_after=float(end["seconds"]))
    if end["held"]:
        return Wait(Reason("on_hold", "on hold"), after=_HELD_SECONDS)
    if not row["at_work"]:
        return None
    reason = Reason("at_work", f"somebody works on it: {row['at_work']}")
    return Wait(reason, after=_AT_WORK_SECONDS)


async def _destroy(tx: Transaction, zip_id: int) -> None:
    """Destroy an archive's key, and end what goes on about it; who asked for its files is told."""
    await tx.execute(
        "UPDATE zip_ipfs_info SET `key` = %s, master_key = %s, status = %s WHERE zip_id = %s",
        ("", SHREDDED, ArchiveStatus.ENDED.value, zip_id),
    )
    # What receipts are made with opens nothing, but it would confirm a guess at a file.
    await tx.execute("UPDATE label_info SET salt_key = NULL WHERE zip_id = %s", (zip_id,))
    await tx.execute("UPDATE retention_info SET shredded_at = UTC_TIMESTAMP(6) WHERE zip_id = %s", (zip_id,))
    for stage in (*_PLACED, PROVE, AUDIT, INSPECT):
        await leases.end(tx, stage, zip_id)
    await tx.execute("DELETE FROM audit_info WHERE zip_id = %s", (zip_id,))  # nobody looks at it any more
    # A purchase that is under way is still settled; who looks takes the archive out of what is to be renewed.
    for stage in (ORDER, WATCH):
        if not await leases.revive(tx, stage, zip_id):
            await leases.make_due(tx, stage, zip_id)
    await _end_requests(tx, zip_id)


async def _end_requests(tx: Transaction, zip_id: int) -> None:
    requests = await tx.fetch_all(
        "SELECT file_id, download_id, download.status, DATE_FORMAT(UTC_TIMESTAMP(), %s) AS today FROM file_upload_info"
        " JOIN download_info AS download USING (file_id) WHERE zip_id = %s"
        " AND (fetch_due IS NOT NULL OR callback_due IS NOT NULL OR expire_due IS NOT NULL)",
        ("%Y-%m-%d", zip_id),
    )
    for request in requests:
        for stage in (FETCH, CALLBACK, EXPIRE):
            reason = Reason("ended", f"the file ended on {request['today']}", on=request["today"])
            await leases.end(tx, stage, request["download_id"], None if stage is EXPIRE else reason)
        if request["status"] in {RequestStatus.REQUESTED, RequestStatus.FAILED}:
            await fail_request(tx, request["download_id"])
            continue
        await tx.execute(
            "UPDATE download_info SET status = %s, open_key = NULL WHERE download_id = %s",
            (RequestStatus.EXPIRED.value, request["download_id"]),
        )
        await mirror(tx, request["file_id"], request["download_id"], FileStatus.EXPIRED)


async def _uploads(tx: Transaction, zip_id: int) -> list[str]:
    rows = await tx.fetch_all("SELECT path FROM file_upload_info WHERE zip_id = %s AND path IS NOT NULL", (zip_id,))
    return [row["path"] for row in rows]


async def _extractions(tx: Transaction, zip_id: int) -> list[str]:
    rows = await tx.fetch_all(
        "SELECT DISTINCT download.path FROM file_upload_info AS file JOIN download_info AS download USING (file_id)"
        " WHERE file.zip_id = %s AND download.path IS NOT NULL",
        (zip_id,),
    )
    return [row["path"] for row in rows]


async def _pictures(tx: Transaction, zip_id: int) -> dict[int, str]:
    rows = await tx.fetch_all(
        "SELECT video.file_id, video.path FROM file_upload_info AS file JOIN video_info AS video USING (file_id)"
        " WHERE file.zip_id = %s AND video.path IS NOT NULL",
        (zip_id,),
    )
    return {row["file_id"]: row["path"] for row in rows}
