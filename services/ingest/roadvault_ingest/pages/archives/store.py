"""The SQL of the pages of archives."""

from collections.abc import Sequence

from roadvault_common.sql.db import Database, Row
from roadvault_common.sql.states import ArchiveStatus, FolderStatus
from roadvault_ingest.pages.office import PAGE, Slice, sliced

ARCHIVES = (
    f"SELECT zip_id, kind, folder_id, {FolderStatus.PACKED} AS folder_status, files, size, dag_size, cid, format,"  # noqa: S608 - our own numbers
    " status AS zip_status, replicas, expired_on, expires_at, path AS zip_path, create_time, checked_at, terms_wanted,"
    " pin_due, pin_failed_at, order_failed_at, watch_failed_at, prove_failed_at, restore_failed_at, audit_failed_at,"
    " inspect_failed_at, drop_failed_at,"
    " EXISTS (SELECT 1 FROM evidence_info WHERE zip_id = zip_ipfs_info.zip_id AND valid = 1 AND proven_at IS NOT NULL)"
    " AS proven, COALESCE(pin_reason, order_reason, watch_reason, prove_reason, drop_reason) AS reason,"
    " (SELECT audited_at FROM audit_info WHERE zip_id = zip_ipfs_info.zip_id AND place = 'network') AS audited_at,"
    " (SELECT reason FROM audit_info WHERE zip_id = zip_ipfs_info.zip_id AND sound = 0 ORDER BY place DESC LIMIT 1)"
    " AS audit_problem"
    " FROM zip_ipfs_info"
)
STAGES = ("pin", "order", "replicate", "prove", "drop")
"""Stages by which the list can be narrowed: what waits, works, or is tried again."""
_SHORT = (
    f"status = {ArchiveStatus.ORDERED} AND replicas <= %s ORDER BY replicas",
    f"status = {ArchiveStatus.LIVE} AND replicas <= %s ORDER BY replicas",
)
_MEMBERS, _PURCHASES = 20, 20


class ArchivePagesStore:
    """Reads what the pages of archives show."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def archives(self, before: int | None, after: int | None) -> Slice:
        """Return archives before or after an archive's number."""
        return await sliced(self._db, ARCHIVES, "zip_id", before, after)

    async def in_stage(self, stage: str, threshold: int) -> list[Row]:
        """Return archives that are in a stage, some of them, what is due first."""
        if stage != "replicate":
            return await self._db.fetch_all(
                f"{ARCHIVES} WHERE {stage}_due IS NOT NULL ORDER BY {stage}_due LIMIT %s", (PAGE,)
            )
        found = [row for where in _SHORT for row in await self._short(where, threshold)]
        return found[:PAGE]

    async def _short(self, where: str, threshold: int) -> list[Row]:
        return await self._db.fetch_all(f"{ARCHIVES} WHERE {where} LIMIT %s", (threshold, PAGE))

    async def archive(self, zip_id: int) -> Row | None:
        """Return an archive, with its end."""
        row = await self._db.fetch_one(f"{ARCHIVES} WHERE zip_id = %s", (zip_id,))
        ends = await self._db.fetch_one(
            "SELECT ends_at, shredded_at, shred_failed_at, shred_reason FROM retention_info WHERE zip_id = %s",
            (zip_id,),
        )
        return None if row is None else {"ends_at": None, "shredded_at": None, **row, **(ends or {})}

    async def members(self, zip_id: int) -> list[Row]:
        """Return the first files of an archive."""
        return await self._db.fetch_all(
            "SELECT file_id, file_name, size, camera, recorded_at FROM file_upload_info WHERE zip_id = %s"
            " ORDER BY file_id LIMIT %s",
            (zip_id, _MEMBERS),
        )

    async def purchases(self, zip_id: int) -> list[Row]:
        """Return what was bought for an archive, the latest first."""
        return await self._db.fetch_all(
            "SELECT order_id, term, status, price, market, block, reason, settled_at, create_time FROM order_info"
            " WHERE zip_id = %s ORDER BY order_id DESC LIMIT %s",
            (zip_id, _PURCHASES),
        )

    async def evidence(self, zip_id: int) -> list[Row]:
        """Return what showed that the network holds an archive, the latest first."""
        return await self._db.fetch_all(
            "SELECT valid, replicas, block, counted_at, proven_at, proven_by, members, bytes, void_at, void_reason,"
            " create_time FROM evidence_info WHERE zip_id = %s ORDER BY evidence_id DESC LIMIT %s",
            (zip_id, _PURCHASES),
        )

    async def audits(self, zip_id: int) -> Sequence[Row]:
        """Return how the last audits of an archive ended, of each place one."""
        return await self._db.fetch_all(
            "SELECT place, audited_at, sound, sound_at, members, bytes, way, reason FROM audit_info WHERE zip_id = %s",
            (zip_id,),
        )

    async def holds(self, zip_id: int) -> Sequence[Row]:
        """Return what keeps an archive past its end."""
        return await self._db.fetch_all(
            "SELECT hold_id, file_id, reason, create_time FROM hold_info WHERE zip_id = %s AND active = 1"
            " ORDER BY hold_id DESC LIMIT %s",
            (zip_id, _PURCHASES),
        )

    async def catalogue(self) -> Row | None:
        """Return the newest catalogue's `cid`, `name`, `made_at` and `archives` (how many); None if there is none."""
        row = await self._db.fetch_one("SELECT cid, name, made_at, archives FROM catalogue_info WHERE one = 1")
        return row if row is not None and row["cid"] is not None else None
