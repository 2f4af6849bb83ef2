"""Rows that a transaction's right rests on, though it has nothing to write there.

A lock on such a row binds nobody at another node of a cluster, where two may be written to for a moment. So the row is
written: of two that write it the one that commits second is refused, and runs again on what the first has left.
"""

from typing import Literal

from roadvault_common.sql.db import Transaction

_KEYS = {"file_upload_info": "file_id", "zip_ipfs_info": "zip_id", "retention_info": "zip_id"}
"""Tables whose rows say when they were last written."""


async def bind(
    tx: Transaction, table: Literal["file_upload_info", "zip_ipfs_info", "retention_info"], row_id: int
) -> bool:
    """Have nobody else change a row, or bind it, until the transaction ends; False if there is none."""
    written = await tx.execute(
        f"UPDATE {table} SET update_time = UTC_TIMESTAMP(6) WHERE {_KEYS[table]} = %s",  # noqa: S608 - one of three
        (row_id,),
    )
    return written == 1
