"""What Prometheus sees of the stages' rows."""

from collections.abc import Sequence

from roadvault_common import metrics
from roadvault_common.sql.db import Database
from roadvault_common.work import backlog
from roadvault_common.work.stages import Stage


def show_stage(stage: Stage) -> None:
    """Begin a stage's counters at 0, for the same reason."""
    metrics.STAGE_SECONDS.labels(stage.name)
    metrics.STAGE_BYTES.labels(stage.name)
    for outcome in ("done", "wait", "retry", "failed"):
        metrics.STAGE_OUTCOMES.labels(stage.name, outcome)


def rows(db: Database, stages: Sequence[Stage]) -> metrics.Sample:
    """Return a sample of how many rows are due, and have failed, in each of the stages, and how long rows wait."""

    async def sample() -> None:
        for stage in stages:
            to_next = await backlog.seconds_to_next(db, stage)
            metrics.OLDEST_DUE.labels(stage.name).set(0 if to_next is None else max(-to_next, 0))
            metrics.OLDEST_WAITING.labels(stage.name).set(await backlog.seconds_waiting(db, stage))
            metrics.ROWS_DUE.labels(stage.name).set(await backlog.count_due(db, stage))
            metrics.ROWS_FAILED.labels(stage.name).set(await backlog.count_failed(db, stage))

    return sample
