"""Holds of archives that a recovery left out: in force here, and under whatever number one comes back."""

from functools import partial

from roadvault_common.catalogue import left_out
from roadvault_common.catalogue.records import ArchiveRecord
from roadvault_common.retention import holding
from roadvault_common.retention.left_holds import is_free
from roadvault_common.sql.db import Database, Transaction
from roadvault_operator.recover import hold_store


async def keep(db: Database) -> list[str]:
    """Write the holds that the records of what is left out have, and nobody knows here; return what is to be told.

    One that came back under another number takes its holds along, and is left out no more.
    """
    told = list[str]()
    for zip_id, record in await left_out.elsewhere(db):
        told += await db.transact(partial(_move, zip_id=zip_id, record=record))
    for record in await left_out.held(db):
        told += await db.transact(partial(_note, record=record))
    return told


async def _move(tx: Transaction, zip_id: int, record: ArchiveRecord) -> list[str]:
    if await is_free(tx, record.zip_id):
        await tx.execute(
            "UPDATE hold_info SET zip_id = %s WHERE zip_id = %s AND file_id IS NULL", (zip_id, record.zip_id)
        )
    told = await hold_store.bring_back(tx, zip_id, record)
    await holding.look_again(tx, zip_id)
    await left_out.forget(tx, record.cid)
    return told


async def _note(tx: Transaction, record: ArchiveRecord) -> list[str]:
    if not await is_free(tx, record.zip_id):  # they wait in the record, until it comes under another
        return []
    return [f"{one}, which is left out" for one in await hold_store.bring_back(tx, record.zip_id, record)]
