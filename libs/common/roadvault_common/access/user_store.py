"""SQL of accounts."""

from roadvault_common.access import session_store
from roadvault_common.access.scopes import Role
from roadvault_common.errors import PermanentError
from roadvault_common.sql.db import Database, Row, Transaction
from roadvault_common.sql.server_errors import duplicate_key


async def add(tx: Transaction, name: str, role: Role, password: str) -> None:
    """Write an account down; `password` is its hash.

    Raises:
        PermanentError: There is one of that name.
    """
    try:
        await tx.execute("INSERT INTO user_info (name, role, password) VALUES (%s, %s, %s)", (name, role, password))
    except Exception as error:
        if duplicate_key(error):
            raise PermanentError(f"there is an account {name!r} already") from None
        raise


async def find(db: Database, name: str) -> Row | None:
    """Return an account's `user_id`, `name`, `role` and `password` (its hash)."""
    return await db.fetch_one("SELECT user_id, name, role, password FROM user_info WHERE name = %s", (name,))


async def listed(db: Database, after: str = "", limit: int = 500) -> list[Row]:
    """Return accounts by their names, with how many `sessions` each has."""
    return await db.fetch_all(
        "SELECT name, role, create_time, (SELECT COUNT(*) FROM session_info WHERE user_id = user_info.user_id"
        " AND idle_ends_at > UTC_TIMESTAMP(6)) AS sessions FROM user_info WHERE name > %s ORDER BY name LIMIT %s",
        (after, limit),
    )


async def change_password(tx: Transaction, name: str, password: str) -> None:
    """Give an account another password, and end its sessions.

    Raises:
        PermanentError: There is none of that name.
    """
    user_id = await _locked(tx, name)
    await tx.execute("UPDATE user_info SET password = %s WHERE user_id = %s", (password, user_id))
    await session_store.end_all(tx, user_id)


async def change_role(tx: Transaction, name: str, role: Role) -> None:
    """Give an account another role; its sessions have it too.

    Raises:
        PermanentError: There is none of that name.
    """
    await tx.execute("UPDATE user_info SET role = %s WHERE user_id = %s", (role, await _locked(tx, name)))


async def remove(tx: Transaction, name: str) -> None:
    """Remove an account, and its sessions.

    Raises:
        PermanentError: There is none of that name.
    """
    user_id = await _locked(tx, name)
    await tx.execute("DELETE FROM user_info WHERE user_id = %s", (user_id,))
    await session_store.end_all(tx, user_id)


async def _locked(tx: Transaction, name: str) -> int:
    row = await tx.fetch_one("SELECT user_id FROM user_info WHERE name = %s FOR UPDATE", (name,))
    if row is None:
        raise PermanentError(f"there is no account {name!r}")
    return int(row["user_id"])
