"""SQL that crust-orderer and pinner share: what the latest audit of each archive came to, and what is read in a day.

The network's copies are audited by the one, what is kept here by the other.
"""

from dataclasses import dataclass
from enum import StrEnum

from roadvault_common.sql.custody_lines import Act, Line, record
from roadvault_common.sql.db import Database, Row, Transaction

_MOST = 10_000
"""No count goes further."""
_REASON_LENGTH = 500
"""Characters of `audit_info.reason`."""


class Place(StrEnum):
    """Where copies are: `audit_info.place`."""

    NETWORK = "network"
    LOCAL = "local"
    """Our disk and our IPFS node."""


@dataclass(frozen=True)
class Audit:
    """What an audit came to: `reason` is what was wrong, or None.

    Files read whole, which have their SHA-256, are `members`; `bytes` is all that was read. `way` is how it came.
    """

    members: int
    bytes: int
    way: str
    reason: str | None = None


async def audited(tx: Transaction, zip_id: int, place: Place, audit: Audit) -> bool:
    """As `note`, of an audit that was made for its own sake: it gets a line of the custody log, too."""
    facts = {
        "where": place.value,
        "by": audit.way,
        "files": audit.members,
        "bytes": audit.bytes,
        "found": audit.reason,
    }
    await record(tx, Line(Act.AUDITED, facts, zip_id=zip_id))
    return await note(tx, zip_id, place, audit)


async def note(tx: Transaction, zip_id: int, place: Place, audit: Audit) -> bool:
    """Write an audit down; True if something is wrong now that was not known to be."""
    sound = int(audit.reason is None)
    before = await tx.fetch_one(
        "SELECT sound FROM audit_info WHERE zip_id = %s AND place = %s FOR UPDATE", (zip_id, place.value)
    )
    await tx.execute(
        "INSERT INTO audit_info (zip_id, place, audited_at, sound, sound_at, members, bytes, way, reason)"
        " VALUES (%s, %s, UTC_TIMESTAMP(6), %s, IF(%s, UTC_TIMESTAMP(6), NULL), %s, %s, %s, %s)"
        " ON DUPLICATE KEY UPDATE audited_at = UTC_TIMESTAMP(6), sound = VALUES(sound),"
        " sound_at = COALESCE(VALUES(sound_at), sound_at), members = VALUES(members), bytes = VALUES(bytes),"
        " way = VALUES(way), reason = VALUES(reason)",
        (
            zip_id,
            place.value,
            sound,
            sound,
            audit.members,
            audit.bytes,
            audit.way,
            audit.reason and str(audit.reason)[:_REASON_LENGTH],
        ),
    )
    return not sound and (before is None or bool(before["sound"]))


async def forget(tx: Transaction, zip_id: int, place: Place) -> None:
    """Note that there is nothing to audit any more."""
    await tx.execute("DELETE FROM audit_info WHERE zip_id = %s AND place = %s", (zip_id, place.value))


async def spend(db: Database, place: Place, amount: int) -> None:
    """Note that so many bytes are about to be read today."""
    await db.execute(
        "INSERT INTO audit_day (day, place, bytes) VALUES (UTC_DATE(), %s, %s)"
        " ON DUPLICATE KEY UPDATE bytes = bytes + VALUES(bytes)",
        (place.value, amount),
    )


async def seconds_to_rest(db: Database, place: Place, most: int) -> float:
    """Return the seconds until midnight (UTC) if `most` bytes or more have been read today, else 0."""
    rest = await db.fetch_value(
        "SELECT TIMESTAMPDIFF(MICROSECOND, UTC_TIMESTAMP(6), UTC_DATE() + INTERVAL 1 DAY) FROM audit_day"
        " WHERE day = UTC_DATE() AND place = %s AND bytes >= %s",
        (place.value, most),
    )
    return (rest or 0) / 1e6


async def oldest_seconds(db: Database, place: Place) -> float:
    """Return the seconds since the archive that was audited the longest ago was; 0 if there is none."""
    age = await db.fetch_value(
        "SELECT TIMESTAMPDIFF(MICROSECOND, MIN(audited_at), UTC_TIMESTAMP(6)) FROM audit_info WHERE place = %s",
        (place.value,),
    )
    return (age or 0) / 1e6


async def unsound(db: Database, place: Place) -> int:
    """Return how many archives were not as they should be when they were last audited, up to 10 000."""
    return int(
        await db.fetch_value(
            "SELECT COUNT(*) FROM (SELECT 1 FROM audit_info WHERE place = %s AND sound = 0 LIMIT %s) AS some",
            (place.value, _MOST),
        )
    )


async def problems(db: Database, limit: int) -> list[Row]:
    """Return `zip_id`, `place`, `reason`, `audited_at` and `sound_at` of what is not as it should be, by place."""
    found = []
    for place in Place:
        found += await db.fetch_all(
            "SELECT zip_id, place, reason, audited_at, sound_at FROM audit_info WHERE place = %s AND sound = 0"
            " ORDER BY audited_at LIMIT %s",
            (place.value, limit),
        )
    return found
