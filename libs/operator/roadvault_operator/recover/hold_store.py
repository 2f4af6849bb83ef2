"""SQL of recovering holds: nothing may end because one was forgotten."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import NamedTuple

import orjson

from roadvault_common.catalogue.records import ArchiveRecord
from roadvault_common.files import identity_store
from roadvault_common.retention import holding
from roadvault_common.sql.custody_lines import Act
from roadvault_common.sql.db import Database, Row, Transaction, marks
from roadvault_operator.recover.end_store import number_here

_AT_ONCE = 1000
"""Lines of the log, or holds, that are read in one statement."""
COUNTED = "holds of which the catalogue had no more: the custody log has each"
ACTS = (Act.HOLD, Act.RELEASED, Act.END_MOVED, Act.SHREDDED)


class Hold(NamedTuple):
    """A hold that was in force."""

    hold_id: int
    zip_id: int | None
    file_id: int | None
    reason: str
    made: datetime

    def __str__(self) -> str:
        """Return what it is called in a report."""
        on = f"archive {self.zip_id}" if self.file_id is None else f"file {self.file_id}"
        return f"hold {self.hold_id} on {on}, {self.reason!r}"


class Logged(NamedTuple):
    """What the custody log says is in force."""

    holds: list[Hold]
    ends: dict[int, datetime | None]
    """When those archives end of which a person has said so, by their numbers; None: never."""
    shredded: dict[int, datetime]
    """When the key of those was destroyed that were shredded, by their numbers."""


async def bring_back(tx: Transaction, zip_id: int, record: ArchiveRecord) -> list[str]:
    """Write the holds that an archive's record in the catalogue has and nobody knows; return what they are called.

    `zip_id` is the archive's number here. They have their own numbers where these are free.
    """
    holds = [
        Hold(one.hold_id, zip_id, one.file_id, one.reason, one.made.astimezone(UTC).replace(tzinfo=None))
        for one in record.holds or ()
    ]
    if record.more_holds is not None:
        count = await tx.fetch_one("SELECT COUNT(*) AS n FROM hold_info WHERE zip_id = %s", (zip_id,))
        reason = f"{record.more_holds} {COUNTED}"
        if count is not None and count["n"] < len(holds) + record.more_holds:
            holds.append(Hold(0, zip_id, None, reason, datetime.now(UTC).replace(tzinfo=None)))
    return [str(hold) for hold in holds if await _add(tx, hold)]


async def bring_back_late(db: Database, zip_id: int, record: ArchiveRecord) -> list[str]:
    """As `bring_back`, of an archive that has its rows already, which may be older than the catalogue."""

    async def write(tx: Transaction) -> list[str]:
        told = await bring_back(tx, zip_id, record)
        if told:
            await holding.look_again(tx, zip_id)
        return told

    return await db.transact(write)


async def logged(db: Database, others: Iterable[Row] = ()) -> Logged:
    """Return what is in force by the custody log, and by lines of another; have new holds get numbers behind theirs."""
    rows, first = [*others], 0
    while (last := await db.fetch_value("SELECT size FROM custody_head_info WHERE one = 1")) and first < last:
        rows += await db.fetch_all(
            "SELECT act, zip_id, file_id, facts, done_at FROM custody_info WHERE position >= %s AND position < %s"  # noqa: S608
            f" AND act IN ({marks(ACTS)}) ORDER BY position",
            (first, first + _AT_ONCE, *(act.value for act in ACTS)),
        )
        first += _AT_ONCE
    found, ends, highest = dict[tuple[object, ...], Hold](), dict[int, datetime | None](), 0
    shredded = dict[int, datetime]()
    for row in sorted(rows, key=lambda row: row["done_at"]):
        facts = orjson.loads(row["facts"])
        if row["act"] == Act.END_MOVED:
            ends[row["zip_id"]] = _end(facts["ends"])
            continue
        if row["act"] == Act.SHREDDED:
            ends.pop(row["zip_id"], None)
            shredded[row["zip_id"]] = row["done_at"]
            continue
        hold = Hold(int(facts["hold"]), row["zip_id"], row["file_id"], str(facts.get("reason", "")), row["done_at"])
        highest = max(highest, hold.hold_id)
        found.pop(hold[:3], None)
        if row["act"] == Act.HOLD:
            found[hold[:3]] = hold
    if highest:
        await identity_store.go_on_behind(db, "hold_info", highest)
    return Logged([*found.values()], ends, shredded)


def _end(said: str) -> datetime | None:
    return None if said == "never" else datetime.fromisoformat(said).astimezone(UTC).replace(tzinfo=None)


async def after(db: Database, hold_id: int) -> list[Row]:
    """Return holds behind a number, those that were released too."""
    return await db.fetch_all(
        "SELECT hold_id, zip_id, file_id, reason, active, released_at, create_time FROM hold_info WHERE hold_id > %s"
        " ORDER BY hold_id LIMIT %s",
        (hold_id, _AT_ONCE),
    )


async def bring_back_logged(tx: Transaction, hold: Hold) -> str | None:
    """Write a hold that the log has, unless it is there; return what is to be told of it, or None."""
    here, zip_id = await _subject(tx, hold)
    placed = hold._replace(zip_id=zip_id)
    added = await _add(tx, placed)
    if here:
        if added and zip_id is not None:
            await holding.look_again(tx, zip_id)
        return f"{hold} is in force again" if added else None
    active = await tx.fetch_one(
        "SELECT 1 FROM hold_info WHERE zip_id <=> %s AND file_id <=> %s AND active = 1 LIMIT 1", placed[1:3]
    )
    return f"{hold} is kept; what it is on is not here" if active is not None else None


async def _subject(tx: Transaction, hold: Hold) -> tuple[bool, int | None]:
    """Return whether what a hold is on is here, and the number of the archive that it keeps."""
    if hold.file_id is not None:
        file = await tx.fetch_one("SELECT zip_id FROM file_upload_info WHERE file_id = %s", (hold.file_id,))
        return file is not None, file["zip_id"] if file else None
    there = None if hold.zip_id is None else await number_here(tx, hold.zip_id)
    if there not in {None, hold.zip_id}:  # it had not come yet when a run before this one wrote its holds
        await tx.execute("UPDATE hold_info SET zip_id = %s WHERE zip_id = %s AND file_id IS NULL", (there, hold.zip_id))
    return there is not None, hold.zip_id if there is None else there


async def _add(tx: Transaction, hold: Hold) -> bool:
    """Write a hold, under its number if that is free; False if it is there, in force or released since."""
    there = await tx.fetch_one(
        "SELECT 1 FROM hold_info WHERE zip_id <=> %s AND file_id <=> %s AND LEFT(reason, 300) = LEFT(%s, 300)"
        " AND (hold_id = %s OR active = 1 OR ABS(TIMESTAMPDIFF(SECOND, create_time, %s)) < 60) LIMIT 1",
        (hold.zip_id, hold.file_id, hold.reason, hold.hold_id, hold.made),
    )
    if there is not None:
        return False
    taken = await tx.fetch_one("SELECT 1 FROM hold_info WHERE hold_id = %s", (hold.hold_id,))
    await tx.execute(
        "INSERT INTO hold_info (hold_id, zip_id, file_id, reason, create_time) VALUES (%s, %s, %s, %s, %s)",
        hold._replace(hold_id=0 if taken else hold.hold_id),
    )
    return True
