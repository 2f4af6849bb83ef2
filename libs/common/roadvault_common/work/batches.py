"""Leases on many rows at a time, under one token, for a stage that asks somebody else about all of them at once."""

import secrets
from collections.abc import Sequence

from roadvault_common.sql.db import Database, Transaction, marks
from roadvault_common.work.backlog import due_rows
from roadvault_common.work.lease import Lease
from roadvault_common.work.stages import Stage


async def claim(db: Database, stage: Stage, most: int, seconds: float) -> list[Lease]:
    """Take up to `most` rows that are due, the longest due first; fewer, or none, where others are faster."""
    ids = await due_rows(db, stage, most)
    if not ids:
        return []
    token = secrets.token_hex(16)

    async def take(tx: Transaction) -> list[Lease]:
        await tx.execute(
            stage.sql(
                "UPDATE {table} SET {due} = {now} + INTERVAL %s SECOND, {token} = %s, {attempts} = {attempts} + 1"
                " WHERE {key} IN ({ids}) AND {due} <= {now}",
                ids=marks(ids),
            ),
            (seconds, token, *ids),
        )
        rows = await tx.fetch_all(
            stage.sql(
                "SELECT {key} AS id, {attempts} AS attempts, {reason} AS reason FROM {table}"
                " WHERE {key} IN ({ids}) AND {token} = %s",
                ids=marks(ids),
            ),
            (*ids, token),
        )
        return [Lease(stage, row["id"], token, row["attempts"], seconds, row["reason"]) for row in rows]

    return await db.transact(take)


async def extend(db: Database, leases: Sequence[Lease]) -> None:
    """Move the ends of those leases of a claim that are still ours to their full length from now."""
    stage, ids = leases[0].stage, [lease.row_id for lease in leases]
    await db.execute(
        stage.sql(
            "UPDATE {table} SET {due} = {now} + INTERVAL %s SECOND WHERE {key} IN ({ids}) AND {token} = %s",
            ids=marks(ids),
        ),
        (leases[0].seconds, *ids, leases[0].token),
    )


async def hold(tx: Transaction, leases: Sequence[Lease]) -> set[int]:
    """Return the rows of a claim that are still ours, and stay so until the caller's transaction ends."""
    stage, ids = leases[0].stage, [lease.row_id for lease in leases]
    rows = await tx.fetch_all(
        stage.sql("SELECT {key} AS id FROM {table} WHERE {key} IN ({ids}) AND {token} = %s FOR UPDATE", ids=marks(ids)),
        (*ids, leases[0].token),
    )
    return {row["id"] for row in rows}


async def schedule(tx: Transaction, stage: Stage, row_id: int, seconds: float) -> None:
    """Have a row be due for a stage in so many seconds, by what another stage has found, whatever was known before.

    A row that somebody works on, that rests after trouble, or that has failed, is left as it is.
    """
    await tx.execute(
        stage.sql(
            "UPDATE {table} SET {due} = {now} + INTERVAL %s SECOND"
            " WHERE {key} = %s AND {token} IS NULL AND {reason} IS NULL AND {failed_at} IS NULL"
        ),
        (seconds, row_id),
    )
