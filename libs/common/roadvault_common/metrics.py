"""What Prometheus sees. Counters are kept where the work is done; gauges are read from the servers on a timer."""

import asyncio
import shutil
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import structlog
from prometheus_client import Counter, Gauge, Histogram, disable_created_metrics

from roadvault_common.errors import RoadVaultError, brief
from roadvault_common.loops import repeat

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
    "roadvault_stage_outcomes", "Attempts on rows, by outcome: done, wait, retry or failed", ["stage", "outcome"]
)
STAGE_SECONDS = Histogram("roadvault_stage_seconds", "Time of one attempt", ["stage"], buckets=_SECONDS)
STAGE_BYTES = Counter("roadvault_stage_bytes", "Bytes that went through a stage", ["stage"])
ROWS_DUE = Gauge("roadvault_rows_due", "Rows due, counted up to 10 000", ["stage"])
ROWS_FAILED = Gauge("roadvault_rows_failed", "Rows that failed and wait for a person, up to 10 000", ["stage"])
OLDEST_DUE = Gauge("roadvault_oldest_due_seconds", "How long the longest-due row has been due, 0 if none is", ["stage"])
OLDEST_WAITING = Gauge(
    "roadvault_oldest_waiting_seconds",
    "How long the longest-waiting row has waited to be done with, tried or not: a closed folder to be packed, an"
    " archive to be pinned, then ordered, a request to be fetched, then called back; 0 if none waits",
    ["stage"],
)

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
REFUSED = Counter(
    "roadvault_refused",
    "Requests and log-ins that were refused: unknown (no token or session that is good), forbidden (what it is not good"
    " for), password, guesses (too many of them), oidc (the provider, or what it says)",
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
DISK_RESERVED = Gauge(
    "roadvault_disk_reserved_bytes", "Room that this process has reserved there and not yet written", ["purpose"]
)
DISK_WAITING = Gauge(
    "roadvault_disk_waiting_seconds", "For how long this process has found no room there; 0 if it has", ["purpose"]
)

SAMPLE_AGE = Gauge("roadvault_sample_age_seconds", "Time since gauges of this kind were last read", ["sample"])

for _why in ("header", "crowd", "full", "stalled"):
    CONNECTIONS_CUT.labels(_why)

Sample = Callable[[], Awaitable[None]]


def show_events(streams: Sequence[str]) -> None:
    """Begin the counters of these streams at 0: Prometheus sees no increase in a series that begins at 1."""
    for stream in streams:
        EVENT_SECONDS.labels(stream)
        for end in ("handled", "retried", "dead_lettered"):
            EVENTS.labels(stream, end)


def disk(data_dir: Path) -> Sample:
    """Return a sample of the free room on the data directory's file system."""

    async def sample() -> None:
        usage = await asyncio.to_thread(shutil.disk_usage, data_dir)
        DISK_FREE.labels(str(data_dir)).set(usage.free)

    return sample


async def watch(closing: asyncio.Event, samples: Mapping[str, Sample], seconds: float) -> None:
    """Take all samples every `seconds` until `closing` is set; of those that can't be taken the age is seen to grow.

    Each is taken by itself: one that hangs on its server keeps no other from being taken.
    """
    taken = dict.fromkeys(samples, time.monotonic())
    for name in samples:
        SAMPLE_AGE.labels(name).set_function(partial(_age, taken, name))

    async def take(name: str) -> None:
        try:
            await samples[name]()
        except (RoadVaultError, OSError) as error:
            log.warning("gauges can't be read now", sample=name, error=brief(error))
        else:
            taken[name] = time.monotonic()

    await asyncio.gather(*(repeat(partial(take, name), closing, seconds) for name in samples))


def _age(taken: Mapping[str, float], name: str) -> float:
    return time.monotonic() - taken[name]
