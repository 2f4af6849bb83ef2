"""SQL of what a rehearsal compares: all that recovery brings back."""

from datetime import datetime

from roadvault_common.sql.custody_lines import Act
from roadvault_common.sql.db import Database, Row
from roadvault_common.sql.states import OrderStatus

_FILES_AT_ONCE = 500
_ARCHIVES_AT_ONCE = 200
"""Rows that are read in one statement."""


async def archived_after(db: Database, file_id: int) -> list[Row]:
    """Return files behind a number that are in archives on IPFS, with what recovery brings back of them."""
    return await db.fetch_all(
        "SELECT file_id, file_name, file_type, file.size, sha256, zip_offset, file.folder_id, zip_id, cid, format,"
        " file.create_time AS received, zip.create_time AS recorded,"
        " zip.size AS archive_size, files, iv, pinned_at, period_key, shredded_at IS NOT NULL AS ended"
        " FROM file_upload_info AS file JOIN zip_ipfs_info AS zip USING (zip_id)"
        " LEFT JOIN retention_info USING (zip_id) WHERE file_id > %s AND cid IS NOT NULL ORDER BY file_id LIMIT %s",
        (file_id, _FILES_AT_ONCE),
    )


async def recovered_after(db: Database, zip_id: int) -> list[Row]:
    """Return archives on IPFS behind a number, with what the catalogue brings back of them besides their files."""
    return await db.fetch_all(
        "SELECT zip.zip_id, zip.create_time AS recorded, ends_at AS ends, shredded_at IS NOT NULL AS ended, order_id,"  # noqa: S608
        " bought.term, bought.account, bought.market, bought.block, bought.extrinsic_hash, bought.extrinsic,"
        " bought.price, bought.create_time AS bought, bought.settled_at FROM zip_ipfs_info AS zip"
        " LEFT JOIN retention_info AS ends USING (zip_id) LEFT JOIN order_info AS bought ON bought.zip_id = zip.zip_id"
        " AND bought.term = (SELECT term FROM order_info WHERE zip_id = zip.zip_id AND term > 0"
        f" AND status = {OrderStatus.BOUGHT} ORDER BY term DESC LIMIT 1)"
        " WHERE zip.zip_id > %s AND zip.cid IS NOT NULL AND kind = 'archive' ORDER BY zip.zip_id LIMIT %s",
        (zip_id, _ARCHIVES_AT_ONCE),
    )


async def end_moved_since(db: Database, zip_id: int, since: datetime) -> bool:
    """Return whether a person has moved an archive's end since a time (UTC)."""
    return bool(
        await db.fetch_value(
            "SELECT COUNT(*) FROM custody_info WHERE zip_id = %s AND file_id IS NULL AND act = %s AND done_at > %s",
            (zip_id, Act.END_MOVED.value, since),
        )
    )
