"""SQL of what is away, as each process sees it: for the back-office's first page and `roadvault status`."""

from collections.abc import Sequence
from dataclasses import dataclass

from roadvault_common.errors import Domain
from roadvault_common.sql.db import Database, Row, Transaction

_SHOWN = 50
_KEPT_HOURS = 1
"""Rows of processes that died are removed after this."""
_REASON_LENGTH = 500


@dataclass(frozen=True)
class Away:
    """Something that is away, for how many seconds, and why; `name` tells which one of several."""

    domain: Domain
    reason: str
    seconds: float
    name: str = ""


async def note(db: Database, service: str, process: str, away: Sequence[Away], stale_seconds: float) -> None:
    """Write down all that a process finds away now, in place of what it wrote before."""

    async def write(tx: Transaction) -> None:
        await tx.execute("DELETE FROM outage_info WHERE service = %s AND process = %s", (service, process))
        await tx.execute(
            "DELETE FROM outage_info WHERE stale_at < UTC_TIMESTAMP(6) - INTERVAL %s HOUR LIMIT 1000", (_KEPT_HOURS,)
        )
        for one in away:
            await tx.execute(
                "INSERT INTO outage_info (service, process, domain, name, reason, since, stale_at) VALUES (%s, %s, %s,"
                " %s, %s, UTC_TIMESTAMP(6) - INTERVAL %s SECOND, UTC_TIMESTAMP(6) + INTERVAL %s SECOND)",
                (service, process, one.domain, one.name, one.reason[:_REASON_LENGTH], one.seconds, stale_seconds),
            )

    await db.transact(write)


async def away(db: Database) -> list[Row]:
    """Return `domain`, `name`, `service`, `reason` and `since` of what is away, the longest first."""
    rows = await db.fetch_all(
        "SELECT domain, name, service, MIN(reason) AS reason, MIN(since) AS since FROM outage_info"
        " WHERE stale_at > UTC_TIMESTAMP(6) GROUP BY domain, name, service ORDER BY since LIMIT %s",
        (_SHOWN,),
    )
    return list(rows)
