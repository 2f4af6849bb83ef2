"""The notifier's SQL.

Whatever is given a lease raises LeaseLost if another worker has the row, and has then written nothing.
"""

from dataclasses import dataclass
from datetime import UTC, datetime

from roadvault_common.access import callback_keys
from roadvault_common.errors import PermanentError
from roadvault_common.files.span import Span
from roadvault_common.sql.custody_lines import Act, Line, record
from roadvault_common.sql.db import Database, Transaction, transacted
from roadvault_common.sql.mirror import mirror
from roadvault_common.sql.states import FileStatus, RequestStatus
from roadvault_common.work import lease as leases
from roadvault_common.work.lease import Lease
from roadvault_common.work.outcome import Done

GRACE_SECONDS = 600
"""An extraction outlives its link by this much: a download that began in time may end."""
_AT_ONCE = 1000
"""Callbacks that are put off by one statement."""


@dataclass(frozen=True)
class Callback:
    """A callback that is due."""

    download_id: int
    file_id: int
    cb_url: str
    """Empty: nobody is called, and the link stands on the request's page."""
    path: str | None
    link_url: str | None
    """Where the door of the store is that has the file, if that has an address of its own."""
    waits_seconds: int
    """Since the file is there."""
    token_id: int | None
    """The token that asked, if one did."""
    revoked: bool
    """That token is good no more."""
    span: Span | None
    """Of the clip that was asked for, if it is one."""


class NotifierStore:
    """Reads callbacks that are due, writes what became of them."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def callback(self, download_id: int) -> Callback:
        """Return the request.

        Raises:
            PermanentError: There is none.
        """
        row = await self._db.fetch_one(
            "SELECT download_id, file_id, cb_url, path, link_url, token_id,"
            " token_info.revoked_at IS NOT NULL AS revoked,"
            " COALESCE(TIMESTAMPDIFF(SECOND, extracted_at, UTC_TIMESTAMP(6)), 0) AS waits_seconds,"
            " clip_from, clip_to, clip_clock"
            " FROM download_info LEFT JOIN token_info USING (token_id)"
            " LEFT JOIN store_info ON store_info.name = download_info.store WHERE download_id = %s",
            (download_id,),
        )
        if row is None:
            raise PermanentError(f"there is no request {download_id}")
        span = Span.of(row)
        return Callback(**{name: row[name] for name in row if not name.startswith("clip_")}, span=span)

    async def callback_keys(self, token_id: int) -> list[str]:
        """Return what signs the callbacks of a token now, wrapped."""
        return await callback_keys.of_token(self._db, token_id)

    async def put_off(self, place: str, seconds: float, patience_seconds: float) -> None:
        """Have callbacks for `place` wait that are due and nobody's, spread over up to twice the time.

        What waits for more than `patience_seconds` is left out.
        """
        await self._db.execute(
            "UPDATE download_info SET callback_due = UTC_TIMESTAMP(6) + INTERVAL %s * (1 + RAND()) SECOND"
            " WHERE cb_place = %s AND callback_due <= UTC_TIMESTAMP(6) AND callback_token IS NULL"
            " AND extracted_at > UTC_TIMESTAMP(6) - INTERVAL %s SECOND LIMIT %s",
            (seconds, place, patience_seconds, _AT_ONCE),
        )

    @transacted
    async def promise_link(self, tx: Transaction, lease: Lease, ttl_seconds: float) -> datetime:
        """Write down until when the link lives, before it is given away: the extraction is kept at least that long.

        It is not kept for less time than it was before: while nobody took the callback, a person may call it again.
        Return that time (aware), by the database's clock, which is the one that the door reads a link by.
        """
        await leases.hold(tx, lease)
        await tx.execute(
            "UPDATE download_info SET link_expires_at = UTC_TIMESTAMP(6) + INTERVAL %s SECOND,"
            " expire_due = GREATEST(COALESCE(expire_due, UTC_TIMESTAMP(6)), UTC_TIMESTAMP(6) + INTERVAL %s SECOND)"
            " WHERE download_id = %s",
            (ttl_seconds, ttl_seconds + GRACE_SECONDS, lease.row_id),
        )
        (row,) = await tx.fetch_all("SELECT link_expires_at FROM download_info WHERE download_id = %s", (lease.row_id,))
        expires_at: datetime = row["link_expires_at"]
        return expires_at.replace(tzinfo=UTC)

    @transacted
    async def close_taken(self, tx: Transaction, lease: Lease, callback: Callback, place: str) -> None:
        """Close the lease: the client at `place` (host:port) took the callback, or the page has the link.

        The extraction is kept for its link.
        """
        await leases.close(tx, lease, Done())
        await tx.execute(
            "UPDATE download_info SET status = %s, open_key = NULL, called_back_at = UTC_TIMESTAMP(6),"
            " expire_due = link_expires_at + INTERVAL %s SECOND WHERE download_id = %s",
            (RequestStatus.CALLED_BACK.value, GRACE_SECONDS, lease.row_id),
        )
        await record(tx, Line(Act.HANDED, {"to": place, "request": lease.row_id}, callback.file_id))
        await mirror(tx, callback.file_id, lease.row_id, FileStatus.CALLED_BACK)
