"""What an order is quoted at is what it takes, and what an account can spend is what the chain lets it spend."""

import pytest
from servers_devnet import FINALITY_LAG
from servers_orderer import CID, SIZE, Desk, OpenDesk, balance

from roadvault_common.errors import ChainUnavailable
from roadvault_common.work.outcome import Failed, Retry, Wait
from roadvault_crust_orderer import readiness
from roadvault_crust_orderer.buying.purchase_store import PurchaseStore
from roadvault_crust_orderer.markets.node import ERA_BLOCKS

DEPOSIT = 10**8
"""Balances.ExistentialDeposit, planck."""
MIB, GIB = 1 << 20, 1 << 30
ONE_ERA = ERA_BLOCKS + FINALITY_LAG + 1
REFUSE = {"code": 1010, "text": "Invalid Transaction"}


def set_balance(desk: Desk, planck: int) -> None:
    desk.devnet.turn(set_balance={"address": desk.chain.account, "planck": planck})
    desk.devnet.final()


@pytest.mark.parametrize("devnet_server", [{}, {"generation": "v1", "memo": False}], indirect=True)
async def test_the_quote_is_what_an_order_takes(desk: Desk) -> None:
    """Nonces and sizes of all lengths: each makes an extrinsic of another length."""
    await _use_nonces(desk, 62)
    for number, size in enumerate((1, MIB, MIB + 1, SIZE, GIB, 5_000_000_000)):
        cid = CID.format(number) + "x" * number
        offer = await desk.chain.offer(cid, size)
        before = await balance(desk.chain)
        assert await desk.chain.submit((await desk.chain.sign(cid, size)).extrinsic) is None
        desk.devnet.final()
        assert before - await balance(desk.chain) == offer.total
    assert desk.devnet.orders() == 62 + 6


async def _use_nonces(desk: Desk, count: int) -> None:
    for _ in range(count):
        assert await desk.chain.submit((await desk.chain.sign("many", 1)).extrinsic) is None
    desk.devnet.final()


async def test_the_deposit_cannot_be_spent(open_desk: OpenDesk) -> None:
    async with open_desk(seed="//Bob") as desk:
        zip_id = await desk.archive()
        set_balance(desk, 10**12)
        offer = await desk.chain.offer(CID.format(0), SIZE)
        assert offer.balance == await balance(desk.chain) == 10**12 - DEPOSIT
        set_balance(desk, offer.total + DEPOSIT - 1)  # the order and its fee are there, and the deposit nearly
        outcome = await desk.attend(zip_id)
        assert isinstance(outcome, Failed)
        assert "send CRU" in outcome.reason
        assert await desk.purchases() == []
        set_balance(desk, offer.total + DEPOSIT)
        await desk.bought(zip_id)
        assert await balance(desk.chain) == 0
        set_balance(desk, DEPOSIT - 1)
        assert await balance(desk.chain) == 0


async def test_a_node_refuses_what_would_leave_less_than_the_deposit(open_desk: OpenDesk) -> None:
    async with open_desk(seed="//Bob") as desk:
        set_balance(desk, 10**12)
        signed = await desk.chain.sign(CID.format(0), SIZE)
        fee = (await desk.chain.offer(CID.format(0), SIZE)).fee
        set_balance(desk, fee + DEPOSIT - 1)
        assert "1010" in str(await desk.chain.submit(signed.extrinsic))
        set_balance(desk, fee + DEPOSIT)
        assert await desk.chain.submit(signed.extrinsic) is None


async def test_what_a_node_takes_at_no_price_does_not_keep_the_account_from_others(desk: Desk) -> None:
    """It refuses them as if there were no money (1010), era after era, while the balance says that there is."""
    refused, other = await desk.archive(0), await desk.archive(1)
    desk.devnet.turn(refuse_submissions=REFUSE)
    for _ in range(2):
        assert "the node says" in reason(await desk.attend(refused))
        desk.devnet.blocks(ONE_ERA)
    outcome = await desk.attend(refused)
    assert isinstance(outcome, Retry)
    assert ("for 2 eras" in outcome.reason, "1010" in outcome.reason) == (True, True)
    desk.devnet.turn(refuse_submissions=None)
    await desk.bought(other)  # the account is free
    bought = [(row["zip_id"], row["status"]) for row in await desk.purchases()]
    assert bought == [(refused, 3), (refused, 3), (other, 1)]
    await desk.bought(refused)
    assert desk.devnet.orders() == 2


def reason(outcome: object) -> str:
    assert isinstance(outcome, Wait)
    return outcome.reason


async def test_an_order_that_is_refused_for_good_asks_a_person(desk: Desk) -> None:
    zip_id = await desk.archive()
    await desk.db.execute("UPDATE zip_ipfs_info SET order_attempts = 28")
    desk.devnet.turn(refuse_submissions=REFUSE)
    for _ in range(5):
        assert isinstance(await desk.attend(zip_id), Wait | Retry)
        desk.devnet.blocks(ONE_ERA)
    outcome = await desk.attend(zip_id)
    assert isinstance(outcome, Failed)
    assert "1010" in outcome.reason
    assert [row["in_flight"] for row in await desk.purchases()] == [None] * 3


async def test_money_that_goes_between_quote_and_submission_blocks_one_era(open_desk: OpenDesk) -> None:
    async with open_desk(seed="//Bob") as desk:
        poor = await desk.archive()
        set_balance(desk, 10**14)
        submit = desk.chain.submit

        async def spent_elsewhere(extrinsic: str) -> str | None:
            set_balance(desk, DEPOSIT)
            return await submit(extrinsic)

        desk.chain.submit = spent_elsewhere  # type: ignore[method-assign]
        assert "1010" in reason(await desk.attend(poor))
        desk.devnet.blocks(ONE_ERA)
        outcome = await desk.attend(poor)
        assert isinstance(outcome, Failed)
        assert "send CRU" in outcome.reason
        assert [(row["status"], row["in_flight"]) for row in await desk.purchases()] == [(3, None)]


async def test_a_chain_that_lost_its_past_is_told_by_readyz(desk: Desk) -> None:
    zip_id = await desk.archive()
    store = PurchaseStore(desk.db)
    await readiness.check(desk.chain, store)  # nothing is bought yet
    await desk.bought(zip_id)
    await readiness.check(desk.chain, store)
    await desk.db.execute("UPDATE order_info SET block = 50")
    assert "before the order's block 50" in reason(await desk.attend(zip_id))
    with pytest.raises(ChainUnavailable, match="finalized head 1 is before block 50"):
        await readiness.check(desk.chain, store)
    desk.devnet.blocks(50)
    await readiness.check(desk.chain, store)
    await desk.db.execute("UPDATE order_info SET market = 'elsewhere', block = 5000000")
    await readiness.check(desk.chain, store)
