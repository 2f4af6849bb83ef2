"""The summary of when orders end: right after every change, and as small as the days that are to come."""

import asyncio

from servers_devnet import FINALITY_LAG
from servers_orderer import CID, Desk

from roadvault_common.db import Database
from roadvault_crust_orderer import renewals_store
from roadvault_crust_orderer.renewals_store import BLOCKS_A_DAY


async def days(db: Database) -> dict[int, int]:
    return {row["day"]: row["archives"] for row in await db.fetch_all("SELECT day, archives FROM renewal_info")}


async def test_an_archive_is_counted_on_the_day_that_its_order_ends(database_url: str) -> None:
    async with Database.open(database_url) as db:
        for before, after in ((None, 5 * BLOCKS_A_DAY), (None, 6 * BLOCKS_A_DAY - 1), (None, 9 * BLOCKS_A_DAY)):
            await db.transact(lambda tx, before=before, after=after: renewals_store.note(tx, before, after))  # type: ignore[misc]
        assert await days(db) == {5: 2, 9: 1}
        assert [await renewals_store.until(db, day * BLOCKS_A_DAY) for day in (4, 5, 8, 9)] == [0, 2, 2, 3]
        await db.transact(lambda tx: renewals_store.note(tx, 5 * BLOCKS_A_DAY, 5 * BLOCKS_A_DAY + 7))
        assert await days(db) == {5: 2, 9: 1}
        await db.transact(lambda tx: renewals_store.note(tx, 9 * BLOCKS_A_DAY, 189 * BLOCKS_A_DAY))
        assert await days(db) == {5: 2, 189: 1}  # renewed: nothing is left of the old day
        await db.transact(lambda tx: renewals_store.note(tx, 189 * BLOCKS_A_DAY, None))
        assert await days(db) == {5: 2}  # vanished from the market


async def test_several_orderers_count_at_once(database_url: str) -> None:
    async with Database.open(database_url) as db:
        await asyncio.gather(*(db.transact(lambda tx: renewals_store.note(tx, None, BLOCKS_A_DAY)) for _ in range(20)))
        await asyncio.gather(
            *(db.transact(lambda tx: renewals_store.note(tx, BLOCKS_A_DAY, 2 * BLOCKS_A_DAY)) for _ in range(19))
        )
        assert await days(db) == {1: 1, 2: 19}


async def test_what_the_market_says_of_an_archive_is_counted(desk: Desk) -> None:
    zip_id = await desk.archive()
    await desk.bought(zip_id)
    assert await days(desk.db) == {}  # no replica yet: nobody knows when it ends
    desk.devnet.turn(set_replicas={"cid": CID.format(0), "count": 60})
    desk.devnet.blocks(FINALITY_LAG)
    for _ in range(2):
        await desk.attend(zip_id)
        assert await days(desk.db) == {(await desk.row(zip_id))["expired_on"] // BLOCKS_A_DAY: 1}
