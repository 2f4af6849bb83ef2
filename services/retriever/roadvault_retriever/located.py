"""Where a file may be found, for whatever reads files: what its row says, its archive's, and the key's."""

from dataclasses import dataclass
from datetime import datetime

from roadvault_common.ipfs.path import archive_path
from roadvault_common.retention.ends import PERIOD_KEY
from roadvault_common.sql.db import Row

COLUMNS = (
    "file.file_id, file.file_name, file.create_time, file.size, file.sha256, file.path, file.zip_id, file.zip_offset,"  # noqa: S608 - constants
    " COALESCE(folder.store, 'main') AS upload_store, zip.store AS archive_store,"
    " zip.path AS zip_path, zip.size AS zip_size, zip.`key`, zip.master_key, zip.iv, zip.cid, zip.format,"
    f" {PERIOD_KEY.format(zip='zip')} AS period_key, ends.shredded_at,"
    " (SELECT reason FROM set_aside_info WHERE file_id = file.file_id) AS set_aside"
)
"""What `Located` has, of a `file_upload_info` that the query calls `file`, with JOINS."""
JOINS = (
    "LEFT JOIN folder_info AS folder ON folder.folder_id = file.folder_id"
    " LEFT JOIN zip_ipfs_info AS zip ON zip.zip_id = file.zip_id"
    " LEFT JOIN retention_info AS ends ON ends.zip_id = file.zip_id"
)


def seen_from(row: Row, store: str) -> Row:
    """Return what a query of COLUMNS gave as it is seen from a store: what lies on another one's disk is elsewhere."""
    seen, elsewhere = dict(row), None
    for path, whose in (("path", seen.pop("upload_store")), ("zip_path", seen.pop("archive_store"))):
        if seen[path] is not None and whose != store:
            seen[path], elsewhere = None, whose
    return {**seen, "elsewhere": elsewhere}


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
    elsewhere: str | None
    """Another store that has a copy on its disk."""

    @property
    def is_here(self) -> bool:
        """Whether a copy should be on our disk."""
        return self.path is not None or self.zip_path is not None

    @property
    def on_ipfs(self) -> str | None:
        """The archive's path on IPFS, if it is there."""
        return None if self.cid is None or self.format is None else archive_path(self.cid, self.format)
