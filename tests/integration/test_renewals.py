"""The summary of when orders end: right after every change, and as small as the days that are to come."""

import asyncio

from servers_devnet import FINALITY_LAG
from servers_orderer import CID, SIZE, Desk

from roadvault_common.sql.db import Database
from roadvault_crust_orderer.buying import renewals_store
from roadvault_crust_orderer.buying.renewals_store import BLOCKS_A_DAY
from roadvault_crust_orderer.markets.market import MIB, Renewals


async def days(db: Database) -> dict[int, tuple[int, int]]:
    """Return archives and MiB by the day on which their orders end."""
    rows = await db.fetch_all("SELECT day, archives, mebibytes FROM renewal_info")
    return {row["day"]: (row["archives"], row["mebibytes"]) for row in rows}


async def note(db: Database, before: int | None, after: int | None, size: int = MIB) -> None:
    await db.transact(lambda tx: renewals_store.note(tx, before, after, size))


async def test_an_archive_is_counted_on_the_day_that_its_order_ends(db: Database) -> None:
    await note(db, None, 5 * BLOCKS_A_DAY, 1)
    await note(db, None, 6 * BLOCKS_A_DAY - 1, 3 * MIB)
    await note(db, None, 9 * BLOCKS_A_DAY, 9 * MIB + 1)
    assert await days(db) == {5: (2, 4), 9: (1, 10)}
    seen = [await renewals_store.until(db, day * BLOCKS_A_DAY, "") for day in (4, 5, 8, 9)]
    assert seen == [Renewals(0, 0), Renewals(2, 4), Renewals(2, 4), Renewals(3, 14)]
    await note(db, 5 * BLOCKS_A_DAY, 5 * BLOCKS_A_DAY + 7, 3 * MIB)
    assert await days(db) == {5: (2, 4), 9: (1, 10)}
    await note(db, 9 * BLOCKS_A_DAY, 189 * BLOCKS_A_DAY, 9 * MIB + 1)
    assert await days(db) == {5: (2, 4), 189: (1, 10)}  # renewed: nothing is left of the old day
    await note(db, 189 * BLOCKS_A_DAY, None, 9 * MIB + 1)
    assert await days(db) == {5: (2, 4)}  # vanished from the market


async def test_what_an_orderer_of_the_version_before_counted_without_a_size_goes_with_its_day(
    db: Database,
) -> None:
    await db.execute("INSERT INTO renewal_info (day, archives) VALUES (5, 2)")
    await note(db, 5 * BLOCKS_A_DAY, 185 * BLOCKS_A_DAY, 7 * MIB)
    assert await days(db) == {5: (1, 0), 185: (1, 7)}
    await note(db, 5 * BLOCKS_A_DAY, 185 * BLOCKS_A_DAY, 7 * MIB)
    assert await days(db) == {185: (2, 14)}


async def test_several_orderers_count_at_once(db: Database) -> None:
    await asyncio.gather(*(note(db, None, BLOCKS_A_DAY, size * MIB) for size in range(20)))
    await asyncio.gather(*(note(db, BLOCKS_A_DAY, 2 * BLOCKS_A_DAY, size * MIB) for size in range(19)))
    assert await days(db) == {1: (1, 19), 2: (19, 171)}


async def test_what_the_market_says_of_an_archive_is_counted(desk: Desk) -> None:
    zip_id = await desk.archive()
    await desk.bought(zip_id)
    assert await days(desk.db) == {}  # no replica yet: nobody knows when it ends
    desk.devnet.turn(set_replicas={"cid": CID.format(0), "count": 60})
    desk.devnet.blocks(FINALITY_LAG)
    for _ in range(2):
        await desk.attend(zip_id)
        assert await days(desk.db) == {(await desk.row(zip_id))["expired_on"] // BLOCKS_A_DAY: (1, -(-SIZE // MIB))}
