"""What was done to one file: its own lines of the custody log, and those of its archive, which stand for its files."""

from collections.abc import AsyncGenerator

from roadvault_common.custody import store
from roadvault_common.sql.db import Database, Row

_AT_ONCE = 500
_EVER = 1 << 62
"""Behind every position."""


async def newest(db: Database, file_id: int, zip_id: int | None, before: int | None, limit: int) -> list[Row]:
    """Return up to `limit` lines of a file and its archive, the first first: the last of all, or before a position.

    Those that have no place in the chain yet come last, and only where no position is given.
    """
    subjects = _subjects(file_id, zip_id)
    found = [
        row for one in subjects for row in await store.of_subject(db, one, _EVER if before is None else before, limit)
    ]
    found.sort(key=lambda row: int(row["position"]))
    if before is None:
        found += [row for one in subjects for row in await store.unchained_of(db, one, limit)]
    return found[-limit:]


async def whole(db: Database, file_id: int, zip_id: int | None) -> AsyncGenerator[Row, None]:
    """Yield all lines of a file and its archive, the last first."""
    before = None
    while rows := await newest(db, file_id, zip_id, before, _AT_ONCE):
        for row in reversed(rows):
            yield row
        before = next((row["position"] for row in rows if row["position"] is not None), _EVER)


def _subjects(file_id: int, zip_id: int | None) -> list[tuple[int | None, int | None]]:
    return [(file_id, None), *([] if zip_id is None else [(None, zip_id)])]
