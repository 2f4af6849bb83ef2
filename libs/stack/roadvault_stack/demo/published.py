"""Waits until the network holds the catalogue of all archives: only what it holds outlives our machine."""

import asyncio
import time
from collections.abc import Callable

from roadvault_common.sql.db import Database
from roadvault_stack.demo import network
from roadvault_stack.demo.errors import DemoError

_SECONDS = 60
_LOOK_SECONDS = 0.2


async def wait(db: Database, network_rpc_url: str, progress: Callable[[int], None]) -> str:
    """Return the catalogue's CID, once it has all archives and is on the network; `progress` is told how many it has.

    Raises:
        DemoError: It is not, within a minute.
    """
    deadline = time.monotonic() + _SECONDS
    while (cid := await whole(db)) is None or not await network.has_pinned(network_rpc_url, cid):
        if cid is None:  # it would be looked at within half an hour, and ordered once a day
            await db.execute(
                "UPDATE catalogue_info SET ordered_at = NULL, publish_due = UTC_TIMESTAMP(6)"
                " WHERE one = 1 AND publish_due > UTC_TIMESTAMP(6) AND publish_token IS NULL"
            )
        row = await db.fetch_one("SELECT cid, archives, publish_reason FROM catalogue_info WHERE one = 1") or {}
        progress(row.get("archives", 0))
        if time.monotonic() > deadline:
            raise DemoError(f"the network does not hold the catalogue of all archives after {_SECONDS} s: {row}")
        await asyncio.sleep(_LOOK_SECONDS)
    return cid


async def whole(db: Database) -> str | None:
    """Return the CID of the newest catalogue if it has all archives as they are, and is the one that was ordered."""
    cid: str | None = await db.fetch_value(
        "SELECT newest.cid FROM catalogue_info AS newest JOIN zip_ipfs_info AS ordered ON ordered.cid = newest.cid"
        " WHERE one = 1 AND ordered.folder_id = 0"
        " AND NOT EXISTS (SELECT 1 FROM zip_ipfs_info WHERE catalogue_stale = 1)"
    )
    return cid
