"""An attempt on a row as a span, in the trace that the row belongs to."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress

from roadvault_common.errors import RoadVaultError
from roadvault_common.sql.db import Database
from roadvault_common.tracing import spans, store
from roadvault_common.tracing.spans import Span
from roadvault_common.work.lease import Lease
from roadvault_common.work.outcome import Done, Failed, Outcome, Retry
from roadvault_common.work.stages import PACK, PUBLISH


@asynccontextmanager
async def attempt(db: Database, lease: Lease) -> AsyncIterator[Span]:
    """Make an attempt a span; while traces are off it is nothing.

    What rang for it is above it if it belongs to the row's trace, else it is linked to. A folder begins a trace of its
    own, with links to uploads, since an archive is of many of them.
    """
    if not spans.on():
        with spans.span("") as nothing:
            yield nothing
        return
    table, rung = _table(lease), spans.current()
    kept, uploads = None, list[str]()
    with suppress(RoadVaultError):  # without a database nothing is done anyway
        kept = await store.kept(db, table, lease.row_id)
        uploads = await store.uploads(db, lease.row_id) if kept is None and lease.stage is PACK else []
    if kept is None:
        parent = spans.ROOT if rung is None or lease.stage is PACK else rung
    else:
        parent = rung if rung is not None and spans.same_trace(kept, rung) else kept
    links = uploads if rung is None or rung == parent else [rung, *uploads]
    with spans.span(lease.stage.name, parent=parent, links=links, facts=_facts(lease)) as span:
        if kept is None and lease.stage is not PUBLISH:  # each is a trace of its own: its row never ends
            with suppress(RoadVaultError):
                await db.transact(lambda tx: store.keep(tx, table, lease.row_id))
        yield span


@asynccontextmanager
async def look(db: Database, batch: Sequence[Lease]) -> AsyncIterator[None]:
    """Make a look at many rows a span with links to the traces of some of them."""
    links: list[str] = []
    if spans.on():
        with suppress(RoadVaultError):
            some = batch[: spans.MOST_LINKS]
            links = [one for lease in some if (one := await store.kept(db, _table(lease), lease.row_id))]
    with spans.span(batch[0].stage.name, parent=spans.ROOT, links=links, facts={"rows": len(batch)}):
        yield


def ended(span: Span, outcome: Outcome) -> None:
    """Note how an attempt ended: its reason by its code alone, since the words name files and hosts."""
    span.note({"outcome": type(outcome).__name__.lower()})
    if not isinstance(outcome, Done) and outcome.reason.code:
        span.note({"reason": outcome.reason.code})
    if isinstance(outcome, Retry | Failed):
        span.fail(outcome.reason.code or type(outcome).__name__.lower())


_OF_ANOTHER = {"video_info": "file_upload_info", "retention_info": "zip_ipfs_info"}
"""Tables whose rows are parts of another's, with its numbers."""


def _table(lease: Lease) -> str:
    return _OF_ANOTHER.get(lease.stage.table, lease.stage.table)


def _facts(lease: Lease) -> dict[str, str | int]:
    return {"stage": lease.stage.name, lease.stage.key: lease.row_id, "attempt": lease.attempt}
