"""The SQL of what was published of the custody log."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile

from roadvault_common.sql.db import Database, Transaction

SLICE, GROUP = 0, 1
"""Levels: a slice of the log that is full, and the directory of a full number of these."""


@dataclass(frozen=True)
class Part:
    """A slice, or a directory of slices."""

    level: int
    number: int
    last: int
    """The position behind its last line."""
    master_key: str
    cid: str
    size: int
    """Of all its blocks, in bytes."""
    hash: bytes
    """Of its last line."""


async def parts(db: Database, group_slices: int) -> tuple[list[Part], list[Part]]:
    """Return the directories that are full, and the slices behind them, as they were published last.

    Only those that the log still goes on from: where their last line has its hash no line before it is another one.
    """
    groups = await _parts(db, GROUP, 0)
    return groups, await _parts(db, SLICE, len(groups) * group_slices)


async def _parts(db: Database, level: int, first: int) -> list[Part]:
    rows = await db.fetch_all(
        "SELECT level, number, last, master_key, cid, size, part.hash, part.hash = line.hash AS there"
        " FROM catalogue_log_info AS part LEFT JOIN custody_info AS line ON line.position = last - 1"
        " WHERE level = %s AND number >= %s ORDER BY number",
        (level, first),
    )
    return [Part(**row) for row in takewhile(lambda row: row.pop("there"), rows)]


async def write(tx: Transaction, fresh: Sequence[Part]) -> None:
    """Write down what was published and won't change; what stood behind it was of another log."""
    for one in fresh:
        await tx.execute(
            "REPLACE INTO catalogue_log_info (level, number, last, master_key, cid, size, hash)"
            " VALUES (%s, %s, %s, %s, %s, %s, %s)",
            (one.level, one.number, one.last, one.master_key, one.cid, one.size, one.hash),
        )
    for level in (SLICE, GROUP):
        behind = max((one.number for one in fresh if one.level == level), default=None)
        if behind is not None:
            await tx.execute("DELETE FROM catalogue_log_info WHERE level = %s AND number > %s", (level, behind))
