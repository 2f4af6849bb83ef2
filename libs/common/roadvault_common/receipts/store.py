"""The SQL of receipts. It only reads."""

from roadvault_common.sql.db import Database, Row
from roadvault_common.sql.states import OrderStatus


async def file(db: Database, file_id: int) -> Row | None:
    """Return a file, with its archive's CID, label, directory and salts' key."""
    return await db.fetch_one(
        "SELECT file.file_id, file.file_name, file.sha256, file.size, file.zip_id, zip.cid, zip.format, label.label,"
        " label.node, label.salt_key FROM file_upload_info AS file"
        " LEFT JOIN zip_ipfs_info AS zip ON zip.zip_id = file.zip_id"
        " LEFT JOIN label_info AS label ON label.zip_id = file.zip_id WHERE file.file_id = %s",
        (file_id,),
    )


async def files(db: Database, zip_id: int) -> list[Row]:
    """Return an archive's files in the order of its tree."""
    return await db.fetch_all(
        "SELECT file_id, file_name, size, sha256 FROM file_upload_info WHERE zip_id = %s ORDER BY file_id", (zip_id,)
    )


async def bought(db: Database, zip_id: int, cid: str) -> list[Row]:
    """Return the purchases of an archive under its CID that are settled, the first first."""
    return await db.fetch_all(
        "SELECT account, market, extrinsic, extrinsic_hash, block, block_hash, settled_at FROM order_info"
        " WHERE zip_id = %s AND cid = %s AND status = %s ORDER BY order_id",
        (zip_id, cid, OrderStatus.BOUGHT),
    )


async def catalogue(db: Database) -> Row | None:
    """Return the newest catalogue that was bought and has a head of the custody log, with its order."""
    return await db.fetch_one(
        "SELECT kept.custody, kept.node, account, market, extrinsic, extrinsic_hash, block, block_hash, settled_at"
        " FROM order_info AS bought STRAIGHT_JOIN catalogue_order_info AS kept"
        " FORCE INDEX (PRIMARY) ON kept.cid = bought.cid"
        " WHERE zip_id = (SELECT zip_id FROM zip_ipfs_info WHERE folder_id = 0) AND status = %s"
        " ORDER BY term DESC LIMIT 1",
        (OrderStatus.BOUGHT,),
    )
