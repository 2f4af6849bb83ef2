"""What is bought for archives that have an end: enough to last until then, and nothing after it; on a devnet."""

import pytest
from servers_orderer import CID, Desk

from roadvault_common.work.outcome import Done
from roadvault_crust_orderer.buying import renewals_store

TERM = 400


async def _ends(desk: Desk, zip_id: int, days: float, *, shredded: bool = False) -> None:
    await desk.db.execute(
        "REPLACE INTO retention_info (zip_id, ends_at, shredded_at)"
        " VALUES (%s, UTC_TIMESTAMP(6) + INTERVAL %s SECOND, IF(%s, UTC_TIMESTAMP(6), NULL))",
        (zip_id, days * 86_400, shredded),
    )


@pytest.mark.parametrize("devnet_server", [{"file_duration_blocks": TERM}], indirect=True)
async def test_an_order_that_lasts_until_the_end_is_not_renewed_unless_that_is_moved_or_held(desk: Desk) -> None:
    zip_id = await desk.archive()
    await desk.bought(zip_id)
    desk.devnet.turn(set_replicas={"cid": CID.format(0), "count": 60})
    desk.devnet.final()
    await desk.look(zip_id)
    desk.devnet.blocks(TERM - 80)  # its renewal is due; it has some 8 minutes left
    await _ends(desk, zip_id, 200 / 86_400)
    await desk.attend(zip_id)
    assert len(await desk.purchases()) == 1
    await desk.db.execute("INSERT INTO hold_info (zip_id, reason) VALUES (%s, 'x')", (zip_id,))
    await desk.attend(zip_id)
    assert len(await desk.purchases()) == 2


async def test_nothing_is_bought_for_what_has_ended_and_it_is_in_no_plan(desk: Desk) -> None:
    zip_id, new = await desk.archive(0), await desk.archive(1)
    await desk.bought(zip_id)
    desk.devnet.turn(set_replicas={"cid": CID.format(0), "count": 60})
    desk.devnet.final()
    await desk.look(zip_id)
    assert (await renewals_store.until(desk.db, 1 << 40, desk.chain.account)).archives == 1
    for one in (zip_id, new):
        await _ends(desk, one, -1, shredded=True)
    await desk.db.execute("UPDATE zip_ipfs_info SET status = 5, dropped_at = UTC_TIMESTAMP(6)")
    desk.devnet.turn(set_replicas={"cid": CID.format(0), "count": 0})  # under the floor
    desk.devnet.final()
    row = await desk.look(zip_id)
    assert (row["watch_due"], row["restore_due"], row["status"]) == (None, None, 5)
    assert (await renewals_store.until(desk.db, 1 << 40, desk.chain.account)).archives == 0
    for one in (zip_id, new):
        assert await desk.attend(one) == Done()
    assert len(await desk.purchases()) == 1
