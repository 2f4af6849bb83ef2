"""Archives that a recovery left out, and what keeps them: a person gives them up, by the command line or on a page."""

from collections.abc import Sequence
from functools import partial

from roadvault_common.catalogue import left_out
from roadvault_common.catalogue.records import ArchiveRecord
from roadvault_common.sql.db import Database, Row, Transaction
from roadvault_common.work import lease as leases
from roadvault_common.work.stages import PUBLISH


async def in_force(db: Database, record: ArchiveRecord) -> list[str]:
    """Return what keeps an archive that is left out: holds that are here, and those of its record that are not."""
    rows = await db.transact(partial(_here, zip_id=record.zip_id))
    known = {(row["file_id"], row["reason"]) for row in rows}
    told = [f"hold {row['hold_id']}, {row['reason']!r}" for row in rows if row["active"]]
    told += [f"{one.reason!r}" for one in record.holds or () if (one.file_id, one.reason) not in known]
    return told + ([f"{record.more_holds} holds more"] if record.more_holds is not None and not rows else [])


async def is_free(tx: Transaction, zip_id: int) -> bool:
    """Tell whether no archive here has a number."""
    return await tx.fetch_one("SELECT 1 FROM zip_ipfs_info WHERE zip_id = %s", (zip_id,)) is None


async def give_up(db: Database, cids: Sequence[str]) -> None:
    """Have the next catalogue, which is due now, be published without these; that is a line of the custody log.

    Raises:
        PermanentError: One was not left out; nothing was changed.
    """
    await left_out.give_up(db, cids)
    await db.transact(lambda tx: leases.make_due(tx, PUBLISH, 1))


async def _here(tx: Transaction, zip_id: int) -> list[Row]:
    if not await is_free(tx, zip_id):
        return []
    return await tx.fetch_all("SELECT hold_id, file_id, reason, active FROM hold_info WHERE zip_id = %s", (zip_id,))
