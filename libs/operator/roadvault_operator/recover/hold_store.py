"""SQL of recovering holds, and ends: nothing may end because one was forgotten, or live on that was shredded."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import NamedTuple, TypeVar

import orjson

from roadvault_common.catalogue.records import ArchiveRecord
from roadvault_common.files import identity_store
from roadvault_common.sql.custody_lines import Act
from roadvault_common.sql.db import Database, Row, Transaction, marks
from roadvault_common.sql.states import ArchiveStatus
from roadvault_common.work import lease as leases
from roadvault_common.work.stages import SHRED
from roadvault_operator import retention_store

T = TypeVar("T")

_AT_ONCE = 1000
"""Lines of the log that are read in one statement, or names in one."""
_LONG_AGO = datetime(1970, 1, 1)  # noqa: DTZ001 - as the database has times
COUNTED = "holds of which the catalogue had no more: the custody log has each"
ACTS = (Act.HOLD, Act.RELEASED, Act.END_MOVED, Act.SHREDDED)
_NAMES = (Act.PACKED, Act.PINNED, Act.ADOPTED)
"""Acts that tell of an archive's folder, or its CID."""


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


class Shredded(NamedTuple):
    """Archives that were shredded, by the custody log, with when; times are UTC."""

    folders: dict[int, datetime]
    cids: dict[str, datetime]
    numbers: dict[int, datetime]
    """Those of which the log tells neither their folder nor their CID."""

    def at(self, zip_id: int | None, folder_id: int | None, cid: str | None) -> datetime | None:
        """Return when an archive was shredded; None if it was not."""
        return self.folders.get(folder_id or 0) or self.cids.get(cid or "") or self.numbers.get(zip_id or 0)


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
            await retention_store.look_again(tx, zip_id)
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


async def shredded(db: Database, at: Mapping[int, datetime]) -> Shredded:
    """Return what the custody log tells of archives that were shredded, by their numbers."""
    found, told = Shredded({}, {}, {}), set[int]()
    for some in _chunks([*at]):
        for row in await db.fetch_all(
            f"SELECT zip_id, facts FROM custody_info WHERE zip_id IN ({marks(some)}) AND file_id IS NULL"  # noqa: S608
            f" AND act IN ({marks(_NAMES)})",
            [*some, *(act.value for act in _NAMES)],
        ):
            facts, zip_id = orjson.loads(row["facts"]), row["zip_id"]
            for known, name in ((found.folders, facts.get("folder")), (found.cids, facts.get("cid"))):
                if name:
                    known[name] = at[zip_id]
                    told.add(zip_id)
    found.numbers.update({zip_id: when for zip_id, when in at.items() if zip_id not in told})
    return found


async def living(db: Database, gone: Shredded) -> dict[int, datetime]:
    """Return the archives that live here though they were shredded, by their numbers, with when they were."""
    found = dict[int, datetime]()
    for column, names in (("folder_id", gone.folders), ("cid", gone.cids), ("zip_id", gone.numbers)):
        for some in _chunks([*names]):
            for row in await db.fetch_all(
                f"SELECT zip_id, {column} AS name FROM zip_ipfs_info WHERE {column} IN ({marks(some)})"  # noqa: S608
                f" AND kind = 'archive' AND status <> {ArchiveStatus.ENDED}",
                some,
            ):
                found[row["zip_id"]] = names[row["name"]]
    return found


def _chunks(names: list[T]) -> list[list[T]]:
    return [names[begin : begin + _AT_ONCE] for begin in range(0, len(names), _AT_ONCE)]


async def end_again(tx: Transaction, zip_id: int, shredded_at: datetime) -> str | None:
    """Have an archive be over that was shredded (UTC), unless a person has moved its end since; return what is told."""
    await tx.fetch_one("SELECT 1 FROM zip_ipfs_info WHERE zip_id = %s FOR UPDATE", (zip_id,))
    row = await tx.fetch_one("SELECT ends_at FROM retention_info WHERE zip_id = %s FOR UPDATE", (zip_id,))
    over = row is not None and row["ends_at"] is not None and row["ends_at"] <= datetime.now(UTC).replace(tzinfo=None)
    if over or await _moved_since(tx, zip_id, shredded_at):
        return None
    await _set_end(tx, zip_id, shredded_at)
    return (
        f"archive {zip_id} was shredded on {shredded_at:%Y-%m-%d %H:%M} UTC: it is over here, too, and goes after"
        " `roadvault retention allow`"
    )


async def follow_end(tx: Transaction, zip_id: int, ends_at: datetime | None, made: datetime) -> str | None:
    """Have an archive end when a catalogue says, that was made then, if that is later; return what is to be told.

    What a person has said since goes before; where the rows don't say when it ends, at any time. One that was shredded
    stays as it is. Times are UTC.
    """
    await tx.fetch_one("SELECT 1 FROM zip_ipfs_info WHERE zip_id = %s FOR UPDATE", (zip_id,))
    row = await tx.fetch_one("SELECT ends_at FROM retention_info WHERE zip_id = %s FOR UPDATE", (zip_id,))
    known = None if row is None else row["ends_at"]
    gone = await tx.fetch_one(
        "SELECT 1 FROM custody_info WHERE zip_id = %s AND file_id IS NULL AND act = %s LIMIT 1",
        (zip_id, Act.SHREDDED.value),
    )
    if known == ends_at or gone is not None:
        return None
    if await _moved_since(tx, zip_id, _LONG_AGO if known is None else made):
        return None
    told = f"archive {zip_id} ends {'never' if ends_at is None else f'on {ends_at:%Y-%m-%d %H:%M} UTC'}"
    if known is not None and ends_at is not None and ends_at < known:
        return (
            f"{told}; here it ends on {known:%Y-%m-%d %H:%M} UTC, and that was not changed: `roadvault retention set`"
        )
    await _set_end(tx, zip_id, ends_at)
    return told


async def _set_end(tx: Transaction, zip_id: int, ends_at: datetime | None) -> None:
    await tx.execute(
        "INSERT INTO retention_info (zip_id, ends_at) VALUES (%s, %s)"
        " ON DUPLICATE KEY UPDATE ends_at = VALUES(ends_at)",
        (zip_id, ends_at),
    )
    await leases.put_off(tx, SHRED, zip_id, ends_at)
    await retention_store.look_again(tx, zip_id)


async def _moved_since(tx: Transaction, zip_id: int, since: datetime) -> bool:
    """Tell whether a person has moved an archive's end after a time (UTC)."""
    line = await tx.fetch_one(
        "SELECT 1 FROM custody_info WHERE zip_id = %s AND file_id IS NULL AND act = %s AND done_at > %s LIMIT 1",
        (zip_id, Act.END_MOVED.value, since),
    )
    return line is not None


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
            await retention_store.look_again(tx, zip_id)
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


async def number_here(tx: Transaction, zip_id: int) -> int | None:
    """Return the number that an archive has here, which may have come without its own; None if it has not come."""
    there = await tx.fetch_one("SELECT 1 FROM zip_ipfs_info WHERE zip_id = %s AND kind = 'archive'", (zip_id,))
    if there is not None:
        return zip_id
    line = await tx.fetch_one(
        "SELECT facts FROM custody_info WHERE zip_id = %s AND file_id IS NULL AND act = %s LIMIT 1",
        (zip_id, Act.PACKED.value),
    )
    folder_id = None if line is None else orjson.loads(line["facts"]).get("folder")
    row = await tx.fetch_one("SELECT zip_id FROM zip_ipfs_info WHERE folder_id = %s", (folder_id,))
    return None if row is None else int(row["zip_id"])


async def move_end(tx: Transaction, zip_id: int, ends_at: datetime | None) -> str | None:
    """Move an archive's end to where a person had moved it, if that is later; return what is to be told, or None."""
    number = await number_here(tx, zip_id)
    if number is None:
        return None
    await tx.fetch_one("SELECT 1 FROM zip_ipfs_info WHERE zip_id = %s FOR UPDATE", (number,))
    row = await tx.fetch_one("SELECT ends_at, shredded_at FROM retention_info WHERE zip_id = %s FOR UPDATE", (number,))
    newer = await tx.fetch_one(
        "SELECT 1 FROM custody_info WHERE zip_id = %s AND file_id IS NULL AND act = %s AND position IS NULL LIMIT 1",
        (number, Act.END_MOVED.value),
    )
    if row is None or row["ends_at"] is None or newer is not None:
        return None
    known = row["ends_at"].replace(microsecond=0)
    if known == ends_at:
        return None
    told = f"archive {number} ends {'never' if ends_at is None else f'on {ends_at} UTC'}, as a person had said"
    if row["shredded_at"] is not None:
        return f"{told}; here it has ended by now"
    if ends_at is not None and ends_at < known:
        return f"{told}; here it ends on {known} UTC, and that was not changed: `roadvault retention set`"
    await _set_end(tx, number, ends_at)
    return told


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
