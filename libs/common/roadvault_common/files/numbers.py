"""Numbers of files, archives and the rest, none of which is given out twice, also after a dump was restored.

A dump that is restored together with its `identity.json` looks like a system that was switched off for as long. So
after each such time numbers go on by the clock: what was given out meanwhile, if it was, is not given out again.
"""

from collections.abc import Mapping

import structlog

from roadvault_common.files import identity_store as store
from roadvault_common.sql.db import Database, Transaction

log = structlog.get_logger()

MARGIN = 1_000_000
"""Numbers that are left out when a database is adopted: far more than can be given out between two marks."""
MOST_A_SECOND = 1000
"""Numbers that may have been given out in each second of which nobody knows."""
_TIMES = 20
"""So many times as busy as on the average since the database was made a system may have been meanwhile."""
_SEEN_SECONDS = 60
"""How often it is noted that a service works with the database."""
_UNSEEN_SECONDS = 120
"""For so long none has: a restart takes less."""


async def keep_ahead(db: Database) -> None:
    """After a time without any service have numbers go on behind all that can have been given out meanwhile.

    It was switched off, as a rule. But it may be a dump, restored with all of its machine: nothing here tells them
    apart, the catalogue on the network does so only later, and numbers are plenty.
    """
    seen = await store.unseen(db)
    if seen is not None and 0 <= seen.seconds < _SEEN_SECONDS:
        return

    async def work(tx: Transaction) -> None:
        await store.lock(tx)  # of several services one does it, the others wait until it is done
        seen = await store.unseen(tx)
        if seen is not None and seen.seconds >= _UNSEEN_SECONDS:
            there = await store.given_out(db)
            for table, name in store.COUNTED.items():
                a_second = min(max(_TIMES * there[name] / max(seen.before, 1), 1), MOST_A_SECOND)
                await store.go_on_behind(db, table, there[name] + int(seen.seconds * a_second))
            log.info("no service has seen this database for a while: numbers are left out", seconds=seen.seconds)
        await store.see(tx)

    await db.transact(work)


async def go_on_behind(db: Database, known: Mapping[str, int], *, new: bool = False) -> None:
    """Have numbers go on MARGIN behind those `known`, by their columns' names, where these are higher than ours.

    Of a `new` database, which has no numbers of its own yet, all go on.
    """
    there = await store.given_out(db)
    for table, name in store.COUNTED.items():
        number = known.get(name, 0)
        if new or number > there[name]:
            await store.go_on_behind(db, table, number + MARGIN)
