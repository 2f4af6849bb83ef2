"""SQL of buying the catalogue: the one row that is ordered for it."""

from roadvault_common.sql.db import Transaction
from roadvault_common.sql.states import ArchiveStatus, OrderStatus
from roadvault_common.work import lease as leases
from roadvault_common.work.lease import Lease
from roadvault_common.work.stages import ORDER, WATCH

MAY_ORDER = "(ordered_at IS NULL OR ordered_at <= UTC_TIMESTAMP(6) - INTERVAL %s SECOND)"


async def order(tx: Transaction, lease: Lease, master_key: str, every: float) -> int | None:
    """Have the newest catalogue bought, at most once in `every` seconds; return the row's zip_id if it is to be.

    Who buys or looks just now is not disturbed: the next look at the catalogue asks again.
    """
    await leases.hold(tx, lease)
    newest = await tx.fetch_one(
        f"SELECT cid, dag_size, node, custody, {MAY_ORDER} AS may_order FROM catalogue_info WHERE one = 1",  # noqa: S608
        (every,),
    )
    if newest is None or newest["cid"] is None or not newest["may_order"]:
        return None
    row = await tx.fetch_one(
        "SELECT zip_id, cid, order_token IS NOT NULL AND order_due > UTC_TIMESTAMP(6) OR watch_token IS NOT NULL"
        " AND watch_due > UTC_TIMESTAMP(6) OR EXISTS (SELECT 1 FROM order_info"
        " WHERE zip_id = zip_ipfs_info.zip_id AND order_info.status = %s) AS busy"
        " FROM zip_ipfs_info WHERE folder_id = 0 FOR UPDATE",
        (OrderStatus.INTENDED.value,),
    )
    if row is not None and (row["busy"] or row["cid"] == newest["cid"]):
        return None
    zip_id = await _insert(tx) if row is None else int(row["zip_id"])
    await tx.execute(
        "UPDATE zip_ipfs_info SET cid = %s, dag_size = %s, size = %s, master_key = %s, status = %s, replicas = 0,"
        " expires_at = NULL, checked_at = NULL WHERE zip_id = %s",
        (newest["cid"], *[newest["dag_size"]] * 2, master_key, ArchiveStatus.NOT_ORDERED.value, zip_id),
    )
    for stage in (ORDER, WATCH):
        await leases.end(tx, stage, zip_id)
    await leases.make_due(tx, ORDER, zip_id)
    if newest["custody"] is not None:  # receipts show it, once it is bought
        await tx.execute(
            "REPLACE INTO catalogue_order_info (cid, custody, node) VALUES (%s, %s, %s)",
            (newest["cid"], newest["custody"], newest["node"]),
        )
    await tx.execute("UPDATE catalogue_info SET ordered_at = UTC_TIMESTAMP(6) WHERE one = 1")
    return zip_id


async def _insert(tx: Transaction) -> int:
    return await tx.insert(
        "INSERT INTO zip_ipfs_info (folder_id, zip_name, `key`, iv, size, files, kind)"
        " VALUES (0, 'catalogue', '', '', 0, 0, 'catalogue')"
    )
