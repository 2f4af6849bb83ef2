"""The operator's SQL. Counts go no further than a bound, and what grows with the archive is told by its highest id."""

from collections.abc import AsyncGenerator

from roadvault_common.archive.verify import Member
from roadvault_common.retention.ends import PERIOD_KEY
from roadvault_common.sql.db import Database, Row
from roadvault_common.sql.states import ArchiveStatus, FolderStatus

MOST = 10_000
"""What is counted no further; as for the stages (`roadvault_common.work.backlog`)."""
_PERIOD_KEY = PERIOD_KEY.format(zip="zip_ipfs_info")
_AT_ONCE = 500
"""Rows that are read at a time."""


async def folders(db: Database, status: FolderStatus) -> Row:
    """Return how many folders have a status (`n`), and their `files` and `bytes`."""
    return await _counted(
        db,
        "SELECT COUNT(*) AS n, COALESCE(SUM(files), 0) AS files, COALESCE(SUM(bytes), 0) AS bytes FROM"
        " (SELECT files, bytes FROM folder_info WHERE status = %s LIMIT %s) AS some",
        (status.value, MOST),
    )


async def archives(db: Database, status: ArchiveStatus) -> Row:
    """Return how many archives have a status (`n`), their `bytes`, and how many of them are `kept` as local copies."""
    return await _counted(
        db,
        "SELECT COUNT(*) AS n, COALESCE(SUM(size), 0) AS bytes, COALESCE(SUM(path IS NOT NULL), 0) AS kept FROM"
        " (SELECT size, path FROM zip_ipfs_info WHERE status = %s LIMIT %s) AS some",
        (status.value, MOST),
    )


async def kept(db: Database) -> Row:
    """Return how many `archives` and `uploads` have a local copy."""
    return await _counted(
        db,
        "SELECT (SELECT COUNT(*) FROM (SELECT 1 FROM zip_ipfs_info WHERE path IS NOT NULL LIMIT %s) AS some)"
        " AS archives,"
        " (SELECT COUNT(*) FROM (SELECT 1 FROM file_upload_info WHERE path IS NOT NULL LIMIT %s) AS some) AS uploads",
        (MOST, MOST),
    )


async def so_far(db: Database) -> Row:
    """Return the highest ids of `files`, `folders` and `archives`: a count of them all would read them all."""
    return await _counted(
        db,
        "SELECT (SELECT COALESCE(MAX(file_id), 0) FROM file_upload_info) AS files,"
        " (SELECT COALESCE(MAX(folder_id), 0) FROM folder_info) AS folders,"
        " (SELECT COALESCE(MAX(zip_id), 0) FROM zip_ipfs_info) AS archives",
    )


async def _counted(db: Database, sql: str, args: tuple[int, ...] = ()) -> Row:
    (row,) = await db.fetch_all(sql, args)
    return {name: int(count) for name, count in row.items()}


async def sealed_key(db: Database, zip_id: int) -> Row | None:
    """Return an archive's `zip_name`, `kind`, `path`, `key` (wrapped), `master_key`, `iv`, `cid`, `format`, `label`."""
    return await db.fetch_one(
        f"SELECT zip_name, kind, path, `key`, master_key, {_PERIOD_KEY} AS period_key, iv,"  # noqa: S608
        " cid, format, label FROM zip_ipfs_info LEFT JOIN label_info"
        " USING (zip_id) WHERE zip_id = %s",
        (zip_id,),
    )


async def paying_account(db: Database) -> str | None:
    """Return who paid for the latest purchase; None if there was none."""
    row = await db.fetch_one("SELECT account FROM order_info ORDER BY order_id DESC LIMIT 1")
    return None if row is None else str(row["account"])


async def catalogue(db: Database) -> Row | None:
    """Return the newest catalogue's `cid`, `archives`, `name` and `made_at`; None if none was published."""
    row = await db.fetch_one("SELECT cid, archives, name, made_at FROM catalogue_info WHERE one = 1")
    return row if row is not None and row["cid"] is not None else None


async def archives_after(db: Database, zip_id: int, limit: int = _AT_ONCE) -> list[Row]:
    """Return archives behind an id, as it takes to read them."""
    return await db.fetch_all(
        f"SELECT zip_id, path, `key`, master_key, {_PERIOD_KEY} AS period_key, iv,"  # noqa: S608
        " size, cid, format, label FROM zip_ipfs_info LEFT JOIN label_info"
        " USING (zip_id) WHERE zip_id > %s AND kind = 'archive' ORDER BY zip_id LIMIT %s",
        (zip_id, limit),
    )


async def all_archives(db: Database) -> AsyncGenerator[Row, None]:
    """Yield every archive."""
    last = 0
    while rows := await archives_after(db, last):
        for row in rows:
            yield row
        last = rows[-1]["zip_id"]


async def members(db: Database, zip_id: int) -> list[Member]:
    """Return an archive's files."""
    rows = await db.fetch_all(
        "SELECT file_id, zip_offset AS `offset`, size, sha256 FROM file_upload_info WHERE zip_id = %s", (zip_id,)
    )
    return [Member(**row) for row in rows]


async def files(db: Database, zip_id: int) -> list[Row]:
    """Return an archive's files as its manifest names them, in that order."""
    return await db.fetch_all(
        "SELECT file_id, file_name, size, sha256 FROM file_upload_info WHERE zip_id = %s ORDER BY file_id", (zip_id,)
    )


async def uploads_after(db: Database, path: str, limit: int = _AT_ONCE) -> list[Row]:
    """Return uploads that are still kept, behind a path: by their ids one would read all those that are not."""
    return await db.fetch_all(
        "SELECT file_id, path, size, sha256 FROM file_upload_info WHERE path > %s ORDER BY path LIMIT %s",
        (path, limit),
    )


async def kept_uploads(db: Database) -> AsyncGenerator[Row, None]:
    """Yield every upload that is still kept."""
    last = ""
    while rows := await uploads_after(db, last):
        for row in rows:
            yield row
        last = rows[-1]["path"]
