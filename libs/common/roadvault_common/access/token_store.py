"""SQL of tokens."""

import hmac
from collections.abc import Sequence

import orjson

from roadvault_common.access.tokens import Grant, Token, of_row
from roadvault_common.errors import PermanentError
from roadvault_common.sql.db import Database, Row, Transaction, marks
from roadvault_common.sql.server_errors import duplicate_key

_GOOD = "revoked_at IS NULL AND (expires_at IS NULL OR expires_at > UTC_TIMESTAMP(6))"


async def create(tx: Transaction, name: str, token_hash: bytes, grant: Grant, days: float | None) -> int:
    """Write a token down; return its id.

    Raises:
        PermanentError: There is, or was, one of that name.
    """
    try:
        return await tx.insert(
            "INSERT INTO token_info (name, hash, scopes, cameras, callback_hosts, expires_at)"
            " VALUES (%s, %s, %s, %s, %s, UTC_TIMESTAMP(6) + INTERVAL %s SECOND)",
            (
                name,
                token_hash,
                ",".join(sorted(grant.scopes)),
                orjson.dumps(grant.cameras).decode(),
                orjson.dumps(grant.callback_hosts).decode(),
                None if days is None else days * 86_400,
            ),
        )
    except Exception as error:
        if duplicate_key(error):
            raise PermanentError(f"there is a token {name!r} already, or was: give it another name") from None
        raise


async def find(db: Database, token_hash: bytes) -> Token | None:
    """Return the token of a hash, if it is good now."""
    row = await db.fetch_one(
        f"SELECT token_id, name, hash, scopes, cameras, callback_hosts FROM token_info WHERE hash = %s AND {_GOOD}",  # noqa: S608 - ours
        (token_hash,),
    )
    return of_row(row) if row is not None and hmac.compare_digest(row["hash"], token_hash) else None


async def used(db: Database, token_ids: Sequence[int]) -> None:
    """Note that tokens were used now."""
    await db.execute(
        f"UPDATE token_info SET used_at = UTC_TIMESTAMP(6) WHERE token_id IN ({marks(token_ids)})",  # noqa: S608 - marks
        token_ids,
    )


async def listed(db: Database, after: int = 0, limit: int = 500) -> list[Row]:
    """Return tokens by their ids; `good` tells whether one is good now."""
    return await db.fetch_all(
        f"SELECT token_id, name, scopes, cameras, callback_hosts, expires_at, revoked_at, used_at, create_time,"  # noqa: S608 - ours
        f" {_GOOD} AS good FROM token_info WHERE token_id > %s ORDER BY token_id LIMIT %s",
        (after, limit),
    )


async def revoke(tx: Transaction, name: str) -> None:
    """End a token for good.

    Raises:
        PermanentError: There is none of that name, or it was revoked before.
    """
    token_id = await locked(tx, name)
    await tx.execute("UPDATE token_info SET revoked_at = UTC_TIMESTAMP(6) WHERE token_id = %s", (token_id,))


async def locked(tx: Transaction, name: str) -> int:
    """Return the id of a token that is to be changed.

    Raises:
        PermanentError: There is none of that name, or it was revoked.
    """
    row = await tx.fetch_one("SELECT token_id, revoked_at FROM token_info WHERE name = %s FOR UPDATE", (name,))
    if row is None:
        raise PermanentError(f"there is no token {name!r}")
    if row["revoked_at"] is not None:
        raise PermanentError(f"the token {name!r} was revoked on {row['revoked_at']:%Y-%m-%d %H:%M} UTC")
    return int(row["token_id"])
