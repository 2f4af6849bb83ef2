"""SQL of batches: many files that one client asks for at once.

Whatever is given a lease raises LeaseLost if another worker has the batch, and has then written nothing.
"""

import secrets
from collections.abc import Sequence

from roadvault_common.errors import brief
from roadvault_common.files.span import Span, columns
from roadvault_common.sql.db import Database, Row, Transaction, marks, transacted
from roadvault_common.sql.mirror import fail_request
from roadvault_common.sql.states import BatchFileState
from roadvault_common.tracing import store as traces
from roadvault_common.web.callback_url import CallbackUrl
from roadvault_common.web.connections import counts_for
from roadvault_common.work import lease as leases
from roadvault_common.work.lease import Lease
from roadvault_common.work.outcome import Done
from roadvault_common.work.reasons import Reason
from roadvault_common.work.stages import ASK, CALLBACK, FETCH, REPORT
from roadvault_ingest.access.who import current
from roadvault_ingest.problems import BadClip, Gone, TooMany
from roadvault_ingest.requests.asking import LATER_SECONDS, Asked, Asker, Most, ask

_ID_BITS = 52
"""Of a batch's number: what every reader of JSON takes for a whole number."""
_FILES_AT_ONCE = 1000
"""Rows of a batch in one statement."""
AT_ONCE = 20
"""Files that are asked for, or cancelled, in one transaction: others who want one of them wait as long."""
_CALLING_SECONDS = 15.0
"""After so long a batch that was cancelled is looked at again whose callbacks were under way: they may have failed."""
_CANCELLED = Reason("cancelled", "its client cancelled the batch that asked for it")


class BatchStore:
    """Writes and reads batches."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def unknown(self, file_ids: Sequence[int]) -> list[int]:
        """Return those of some numbers that no file has which who asks may see."""
        found = set[int]()
        for start in range(0, len(file_ids), _FILES_AT_ONCE):
            some = file_ids[start : start + _FILES_AT_ONCE]
            rows = await self._db.fetch_all(
                f"SELECT file_id, camera FROM file_upload_info WHERE file_id IN ({marks(some)})",  # noqa: S608 - marks
                some,
            )
            found |= {row["file_id"] for row in rows if current().sees(row["camera"])}
        return [file_id for file_id in file_ids if file_id not in found]

    @transacted
    async def add(
        self,
        tx: Transaction,
        file_ids: Sequence[int],
        url: CallbackUrl,
        peer: str | None,
        most: int,
        span: Span | None = None,
    ) -> int:
        """Write a batch of files, each once, which is to be asked for; return its number.

        Raises:
            TooMany: As many as may be of the same peer are open; nothing was written.
        """
        peer = counts_for(peer) if peer else None
        under_way = await tx.fetch_one("SELECT COUNT(*) AS n FROM batch_info WHERE peer = %s AND is_open = 1", (peer,))
        if under_way is not None and under_way["n"] >= most:
            raise TooMany(f"{most} batches of the address {peer} are under way, as many as may be", LATER_SECONDS)
        who, batch_id = current(), 1 + secrets.randbits(_ID_BITS)
        await tx.execute(
            "INSERT INTO batch_info (batch_id, cb_url, cb_place, peer, files, token_id, who_kind, who_name, clip_from,"
            " clip_to, clip_clock, ask_due) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, UTC_TIMESTAMP(6))",
            (batch_id, url.text, url.place, peer, len(file_ids), who.token_id, who.kind, who.name, *columns(span)),
        )
        await traces.keep(tx, "batch_info", batch_id)
        for start in range(0, len(file_ids), _FILES_AT_ONCE):
            some = file_ids[start : start + _FILES_AT_ONCE]
            rows = ", ".join(["(%s, %s)"] * len(some))
            await tx.execute(
                f"INSERT INTO batch_file_info (batch_id, file_id) VALUES {rows}",  # noqa: S608 - placeholders
                [value for file_id in some for value in (batch_id, file_id)],
            )
        return batch_id

    async def batch(self, batch_id: int) -> Row | None:
        """Return a batch."""
        return await self._db.fetch_one(
            "SELECT batch_id, cb_url, peer, files, is_open, done, failed, cancelled, cancelled_at, ended_at,"
            " called_back_at, create_time, ask_due, report_failed_at, COALESCE(ask_reason, report_reason) AS reason,"
            " token_id, who_kind, who_name, clip_from, clip_to, clip_clock FROM batch_info WHERE batch_id = %s",
            (batch_id,),
        )

    async def oldest_open(self) -> float:
        """Return how many seconds ago the oldest batch came that has not ended; 0: all have."""
        oldest = await self._db.fetch_value(
            "SELECT TIMESTAMPDIFF(SECOND, create_time, UTC_TIMESTAMP(6)) FROM batch_info WHERE is_open = 1"
            " ORDER BY create_time LIMIT 1"
        )
        return float(oldest or 0)

    async def counts(self, batch_id: int) -> list[Row]:
        """Return how many files of a batch are in which `state`, and with which `status` of their request."""
        return await self._db.fetch_all(
            "SELECT item.state, request.status, COUNT(*) AS files FROM batch_file_info AS item"
            " LEFT JOIN download_info AS request ON request.download_id = item.download_id"
            " WHERE item.batch_id = %s GROUP BY item.state, request.status",
            (batch_id,),
        )

    async def files(self, batch_id: int, after: int, limit: int) -> list[Row]:
        """Return files of a batch behind a number, in order."""
        return await self._db.fetch_all(
            "SELECT item.file_id, item.download_id, item.state, request.status,"
            " COALESCE(item.reason, fetch_reason, callback_reason) AS reason FROM batch_file_info AS item"
            " LEFT JOIN download_info AS request ON request.download_id = item.download_id"
            " WHERE item.batch_id = %s AND item.file_id > %s ORDER BY item.file_id LIMIT %s",
            (batch_id, after, limit),
        )

    @transacted
    async def ask_some(
        self, tx: Transaction, lease: Lease, batch: Row, url: CallbackUrl, per_file: int, store: str
    ) -> list[Asked] | None:
        """Ask for some files of a batch; return the requests; None if there is nothing (more) to ask for.

        What no store has on its disk is for `store`.
        """
        if await _is_cancelled(tx, lease):
            return None
        rows = await tx.fetch_all(
            "SELECT file_id FROM batch_file_info WHERE batch_id = %s AND state = %s ORDER BY file_id LIMIT %s",
            (lease.row_id, BatchFileState.WANTED.value, AT_ONCE),
        )
        requests: list[Asked] = []
        for file_id in (row["file_id"] for row in rows):
            reason, asked = None, None
            try:
                asker = Asker(batch["peer"], Most(per_file, 0), lease.row_id, Span.of(batch), store)
                asked = await ask(tx, file_id, url, asker)
                reason = None if asked is not None else f"there is no file {file_id}"
            except (Gone, TooMany, BadClip) as problem:
                reason = brief(problem)
            state = BatchFileState.FAILED if asked is None else BatchFileState.ASKED
            await _note(tx, lease.row_id, file_id, state, reason, None if asked is None else asked.download_id)
            requests += [] if asked is None else [asked]
        return requests if rows else None

    async def is_cancelled(self, lease: Lease) -> bool:
        """Tell whether a batch was cancelled."""
        return await self._db.transact(lambda tx: _is_cancelled(tx, lease))

    @transacted
    async def cancel_some(self, tx: Transaction, lease: Lease, after: int) -> int | None:
        """Cancel some requests of a batch, behind a file's number; return the last; None: no more.

        Those that others have asked for, too, go on. What is being called back at this moment ends by itself.
        """
        await leases.hold(tx, lease)
        never = await tx.execute(
            "UPDATE batch_file_info SET state = %s WHERE batch_id = %s AND state = %s LIMIT %s",
            (BatchFileState.CANCELLED.value, lease.row_id, BatchFileState.WANTED.value, _FILES_AT_ONCE),
        )
        rows = await tx.fetch_all(
            "SELECT file_id, download_id FROM batch_file_info WHERE batch_id = %s AND state = %s AND file_id > %s"
            " ORDER BY file_id LIMIT %s",
            (lease.row_id, BatchFileState.ASKED.value, after, AT_ONCE),
        )
        for row in rows:
            await _cancel(tx, lease.row_id, row["file_id"], row["download_id"])
        return rows[-1]["file_id"] if rows else after if never else None

    @transacted
    async def close_asked(self, tx: Transaction, lease: Lease, *, cancelled: bool) -> float | None:
        """Close the lease: all is asked for, or cancelled, and to be reported.

        Or return after how many seconds it goes on: it was cancelled just now, or a callback is still under way.
        """
        if await _is_cancelled(tx, lease) and not cancelled:
            return 0
        calling = cancelled and await tx.fetch_one(
            "SELECT item.file_id FROM batch_file_info AS item JOIN download_info AS request USING (download_id)"
            " WHERE item.batch_id = %s AND item.state = %s AND request.open_key IS NOT NULL LIMIT 1",
            (lease.row_id, BatchFileState.ASKED.value),
        )
        if calling:
            return _CALLING_SECONDS
        await leases.close(tx, lease, Done())
        await leases.make_due(tx, REPORT, lease.row_id)
        return None

    @transacted
    async def cancel(self, tx: Transaction, batch_id: int) -> bool:
        """Note that a batch is to be cancelled, whatever of it has not ended; False if all has."""
        row = await tx.fetch_one("SELECT is_open FROM batch_info WHERE batch_id = %s FOR UPDATE", (batch_id,))
        if row is None or row["is_open"] is None:
            return False
        await tx.execute(
            "UPDATE batch_info SET cancelled_at = UTC_TIMESTAMP(6) WHERE batch_id = %s AND cancelled_at IS NULL",
            (batch_id,),
        )
        await leases.make_due(tx, ASK, batch_id)
        return True


async def _is_cancelled(tx: Transaction, lease: Lease) -> bool:
    """Hold the lease on a batch; tell whether it was cancelled."""
    await leases.hold(tx, lease)
    row = await tx.fetch_one("SELECT cancelled_at FROM batch_info WHERE batch_id = %s", (lease.row_id,))
    return row is not None and row["cancelled_at"] is not None


async def _cancel(tx: Transaction, batch_id: int, file_id: int, download_id: int) -> None:
    # In this order as the retriever does; the notifier's is another, and who meets a deadlock begins again.
    await tx.fetch_one("SELECT file_id FROM file_upload_info WHERE file_id = %s FOR UPDATE", (file_id,))
    request = await tx.fetch_one(
        "SELECT batch_id, open_key, callback_token IS NOT NULL AND callback_due > UTC_TIMESTAMP(6) AS calling"
        " FROM download_info WHERE download_id = %s FOR UPDATE",
        (download_id,),
    )
    if request is None or request["open_key"] is None or request["calling"]:
        return  # it has ended, or ends now
    if request["batch_id"] == batch_id:
        for stage in (FETCH, CALLBACK):
            await leases.end(tx, stage, download_id, _CANCELLED)
        await fail_request(tx, download_id)
    await _note(tx, batch_id, file_id, BatchFileState.CANCELLED, None, download_id)


async def _note(
    tx: Transaction, batch_id: int, file_id: int, state: BatchFileState, reason: str | None, download_id: int | None
) -> None:
    await tx.execute(
        "UPDATE batch_file_info SET state = %s, reason = %s, download_id = %s WHERE batch_id = %s AND file_id = %s",
        (state.value, reason, download_id, batch_id, file_id),
    )
