"""What Prometheus sees. Counters are kept where the work is done; gauges are read from the servers on a timer."""

import asyncio
import shutil
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import structlog
from prometheus_client import Counter, Gauge, Histogram, disable_created_metrics

from roadvault_common import lease as leases
from roadvault_common.db import Database
from roadvault_common.errors import TransientError, brief
from roadvault_common.lease import Stage

log = structlog.get_logger()

disable_created_metrics()  # type: ignore[no-untyped-call]  # no series that nobody looks at

_SECONDS = (0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 300, 900, 3600)

EVENTS = Counter(
    "roadvault_events", "Events handled, by how it ended: handled, retried or dead_lettered", ["stream", "end"]
)
EVENT_SECONDS = Histogram("roadvault_event_handler_seconds", "Time to handle one event", ["stream"], buckets=_SECONDS)
EMIT_FAILURES = Counter("roadvault_emit_failures", "Events that could not be sent; sweeps make up", ["stream"])
STREAM_LAG = Gauge("roadvault_stream_lag_events", "Events not yet read by this group", ["stream"])
STREAM_PENDING = Gauge("roadvault_stream_pending_events", "Events read but not yet acknowledged", ["stream"])

STAGE_OUTCOMES = Counter(
    "roadvault_stage_outcomes", "Attempts on rows, by outcome: done, retry or failed", ["stage", "outcome"]
)
STAGE_SECONDS = Histogram("roadvault_stage_seconds", "Time of one attempt", ["stage"], buckets=_SECONDS)
STAGE_BYTES = Counter("roadvault_stage_bytes", "Bytes that went through a stage", ["stage"])
ROWS_DUE = Gauge("roadvault_rows_due", "Rows due, counted up to 10 000", ["stage"])
ROWS_FAILED = Gauge("roadvault_rows_failed", "Rows that failed and wait for a person, up to 10 000", ["stage"])

HTTP_SECONDS = Histogram(
    "roadvault_http_seconds",
    "Time to handle one request, without sending the answer; by the route's pattern, and the status or `aborted`",
    ["route", "status"],
    buckets=_SECONDS,
)

CONNECTIONS_CUT = Counter(
    "roadvault_connections_cut",
    "Connections that were cut: header late or long, crowd (it waited, a new one came), full (it was new), stalled",
    ["why"],
)
IDENTITY_MISMATCH = Gauge(
    "roadvault_identity_mismatch", "1 while nothing is served, since the database is not the data directory's own"
)
QUARANTINE_FILES = Gauge("roadvault_quarantine_files", "Files in quarantine, by where they came from", ["directory"])
QUARANTINE_BYTES = Gauge("roadvault_quarantine_bytes", "Their bytes", ["directory"])
QUARANTINE_OLDEST = Gauge("roadvault_quarantine_oldest_seconds", "How long the oldest has lain there", ["directory"])
STOPPED_SWEEP = Gauge(
    "roadvault_quarantine_stopped_files",
    "Files that a sweep would have moved to quarantine, more than is usual: a person decides; 0 if it goes on",
    ["directory"],
)

DISK_FREE = Gauge("roadvault_disk_free_bytes", "Free room on the data directory's file system", ["data_dir"])

for _why in ("header", "crowd", "full", "stalled"):
    CONNECTIONS_CUT.labels(_why)

Sample = Callable[[], Awaitable[None]]


def show_events(streams: Sequence[str]) -> None:
    """Begin the counters of these streams at 0: Prometheus sees no increase in a series that begins at 1."""
    for stream in streams:
        EVENT_SECONDS.labels(stream)
        for end in ("handled", "retried", "dead_lettered"):
            EVENTS.labels(stream, end)


def show_stage(stage: Stage) -> None:
    """Begin a stage's counters at 0, for the same reason."""
    STAGE_SECONDS.labels(stage.name)
    STAGE_BYTES.labels(stage.name)
    for outcome in ("done", "retry", "failed"):
        STAGE_OUTCOMES.labels(stage.name, outcome)


def rows(db: Database, stages: Sequence[Stage]) -> Sample:
    """Return a sample of how many rows are due, and have failed, in each of the stages."""

    async def sample() -> None:
        for stage in stages:
            ROWS_DUE.labels(stage.name).set(await leases.count_due(db, stage))
            ROWS_FAILED.labels(stage.name).set(await leases.count_failed(db, stage))

    return sample


def disk(data_dir: Path) -> Sample:
    """Return a sample of the free room on the data directory's file system."""

    async def sample() -> None:
        usage = await asyncio.to_thread(shutil.disk_usage, data_dir)
        DISK_FREE.labels(str(data_dir)).set(usage.free)

    return sample


async def watch(closing: asyncio.Event, samples: Sequence[Sample], seconds: float) -> None:
    """Take all samples every `seconds` until `closing` is set; a server that is away skips its turn."""
    while not closing.is_set():
        for sample in samples:
            try:
                await sample()
            except (TransientError, OSError) as error:
                log.debug("sample skipped", error=brief(error))
        try:
            async with asyncio.timeout(seconds):
                await closing.wait()
        except TimeoutError:
            continue
