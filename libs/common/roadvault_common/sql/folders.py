"""Closing folders: ingest does it by size, count and age, an operator by hand."""

from dataclasses import dataclass

from roadvault_common.sql.db import Database
from roadvault_common.sql.states import FolderStatus

CLOSE = f"status = {FolderStatus.CLOSED}, open_slot = NULL, closed_at = UTC_TIMESTAMP(6), pack_due = UTC_TIMESTAMP(6)"
"""What an UPDATE of `folder_info` sets to close an open folder: it is due for the packer."""


@dataclass(frozen=True)
class Closed:
    """A folder that was closed, its last file (0 if it had none), and its store."""

    folder_id: int
    file_id: int
    store: str


async def close_folder(db: Database, folder_id: int) -> Closed | None:
    """Close a folder that is still open; None if it was not."""
    changed = await db.execute(
        f"UPDATE folder_info SET {CLOSE} WHERE folder_id = %s AND status = {FolderStatus.OPEN}",  # noqa: S608 - a constant
        (folder_id,),
    )
    if not changed:
        return None
    row = await db.fetch_one(
        "SELECT folder_id, COALESCE((SELECT MAX(file_id) FROM file_upload_info WHERE folder_id = folder.folder_id), 0)"
        " AS file_id, store FROM folder_info AS folder WHERE folder_id = %s",
        (folder_id,),
    )
    assert row is not None  # noqa: S101 - it was closed above
    return Closed(**row)


async def open_folders(db: Database) -> list[int]:
    """Return the ids of the folders that are open."""
    rows = await db.fetch_all(f"SELECT folder_id FROM folder_info WHERE status = {FolderStatus.OPEN}")  # noqa: S608 - our own numbers
    return [row["folder_id"] for row in rows]
