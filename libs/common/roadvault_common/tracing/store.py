"""Which trace a row belongs to: kept beside the rows, while traces are on, for the sweeps that find them.

An archive is years old when it is renewed, and its trace that of the days in which it came to the network: so what is
kept is forgotten after DAYS, and what is done later is a trace of its own.
"""

from collections.abc import Mapping

from roadvault_common.sql.db import Database, Transaction
from roadvault_common.tracing import spans
from roadvault_common.tracing.spans import MOST_LINKS

DAYS = 7
_STEP = 1000
"""Rows that are forgotten at a time."""


async def keep(tx: Transaction, table: str, row_id: int) -> None:
    """Keep that a row came into being by what is being done; nothing is written while traces are off."""
    parent = spans.current()
    if parent is not None:
        await keep_all(tx, table, {row_id: parent})


async def keep_all(tx: Transaction, table: str, parents: Mapping[int, str]) -> None:
    """Keep which traces rows of a table belong to, by their ids; those that have one keep it."""
    if parents:
        rows = ", ".join(["(%s, %s, %s)"] * len(parents))
        await tx.execute(
            f"INSERT IGNORE INTO trace_info (of_table, row_id, traceparent) VALUES {rows}",  # noqa: S608 - placeholders
            [value for row_id, parent in parents.items() for value in (table, row_id, parent)],
        )


async def kept(db: Database, table: str, row_id: int) -> str | None:
    """Return where the trace of a row goes on."""
    found = await db.fetch_value(
        "SELECT traceparent FROM trace_info WHERE of_table = %s AND row_id = %s", (table, row_id)
    )
    return None if found is None else str(found)


async def uploads(db: Database, folder_id: int) -> list[str]:
    """Return where the first files of a folder came from."""
    rows = await db.fetch_all(
        "SELECT traceparent FROM"
        " (SELECT file_id FROM file_upload_info WHERE folder_id = %s ORDER BY file_id LIMIT %s) AS first"
        " JOIN trace_info ON of_table = 'file_upload_info' AND row_id = file_id",
        (folder_id, MOST_LINKS),
    )
    return [row["traceparent"] for row in rows]


async def forget(db: Database) -> None:
    """Forget what was kept long ago."""
    while (
        await db.execute(
            "DELETE FROM trace_info WHERE create_time < UTC_TIMESTAMP(6) - INTERVAL %s DAY"
            " ORDER BY create_time LIMIT %s",
            (DAYS, _STEP),
        )
        == _STEP
    ):
        pass
