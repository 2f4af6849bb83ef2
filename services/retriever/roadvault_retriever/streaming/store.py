"""The SQL of playing a file: where its bytes are, and who watched."""

from dataclasses import dataclass
from datetime import datetime

from roadvault_common.ipfs.path import archive_path
from roadvault_common.sql.custody_lines import Act, Line, record
from roadvault_common.sql.db import Database, Transaction, transacted
from roadvault_common.web.links import View


@dataclass(frozen=True)
class Located:
    """A file, and where it may be found. Sizes and offsets are bytes, paths relative to the data directory."""

    file_id: int
    file_name: str
    create_time: datetime
    size: int
    sha256: str
    path: str | None
    zip_id: int | None
    zip_offset: int | None
    zip_path: str | None
    zip_size: int | None
    key: str | None
    master_key: str | None
    period_key: str | None
    iv: str | None
    cid: str | None
    format: int | None
    shredded_at: datetime | None
    """When its archive had ended and its key was destroyed, if it was."""
    set_aside: str | None
    """Why the packer set its upload aside, if it did."""

    @property
    def on_ipfs(self) -> str | None:
        """The archive's path on IPFS, if it is there."""
        return None if self.cid is None or self.format is None else archive_path(self.cid, self.format)


class StreamStore:
    """Reads where files are; writes who watched."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def located(self, file_id: int) -> Located | None:
        """Return where a file is; None if there is no such file."""
        row = await self._db.fetch_one(
            "SELECT file.file_id, file.file_name, file.create_time, file.size, file.sha256, file.path, file.zip_id,"
            " file.zip_offset, zip.path AS zip_path, zip.size AS zip_size, zip.`key`, zip.master_key, zip.iv, zip.cid,"
            " zip.format, period.`key` AS period_key, ends.shredded_at, aside.reason AS set_aside"
            " FROM file_upload_info AS file"
            " LEFT JOIN zip_ipfs_info AS zip ON zip.zip_id = file.zip_id"
            " LEFT JOIN period_key_info AS period ON period.period_key = zip.master_key"
            " LEFT JOIN retention_info AS ends ON ends.zip_id = file.zip_id"
            " LEFT JOIN set_aside_info AS aside ON aside.file_id = file.file_id WHERE file.file_id = %s",
            (file_id,),
        )
        return None if row is None else Located(**row)

    @transacted
    async def note_watched(self, tx: Transaction, view: View) -> None:
        """Write that somebody watches, once for each token, whichever processes find it."""
        new = await tx.execute(
            "INSERT IGNORE INTO watched_info (view_id, over_at) VALUES (%s, %s)", (view.view_id, view.expires_at)
        )
        if new:
            await record(tx, Line(Act.WATCHED, view.made_for, view.file_id))
        # The day is for who comes late, after an outage.
        await tx.execute("DELETE FROM watched_info WHERE over_at < UTC_TIMESTAMP(6) - INTERVAL 1 DAY LIMIT 100")
