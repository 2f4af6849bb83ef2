"""Whose turn it is to be bought, and what looks and purchases leave to each other."""

import asyncio

import pytest
from evidence_rows import evidence
from servers_orderer import CID, Desk, OpenDesk, calls, stock

from roadvault_common.work import backlog
from roadvault_common.work import lease as leases
from roadvault_common.work.outcome import Done, Failed
from roadvault_common.work.reasons import Reason
from roadvault_common.work.stages import ORDER, WATCH

DAY = 86_400


async def test_renewals_come_first_of_these_what_ends_first_then_what_is_new_by_age(desk: Desk) -> None:
    for number in range(6):
        await desk.archive(number)
    await desk.db.execute("UPDATE zip_ipfs_info SET order_due = UTC_TIMESTAMP(6) - INTERVAL 10 - zip_id HOUR")
    for zip_id, days in ((4, 5.5), (5, -1), (6, 6.5)):
        await desk.db.execute(
            "UPDATE zip_ipfs_info SET status = 3, order_due = UTC_TIMESTAMP(6),"
            " expires_at = UTC_TIMESTAMP(6) + INTERVAL %s SECOND WHERE zip_id = %s",
            (days * DAY, zip_id),
        )
    turns = []
    while (turn := await desk.orderer.buying._next())[0] is not None:
        turns.append(turn[0])
        await desk.db.execute("UPDATE zip_ipfs_info SET order_due = NULL WHERE zip_id = %s", (turn[0],))
    assert turns == [5, 4, 6, 1, 2, 3]


async def test_new_orders_starve_no_renewal_and_nobody_asks_while_one_is_in_flight(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    buying = desk.orderer.buying
    new = [await desk.archive(number) for number in range(20)]
    assert await buying.take_turn() == 0  # the first is sent
    renewed = await desk.archive(30)
    await desk.db.execute(
        "UPDATE zip_ipfs_info SET expires_at = UTC_TIMESTAMP(6) + INTERVAL 6 DAY, status = 3 WHERE zip_id = %s",
        (renewed,),
    )
    with calls(monkeypatch) as asked:
        for _ in range(5):
            assert 0 < await buying.take_turn() <= 6  # until the one in flight is looked for again
    assert sum(asked.values()) == 0
    desk.devnet.final()
    for zip_id in (new[0], renewed):
        await desk.db.execute("UPDATE zip_ipfs_info SET order_due = UTC_TIMESTAMP(6) WHERE zip_id = %s", (zip_id,))
        assert await buying.take_turn() == 0
    assert [purchase["zip_id"] for purchase in await desk.purchases()] == [new[0], renewed]


async def test_an_archive_whose_purchase_is_not_settled_is_not_put_off(desk: Desk) -> None:
    (zip_id,) = await stock(desk, 1)
    await desk.db.execute(
        "INSERT INTO order_info (zip_id, term, account, status, cid, declared_size, nonce, era_birth, era_death,"
        " extrinsic_hash, extrinsic, price) VALUES (%s, 2, %s, 0, 'c', 1, 0, 1, 65, 'h', 'x', 1)",
        (zip_id, desk.chain.account),
    )
    await desk.db.execute("UPDATE zip_ipfs_info SET order_due = UTC_TIMESTAMP(6)")
    row = await desk.look(zip_id)
    assert (row["replicas"], await backlog.due_rows(desk.db, ORDER, 1)) == (60, [zip_id])


@pytest.mark.parametrize(
    ("column", "value"), [("token", "'t'"), ("reason", "'it rests'"), ("failed_at", "UTC_TIMESTAMP(6)")]
)
async def test_a_look_leaves_an_order_alone_that_is_at_work_rests_or_has_failed(
    desk: Desk, column: str, value: str
) -> None:
    (zip_id,) = await stock(desk, 1)
    desk.devnet.turn(close_file=CID.format(0))
    desk.devnet.final()
    await desk.look(zip_id)
    desk.devnet.blocks(1)
    await desk.db.execute(f"UPDATE zip_ipfs_info SET order_due = NULL, order_{column} = {value}")  # noqa: S608
    row = await desk.look(zip_id)
    assert (row["order_due"], row["watch_reason"], row["watch_due"] is None) == (None, None, False)


async def test_an_order_that_failed_is_watched_on(desk: Desk) -> None:
    zip_id = await desk.archive()
    await desk.bought(zip_id)
    desk.devnet.turn(set_replicas={"cid": CID.format(0), "count": 60})
    desk.devnet.final()
    lease = await leases.claim(desk.db, ORDER, zip_id, 60) or await _claimed(desk, zip_id)
    await desk.db.transact(lambda tx: leases.close(tx, lease, Failed(Reason("", "ask a person"))))
    await desk.db.execute("UPDATE zip_ipfs_info SET status = 2")
    row = await desk.look(zip_id)
    assert (row["replicas"], row["status"], row["order_reason"]) == (60, 2, "ask a person")
    assert [one["replicas"] for one in await evidence(desk.db, zip_id)] == [60]


async def _claimed(desk: Desk, zip_id: int) -> leases.Lease:
    await desk.db.execute("UPDATE zip_ipfs_info SET order_due = UTC_TIMESTAMP(6) WHERE zip_id = %s", (zip_id,))
    lease = await leases.claim(desk.db, ORDER, zip_id, 60)
    assert lease is not None
    return lease


@pytest.mark.parametrize("devnet_server", [{"file_duration_blocks": 400}], indirect=True)
async def test_renewals_do_not_depend_on_looks(open_desk: OpenDesk) -> None:
    """As while looks are in trouble, or under an orderer from before, which knows nothing of them."""
    async with open_desk(crust_block_seconds=0.01) as desk:
        zip_id = await desk.archive()
        await desk.bought(zip_id)
        desk.devnet.turn(set_replicas={"cid": CID.format(0), "count": 60}, make_blocks=3)
        await desk.look(zip_id)
        await desk.db.execute("UPDATE zip_ipfs_info SET watch_due = NULL")
        desk.devnet.blocks(320)
        async with asyncio.timeout(30):
            while await desk.orderer.buying.take_turn() > 0 or len(await desk.purchases()) < 2:
                await asyncio.sleep(0.05)
        assert [purchase["term"] for purchase in await desk.purchases()] == [1, 2]


async def test_what_an_orderer_from_before_watches_is_taken_over(desk: Desk) -> None:
    """Its rows are due for it again and again; who looks puts them off until their renewal."""
    archives = await stock(desk, 5)
    await desk.db.execute("UPDATE zip_ipfs_info SET order_due = UTC_TIMESTAMP(6)")
    assert await desk.look_at_due() == 5
    assert await backlog.due_rows(desk.db, ORDER, 10) == []
    assert None not in [(await desk.row(zip_id))["order_due"] for zip_id in archives]
    # What it has just bought has no time for a look: who buys finds nothing to buy, and has it looked at.
    await desk.db.execute("UPDATE zip_ipfs_info SET watch_due = NULL, order_due = UTC_TIMESTAMP(6)")
    for zip_id in archives:
        assert isinstance(await desk.orderer.buying.ordering.work(zip_id), Done)
    assert len(await backlog.due_rows(desk.db, WATCH, 10)) == 5


async def test_a_look_that_finds_something_to_buy_has_it_bought(open_desk: OpenDesk) -> None:
    """Both sweeps, left to themselves: the archive vanished, is looked for once more, and bought again."""
    async with open_desk(crust_poll_seconds=0.05, crust_block_seconds=0.05) as desk:
        zip_id = await desk.archive()
        await desk.bought(zip_id)
        desk.devnet.turn(close_file=CID.format(0), make_blocks=3)
        await desk.db.execute("UPDATE zip_ipfs_info SET watch_due = UTC_TIMESTAMP(6)")
        desk.devnet.turn(block_seconds=0.1)
        desk.orderer.watching._head = None  # from before
        closing = asyncio.Event()
        async with asyncio.timeout(60), asyncio.TaskGroup() as group:
            group.create_task(desk.orderer.watching.sweep(closing, 60))
            group.create_task(desk.orderer.buying.sweep(closing, 60))
            while [purchase["status"] for purchase in await desk.purchases()] != [1, 1]:
                await asyncio.sleep(0.05)
            closing.set()
        assert desk.devnet.orders() == 2
