"""SQL of sessions. What a browser has in its cookie is nowhere: only its hash."""

from collections.abc import Sequence
from dataclasses import dataclass

from roadvault_common.access.scopes import Role
from roadvault_common.sql.db import Database, Row, Transaction, marks

AT_ONCE = 1000
"""Sessions that are removed by one statement."""


@dataclass(frozen=True)
class Session:
    """A session that is good now."""

    session_id: int
    name: str
    role: Role
    vouched_seconds: float | None = None
    """How long ago the provider said so; None: it is that of an account."""


@dataclass(frozen=True)
class Life:
    """Seconds after which a session ends: without use, and whatever happens."""

    idle: float
    whole: float


@dataclass(frozen=True)
class Person:
    """Who has logged in, and from where; `user_id` is the account's, None for somebody whom the provider named."""

    name: str
    role: Role
    user_id: int | None
    peer: str | None


async def begin(tx: Transaction, session_hash: bytes, person: Person, life: Life) -> None:
    """Write a session down."""
    await tx.execute(
        "INSERT INTO session_info (hash, user_id, name, role, peer, idle_ends_at, ends_at) VALUES (%s, %s, %s, %s, %s,"
        " UTC_TIMESTAMP(6) + INTERVAL %s SECOND, UTC_TIMESTAMP(6) + INTERVAL %s SECOND)",
        (
            session_hash,
            person.user_id,
            person.name,
            person.role,
            None if person.peer is None else person.peer[:64],
            min(life.idle, life.whole),
            life.whole,
        ),
    )


async def find(db: Database, session_hash: bytes) -> Session | None:
    """Return the session of a hash, if it is good now: that of an account that is gone is not."""
    row = await db.fetch_one(
        "SELECT session_id, session_info.name, COALESCE(user_info.role, session_info.role) AS role,"
        " IF(session_info.user_id IS NULL, TIMESTAMPDIFF(SECOND, session_info.create_time, UTC_TIMESTAMP(6)), NULL)"
        " AS vouched"
        " FROM session_info LEFT JOIN user_info USING (user_id) WHERE hash = %s"
        " AND idle_ends_at > UTC_TIMESTAMP(6) AND ends_at > UTC_TIMESTAMP(6)"
        " AND (session_info.user_id IS NULL OR user_info.user_id IS NOT NULL)",
        (session_hash,),
    )
    return None if row is None else Session(row["session_id"], row["name"], Role(row["role"]), row["vouched"])


async def used(db: Database, session_ids: Sequence[int], life: Life) -> None:
    """Note that sessions were used now: those that are good go on for their idle time."""
    await db.execute(
        "UPDATE session_info SET idle_ends_at = LEAST(ends_at, UTC_TIMESTAMP(6) + INTERVAL %s SECOND)"  # noqa: S608 - marks
        f" WHERE session_id IN ({marks(session_ids)}) AND idle_ends_at > UTC_TIMESTAMP(6)",
        (life.idle, *session_ids),
    )


async def end(db: Database, session_hash: bytes) -> None:
    """End a session."""
    await db.execute("DELETE FROM session_info WHERE hash = %s", (session_hash,))


async def end_all(tx: Transaction, user_id: int) -> None:
    """End all sessions of an account."""
    await tx.execute("DELETE FROM session_info WHERE user_id = %s", (user_id,))


async def end_named(tx: Transaction, name: str) -> int:
    """End all sessions of somebody whom the provider named; return how many."""
    return await tx.execute("DELETE FROM session_info WHERE name = %s AND user_id IS NULL", (name,))


async def remove_ended(db: Database) -> int:
    """Remove sessions that are over, as many as one statement may; return how many."""
    return await db.execute(
        "DELETE FROM session_info WHERE idle_ends_at < UTC_TIMESTAMP(6) ORDER BY idle_ends_at LIMIT %s", (AT_ONCE,)
    )


async def of_the_provider(db: Database, limit: int = 500) -> list[Row]:
    """Return who has a session and no account: their names, roles, and how many `sessions`."""
    return await db.fetch_all(
        "SELECT name, MAX(role) AS role, COUNT(*) AS sessions, MAX(create_time) AS create_time FROM session_info"
        " WHERE user_id IS NULL AND idle_ends_at > UTC_TIMESTAMP(6) GROUP BY name ORDER BY name LIMIT %s",
        (limit,),
    )
