"""A download request's row, as tests of what comes after the request look at it."""

from roadvault_common.sql.db import Database, Row


async def download_row(db: Database, download_id: int) -> Row:
    """Return a request's row, with its file's status as `mirror`."""
    row = await db.fetch_one(
        "SELECT download.*, file.status AS mirror FROM download_info AS download"
        " JOIN file_upload_info AS file USING (file_id) WHERE download_id = %s",
        (download_id,),
    )
    assert row is not None
    return row
