"""Leases on many rows at a time, under one token, for a stage that asks somebody else about all of them at once."""

import secrets
from collections.abc import Sequence

from roadvault_common.sql.db import Database, Transaction
from roadvault_common.work.lease import Lease, Stage, due_rows


async def claim(db: Database, stage: Stage, most: int, seconds: float) -> list[Lease]:
    """Take up to `most` rows that are due, the longest due first; fewer, or none, where others are faster."""
    ids = await due_rows(db, stage, most)
    if not ids:
        return []
    due, token, attempts = stage.column("due"), secrets.token_hex(16), stage.column("attempts")
    some = f"{stage.key} IN ({', '.join(['%s'] * len(ids))})"

    async def take(tx: Transaction) -> list[Lease]:
        await tx.execute(
            f"UPDATE {stage.table} SET {due} = UTC_TIMESTAMP(6) + INTERVAL %s SECOND,"  # noqa: S608 - of the stages
            f" {stage.column('token')} = %s, {attempts} = {attempts} + 1 WHERE {some} AND {due} <= UTC_TIMESTAMP(6)",
            (seconds, token, *ids),
        )
        rows = await tx.fetch_all(
            f"SELECT {stage.key} AS id, {attempts} AS attempts FROM {stage.table}"  # noqa: S608 - of the stages
            f" WHERE {some} AND {stage.column('token')} = %s",
            (*ids, token),
        )
        return [Lease(stage, row["id"], token, row["attempts"], seconds) for row in rows]

    return await db.transact(take)


async def hold(tx: Transaction, leases: Sequence[Lease]) -> set[int]:
    """Return the rows of a claim that are still ours, and stay so until the caller's transaction ends."""
    stage, token = leases[0].stage, leases[0].token
    rows = await tx.fetch_all(
        f"SELECT {stage.key} AS id FROM {stage.table} WHERE {stage.key} IN ({', '.join(['%s'] * len(leases))})"  # noqa: S608
        f" AND {stage.column('token')} = %s FOR UPDATE",
        (*(lease.row_id for lease in leases), token),
    )
    return {row["id"] for row in rows}


async def schedule(tx: Transaction, stage: Stage, row_id: int, seconds: float) -> None:
    """Have a row be due for a stage in so many seconds, by what another stage has found, whatever was known before.

    A row that somebody works on, that rests after trouble, or that has failed, is left as it is.
    """
    due = stage.column("due")
    await tx.execute(
        f"UPDATE {stage.table} SET {due} = UTC_TIMESTAMP(6) + INTERVAL %s SECOND WHERE {stage.key} = %s"  # noqa: S608
        f" AND {stage.column('token')} IS NULL AND {stage.column('reason')} IS NULL"
        f" AND {stage.column('failed_at')} IS NULL",
        (seconds, row_id),
    )
