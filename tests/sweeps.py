"""One turn of what services do again and again."""

import asyncio

from roadvault_common.work import backlog, batches
from roadvault_common.work.stages import WATCH
from roadvault_common.work.worker import Worker
from roadvault_crust_orderer.watching.watcher import TOGETHER, Watcher


async def sweep_once(worker: Worker) -> int:
    """Work on the rows that are due now; return how many there were."""
    rows = await backlog.due_rows(worker._db, worker.stage, 100)
    await asyncio.gather(*(worker.work(row_id) for row_id in rows))
    return len(rows)


async def look_once(watcher: Watcher) -> int:
    """Look at the archives that are due now, a batch at most; return how many there were."""
    batch = await batches.claim(watcher._db, WATCH, TOGETHER, watcher._settings.lease_seconds)
    if batch:
        await watcher._work(batch)
    return len(batch)
