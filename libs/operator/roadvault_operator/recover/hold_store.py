"""SQL of recovering holds: nothing may end because one was forgotten."""

from datetime import UTC, datetime
from typing import NamedTuple

import orjson

from roadvault_common.catalogue.records import ArchiveRecord
from roadvault_common.files import identity_store
from roadvault_common.sql.custody_lines import Act
from roadvault_common.sql.db import Database, Transaction

_AT_ONCE = 1000
"""Lines of the log that are read in one statement."""


class Hold(NamedTuple):
    """A hold that was in force."""

    hold_id: int
    zip_id: int | None
    file_id: int | None
    reason: str
    made: datetime


async def bring_back(tx: Transaction, zip_id: int, record: ArchiveRecord) -> None:
    """Write the holds that an archive's record in the catalogue has and nobody knows, under their numbers if free.

    `zip_id` is the archive's number here.
    """
    for one in record.holds or ():
        made = one.made.astimezone(UTC).replace(tzinfo=None)
        await _add(tx, Hold(one.hold_id, zip_id, one.file_id, one.reason, made))
    if record.more_holds is not None:
        reason = f"{record.more_holds} holds of which the catalogue had no more: the custody log has each"
        await _add(tx, Hold(0, zip_id, None, reason, datetime.now(UTC).replace(tzinfo=None)))


async def logged(db: Database) -> list[Hold]:
    """Return the holds that are in force by the custody log; have new ones get numbers that it does not have."""
    found, first, highest = dict[int, Hold](), 0, 0
    while (last := await db.fetch_value("SELECT size FROM custody_head_info WHERE one = 1")) and first < last:
        for row in await db.fetch_all(
            "SELECT act, zip_id, file_id, facts, done_at FROM custody_info WHERE position >= %s AND position < %s"
            " AND act IN (%s, %s) ORDER BY position",
            (first, first + _AT_ONCE, Act.HOLD.value, Act.RELEASED.value),
        ):
            facts = orjson.loads(row["facts"])
            number = int(facts["hold"])
            highest = max(highest, number)
            found.pop(number, None)
            if row["act"] == Act.HOLD:
                reason = str(facts.get("reason", ""))
                found[number] = Hold(number, row["zip_id"], row["file_id"], reason, row["done_at"])
        first += _AT_ONCE
    if highest:
        await identity_store.go_on_behind(db, "hold_info", highest)
    return list(found.values())


async def bring_back_logged(tx: Transaction, hold: Hold) -> None:
    """Write a hold that the log has, unless it is there."""
    if hold.file_id is not None:
        packed = await tx.fetch_one("SELECT zip_id FROM file_upload_info WHERE file_id = %s", (hold.file_id,))
        hold = hold._replace(zip_id=packed["zip_id"] if packed else None)
    await _add(tx, hold)


async def _add(tx: Transaction, hold: Hold) -> None:
    """Write a hold, under its number if that is free, unless it is there, in force or released since."""
    there = await tx.fetch_one(
        "SELECT 1 FROM hold_info WHERE zip_id <=> %s AND file_id <=> %s AND LEFT(reason, 300) = LEFT(%s, 300)"
        " AND (hold_id = %s OR active = 1 OR ABS(TIMESTAMPDIFF(SECOND, create_time, %s)) < 60) LIMIT 1",
        (hold.zip_id, hold.file_id, hold.reason, hold.hold_id, hold.made),
    )
    if there is not None:
        return
    taken = await tx.fetch_one("SELECT 1 FROM hold_info WHERE hold_id = %s", (hold.hold_id,))
    await tx.execute(
        "INSERT INTO hold_info (hold_id, zip_id, file_id, reason, create_time) VALUES (%s, %s, %s, %s, %s)",
        hold._replace(hold_id=0 if taken else hold.hold_id),
    )
