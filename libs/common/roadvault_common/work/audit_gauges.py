"""What Prometheus sees of audits, of the service that makes them in one place."""

import random

from prometheus_client import Counter, Gauge

from roadvault_common.metrics import Sample
from roadvault_common.settings.archives import AuditSettings
from roadvault_common.sql import audits
from roadvault_common.sql.audits import Place
from roadvault_common.sql.db import Database

OLDEST = Gauge("roadvault_oldest_audit_seconds", "Time since the archive audited the longest ago was", ["place"])
PERIOD = Gauge("roadvault_audit_period_seconds", "Time in which each archive is to be audited again", ["place"])
UNSOUND = Gauge(
    "roadvault_archives_unsound", "Archives of which the last audit found something wrong, up to 10 000", ["place"]
)
FAILURES = Counter("roadvault_audit_failures", "Audits that found something wrong", ["place"])
_SOONEST = 0.8
_DAY_SECONDS = 86_400


def gauges(db: Database, place: Place, settings: AuditSettings) -> Sample:
    """Return what reads the gauges of a place."""
    FAILURES.labels(place)
    PERIOD.labels(place).set(settings.audit_days * _DAY_SECONDS)

    async def sample() -> None:
        OLDEST.labels(place).set(await audits.oldest_seconds(db, place))
        UNSOUND.labels(place).set(await audits.unsound(db, place))

    return sample


def next_in(settings: AuditSettings) -> float:
    """Return in how many seconds what was just audited is to be audited again: spread, and never after the period."""
    return random.uniform(_SOONEST, 1) * settings.audit_days * _DAY_SECONDS  # noqa: S311 - jitter
