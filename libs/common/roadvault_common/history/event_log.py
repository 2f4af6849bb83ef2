"""How attempts ended, a line for each that brought something new: for people, on the pages of a row.

A line is written in the transaction that ends the attempt. What recurs and found nothing new, and what goes on waiting
for the same, writes none: at a million archives there would be nothing else.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from roadvault_common.sql.db import Database, Row, Transaction
from roadvault_common.tracing import spans
from roadvault_common.work import reasons
from roadvault_common.work.outcome import Done, Outcome, Wait
from roadvault_common.work.reasons import Reason
from roadvault_common.work.stages import Stage

_AT_ONCE = 1000
"""Lines that are removed by one statement."""
_SAME = {"client_waits": "client_away", "another_order": "not_final"}
"""A row that waits for its turn with somebody who is away, or slow, waits for the same all the time."""
_COLUMNS = "event_id, stage, row_id, outcome, attempt, reason, create_time, trace_id"


@dataclass(frozen=True)
class Event:
    """One line; `outcome` is done, wait, retry or failed, `at` is UTC and naive, as all times of the database."""

    event_id: int
    stage: str
    row_id: int
    outcome: str
    attempt: int
    reason: Reason | None
    at: datetime
    trace_id: str | None
    """Of the trace that it was done in; None if traces were off."""


def is_news(outcome: Outcome, before: str | None) -> bool:
    """Tell whether an outcome is a line worth, on a row whose stage had the reason `before` when it was claimed."""
    match outcome:
        case Done(again_after=after):
            return after is None or before is not None
        case Wait(reason):
            return before is None or _kind(reasons.parse(before)) != _kind(reason)
        case _:
            return True


def _kind(reason: Reason | None) -> str | None:
    """Return what tells one wait from another: the code, else the words."""
    return None if reason is None else _SAME.get(reason.code, reason.code) or reason.words


async def note(tx: Transaction, stage: Stage, row_id: int, attempt: int, outcome: Outcome) -> None:
    """Write how an attempt ended."""
    reason = None if isinstance(outcome, Done) else str(outcome.reason)
    await tx.execute(
        "INSERT INTO event_log (stage, row_id, outcome, attempt, reason, trace_id) VALUES (%s, %s, %s, %s, %s, %s)",
        (stage.name, row_id, type(outcome).__name__.lower(), attempt, reason, spans.trace_id()),
    )


async def of_row(db: Database, pairs: Sequence[tuple[Stage, int]], limit: int) -> list[Event]:
    """Return what became of a row, or of several that belong together, in these stages, the latest first."""
    if not pairs:
        return []
    each = "(SELECT {columns} FROM event_log WHERE row_id = %s AND stage = %s ORDER BY event_id DESC LIMIT %s)"
    rows = await db.fetch_all(
        " UNION ALL ".join([each.format(columns=_COLUMNS)] * len(pairs)) + " ORDER BY event_id DESC LIMIT %s",
        (*(value for stage, row_id in pairs for value in (row_id, stage.name, limit)), limit),
    )
    return [_event(row) for row in rows]


async def latest(db: Database, limit: int, before: int | None = None) -> list[Event]:
    """Return the latest lines of all, or those before one, the latest first."""
    where, args = ("", ()) if before is None else ("WHERE event_id < %s", (before,))
    rows = await db.fetch_all(
        f"SELECT {_COLUMNS} FROM event_log {where} ORDER BY event_id DESC LIMIT %s",  # noqa: S608 - ours
        (*args, limit),
    )
    return [_event(row) for row in rows]


async def trim(db: Database, days: float) -> None:
    """Remove lines older than that, some at a time."""
    removed = _AT_ONCE
    while removed == _AT_ONCE:
        removed = await db.execute(
            "DELETE FROM event_log WHERE create_time < UTC_TIMESTAMP(6) - INTERVAL %s SECOND ORDER BY create_time"
            " LIMIT %s",
            (days * 86_400, _AT_ONCE),
        )


def _event(row: Row) -> Event:
    return Event(
        row["event_id"], row["stage"], row["row_id"], row["outcome"], row["attempt"], reasons.parse(row["reason"]),
        row["create_time"], row["trace_id"],
    )  # fmt: skip
