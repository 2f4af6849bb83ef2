"""Wires the retriever together and runs it."""

from contextlib import AsyncExitStack
from functools import partial

from roadvault_common import metrics
from roadvault_common.archive import master_keys
from roadvault_common.archive.crypto import MasterKeys
from roadvault_common.events.bus import Bus
from roadvault_common.files.identity import Identity
from roadvault_common.files.ledger import TIDY_SECONDS
from roadvault_common.files.vault import Vault
from roadvault_common.history import heartbeats
from roadvault_common.history.heartbeats import Heart
from roadvault_common.ipfs.reading import Reader
from roadvault_common.ipfs.rpc import Ipfs
from roadvault_common.ipfs.witness import note_node
from roadvault_common.loops import repeat
from roadvault_common.process import app, log
from roadvault_common.sql.db import Database
from roadvault_common.web.links import Views
from roadvault_common.web.listener import Listener
from roadvault_common.work import gauges
from roadvault_common.work.stages import EXPIRE, FETCH, LOOK
from roadvault_retriever.config import RetrieverSettings
from roadvault_retriever.handlers import HANDLERS
from roadvault_retriever.looking.looker import Looker
from roadvault_retriever.service import Retriever
from roadvault_retriever.streaming.register import Register
from roadvault_retriever.streaming.routes import Streaming


async def serve() -> None:
    """Run the retriever until it is told to stop."""
    settings = RetrieverSettings()
    log.configure("retriever", settings)
    vault = Vault(settings.data_dir, settings.store)
    vault.prepare()
    async with AsyncExitStack() as stack:
        db = await stack.enter_async_context(Database.open(settings.database_url, settings.database_connections))
        bus = await stack.enter_async_context(
            Bus.open(settings.redis_url, "retriever", settings.event_reclaim_seconds, settings.store)
        )
        ipfs = await stack.enter_async_context(
            Ipfs.open(settings.ipfs_rpc_url, settings.ipfs_stall_seconds, settings.ipfs_rpc_token)
        )
        reader = await stack.enter_async_context(
            Reader.open(settings.ipfs_gateway_url, settings.ipfs_stall_seconds, node=ipfs)
        )
        keys = MasterKeys(settings.master_keys)
        retriever = Retriever(settings, db, bus, vault, keys, reader)
        handlers = app.bind(HANDLERS, retriever)
        samples: dict[str, metrics.Sample] = {
            "rows": gauges.rows(db, [FETCH, EXPIRE, LOOK]),
            "disk": metrics.disk(vault.root),
            "events": bus.lag(handlers),
            "outages": retriever.breakers.sample(db, "retriever", settings.sweep_seconds),
            "master keys": partial(master_keys.measure, db, keys),
        }
        jobs: list[app.Job] = [
            partial(bus.listen, handlers, concurrency=settings.event_concurrency),
            partial(retriever.fetching.sweep, seconds=settings.sweep_seconds),
            partial(retriever.expiring.sweep, seconds=settings.sweep_seconds),
            partial(repeat, partial(note_node, ipfs, db), seconds=settings.sweep_seconds),
            partial(repeat, retriever.stand_in, seconds=min(settings.sweep_seconds, 30)),
            partial(repeat, retriever.keep_room, seconds=settings.sweep_seconds),
            partial(repeat, retriever.sweep_orphans, seconds=min(settings.orphan_hours * 900, 3600)),
            partial(repeat, retriever.ledger.tidy, seconds=TIDY_SECONDS),
            partial(repeat, retriever.cached.tidy, seconds=60),
            partial(metrics.watch, samples=samples, seconds=settings.sweep_seconds),
        ]
        if settings.looks_at_once:
            looker = Looker(settings, db, bus, vault, retriever.sources, retriever.local)
            await looker.check()
            jobs += [
                partial(looker.looking.sweep, seconds=settings.sweep_seconds),
                partial(repeat, looker.enrol, seconds=looker.enrol_seconds),
                partial(repeat, looker.keep_bound, seconds=settings.sweep_seconds),
                partial(repeat, looker.sweep_orphans, seconds=min(settings.orphan_hours * 900, 3600)),
            ]
        checks = {"ipfs": ipfs.ping, "disk": vault.ping, "master keys": master_keys.check(db, keys)}
        stream: Listener | None = None
        if settings.view_secret is not None and settings.stream_port:
            views, patience = Views(settings.view_secret), settings.ipfs_stall_seconds
            register = await stack.enter_async_context(Register.open(db))
            streaming = Streaming(views, retriever.sources, retriever.cached, patience, register)
            jobs.append(streaming.end)
            stream = Listener(streaming.routes(), settings.stream_host, settings.stream_port)
        heart = Heart(db, "retriever", [heartbeats.disk(vault.root, vault.store)])
        await app.run(
            settings, db, jobs, checks,
            public=stream, identity=Identity(db, vault.root, vault.store), breakers=retriever.breakers, heart=heart,
        )  # fmt: skip


def main() -> None:
    """Start the process (console script `roadvault-retriever`)."""
    app.main(serve)


if __name__ == "__main__":
    main()
