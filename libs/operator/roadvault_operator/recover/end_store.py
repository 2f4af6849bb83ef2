"""SQL of recovering ends: the later of two is kept, and nothing lives on that was shredded."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import NamedTuple, TypeVar

import orjson

from roadvault_common.retention import holding
from roadvault_common.sql.custody_lines import Act
from roadvault_common.sql.db import Database, Transaction, marks
from roadvault_common.sql.states import ArchiveStatus
from roadvault_common.work import lease as leases
from roadvault_common.work.stages import SHRED

T = TypeVar("T")

_AT_ONCE = 1000
"""Names that are looked up in one statement."""
_LONG_AGO = datetime(1970, 1, 1)  # noqa: DTZ001 - as the database has times
_NAMES = (Act.PACKED, Act.PINNED, Act.ADOPTED)
"""Acts that tell of an archive's folder, or its CID."""


class Shredded(NamedTuple):
    """Archives that were shredded, by the custody log, with when; times are UTC."""

    folders: dict[int, datetime]
    cids: dict[str, datetime]
    numbers: dict[int, datetime]
    """Those of which the log tells neither their folder nor their CID."""

    def at(self, zip_id: int | None, folder_id: int | None, cid: str | None) -> datetime | None:
        """Return when an archive was shredded; None if it was not."""
        return self.folders.get(folder_id or 0) or self.cids.get(cid or "") or self.numbers.get(zip_id or 0)


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
    await holding.look_again(tx, zip_id)


async def _moved_since(tx: Transaction, zip_id: int, since: datetime) -> bool:
    """Tell whether a person has moved an archive's end after a time (UTC)."""
    line = await tx.fetch_one(
        "SELECT 1 FROM custody_info WHERE zip_id = %s AND file_id IS NULL AND act = %s AND done_at > %s LIMIT 1",
        (zip_id, Act.END_MOVED.value, since),
    )
    return line is not None


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
