"""Wires the pinner together and runs it."""

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
from roadvault_common.ipfs.peering import facts
from roadvault_common.ipfs.rpc import Ipfs
from roadvault_common.ipfs.witness import note_node
from roadvault_common.loops import repeat
from roadvault_common.process import app, log
from roadvault_common.sql.audits import Place
from roadvault_common.sql.db import Database
from roadvault_common.work import audit_gauges, gauges
from roadvault_common.work.stages import DROP, INSPECT, PIN, RESTORE, SHRED
from roadvault_pinner.catalogue.ages import measure
from roadvault_pinner.config import PinnerSettings
from roadvault_pinner.copies.inspecting import Inspector
from roadvault_pinner.handlers import HANDLERS
from roadvault_pinner.service import Pinner


async def serve() -> None:
    """Run the pinner until it is told to stop."""
    settings = PinnerSettings()
    log.configure("pinner", settings)
    vault = Vault(settings.data_dir, settings.store)
    vault.prepare()
    async with AsyncExitStack() as stack:
        db = await stack.enter_async_context(Database.open(settings.database_url, settings.database_connections))
        bus = await stack.enter_async_context(
            Bus.open(settings.redis_url, "pinner", settings.event_reclaim_seconds, settings.store)
        )
        ipfs = await stack.enter_async_context(
            Ipfs.open(settings.ipfs_rpc_url, settings.ipfs_stall_seconds, settings.ipfs_rpc_token)
        )
        keys = MasterKeys(settings.master_keys)
        pinner = Pinner(settings, db, bus, vault, keys, ipfs)
        inspector = Inspector(settings, db, bus, vault, keys, ipfs, pinner.node, pinner.restoring.nudge)
        handlers = app.bind(HANDLERS, pinner)
        samples: dict[str, metrics.Sample] = {
            "rows": gauges.rows(db, [PIN, DROP, RESTORE, INSPECT, SHRED]),
            "disk": metrics.disk(vault.root),
            "ipfs disk": pinner.room.measure,
            "audits": audit_gauges.gauges(db, Place.LOCAL, settings),
            "events": bus.lag(handlers),
            "outages": pinner.breakers.sample(db, "pinner", settings.sweep_seconds),
            "catalogue": partial(measure, db),
            "ends": pinner.shredder.measure,
            "master keys": partial(master_keys.measure, db, keys),
        }
        jobs: list[app.Job] = [
            partial(bus.listen, handlers, concurrency=settings.event_concurrency),
            partial(pinner.pinning.sweep, seconds=settings.sweep_seconds),
            partial(pinner.dropping.sweep, seconds=settings.sweep_seconds),
            partial(pinner.restoring.sweep, seconds=settings.sweep_seconds),
            partial(pinner.shredding.sweep, seconds=settings.sweep_seconds),
            partial(inspector.inspecting.sweep, seconds=settings.sweep_seconds),
            partial(repeat, partial(note_node, ipfs, db), seconds=settings.sweep_seconds),
            partial(pinner.publishing.sweep, seconds=settings.sweep_seconds),
            partial(repeat, pinner.room.note_disk, seconds=settings.sweep_seconds),
            partial(repeat, pinner.tidy, seconds=settings.sweep_seconds),
            partial(repeat, pinner.ledger.tidy, seconds=TIDY_SECONDS),
            partial(metrics.watch, samples=samples, seconds=settings.sweep_seconds),
        ]
        checks = {"ipfs": ipfs.ping, "disk": vault.ping, "master keys": master_keys.check(db, keys)}
        heart = Heart(db, "pinner", [heartbeats.disk(vault.root, vault.store), partial(facts, ipfs)])
        identity = Identity(db, vault.root, vault.store)
        await app.run(settings, db, jobs, checks, identity=identity, breakers=pinner.breakers, heart=heart)


def main() -> None:
    """Start the process (console script `roadvault-pinner`)."""
    app.main(serve)


if __name__ == "__main__":
    main()
