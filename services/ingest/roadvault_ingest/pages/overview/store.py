"""The SQL of what needs a person, or waits for long. No count goes further than a bound."""

from collections.abc import Sequence
from dataclasses import dataclass

from roadvault_common.catalogue import left_out
from roadvault_common.files import set_aside_store, sweep_store
from roadvault_common.retention import asking, ends, periods
from roadvault_common.retention.asking import Asked
from roadvault_common.sql import audits
from roadvault_common.sql.db import Database, Row
from roadvault_common.work import backlog, outage_store
from roadvault_common.work.stages import STAGES, Stage

_SHOWN = 5
_LOOKED_AT = 500
"""Rows of a stage that are looked at to find those that are tried again."""
READ = 200
"""Failed rows of a stage that are looked at to find their causes."""
_WAITING = (
    "zip_id, replicas, pinned_at, COALESCE(prove_reason, order_reason, watch_reason) AS reason FROM zip_ipfs_info"
)
_UNPROVEN = (
    "NOT EXISTS (SELECT 1 FROM evidence_info WHERE zip_id = zip_ipfs_info.zip_id AND valid = 1"
    " AND proven_at IS NOT NULL)"
)


@dataclass(frozen=True)
class Failures:
    """What has failed in one stage: how many (up to 10 000), and the latest of them."""

    stage: Stage
    count: int
    rows: list[Row]


@dataclass(frozen=True)
class Ends:
    """How many archives end soon (up to 10 000), the first of them, and the periods whose keys were destroyed."""

    soon: int
    rows: list[Row]
    destroyed: Sequence[Row]


class OverviewStore:
    """Reads what the first page shows."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def began(self) -> bool:
        """Tell whether a file ever came."""
        return await self._db.fetch_value("SELECT 1 FROM file_upload_info LIMIT 1") is not None

    async def failures(self) -> list[Failures]:
        """Return the stages in which something failed, with the latest failures of each."""
        return [found for stage in STAGES if (found := await self._failures(stage)).count]

    async def _failures(self, stage: Stage) -> Failures:
        rows = await backlog.failures(self._db, stage, READ)
        return Failures(stage, await backlog.count_failed(self._db, stage) if rows else 0, rows)

    async def trying(self, stage: Stage) -> list[Row]:
        """Return rows that met trouble and rest until they are tried again, of those that are due first."""
        return await self._db.fetch_all(
            stage.sql(
                "SELECT id, attempts, reason, due FROM (SELECT {key} AS id, {attempts} AS attempts, {reason} AS reason,"
                " {token} AS token, {due} AS due FROM {table} WHERE {due} IS NOT NULL ORDER BY {due} LIMIT %s) AS some"
                " WHERE attempts > 0 AND token IS NULL AND reason IS NOT NULL ORDER BY due LIMIT %s"
            ),
            (_LOOKED_AT, READ),
        )

    async def waiting(self, days: float) -> list[Row]:
        """Return archives kept here that have been on IPFS for `days` without valid proof of it, the oldest first."""
        never_dropped, restored = (
            f"(SELECT {_WAITING} WHERE {kept} AND {since} < UTC_TIMESTAMP(6) - INTERVAL %s SECOND AND {_UNPROVEN}"
            f" ORDER BY {since} LIMIT %s)"
            for kept, since in (("dropped_at IS NULL", "pinned_at"), ("restored_at IS NOT NULL", "restored_at"))
        )
        bound = (days * 86_400, _SHOWN)
        return await self._db.fetch_all(
            f"{never_dropped} UNION ALL {restored} ORDER BY pinned_at LIMIT %s", (*bound, *bound, _SHOWN)
        )

    async def set_aside(self) -> tuple[int, list[Row]]:
        """Return how many uploads were set aside and wait for a person (up to 10 000), and some of them."""
        rows = await set_aside_store.waiting(self._db, _SHOWN)
        return await set_aside_store.count(self._db) if rows else 0, rows

    async def audit_problems(self) -> list[Row]:
        """Return archives of which the last audit found something wrong, some of each place."""
        return await audits.problems(self._db, _SHOWN)

    async def left_out(self) -> tuple[int, list[Row]]:
        """Return how many archives a recovery left out, and some of them, parts of a catalogue first."""
        rows = await left_out.listed(self._db, _SHOWN)
        return await left_out.count(self._db) if rows else 0, rows

    async def ends(self) -> Ends:
        """Return what ends soon, and which period keys were destroyed lately."""
        rows = await ends.soon(self._db, _SHOWN)
        count = await ends.count_soon(self._db) if rows else 0
        return Ends(count, rows, await periods.destroyed(self._db))

    async def ends_ask(self, usual: int) -> Asked | None:
        """Return what does not end before a person allows it; None if there is nothing."""
        return await asking.asked(self._db, usual)

    async def stopped_sweeps(self) -> list[Row]:
        """Return the sweeps that have stopped to ask, but for those that a person has let go on."""
        return [row for row in await sweep_store.stopped(self._db) if row["allowed"] is None]

    async def away(self) -> list[Row]:
        """Return what services find away now, the longest first."""
        return await outage_store.away(self._db)
