"""The SQL of the pages of requests: all along the primary key, or those that are open or failed along an index."""

from datetime import datetime
from operator import itemgetter

from roadvault_common.sql.db import Database, Row
from roadvault_ingest.pages.office import PAGE, Slice, sliced

REQUESTS = (
    "SELECT request.download_id, request.file_id, file.file_name, file.size, request.cb_url, request.status,"
    " file.zip_id, request.clip_from, request.clip_to, request.clip_clock,"
    " request.source, request.peer, request.batch_id, request.path, request.open_key, request.create_time,"
    " request.extracted_at, request.called_back_at, request.link_expires_at,"
    " request.fetch_due, request.fetch_token, request.fetch_attempts, request.fetch_reason, request.fetch_failed_at,"
    " request.callback_due, request.callback_token, request.callback_attempts, request.callback_reason,"
    " request.callback_failed_at, UTC_TIMESTAMP(6) AS now"
    " FROM download_info AS request LEFT JOIN file_upload_info AS file ON file.file_id = request.file_id"
)
_OPEN = ("fetch_due", "callback_due")
_FAILED = ("fetch_failed_at", "callback_failed_at")
STATES = ("open", "failed")
"""By which the list can be narrowed."""


class RequestPagesStore:
    """Reads what the pages of requests show."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def requests(self, before: int | None, after: int | None) -> Slice:
        """Return requests before or after a request's number."""
        return await sliced(self._db, REQUESTS, "request.download_id", before, after)

    async def in_state(self, state: str) -> list[Row]:
        """Return requests that are open, what is due first; or that failed, the latest first."""
        columns, order = (_OPEN, "ASC") if state == "open" else (_FAILED, "DESC")
        found: list[tuple[datetime, Row]] = []
        for column in columns:
            rows = await self._db.fetch_all(
                f"{REQUESTS} WHERE request.{column} IS NOT NULL ORDER BY request.{column} {order} LIMIT %s", (PAGE,)
            )
            found += [(row[column], row) for row in rows]
        found.sort(key=itemgetter(0), reverse=order == "DESC")
        return [row for _, row in found[:PAGE]]

    async def request(self, download_id: int) -> Row | None:
        """Return a request, and whether there may be a receipt of its file."""
        row = await self._db.fetch_one(f"{REQUESTS} WHERE request.download_id = %s", (download_id,))
        bought = row and await self._db.fetch_one(
            "SELECT zip.format AS zip_format, purchase.settled_at AS ordered_at FROM zip_ipfs_info AS zip"
            " JOIN order_info AS purchase ON purchase.zip_id = zip.zip_id AND purchase.term = 1 WHERE zip.zip_id = %s",
            (row["zip_id"],),
        )
        return row and {"zip_format": None, "ordered_at": None, **row, **(bought or {})}
