"""What waits in the stages: rows that are due, at work, or have failed. Counts go no further than 10 000."""

from dataclasses import dataclass
from datetime import datetime

from roadvault_common.history import heartbeats
from roadvault_common.sql.db import Database, Row, sums
from roadvault_common.sql.states import ArchiveStatus, FolderStatus
from roadvault_common.stores import MAIN
from roadvault_common.work.stages import (
    CALLBACK,
    DROP,
    FETCH,
    ORDER,
    PACK,
    PIN,
    PROVE,
    WATCH,
    Stage,
)

STEPS = ("receive", "pack", "pin", "order", "replicate", "prove", "drop", "fetch", "callback")
"""The stages of a file's way, as people see it."""
_MOST = 10_000


async def due_rows(db: Database, stage: Stage, limit: int, store: str = MAIN) -> list[int]:
    """Return the ids of up to `limit` rows that are due, the longest due first; of a local stage those of a store."""
    rows = await db.fetch_all(
        stage.sql(
            "SELECT {key} AS id FROM {table} WHERE {due} <= {now} {ours} ORDER BY {due} LIMIT %s",
            ours="AND store = %s" if stage.local else "",
        ),
        (store, limit) if stage.local else (limit,),
    )
    return [row["id"] for row in rows]


async def seconds_to_next(db: Database, stage: Stage, store: str = MAIN) -> float | None:
    """Return the seconds until the next row is due (negative: it already is), or None if none is waiting."""
    us = await db.fetch_value(
        stage.sql(
            "SELECT TIMESTAMPDIFF(MICROSECOND, {now}, MIN({due})) FROM {table} {ours}",
            ours="WHERE store = %s" if stage.local else "",
        ),
        (store,) if stage.local else (),
    )
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
    """Return `id`, `failed_at` and `reason` of rows that failed up to `until`, the longest ago first.

    `after` is the time and the id of the last row of the page before; None as its time begins with the first page.
    """
    time, row_id = after
    from_there = "" if time is None else "AND ({failed_at} > %s OR ({failed_at} = %s AND {key} > %s))"
    return await db.fetch_all(
        stage.sql(
            "SELECT {key} AS id, {failed_at} AS failed_at, {reason} AS reason FROM {table}"
            " WHERE {failed_at} <= %s {from_there} ORDER BY {failed_at}, {key} LIMIT %s",
            from_there=stage.sql(from_there),
        ),
        (until, *(() if time is None else (time, time, row_id)), limit),
    )


@dataclass(frozen=True)
class Numbers:
    """What is in hand in a stage, each counted up to 10 000; `oldest_seconds` is how long the oldest of it waits.

    `waiting` is what is to come and what waits for something outside it, `retrying` what met trouble and rests until it
    is tried again. Of archives short of replicas, `least` and `most` are the counts that they have, and `need` what has
    to be exceeded.
    """

    waiting: int = 0
    running: int = 0
    retrying: int = 0
    failed: int = 0
    oldest_seconds: float = 0
    least: int | None = None
    most: int | None = None
    need: int | None = None


_EVIDENCE = "(SELECT {} FROM evidence_info WHERE evidence_info.zip_id = zip_ipfs_info.zip_id AND valid = 1)"
_SINCE = {PROVE.name: _EVIDENCE.format("create_time"), DROP.name: _EVIDENCE.format("proven_at")}
"""Since when a row waits, where no column of its own says so."""


async def numbers(db: Database, stage: Stage) -> Numbers:
    """Return what is in hand in a stage in which every row is done with some time."""
    row = await sums(
        db,
        stage.sql(
            "SELECT COALESCE(SUM(there), 0) AS there, COALESCE(SUM(there AND tried), 0) AS tried,"
            " TIMESTAMPDIFF(MICROSECOND, MIN(IF(there, since, NULL)), {now}) AS us"
            " FROM (SELECT {due} IS NOT NULL AND {failed_at} IS NULL AND ({token} IS NULL OR {due} <= {now}) AS there,"
            " {attempts} > 0 AS tried, {oldest} AS since FROM {table} WHERE {waits} LIMIT %s) AS some",
            oldest=stage.since or _SINCE.get(stage.name, "NULL"),
        ),
        _MOST,
    )
    there, tried = int(row["there"]), int(row["tried"])
    running, failed = await count_at_work(db, stage), await count_failed(db, stage)
    return Numbers(there - tried, running, tried, failed, max((row["us"] or 0) / 1e6, 0))


async def pipeline(db: Database) -> list[tuple[str, Numbers]]:
    """Return what is in hand in the nine stages of a file's way, in their order, by their names."""
    found = {stage.name: await numbers(db, stage) for stage in (PACK, PIN, ORDER, PROVE, DROP, FETCH, CALLBACK)}
    found |= {"receive": await _receiving(db), "replicate": await _replicating(db)}
    return [(name, found[name]) for name in STEPS]


async def _receiving(db: Database) -> Numbers:
    """Return how many files are in folders that are not closed yet, and how old the oldest of these is."""
    row = await sums(
        db,
        "SELECT COALESCE(SUM(files), 0) AS files, TIMESTAMPDIFF(MICROSECOND, MIN(IF(files, create_time, NULL)),"  # noqa: S608
        f" UTC_TIMESTAMP(6)) AS us FROM folder_info WHERE status = {FolderStatus.OPEN}",
    )
    return Numbers(waiting=min(int(row["files"]), _MOST), oldest_seconds=(row["us"] or 0) / 1e6)


async def _replicating(db: Database) -> Numbers:
    """Return how many archives have an order and too few replicas: they wait for the network, and have not failed."""
    need = await heartbeats.replica_threshold(db)
    rows = [
        await sums(
            db,
            "SELECT COUNT(*) AS archives, COALESCE(SUM(tried), 0) AS tried, MIN(replicas) AS least,"
            " MAX(replicas) AS most, TIMESTAMPDIFF(MICROSECOND, MIN(pinned_at), UTC_TIMESTAMP(6)) AS us FROM"
            " (SELECT replicas, pinned_at, watch_attempts > 0 AND watch_token IS NULL AS tried FROM zip_ipfs_info"
            " WHERE status = %s AND replicas <= %s LIMIT %s) AS some",
            status.value, need, _MOST,
        )
        for status in (ArchiveStatus.ORDERED, ArchiveStatus.LIVE)
    ]  # fmt: skip
    there, tried = (min(sum(int(row[name]) for row in rows), _MOST) for name in ("archives", "tried"))
    least, most = ([row[name] for row in rows if row[name] is not None] for name in ("least", "most"))
    oldest = max((row["us"] or 0) / 1e6 for row in rows)
    return Numbers(
        there - tried, 0, tried, await count_failed(db, WATCH), oldest, min(least, default=None),
        max(most, default=None), need,
    )  # fmt: skip
