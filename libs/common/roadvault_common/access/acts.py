"""What was done by whom. Uploads and requests are in the custody log; this has what else people and tokens did."""

from dataclasses import dataclass

from roadvault_common.plain import plain
from roadvault_common.sql.db import Database, Row, Transaction

_LENGTHS = {"name": 100, "peer": 64, "act": 40, "subject": 300, "outcome": 300}
PAGE = 100
AT_ONCE = 1000
"""Lines that are removed by one statement."""


@dataclass(frozen=True)
class Act:
    """One line: who did what to what, how it ended (None: not known yet), and how often within the minute."""

    kind: str
    name: str
    peer: str | None
    act: str
    subject: str = ""
    outcome: str | None = None
    times: int = 1


async def record(tx: Transaction, *acts: Act) -> int:
    """Write lines; return the first one's number."""
    rows = ", ".join(["(%s, %s, %s, %s, %s, %s, %s)"] * len(acts))
    values: list[object] = []
    for act in acts:
        values.append(act.kind)
        values += [_short(name, getattr(act, name)) for name in _LENGTHS]
        values.append(act.times)
    return await tx.insert(
        f"INSERT INTO act_info (kind, name, peer, act, subject, outcome, times) VALUES {rows}",  # noqa: S608 - marks
        values,
    )


async def end(db: Database, act_id: int, subject: str, outcome: str) -> None:
    """Note how an act ended."""
    await db.execute(
        "UPDATE act_info SET subject = %s, outcome = %s WHERE act_id = %s",
        (_short("subject", subject), _short("outcome", outcome), act_id),
    )


async def page(db: Database, before: int | None) -> list[Row]:
    """Return lines, newest first: the last of all, or those before one."""
    where, args = ("", ()) if before is None else ("WHERE act_id < %s", (before,))
    return await db.fetch_all(
        f"SELECT act_id, kind, name, peer, act, subject, outcome, times, create_time FROM act_info {where}"  # noqa: S608 - ours
        " ORDER BY act_id DESC LIMIT %s",
        (*args, PAGE + 1),
    )


async def remove_old(db: Database, days: float) -> int:
    """Remove lines older than that, as many as one statement may; return how many."""
    return await db.execute(
        "DELETE FROM act_info WHERE create_time < UTC_TIMESTAMP(6) - INTERVAL %s SECOND ORDER BY create_time LIMIT %s",
        (days * 86_400, AT_ONCE),
    )


def _short(name: str, value: str | None) -> str | None:
    return None if value is None else plain(value)[: _LENGTHS[name]]
