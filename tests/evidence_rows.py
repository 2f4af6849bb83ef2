"""Evidence for tests in which nobody counts or proves: rows as crust-orderer writes them."""

from roadvault_common.sql.db import Database, Row

_PROVEN = """
INSERT INTO evidence_info (zip_id, market, block, replicas, counted_at, proven_at, proven_by, members, bytes)
    SELECT zip_id, 'here', 1, 60, {counted}, {proven}, 'by hand', 1, 1 FROM zip_ipfs_info WHERE %s IN (0, zip_id)
    ON DUPLICATE KEY UPDATE counted_at = {counted}, proven_at = {proven}
"""


async def prove(db: Database, zip_id: int = 0, *, counted: float = 0, proven: float = 0) -> None:
    """Have valid evidence for an archive, or for all, of a count and a proof of so many seconds ago; a drop is due."""
    ages = {
        name: f"UTC_TIMESTAMP(6) - INTERVAL {age} SECOND" for name, age in (("counted", counted), ("proven", proven))
    }
    await db.execute(_PROVEN.format(**ages), (zip_id,))
    await db.execute(
        "UPDATE zip_ipfs_info SET drop_due = UTC_TIMESTAMP(6) WHERE %s IN (0, zip_id) AND drop_token IS NULL", (zip_id,)
    )


async def evidence(db: Database, zip_id: int) -> list[Row]:
    """Return all evidence that there ever was for an archive, the latest last."""
    return await db.fetch_all("SELECT * FROM evidence_info WHERE zip_id = %s ORDER BY evidence_id", (zip_id,))


async def void(db: Database, zip_id: int = 0) -> None:
    """Take an archive's evidence back, or everybody's."""
    await db.execute(
        "UPDATE evidence_info SET valid = NULL, void_at = UTC_TIMESTAMP(6), void_reason = 'by hand'"
        " WHERE valid = 1 AND %s IN (0, zip_id)",
        (zip_id,),
    )
