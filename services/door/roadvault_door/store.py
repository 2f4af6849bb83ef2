"""The door's SQL; it reads, and nothing else."""

from dataclasses import dataclass
from datetime import UTC, datetime

from roadvault_common.sql.db import Database


@dataclass(frozen=True)
class Extraction:
    """A request's file: where it lies (None: not any more, or not yet), what it is called, and what time it is."""

    path: str | None
    file_name: str
    sha256: str
    store: str
    """Where it lies."""
    link_url: str | None
    """Where the door of that store is, if that has an address of its own."""
    now: datetime
    """Aware, by the database's clock."""


class DoorStore:
    """Reads where extracted files are."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def extraction(self, download_id: int) -> Extraction | None:
        """Return a request's file; None if there is no such request."""
        row = await self._db.fetch_one(
            "SELECT download.path, COALESCE(clip_name, file.file_name) AS file_name,"
            " COALESCE(clip_sha256, file.sha256) AS sha256, store, link_url, UTC_TIMESTAMP(6) AS now"
            " FROM download_info AS download JOIN file_upload_info AS file USING (file_id)"
            " LEFT JOIN store_info ON store_info.name = store"
            " WHERE download.download_id = %s",
            (download_id,),
        )
        return None if row is None else Extraction(**{**row, "now": row["now"].replace(tzinfo=UTC)})
