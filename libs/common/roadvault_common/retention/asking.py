"""Whether archives may end now: not in a database that is in doubt, nor unusually many at once, until a person allows.

Likewise whether period keys may go.

A database that was accepted after a restored dump, or recovered, may lack holds and ends that were moved; one whose
clock is wrong finds everything over. Nothing brings back what ends then.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from roadvault_common.retention.ends import HELD, IDLE
from roadvault_common.sql.db import Database, Row, Transaction
from roadvault_common.work.reasons import Reason
from roadvault_common.work.stages import SHRED

MOST: Final = 10_000
"""What is counted no further."""
_LONG_AGO: Final = "1000-01-01"


@dataclass(frozen=True)
class Asked:
    """What waits for a person: archives whose time is over, counted up to `MOST`, and the first and last end (UTC)."""

    archives: int
    first: datetime | None
    last: datetime | None
    doubted: datetime | None
    """Since when the database is in doubt, UTC; None: it is not, there are only many."""
    periods: tuple[str, ...]
    """Of period keys that open nothing here, and go once it is allowed."""


async def held_back(tx: Transaction, ends_at: datetime, usual: int) -> Reason | None:
    """Return why an archive whose time is over, and that nothing keeps, waits for a person; None if it may end.

    As many as `usual` end at once without being asked.
    """
    doubted, allowed = await _decided(tx)
    if doubted is not None:
        words = (
            f"the database was accepted, or recovered, on {doubted:%Y-%m-%d}, and may lack holds and moved ends:"
            " `roadvault retention allow`"
        )
        return Reason("ends_doubted", words, on=f"{doubted:%Y-%m-%d}")
    if allowed is not None and ends_at <= allowed:
        return None
    if (await _over(tx, allowed, usual + 1))["archives"] <= usual:
        return None
    words = f"more than {usual} archives are over, and none of them ends unasked: `roadvault retention allow`"
    return Reason("ends_ask", words, archives=usual)


async def asked(db: Database, usual: int) -> Asked | None:
    """Return what waits for a person; None if nothing does."""
    doubted, allowed = await _decided(db)
    idle = [] if doubted is None else await db.fetch_all(f"{IDLE} ORDER BY period, period_key")
    found = Asked(**await _over(db, allowed, MOST), doubted=doubted, periods=tuple(row["period"] for row in idle))
    return found if found.periods or found.archives > (usual if doubted is None else 0) else None


async def in_doubt(source: Database | Transaction) -> bool:
    """Tell whether no archive ends before a person allows it."""
    return (await _decided(source))[0] is not None


async def allow(db: Database) -> None:
    """Let what is over by now end, and the database be in doubt no more."""

    async def write(tx: Transaction) -> None:
        await tx.execute("UPDATE identity_info SET doubted_at = NULL, ends_allowed = UTC_TIMESTAMP(6) WHERE one = 1")
        await tx.execute(
            SHRED.sql(
                "UPDATE {table} SET {due} = {now} WHERE shredded_at IS NULL AND ends_at <= {now}"
                " AND {failed_at} IS NULL AND {token} IS NULL"
            )
        )

    await db.transact(write)


async def trust(db: Database) -> bool:
    """Have the database be in doubt no more if it has no end and no period key, nor lacks archives; tell whether."""
    await db.execute(
        "UPDATE identity_info SET doubted_at = NULL WHERE one = 1"
        " AND NOT EXISTS (SELECT 1 FROM retention_info WHERE shredded_at IS NULL AND ends_at IS NOT NULL)"
        " AND NOT EXISTS (SELECT 1 FROM period_key_info WHERE `key` IS NOT NULL)"
        " AND NOT EXISTS (SELECT 1 FROM left_out_info)"
    )
    return not await in_doubt(db)


async def _decided(source: Database | Transaction) -> tuple[datetime | None, datetime | None]:
    row = await source.fetch_one("SELECT doubted_at, ends_allowed FROM identity_info WHERE one = 1")
    return (None, None) if row is None else (row["doubted_at"], row["ends_allowed"])


async def _over(source: Database | Transaction, allowed: datetime | None, most: int) -> Row:
    """Count archives whose time is over, that nothing keeps, and that nobody has allowed to end."""
    row = await source.fetch_one(
        "SELECT COUNT(*) AS archives, MIN(ends_at) AS first, MAX(ends_at) AS last FROM (SELECT ends_at"  # noqa: S608
        " FROM retention_info WHERE shredded_at IS NULL AND ends_at > %s AND ends_at <= UTC_TIMESTAMP(6)"
        f" AND NOT {HELD.format(zip='retention_info')} LIMIT %s) AS some",
        (allowed or _LONG_AGO, most),
    )
    assert row is not None  # noqa: S101 - it counts
    return row
