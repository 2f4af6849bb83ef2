"""The SQL of batches whose requests come to their end.

Whatever is given a lease raises LeaseLost if another worker has the row, and has then written nothing.
"""

from collections import defaultdict
from dataclasses import dataclass

from roadvault_common.errors import PermanentError
from roadvault_common.sql.db import Database, Transaction, marks, transacted
from roadvault_common.sql.states import BatchFileState
from roadvault_common.work import lease as leases
from roadvault_common.work.lease import Lease
from roadvault_common.work.outcome import Done

_AT_ONCE = 500
"""Files of a batch that are settled by one statement."""


@dataclass(frozen=True)
class Batch:
    """A batch: how many of its files there are, how many of these are still `open`, and what became of the others."""

    cb_url: str
    files: int
    open: int
    counts: dict[str, int]
    idle_seconds: float
    """Since a request of it was last seen to have ended."""
    ended_seconds: float
    token_id: int | None
    """The token that asked, if one did."""
    revoked: bool
    """That token is good no more."""


class BatchStore:
    """Sees which requests of a batch have ended, writes that it was reported."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def settle(self, lease: Lease) -> Batch:
        """Note which requests of a batch have ended; return how it stands.

        Raises:
            PermanentError: There is no such batch.
        """
        while await self._settle_some(lease):
            lease.progress()
        return await self._counted(lease)

    @transacted
    async def _settle_some(self, tx: Transaction, lease: Lease) -> bool:
        await leases.hold(tx, lease)
        rows = await tx.fetch_all(
            "SELECT item.file_id, request.called_back_at IS NOT NULL AS done,"
            " COALESCE(fetch_reason, callback_reason) AS reason FROM batch_file_info AS item"
            " JOIN download_info AS request ON request.download_id = item.download_id"
            " WHERE item.batch_id = %s AND item.state = %s AND request.open_key IS NULL LIMIT %s",
            (lease.row_id, BatchFileState.ASKED.value, _AT_ONCE),
        )
        ended = defaultdict[tuple[int, str | None], list[int]](list)
        for row in rows:
            state = BatchFileState.DONE if row["done"] else BatchFileState.FAILED
            ended[state.value, None if row["done"] else row["reason"]].append(row["file_id"])
        for (state_value, reason), some in ended.items():
            await tx.execute(
                "UPDATE batch_file_info SET state = %s, reason = %s"  # noqa: S608 - placeholders
                f" WHERE batch_id = %s AND file_id IN ({marks(some)})",
                (state_value, reason, lease.row_id, *some),
            )
        if rows:
            await tx.execute("UPDATE batch_info SET moved_at = UTC_TIMESTAMP(6) WHERE batch_id = %s", (lease.row_id,))
        return len(rows) == _AT_ONCE

    @transacted
    async def _counted(self, tx: Transaction, lease: Lease) -> Batch:
        """Return how a batch stands; write that it has ended, if it has."""
        await leases.hold(tx, lease)
        rows = await tx.fetch_all(
            "SELECT state, COUNT(*) AS files FROM batch_file_info WHERE batch_id = %s GROUP BY state", (lease.row_id,)
        )
        of = {BatchFileState(row["state"]): int(row["files"]) for row in rows}
        names = {"done": BatchFileState.DONE, "failed": BatchFileState.FAILED, "cancelled": BatchFileState.CANCELLED}
        counts = {name: of.get(state, 0) for name, state in names.items()}
        left = of.get(BatchFileState.WANTED, 0) + of.get(BatchFileState.ASKED, 0)
        if not left:
            await tx.execute(
                "UPDATE batch_info SET is_open = NULL, ended_at = COALESCE(ended_at, UTC_TIMESTAMP(6)), done = %s,"
                " failed = %s, cancelled = %s WHERE batch_id = %s",
                (*counts.values(), lease.row_id),
            )
        row = await tx.fetch_one(
            "SELECT cb_url, files, token_id, token_info.revoked_at IS NOT NULL AS revoked,"
            " TIMESTAMPDIFF(SECOND, COALESCE(moved_at, batch_info.create_time), UTC_TIMESTAMP(6)) AS idle,"
            " COALESCE(TIMESTAMPDIFF(SECOND, ended_at, UTC_TIMESTAMP(6)), 0) AS ended"
            " FROM batch_info LEFT JOIN token_info USING (token_id) WHERE batch_id = %s",
            (lease.row_id,),
        )
        if row is None:
            raise PermanentError(f"there is no batch {lease.row_id}")
        ages = row["idle"], row["ended"]
        return Batch(row["cb_url"], row["files"], left, counts, *ages, row["token_id"], bool(row["revoked"]))

    @transacted
    async def close_taken(self, tx: Transaction, lease: Lease) -> None:
        """Close the lease: the client took the callback."""
        await leases.close(tx, lease, Done())
        await tx.execute("UPDATE batch_info SET called_back_at = UTC_TIMESTAMP(6) WHERE batch_id = %s", (lease.row_id,))
