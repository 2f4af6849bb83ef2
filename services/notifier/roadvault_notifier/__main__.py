"""Wires the notifier together and runs it."""

from contextlib import AsyncExitStack
from functools import partial

from roadvault_common import metrics
from roadvault_common.events.bus import Bus
from roadvault_common.files.identity import NoDirectory
from roadvault_common.history.heartbeats import Heart
from roadvault_common.process import app, log
from roadvault_common.sql.db import Database
from roadvault_common.web.links import Links
from roadvault_common.work import gauges
from roadvault_common.work.stages import CALLBACK, REPORT
from roadvault_notifier.config import NotifierSettings
from roadvault_notifier.handlers import HANDLERS
from roadvault_notifier.service import Notifier
from roadvault_notifier.webhook import Callbacks


async def serve() -> None:
    """Run the notifier until it is told to stop."""
    settings = NotifierSettings()
    log.configure("notifier", settings)
    async with AsyncExitStack() as stack:
        db = await stack.enter_async_context(Database.open(settings.database_url, settings.database_connections))
        bus = await stack.enter_async_context(Bus.open(settings.redis_url, "notifier", settings.event_reclaim_seconds))
        callbacks = Callbacks(
            settings.reach(), settings.callback_timeout_seconds, settings.callback_secret, settings.callback_ca_file
        )
        notifier = Notifier(settings, db, bus, Links(settings.link_secret), callbacks)
        handlers = app.bind(HANDLERS, notifier)
        samples = {
            "rows": gauges.rows(db, [CALLBACK, REPORT]),
            "events": bus.lag(handlers),
            "outages": notifier.breakers.sample(db, "notifier", settings.sweep_seconds),
        }
        jobs: list[app.Job] = [
            partial(bus.listen, handlers, concurrency=settings.event_concurrency),
            partial(notifier.calling.sweep, seconds=settings.sweep_seconds),
            partial(notifier.reporting.sweep, seconds=settings.sweep_seconds),
            partial(metrics.watch, samples=samples, seconds=settings.sweep_seconds),
        ]
        heart = Heart(db, "notifier")
        await app.run(settings, db, jobs, {}, breakers=notifier.breakers, identity=NoDirectory(db), heart=heart)


def main() -> None:
    """Start the process (console script `roadvault-notifier`)."""
    app.main(serve)


if __name__ == "__main__":
    main()
