"""Brings the custody log back from the catalogue, and the holds and ends that it tells of."""

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from functools import partial

from roadvault_common.archive.crypto import MasterKeys
from roadvault_common.catalogue import left_out
from roadvault_common.catalogue.records import CustodyHead
from roadvault_common.custody import slices, store, tying
from roadvault_common.errors import DatabaseUnavailable, RoadVaultError, brief
from roadvault_common.files import identity_store
from roadvault_common.ipfs.reading import Reader
from roadvault_common.sql.db import Database, Row
from roadvault_operator.recover import end_store, hold_store
from roadvault_operator.recover.catalogue import Catalogue
from roadvault_operator.recover.end_store import Shredded


async def bring_back(db: Database, catalogue: Catalogue, reader: Reader, keys: MasterKeys) -> list[str]:
    """Write the log's lines that the catalogue has, before there are others; return what could not be brought back.

    A log that has them already is left as it is: what came behind them since stays.

    Raises:
        DatabaseUnavailable: The database is away: run it again.
    """
    wanted = catalogue.head.custody
    if wanted is None:
        return []
    log = [] if catalogue.log is None else [str(catalogue.log)]
    try:
        there = await _is_there(db, wanted)
        if not there:
            async for content in catalogue.slices(reader, keys):
                await slices.bring_back(db, content)
            there = await _is_there(db, wanted)
    except DatabaseUnavailable:
        raise
    except RoadVaultError as error:
        await left_out.end(db, [], dict.fromkeys(log, brief(error)), [])
        return [f"the custody log: {brief(error)}; run it again before any service does, which would add lines"]
    await left_out.end(db, log, {}, [])
    if there:
        return []
    head = await store.head(db)
    size = head.size if head else 0
    return [f"the custody log: {size} lines are here; there were {wanted.size} when the catalogue was made"]


async def _is_there(db: Database, wanted: CustodyHead) -> bool:
    root = await tying.root(db, wanted.size)
    return root is not None and (root.hash, root.root) == (wanted.hash, wanted.root)


async def lost(catalogue: Catalogue, reader: Reader, keys: MasterKeys) -> list[Row]:
    """Return the lines of holds and ends in the catalogue's log, of which the database's own is no part."""
    found = list[Row]()
    with suppress(RoadVaultError):  # up to what can be read: that there is more is told
        async for content in catalogue.slices(reader, keys):
            found += [row for row in await asyncio.to_thread(slices.rows, content) if row["act"] in hold_store.ACTS]
    return found


async def shredded(db: Database, others: Iterable[Row] = ()) -> Shredded:
    """Return the archives that were shredded, by the log, and by lines of `others`."""
    return await end_store.shredded(db, (await hold_store.logged(db, others)).shredded)


async def bring_back_holds(db: Database, others: Iterable[Row] = ()) -> list[str]:
    """Put on hold what the log says is, and lines of `others`, and end nothing before it says so; return what changed.

    What it says was shredded is over, and waits for a person to allow that it ends.

    Holds on what is not here are told each time, until they are released.
    """
    logged = await hold_store.logged(db, others)
    told = [await db.transact(partial(hold_store.bring_back_logged, hold=hold)) for hold in logged.holds]
    told += [
        await db.transact(partial(end_store.move_end, zip_id=zip_id, ends_at=ends_at))
        for zip_id, ends_at in logged.ends.items()
    ]
    living = await end_store.living(db, await end_store.shredded(db, logged.shredded))
    if living:
        await identity_store.doubt(db)
    told += [
        await db.transact(partial(end_store.end_again, zip_id=zip_id, shredded_at=shredded_at))
        for zip_id, shredded_at in living.items()
    ]
    return [line for line in told if line is not None]
