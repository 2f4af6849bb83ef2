"""The way of a folder, and of the archive that it became, step by step: done when, or waiting for what until when."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from roadvault_common.history import event_log
from roadvault_common.history.event_log import Event
from roadvault_common.sql.db import Database, Row
from roadvault_common.work.stages import DROP, ORDER, PACK, PIN, PROVE, WATCH, Stage
from roadvault_ingest.pages.states import AMBER, GREEN, RED

_EVENTS = 60
_FOLDER = (
    "SELECT create_time AS received_at, closed_at, zip_id, pack_due, pack_token, pack_attempts, pack_reason,"
    " pack_failed_at, UTC_TIMESTAMP(6) AS now FROM folder_info WHERE folder_id = %s"
)
_ARCHIVE = (
    "SELECT zip.kind, zip.status AS zip_status, zip.replicas, zip.create_time AS packed_at,"
    " zip.pinned_at, zip.dropped_at,"
    " pin_due, pin_token, pin_attempts, pin_reason, pin_failed_at,"
    " order_due, order_token, order_attempts, order_reason, order_failed_at,"
    " watch_due, watch_token, watch_attempts, watch_reason, watch_failed_at,"
    " prove_due, prove_token, prove_attempts, prove_reason, prove_failed_at,"
    " drop_due, drop_token, drop_attempts, drop_reason, drop_failed_at,"
    " evidence.create_time AS replicated_at, evidence.proven_at, purchase.settled_at AS ordered_at"
    " FROM zip_ipfs_info AS zip"
    " LEFT JOIN evidence_info AS evidence ON evidence.zip_id = zip.zip_id AND evidence.valid = 1"
    " LEFT JOIN order_info AS purchase ON purchase.zip_id = zip.zip_id AND purchase.term = 1"
    " WHERE zip.zip_id = %s"
)
_STEPS: Sequence[tuple[str, Stage | None, str]] = (
    ("received", None, "received_at"),
    ("packed", PACK, "packed_at"),
    ("pinned", PIN, "pinned_at"),
    ("ordered", ORDER, "ordered_at"),
    ("replicated", WATCH, "replicated_at"),
    ("proven", PROVE, "proven_at"),
    ("dropped", DROP, "dropped_at"),
)


class Step(NamedTuple):
    """One step: its colour, when it was done, or how it stands, and how attempts at it ended."""

    name: str
    tone: str
    at: datetime | None
    reason: str | None
    attempts: int
    due: datetime | None
    """When it is tried next; None if that is not planned, or it is being done."""
    running: bool
    events: Sequence[Event]


async def way(db: Database, folder_id: int, zip_id: int | None, received_at: datetime | None = None) -> list[Step]:
    """Return the steps of a folder's files."""
    folder = await db.fetch_one(_FOLDER, (folder_id,)) or {}
    archive = await db.fetch_one(_ARCHIVE, (zip_id,)) or {} if zip_id is not None else {}
    pairs = [(PACK, folder_id)]
    if zip_id is not None:
        pairs += [(stage, zip_id) for stage in (PIN, ORDER, WATCH, PROVE, DROP)]
    events = await event_log.of_row(db, pairs, _EVENTS)
    return steps({**folder, **archive, **({"received_at": received_at} if received_at else {})}, events)


def steps(row: Row, events: Sequence[Event]) -> list[Step]:
    """Return the steps, of which the first that is not done is what is waited for."""
    found: list[Step] = []
    ahead = False
    for name, stage, done_at in _STEPS:
        at = row.get(done_at)
        own = [] if stage is None else [event for event in events if event.stage == stage.name]
        if at is not None or stage is None:
            found.append(Step(name, GREEN, at, None, 0, None, running=False, events=own))
            continue
        found.append(_undone(name, stage, row, own, ahead=ahead))
        ahead = True
    return found


def _undone(name: str, stage: Stage, row: Mapping[str, object], events: Sequence[Event], *, ahead: bool) -> Step:
    def of(suffix: str) -> object:
        return row.get(stage.column(suffix))

    due, now, failed_at = of("due"), row.get("now"), of("failed_at")
    running = of("token") is not None and isinstance(due, datetime) and isinstance(now, datetime) and due > now
    tone = RED if failed_at is not None else AMBER if not ahead else ""
    reason, attempts = of("reason"), of("attempts")
    return Step(
        name,
        tone,
        failed_at if isinstance(failed_at, datetime) else None,
        str(reason) if reason is not None else None,
        attempts if isinstance(attempts, int) else 0,
        due if isinstance(due, datetime) and not running and failed_at is None else None,
        running,
        events,
    )
