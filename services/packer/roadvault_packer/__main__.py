"""Wires the packer together and runs it."""

from contextlib import AsyncExitStack
from functools import partial

from roadvault_common import metrics
from roadvault_common.archive import master_keys
from roadvault_common.archive.crypto import MasterKeys
from roadvault_common.custody import chainer
from roadvault_common.custody.check import CHECK_SECONDS, Checker
from roadvault_common.events.bus import Bus
from roadvault_common.files.identity import Identity
from roadvault_common.files.ledger import TIDY_SECONDS
from roadvault_common.files.vault import Vault
from roadvault_common.history import heartbeats
from roadvault_common.history.heartbeats import Heart
from roadvault_common.loops import repeat
from roadvault_common.process import app, log
from roadvault_common.sql.db import Database
from roadvault_common.work import gauges
from roadvault_common.work.stages import PACK
from roadvault_packer.config import PackerSettings
from roadvault_packer.handlers import HANDLERS
from roadvault_packer.service import Packer

_KEYRING_SECONDS = 60
"""Between two looks at the places of the keyring, and for periods that are over."""


async def serve() -> None:
    """Run the packer until it is told to stop."""
    settings = PackerSettings()
    log.configure("packer", settings)
    vault = Vault(settings.data_dir, settings.store)
    vault.prepare()
    async with AsyncExitStack() as stack:
        db = await stack.enter_async_context(Database.open(settings.database_url, settings.database_connections))
        bus = await stack.enter_async_context(
            Bus.open(settings.redis_url, "packer", settings.event_reclaim_seconds, settings.store)
        )
        keys = MasterKeys(settings.master_keys)
        packer = Packer(settings, db, bus, vault, keys)
        checker = Checker(db, bus, vault.root)
        handlers = app.bind(HANDLERS, packer)
        samples: dict[str, metrics.Sample] = {
            "rows": gauges.rows(db, [PACK]),
            "disk": metrics.disk(vault.root),
            "events": bus.lag(handlers),
            "outages": packer.breakers.sample(db, "packer", settings.sweep_seconds),
            "master keys": partial(master_keys.measure, db, keys),
            "set aside": packer.measure,
            "custody": partial(chainer.measure, db),
            "custody faults": checker.measure,
        }
        jobs: list[app.Job] = [
            partial(bus.listen, handlers, concurrency=settings.event_concurrency),
            partial(packer.packing.sweep, seconds=settings.sweep_seconds),
            partial(repeat, packer.sweep_orphans, seconds=min(settings.orphan_hours * 900, 3600)),
            partial(repeat, partial(master_keys.note, db, keys), seconds=3600),
            partial(repeat, packer.periods.tend, seconds=_KEYRING_SECONDS),
            partial(repeat, packer.ledger.tidy, seconds=TIDY_SECONDS),
            partial(repeat, partial(chainer.chain, db), seconds=chainer.CHAIN_SECONDS),
            partial(repeat, checker.sweep, seconds=CHECK_SECONDS / 6),
            partial(metrics.watch, samples=samples, seconds=settings.sweep_seconds),
        ]
        await app.run(
            settings,
            db,
            jobs,
            {"disk": vault.ping, "master keys": master_keys.check(db, keys)},
            identity=Identity(db, vault.root, vault.store),
            breakers=packer.breakers,
            heart=Heart(db, "packer", [heartbeats.disk(vault.root, vault.store)]),
        )


def main() -> None:
    """Start the process (console script `roadvault-packer`)."""
    app.main(serve)


if __name__ == "__main__":
    main()
