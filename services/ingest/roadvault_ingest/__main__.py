"""Wires ingest together and runs it."""

import warnings
from contextlib import AsyncExitStack
from functools import partial

from aiohttp import BadContentDispositionHeader, BadContentDispositionParam

from roadvault_common import metrics
from roadvault_common.events.bus import Bus
from roadvault_common.files.identity import Identity
from roadvault_common.files.ledger import TIDY_SECONDS
from roadvault_common.files.vault import Vault
from roadvault_common.history import days, event_log, heartbeats
from roadvault_common.history.heartbeats import Heart
from roadvault_common.loops import repeat
from roadvault_common.process import app, log
from roadvault_common.sql.db import Database
from roadvault_common.sql.migrate import show_schema
from roadvault_common.tracing import store as traces
from roadvault_common.web.listener import Listener
from roadvault_common.work import gauges
from roadvault_common.work.breakers import Breakers, redis
from roadvault_common.work.stages import ASK
from roadvault_ingest.access.wiring import Access
from roadvault_ingest.answers import answer_problems
from roadvault_ingest.config import IngestSettings
from roadvault_ingest.copies.taking import Taker
from roadvault_ingest.elsewhere import uploading_pages
from roadvault_ingest.gauges import of_stores, open_work
from roadvault_ingest.handlers import api_routes
from roadvault_ingest.pages.views import page_routes
from roadvault_ingest.service import Ingest
from roadvault_ingest.uploads.opening import LOOK_SECONDS


async def serve() -> None:
    """Run ingest until it is told to stop."""
    settings = IngestSettings()
    log.configure("ingest", settings)
    # Python would remember each different text that a client sends, for ever, to warn of it only once.
    warnings.simplefilter("ignore", BadContentDispositionHeader)
    warnings.simplefilter("ignore", BadContentDispositionParam)
    vault = Vault(settings.data_dir, settings.store)
    vault.prepare()
    async with AsyncExitStack() as stack:
        db = await stack.enter_async_context(Database.open(settings.database_url, settings.database_connections))
        bus = await stack.enter_async_context(
            Bus.open(settings.redis_url, "ingest", settings.event_reclaim_seconds, settings.store)
        )
        ingest = Ingest(settings, db, bus, vault)
        breakers = Breakers(redis(bus))
        samples: dict[str, metrics.Sample] = {
            "disk": metrics.disk(vault.root),
            "rows": gauges.rows(db, [ASK]),
            "open": open_work(ingest.resumable.store, ingest.batches.store),
            "stores": of_stores(db),
            "schema": partial(show_schema, db),
            "outages": breakers.sample(db, "ingest", settings.sweep_seconds),
        }
        access = Access(settings, db)
        jobs: list[app.Job] = [
            partial(repeat, ingest.opening.look, seconds=LOOK_SECONDS),
            partial(repeat, ingest.close_aged_folders, seconds=min(settings.sweep_seconds, 10)),
            partial(repeat, ingest.sweep_orphans, seconds=min(settings.orphan_hours * 900, 3600)),
            partial(repeat, ingest.sweep_uploads, seconds=settings.sweep_seconds),
            partial(repeat, ingest.ledger.tidy, seconds=TIDY_SECONDS),
            partial(repeat, partial(traces.forget, db), seconds=3600),
            partial(ingest.batches.asking.sweep, seconds=settings.sweep_seconds),
            partial(repeat, partial(days.add_up, db, vault.root), seconds=days.SECONDS),
            partial(repeat, partial(event_log.trim, db, settings.event_log_days), seconds=settings.sweep_seconds),
            partial(metrics.watch, samples=samples, seconds=settings.sweep_seconds),
            *access.jobs(),
        ]
        if settings.door_url is not None:
            looking = partial(heartbeats.look_at, db, "door", settings.door_url)
            jobs.append(partial(repeat, looking, seconds=heartbeats.SECONDS))
        routes = access.routes([*api_routes(ingest), *page_routes(ingest, db)])
        taking: Listener | None = None
        if settings.copy_port and settings.copy_secret is not None:
            taker = Taker(settings, db, vault, ingest.ledger, settings.copy_secret)
            taking = Listener(taker.routes(), settings.copy_host, settings.copy_port)
            jobs += [
                partial(repeat, taker.say, seconds=10),
                partial(repeat, taker.tidy, seconds=max(settings.sweep_seconds, 5)),
                partial(repeat, taker.sweep_orphans, seconds=min(settings.orphan_hours * 900, 3600)),
            ]
        identity = Identity(db, vault.root, vault.store, moves_on=True)
        checks = {"disk": vault.ping}
        cors, heart = uploading_pages(settings), Heart(db, "ingest", [heartbeats.disk(vault.root, vault.store)])
        await app.run(
            settings, db, jobs, checks, routes, [answer_problems],
            public=taking, identity=identity, breakers=breakers, cors=cors, heart=heart,
        )  # fmt: skip


def main() -> None:
    """Start the process (console script `roadvault-ingest`)."""
    app.main(serve)


if __name__ == "__main__":
    main()
