"""What waits in the stages: rows that are due, at work, or have failed. Counts go no further than 10 000."""

from datetime import datetime

from roadvault_common.sql.db import Database, Row
from roadvault_common.work.stages import Stage

_MOST = 10_000


async def due_rows(db: Database, stage: Stage, limit: int) -> list[int]:
    """Return the ids of up to `limit` rows that are due, the longest due first."""
    rows = await db.fetch_all(
        stage.sql("SELECT {key} AS id FROM {table} WHERE {due} <= {now} ORDER BY {due} LIMIT %s"), (limit,)
    )
    return [row["id"] for row in rows]


async def seconds_to_next(db: Database, stage: Stage) -> float | None:
    """Return the seconds until the next row is due (negative: it already is), or None if none is waiting."""
    us = await db.fetch_value(stage.sql("SELECT TIMESTAMPDIFF(MICROSECOND, {now}, MIN({due})) FROM {table}"))
    return None if us is None else us / 1e6


async def seconds_waiting(db: Database, stage: Stage) -> float:
    """Return how long the row that has waited longest waits to be done with; 0 if none does, or nothing tells."""
    if stage.since is None:
        return 0
    us = await db.fetch_value(
        stage.sql(
            "SELECT TIMESTAMPDIFF(MICROSECOND, MIN(since), {now})"
            " FROM (SELECT {since} AS since FROM {table} WHERE {waits} LIMIT %s) AS some"
        ),
        (_MOST,),
    )
    return 0 if us is None else us / 1e6


async def count_due(db: Database, stage: Stage) -> int:
    """Return how many rows are due."""
    return await _count(db, stage, "{due} <= {now}")


async def count_at_work(db: Database, stage: Stage) -> int:
    """Return how many rows somebody works on."""
    return await _count(db, stage, "{token} IS NOT NULL AND {due} > {now}")


async def count_failed(db: Database, stage: Stage) -> int:
    """Return how many rows have failed for good in this stage."""
    return await _count(db, stage, "{failed_at} IS NOT NULL")


async def _count(db: Database, stage: Stage, where: str) -> int:
    statement = "SELECT COUNT(*) FROM (SELECT 1 FROM {table} WHERE {where} LIMIT %s) AS some"
    return int(await db.fetch_value(stage.sql(statement, where=stage.sql(where)), (_MOST,)))


async def failures(db: Database, stage: Stage, limit: int) -> list[Row]:
    """Return `id`, `attempts`, `reason` and `failed_at` of rows that have failed for good, the latest first."""
    return await db.fetch_all(
        stage.sql(
            "SELECT {key} AS id, {attempts} AS attempts, {reason} AS reason, {failed_at} AS failed_at FROM {table}"
            " WHERE {failed_at} IS NOT NULL ORDER BY {failed_at} DESC LIMIT %s"
        ),
        (limit,),
    )


async def failure(db: Database, stage: Stage, row_id: int) -> Row | None:
    """Return `attempts`, `reason` and `failed_at` of a row, or None if there is no such row."""
    return await db.fetch_one(
        stage.sql(
            "SELECT {attempts} AS attempts, {reason} AS reason, {failed_at} AS failed_at FROM {table} WHERE {key} = %s"
        ),
        (row_id,),
    )


async def failed_between(
    db: Database, stage: Stage, after: tuple[datetime | None, int], until: datetime, limit: int
) -> list[Row]:
    """Return `id` and `failed_at` of rows that failed up to `until`, the longest ago first.

    `after` is the time and the id of the last row of the page before; None as its time begins with the first page.
    """
    time, row_id = after
    from_there = "" if time is None else "AND ({failed_at} > %s OR ({failed_at} = %s AND {key} > %s))"
    return await db.fetch_all(
        stage.sql(
            "SELECT {key} AS id, {failed_at} AS failed_at FROM {table} WHERE {failed_at} <= %s {from_there}"
            " ORDER BY {failed_at}, {key} LIMIT %s",
            from_there=stage.sql(from_there),
        ),
        (until, *(() if time is None else (time, time, row_id)), limit),
    )
