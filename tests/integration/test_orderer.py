"""Buying storage: one payment for each need, every refusal with its own ending; on a devnet and a real database."""

import pytest
from servers_orderer import CID, SIZE, Desk, OpenDesk

from roadvault_common.work.outcome import Done, Failed, Wait
from roadvault_common.work.reasons import Reason
from roadvault_crust_orderer.markets.node import ERA_BLOCKS


async def test_an_order_is_recorded_sent_found_and_watched(desk: Desk) -> None:
    zip_id = await desk.archive()
    outcome = await desk.attend(zip_id)
    assert isinstance(outcome, Wait)
    assert "not final" in outcome.reason
    (intent,) = await desk.purchases()
    assert (intent["status"], intent["in_flight"], intent["term"], intent["nonce"]) == (0, 1, 1, 0)
    assert desk.devnet.state()["pool"] == [intent["extrinsic_hash"]]
    desk.devnet.blocks(1)
    assert isinstance(await desk.attend(zip_id), Wait)  # in a block is not final
    desk.devnet.blocks(2)
    assert isinstance(await desk.attend(zip_id), Done)
    (settled,) = await desk.purchases()
    assert (settled["status"], settled["in_flight"], settled["block"]) == (1, None, 1)
    row = await desk.row(zip_id)
    assert (row["status"], row["replicas"], row["expired_on"], row["calculated_at"]) == (1, 0, None, 1)
    assert desk.devnet.orders() == 1


@pytest.mark.parametrize(
    "devnet_server", [{}, {"generation": "v1"}, {"generation": "v1", "memo": False}], indirect=True
)
async def test_the_answer_lost_is_one_payment(desk: Desk) -> None:
    zip_id = await desk.archive()
    desk.devnet.turn(lose_answer=1)
    assert isinstance(await desk.attend(zip_id), Wait)  # taken by the node, answer lost
    assert isinstance(await desk.attend(zip_id), Wait)  # the same bytes again
    desk.devnet.final()
    assert isinstance(await desk.attend(zip_id), Done)
    assert (desk.devnet.orders(), len(await desk.purchases())) == (1, 1)


async def test_an_order_whose_era_ends_without_it_is_made_anew(desk: Desk) -> None:
    zip_id = await desk.archive()
    desk.devnet.turn(refuse_submissions={"code": 1010, "text": "Invalid Transaction"})
    await desk.attend(zip_id)
    desk.devnet.blocks(ERA_BLOCKS)
    outcome = await desk.attend(zip_id)
    assert isinstance(outcome, Wait)
    assert "the node says" in outcome.reason
    assert len(await desk.purchases()) == 1  # the finalized head is not past the era yet
    desk.devnet.turn(refuse_submissions=None)
    desk.devnet.blocks(5)
    await desk.attend(zip_id)
    desk.devnet.final()
    assert isinstance(await desk.attend(zip_id), Done)
    first, second = await desk.purchases()
    assert (first["status"], first["term"], second["status"], second["term"]) == (3, None, 1, 1)
    assert desk.devnet.orders() == 1


async def test_a_reorganised_block_is_one_payment(desk: Desk) -> None:
    zip_id = await desk.archive()
    await desk.attend(zip_id)
    desk.devnet.turn(make_blocks=1)
    desk.devnet.turn(reorg=1)
    await desk.attend(zip_id)
    desk.devnet.final()
    assert isinstance(await desk.attend(zip_id), Done)
    assert (desk.devnet.orders(), len(await desk.purchases())) == (1, 1)


async def test_one_purchase_in_flight_for_each_account(desk: Desk) -> None:
    archives = [await desk.archive(number) for number in range(3)]
    for zip_id in archives:
        await desk.attend(zip_id)
    assert len(await desk.purchases()) == 1
    for _ in range(6):
        desk.devnet.final()
        for zip_id in archives:
            await desk.attend(zip_id)
    assert [(await desk.row(zip_id))["status"] for zip_id in archives] == [1, 1, 1]
    assert desk.devnet.orders() == 3


async def test_two_orderers_with_one_account_pay_once_for_each_archive(open_desk: OpenDesk) -> None:
    async with open_desk() as one, open_desk() as two:
        archives = [await one.archive(number) for number in range(4)]
        for turn in range(30):
            desk = (one, two)[turn % 2]
            for zip_id in archives:
                await desk.attend(zip_id)
            one.devnet.blocks(1)
        assert one.devnet.orders() == 4
        assert [purchase["status"] for purchase in await one.purchases()] == [1, 1, 1, 1]


async def test_a_closed_market_is_waited_for_and_nothing_is_burned(desk: Desk) -> None:
    zip_id = await desk.archive()
    desk.devnet.turn(market_enabled=False)
    for _ in range(40):  # more often than the stage has attempts
        assert await desk.attend(zip_id) == Wait(Reason("", "the market is closed"), after=300)
    assert await desk.purchases() == []
    desk.devnet.turn(market_enabled=True)
    await desk.bought(zip_id)


async def test_a_market_that_closes_in_between_is_waited_for(desk: Desk) -> None:
    zip_id = await desk.archive()
    await desk.attend(zip_id)
    desk.devnet.turn(market_enabled=False)
    desk.devnet.final()
    assert await desk.attend(zip_id) == Wait(Reason("", "the market is closed"), after=300)
    (purchase,) = await desk.purchases()
    assert (purchase["status"], purchase["term"], purchase["reason"]) == (2, None, "PlaceOrderNotAvailable")


async def test_too_large_and_too_poor_ask_a_person_before_anything_is_burned(desk: Desk, open_desk: OpenDesk) -> None:
    too_large = await desk.attend(await desk.archive(0, 8 << 30))
    assert isinstance(too_large, Failed)
    assert "8589934592" in too_large.reason
    async with open_desk(seed="//Pauper") as poor:
        zip_id = await poor.archive(1)
        outcome = await poor.attend(zip_id)
        assert isinstance(outcome, Failed)
        assert poor.chain.account in outcome.reason
        assert (await poor.row(zip_id))["status"] == 2
        assert await poor.purchases() == []


async def test_money_that_goes_in_between_is_named(open_desk: OpenDesk) -> None:
    async with open_desk(seed="//Bob") as desk:
        desk.devnet.turn(fund={"address": desk.chain.account, "planck": 10**14})
        zip_id = await desk.archive()
        await desk.attend(zip_id)
        offer = await desk.chain.offer(CID.format(0), SIZE)
        desk.devnet.turn(set_balance={"address": desk.chain.account, "planck": offer.fee * 3 // 2})
        desk.devnet.final()
        outcome = await desk.attend(zip_id)
        assert isinstance(outcome, Failed)
        assert "InsufficientCurrency" in outcome.reason
        assert "send CRU" in outcome.reason
        assert desk.devnet.orders() == 0
        refused = await desk.attend(zip_id)  # a person retries without having sent any: nothing more is burned
        assert isinstance(refused, Failed)
        assert len(await desk.purchases()) == 1


async def test_a_cid_known_with_another_size_asks_a_person(desk: Desk) -> None:
    larger = await desk.chain.sign(CID.format(1), SIZE * 2)
    assert await desk.chain.submit(larger.extrinsic) is None
    zip_id = await desk.archive(1)
    await desk.attend(zip_id)
    desk.devnet.final()
    outcome = await desk.attend(zip_id)
    assert isinstance(outcome, Failed)
    assert "FileSizeNotCorrect" in outcome.reason
