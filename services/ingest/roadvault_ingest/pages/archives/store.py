"""The SQL of the pages of archives."""

from roadvault_common.sql.db import Database, Row
from roadvault_common.sql.states import FolderStatus
from roadvault_ingest.pages.office import Slice, sliced

ARCHIVES = (
    f"SELECT zip_id, kind, folder_id, {FolderStatus.PACKED} AS folder_status, files, size, cid,"  # noqa: S608 - our own numbers
    " status AS zip_status, replicas, expired_on, expires_at, path AS zip_path, create_time,"
    " pin_failed_at, order_failed_at, watch_failed_at, prove_failed_at, restore_failed_at, audit_failed_at,"
    " inspect_failed_at, drop_failed_at,"
    " EXISTS (SELECT 1 FROM evidence_info WHERE zip_id = zip_ipfs_info.zip_id AND valid = 1 AND proven_at IS NOT NULL)"
    " AS proven, COALESCE(pin_reason, order_reason, watch_reason, prove_reason, drop_reason) AS reason,"
    " (SELECT audited_at FROM audit_info WHERE zip_id = zip_ipfs_info.zip_id AND place = 'network') AS audited_at,"
    " COALESCE((SELECT reason FROM audit_info WHERE zip_id = zip_ipfs_info.zip_id AND place = 'network'),"
    " (SELECT reason FROM audit_info WHERE zip_id = zip_ipfs_info.zip_id AND place = 'local')) AS audit_problem"
    " FROM zip_ipfs_info"
)


class ArchivePagesStore:
    """Reads what the pages of archives show."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def archives(self, before: int | None, after: int | None) -> Slice:
        """Return archives before or after an archive's number."""
        return await sliced(self._db, ARCHIVES, "zip_id", before, after)

    async def catalogue(self) -> Row | None:
        """Return the newest catalogue's `cid`, `name`, `made_at` and `archives` (how many); None if there is none."""
        row = await self._db.fetch_one("SELECT cid, name, made_at, archives FROM catalogue_info WHERE one = 1")
        return row if row is not None and row["cid"] is not None else None
