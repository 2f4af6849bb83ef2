"""SQL that several services share: the mirror of a file's latest request, and the paths that rows name.

`file_upload_info.status` and `cb_url` mirror the file's latest request for tools that read them; no service decides by
them.
"""

from typing import Literal

from roadvault_common.sql.db import Database, Transaction, marks
from roadvault_common.sql.states import FileStatus, RequestStatus

_PATHS_AT_ONCE = 100
"""From 200 values on (eq_range_index_dive_limit) the server goes by statistics, which take all NULLs for one path, and
reads the whole index."""


async def mirror(tx: Transaction, file_id: int, download_id: int, status: FileStatus) -> None:
    """Write the file's status if `download_id` is its latest request."""
    await tx.execute(
        "UPDATE file_upload_info SET status = %s WHERE file_id = %s AND NOT EXISTS"
        " (SELECT 1 FROM download_info WHERE file_id = %s AND download_id > %s)",
        (status.value, file_id, file_id, download_id),
    )


async def fail_request(tx: Transaction, download_id: int) -> None:
    """Note that a request failed; the next one for the same file and URL is a new one."""
    await tx.execute(
        "UPDATE download_info SET status = %s, open_key = NULL WHERE download_id = %s",
        (RequestStatus.FAILED.value, download_id),
    )
    row = await tx.fetch_one("SELECT file_id FROM download_info WHERE download_id = %s", (download_id,))
    if row is not None:
        await mirror(tx, row["file_id"], download_id, FileStatus.FAILED)


async def named_paths(
    db: Database,
    table: Literal["file_upload_info", "zip_ipfs_info", "download_info", "upload_info", "video_info", "copy_info"],
    paths: list[str],
) -> set[str]:
    """Return those of `paths` (relative to the data directory) that a row of `table` names."""
    found = set[str]()
    for begin in range(0, len(paths), _PATHS_AT_ONCE):
        asked = paths[begin : begin + _PATHS_AT_ONCE]
        rows = await db.fetch_all(
            f"SELECT path FROM {table} WHERE path IN ({marks(asked)})",  # noqa: S608 - a table's name and placeholders
            asked,
        )
        found.update(row["path"] for row in rows)
    return found
