"""SQL of what is wrong with the custody log: what was found, what a person accepted, and how far the check has come."""

from collections.abc import Iterable, Mapping

from roadvault_common.custody.store import Source
from roadvault_common.sql.db import Database, Row, Transaction, marks

MOST = 10_000
"""What is counted no further."""


async def take_turn(db: Database, seconds: float) -> int | None:
    """Return how far the check has come on its way, for whoever checks next; None if it is not due."""
    taken = await db.execute(
        "UPDATE custody_head_info SET check_due = UTC_TIMESTAMP(6) + INTERVAL %s SECOND"
        " WHERE one = 1 AND check_due <= UTC_TIMESTAMP(6)",
        (seconds,),
    )
    if not taken:
        return None
    row = await db.fetch_one("SELECT checked FROM custody_head_info WHERE one = 1")
    return None if row is None else int(row["checked"])


async def note_checked(db: Database, checked: int, *, ended: bool) -> None:
    """Note how far the check has come on its way; `ended` if that was the end, and it begins anew."""
    await db.execute(
        "UPDATE custody_head_info SET checked = %s, round_at = IF(%s, UTC_TIMESTAMP(6), round_at) WHERE one = 1",
        (checked, ended),
    )


async def add_fault(db: Database, position: int, reason: str) -> bool:
    """Note what is wrong at a position; False if that is known."""
    changed = await db.execute(
        "INSERT INTO custody_fault_info (position, reason) VALUES (%s, %s) ON DUPLICATE KEY UPDATE"
        " accepted_at = IF(reason = VALUES(reason), accepted_at, NULL), reason = VALUES(reason)",
        (position, reason[:500]),
    )
    return changed > 0


async def forget_faults(db: Database) -> None:
    """Forget what was found, before it is noted anew; what a person accepted stays accepted."""
    await db.execute("DELETE FROM custody_fault_info WHERE accepted_at IS NULL")


async def accept_faults(tx: Transaction) -> None:
    """Note that a person accepted what was found so far."""
    await tx.execute("UPDATE custody_fault_info SET accepted_at = UTC_TIMESTAMP(6) WHERE accepted_at IS NULL")


async def add_accepted(db: Database, faults: Mapping[int, str]) -> None:
    """Note what is wrong at some positions as accepted."""
    if not faults:
        return
    rows = ", ".join(["(%s, %s, UTC_TIMESTAMP(6))"] * len(faults))
    await db.execute(
        f"INSERT INTO custody_fault_info (position, reason, accepted_at) VALUES {rows}"  # noqa: S608 - placeholders
        " ON DUPLICATE KEY UPDATE reason = VALUES(reason), accepted_at = COALESCE(accepted_at, UTC_TIMESTAMP(6))",
        [value for position, reason in faults.items() for value in (position, reason[:500])],
    )


async def accepted(source: Source, first: int, last: int) -> list[int]:
    """Return the positions from one up to another at which a person accepted what is wrong, in their order."""
    rows = await source.fetch_all(
        "SELECT position FROM custody_fault_info WHERE position >= %s AND position < %s AND accepted_at IS NOT NULL"
        " ORDER BY position LIMIT %s",
        (first, last, MOST),
    )
    return [row["position"] for row in rows]


async def accepted_among(source: Source, positions: Iterable[int]) -> frozenset[int]:
    """Return those of some positions at which a person accepted what is wrong."""
    asked = sorted(set(positions))
    if not asked:
        return frozenset()
    rows = await source.fetch_all(
        "SELECT position FROM custody_fault_info"  # noqa: S608 - placeholders
        f" WHERE position IN ({marks(asked)}) AND accepted_at IS NOT NULL",
        asked,
    )
    return frozenset(row["position"] for row in rows)


async def unaccepted(db: Database, limit: int) -> list[int]:
    """Return the positions at which something is wrong that nobody has accepted, the first first."""
    rows = await db.fetch_all(
        "SELECT position FROM custody_fault_info WHERE accepted_at IS NULL ORDER BY position LIMIT %s", (limit,)
    )
    return [row["position"] for row in rows]


async def any_accepted(source: Source, size: int) -> bool:
    """Tell whether a person accepted something before a position."""
    row = await source.fetch_one(
        "SELECT 1 FROM custody_fault_info WHERE accepted_at IS NOT NULL AND position < %s LIMIT 1", (size,)
    )
    return row is not None


async def forget_published_parts(db: Database, position: int) -> None:
    """Have the catalogue seal the log anew from the slice on that has a position: a line has another hash there now."""
    await db.execute("DELETE FROM catalogue_log_info WHERE last > %s", (position,))


async def published(db: Database) -> bytes | None:
    """Return `custody.json` of the newest catalogue; None if there is none, or a person accepted the log since."""
    row = await db.fetch_one("SELECT custody FROM catalogue_info WHERE one = 1 AND custody_accepted = 0")
    return None if row is None else row["custody"]


async def accept_published(tx: Transaction) -> None:
    """Note that the next catalogue need not go on from what the newest one has of the log."""
    await tx.execute("UPDATE catalogue_info SET custody_accepted = 1 WHERE one = 1")


async def faults(db: Database, limit: int) -> list[Row]:
    """Return `position`, `reason`, `found_at` and `accepted_at` of what is wrong, along the chain."""
    return await db.fetch_all(
        "SELECT position, reason, found_at, accepted_at FROM custody_fault_info ORDER BY position LIMIT %s", (limit,)
    )


async def count_faults(db: Database) -> int:
    """Return how many lines are known to be wrong, and not accepted, counted up to `MOST`."""
    row = await db.fetch_one(
        "SELECT COUNT(*) AS n FROM (SELECT 1 FROM custody_fault_info WHERE accepted_at IS NULL LIMIT %s) AS some",
        (MOST,),
    )
    return int(row["n"]) if row else 0
