"""What has failed, by its cause: so that a hundred rows of one trouble are one line, and one press."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from roadvault_common.sql.db import Database, Row
from roadvault_common.work import reasons, repair
from roadvault_common.work.reasons import Reason
from roadvault_common.work.stages import CALLBACK, DROP, FETCH, ORDER, PACK, PIN, PROVE, STAGES, Stage
from roadvault_ingest.pages.overview.store import READ, Failures, OverviewStore

_SHOWN = 8
_AT_ONCE = 1000
"""Rows that one press gives a new start."""
TRIED = {stage.name: stage for stage in (PACK, PIN, ORDER, PROVE, DROP, FETCH, CALLBACK)}
"""Stages of the picture whose rows are tried again, and may be given up from the page."""
_HREFS = {"zip_ipfs_info": "/zip/{}", "retention_info": "/zip/{}", "download_info": "/requests/{}"}
"""Where a row of a table has its page."""


@dataclass(frozen=True)
class Cause:
    """A stage, why its rows failed, how many these are, and some of them."""

    stage: Stage
    reason: str
    count: int
    more: bool
    """There are failures besides those that were looked at: it may be more rows."""
    rows: Sequence[Row]

    @property
    def key(self) -> str:
        """What tells it from the others of its stage."""
        return key_of(self.reason)


def key_of(reason: str | None) -> str:
    """Return what tells a cause from others: its code, where there is one, else its words."""
    why = reasons.parse(reason) or Reason("", "")
    return why.code or hashlib.sha256(why.words.encode()).hexdigest()[:16]


def causes(failures: Iterable[Failures]) -> list[Cause]:
    """Return the causes of what failed, of each stage the one with the most rows first."""
    found: list[Cause] = []
    for failed in failures:
        by_key: dict[str, list[Row]] = {}
        for row in failed.rows:
            by_key.setdefault(key_of(row["reason"]), []).append(row)
        more = failed.count > READ
        found += [
            Cause(
                failed.stage,
                rows[0]["reason"] or "",
                len(rows),
                more,
                [_linked(failed.stage, row) for row in rows[:_SHOWN]],
            )
            for rows in sorted(by_key.values(), key=len, reverse=True)
        ]
    return found


async def trying(store: OverviewStore, stages: Iterable[Stage]) -> list[Cause]:
    """Return the causes of what rests until it is tried again."""
    found = [Failures(stage, len(rows), rows) for stage in stages if (rows := await store.trying(stage))]
    return causes(found)


async def give_up_all(db: Database, stage: Stage, key: str, why: str) -> int:
    """Take rows that are tried again and again for one cause out of their stage, as failed; return how many."""
    count = 0
    for row in await OverviewStore(db).trying(stage):
        if key_of(row["reason"]) == key:
            count += await repair.give_up(db, stage, row["id"], f"given up by a person: {why}")
    return count


async def retry_all(db: Database, stage: Stage, key: str) -> int:
    """Give the rows that failed for one cause a new start, the longest ago first, up to a thousand; return how many."""
    count = 0
    async for row in repair.failed_so_far(db, stage):
        if key_of(row["reason"]) == key:
            count += await repair.retry(db, stage, row["id"])
        if count >= _AT_ONCE:
            break
    return count


def stage_named(name: str) -> Stage | None:
    """Return the stage of a name."""
    return next((stage for stage in STAGES if stage.name == name), None)


def _linked(stage: Stage, row: Row) -> Row:
    href = _HREFS.get(stage.table)
    return {**row, "href": None if href is None else href.format(row["id"])}
