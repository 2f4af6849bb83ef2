"""What the rooms of the pages share."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from aiohttp import web

from roadvault_common.history import heartbeats
from roadvault_common.sql.db import Database, Row
from roadvault_ingest.config import IngestSettings
from roadvault_ingest.service import Ingest

PAGE = 50
"""Rows of a list."""


class Office(NamedTuple):
    """What a room works with; `render` makes a page of a template."""

    ingest: Ingest
    db: Database
    render: Callable[..., web.Response]

    async def threshold(self) -> int:
        """Return what an archive's replicas have to be more than."""
        return await heartbeats.replica_threshold(self.db)

    @property
    def settings(self) -> IngestSettings:
        """Ingest's settings."""
        return self.ingest.settings


class Slice(NamedTuple):
    """One page of a list, newest first, and the keys that lead on."""

    rows: Sequence[Row]
    newer: int | None
    older: int | None


async def sliced(db: Database, select: str, column: str, before: int | None, after: int | None) -> Slice:
    """Return rows before or after a key; the statement lacks its WHERE, and reads along the column."""
    args: tuple[Any, ...]
    if after is not None:
        where, args, order = f" WHERE {column} > %s", (after, PAGE + 1), "ASC"
    elif before is not None:
        where, args, order = f" WHERE {column} < %s", (before, PAGE + 1), "DESC"
    else:
        where, args, order = "", (PAGE + 1,), "DESC"
    rows = await db.fetch_all(f"{select}{where} ORDER BY {column} {order} LIMIT %s", args)
    more, rows = len(rows) > PAGE, rows[:PAGE]
    if after is not None:
        rows.reverse()
    key = column.rpartition(".")[2]
    has_newer = more if after is not None else before is not None
    has_older = True if after is not None else more
    return Slice(
        rows,
        rows[0][key] if rows and has_newer else None,
        rows[-1][key] if rows and has_older else None,
    )


def number(request: web.Request, name: str) -> int | None:
    """Return a whole number of the query; None if there is none."""
    text = request.query.get(name, "")
    return int(text[:18]) if text.isascii() and text.isdigit() else None
