"""SQL of recovering holds: nothing may end because one was forgotten."""

from datetime import UTC

from roadvault_common.catalogue.records import ArchiveRecord, Hold
from roadvault_common.sql.db import Transaction


async def bring_back(tx: Transaction, record: ArchiveRecord) -> None:
    """Write the holds that an archive's record in the catalogue has, under their numbers where these are free."""
    for hold in record.holds or ():
        await _insert(tx, record.zip_id, hold)
    if record.more_holds is not None:
        reason = f"{record.more_holds} holds of which the catalogue had no more: the custody log has each"
        await tx.execute("INSERT INTO hold_info (zip_id, reason) VALUES (%s, %s)", (record.zip_id, reason))


async def _insert(tx: Transaction, zip_id: int, hold: Hold) -> None:
    taken = await tx.fetch_one("SELECT 1 FROM hold_info WHERE hold_id = %s", (hold.hold_id,))
    await tx.execute(
        "INSERT INTO hold_info (hold_id, zip_id, file_id, reason, create_time) VALUES (%s, %s, %s, %s, %s)",
        (
            None if taken else hold.hold_id,
            zip_id,
            hold.file_id,
            hold.reason,
            hold.made.astimezone(UTC).replace(tzinfo=None),
        ),
    )
