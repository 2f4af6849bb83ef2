"""Brings the custody log back from the catalogue, and the holds that it tells of."""

from roadvault_common.archive.crypto import MasterKeys
from roadvault_common.catalogue import left_out
from roadvault_common.catalogue.records import CustodyHead
from roadvault_common.custody import slices, store, tie
from roadvault_common.errors import DatabaseUnavailable, RoadVaultError, brief
from roadvault_common.ipfs.reading import Reader
from roadvault_common.sql.db import Database
from roadvault_operator.recover import hold_store
from roadvault_operator.recover.catalogue import Catalogue


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
    root = await tie.root(db, wanted.size)
    return root is not None and (root.hash, root.root) == (wanted.hash, wanted.root)


async def bring_back_holds(db: Database) -> None:
    """Put on hold what the log says is, of archives and files that nothing else has told of."""
    for hold in await hold_store.logged(db):
        await db.transact(lambda tx, hold=hold: hold_store.bring_back_logged(tx, hold))  # type: ignore[misc]
