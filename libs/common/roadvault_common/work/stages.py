"""The stages of work, each on the rows of one table; `lease.py` takes rows, `worker.py` works on them."""

import random
from dataclasses import dataclass
from functools import cached_property

from roadvault_common.sql.states import ArchiveStatus

_NOW, _LONG_AGO = "UTC_TIMESTAMP(6)", "'2000-01-01'"


@dataclass(frozen=True)
class Stage:
    """One kind of work on the rows of one table. Times are in seconds.

    `deadline` bounds one attempt however much it progresses; `max_attempts` bounds the attempts; between them waits
    `backoff` doubled each time, at most `backoff_max`, with jitter. `since` is the column that says since when a row
    waits to be done with, where there is one; `waits` is the condition of those that do, if not all that may be taken.
    The rows of one that is `local` are worked on by the services of their store alone: what they are about is there.
    """

    name: str
    table: str
    key: str
    deadline: float
    max_attempts: int
    backoff: float = 2
    backoff_max: float = 3600
    since: str | None = None
    waits: str | None = None
    local: bool = False

    def column(self, suffix: str) -> str:
        """Return the name of one of the stage's columns."""
        return f"{self.name}_{suffix}"

    @cached_property
    def _names(self) -> dict[str, str]:
        columns = {name: self.column(name) for name in ("due", "token", "attempts", "reason", "failed_at")}
        since, waits = self.since or _LONG_AGO, self.waits or f"{columns['due']} IS NOT NULL"
        return {**columns, "table": self.table, "key": self.key, "since": since, "waits": waits, "now": _NOW}

    def sql(self, statement: str, **more: str) -> str:
        """Return a statement about the stage's rows, whose names stand in braces, as does {now}, and what is `more`."""
        return statement.format(**self._names, **more)

    def wait(self, attempt: int) -> float:
        """Return the seconds to wait after attempt number `attempt`."""
        longest = min(self.backoff * 2 ** min(attempt - 1, 30), self.backoff_max)
        return random.uniform(longest / 2, longest)  # noqa: S311 - jitter


PACK = Stage("pack", "folder_info", "folder_id", deadline=6 * 3600, max_attempts=8, since="closed_at", local=True)
PIN = Stage(
    "pin", "zip_ipfs_info", "zip_id", deadline=6 * 3600, max_attempts=12,
    since="create_time", local=True,
    waits="pin_due IS NOT NULL AND pinned_at IS NULL",  # not those that are added once more
)  # fmt: skip
DROP = Stage("drop", "zip_ipfs_info", "zip_id", deadline=3 * 3600, max_attempts=20, local=True)  # two collect garbage
ORDER = Stage(
    "order", "zip_ipfs_info", "zip_id", deadline=600, max_attempts=30,
    # What was ordered is renewed when its time comes, and waits for nothing.
    since="pinned_at", waits=f"status = {ArchiveStatus.NOT_ORDERED}",
)  # fmt: skip
WATCH = Stage("watch", "zip_ipfs_info", "zip_id", deadline=600, max_attempts=30)
PROVE = Stage("prove", "zip_ipfs_info", "zip_id", deadline=3600, max_attempts=30)
RESTORE = Stage("restore", "zip_ipfs_info", "zip_id", deadline=6 * 3600, max_attempts=30, local=True)
AUDIT = Stage("audit", "zip_ipfs_info", "zip_id", deadline=3600, max_attempts=30)
INSPECT = Stage("inspect", "zip_ipfs_info", "zip_id", deadline=6 * 3600, max_attempts=30, local=True)
FETCH = Stage(
    "fetch", "download_info", "download_id", deadline=4 * 3600, max_attempts=12, since="create_time", local=True
)
CALLBACK = Stage("callback", "download_info", "download_id", deadline=120, max_attempts=20, since="extracted_at")
EXPIRE = Stage("expire", "download_info", "download_id", deadline=600, max_attempts=20, local=True)
SHRED = Stage("shred", "retention_info", "zip_id", deadline=3 * 3600, max_attempts=30, local=True)  # harder to miss
ASK = Stage("ask", "batch_info", "batch_id", deadline=3600, max_attempts=30, since="create_time")
REPORT = Stage(
    "report", "batch_info", "batch_id", deadline=120, max_attempts=20,
    since="ended_at", waits="report_due IS NOT NULL AND ended_at IS NOT NULL",  # before, its requests are waited for
)  # fmt: skip
LOOK = Stage("look", "video_info", "file_id", deadline=900, max_attempts=1 << 20, local=True)  # asks nobody, gives up
STAGES = (
    *(PACK, PIN, DROP, ORDER, WATCH, PROVE, RESTORE, AUDIT, INSPECT),
    *(FETCH, CALLBACK, EXPIRE, SHRED, ASK, REPORT, LOOK),
)
PUBLISH = Stage(
    "publish", "catalogue_info", "one", deadline=6 * 3600, max_attempts=1 << 20, backoff_max=600, local=True
)
"""Of one row alone, that never asks a person: it is in none of the lists of stages."""
