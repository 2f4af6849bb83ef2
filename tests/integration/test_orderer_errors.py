"""What goes wrong with an order on its way and in its block, and ends as it should: paid once, or a person is asked."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from evidence_rows import evidence
from servers_devnet import Devnet, running_devnet
from servers_orderer import CID, SIZE, Desk, OpenDesk
from servers_process import Running
from substrateinterface import Keypair, SubstrateInterface

from roadvault_common.web.w3auth import SS58_PREFIX
from roadvault_common.work import repair
from roadvault_common.work.outcome import Done, Failed, Wait
from roadvault_common.work.stages import ORDER
from roadvault_crust_orderer.markets.node import ERA_BLOCKS

REFUSE = {"code": 1010, "text": "Invalid Transaction"}


def other_extrinsic(devnet: Devnet) -> None:
    """Use the account's next nonce for something else, as another program with the same key would."""
    with SubstrateInterface(
        devnet.url, ss58_format=SS58_PREFIX, type_registry_preset="crust", use_remote_preset=False
    ) as node:
        call = node.compose_call("System", "remark", {"_remark": "0x00"})
        node.submit_extrinsic(node.create_signed_extrinsic(call, Keypair.create_from_uri("//Alice", SS58_PREFIX)))


async def stale_nonce(desk: Desk, _: Running[Devnet]) -> None:
    other_extrinsic(desk.devnet)
    desk.devnet.blocks(1)


async def bad_signature(desk: Desk, _: Running[Devnet]) -> None:
    (purchase,) = await desk.purchases()
    signed = bytearray.fromhex(purchase["extrinsic"].removeprefix("0x"))
    signed[60] ^= 1
    await desk.db.execute("UPDATE order_info SET extrinsic = %s", (f"0x{signed.hex()}",))


async def ancient_birth(desk: Desk, _: Running[Devnet]) -> None:
    desk.devnet.turn(hold_finality=True, make_blocks=ERA_BLOCKS + 5)


async def fee_not_payable(desk: Desk, _: Running[Devnet]) -> None:
    desk.devnet.turn(set_balance={"address": desk.chain.account, "planck": 1})


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (stale_nonce, "outdated"),
        (bad_signature, "bad signature"),
        (ancient_birth, "ancient birth block"),
        (fee_not_payable, "Inability to pay"),
    ],
)
async def test_what_a_node_refuses_is_bought_once_when_its_era_is_over(
    desk: Desk, devnet_server: Running[Devnet], spoil: Callable[[Desk, Running[Devnet]], object], said: str
) -> None:
    zip_id = await desk.archive()
    desk.devnet.turn(refuse_submissions=REFUSE)
    await desk.attend(zip_id)
    desk.devnet.turn(refuse_submissions=None)
    await spoil(desk, devnet_server)  # type: ignore[misc]
    outcome = await desk.attend(zip_id)
    assert isinstance(outcome, Wait)
    assert said in outcome.reason
    desk.devnet.turn(hold_finality=False, make_blocks=ERA_BLOCKS + 5)
    desk.devnet.turn(set_balance={"address": desk.chain.account, "planck": 10**15})
    await desk.bought(zip_id)
    assert [row["status"] for row in await desk.purchases()] == [3, 1]
    assert desk.devnet.orders() == 1


async def test_a_nonce_from_the_future_is_given_up_when_its_era_is_over(
    desk: Desk, devnet_server: Running[Devnet]
) -> None:
    other_extrinsic(desk.devnet)
    zip_id = await desk.archive()
    await desk.attend(zip_id)
    devnet_server.restart()  # the node forgets its pool, and with it the nonce that comes before
    await desk.attend(zip_id)
    assert desk.devnet.blocks(ERA_BLOCKS + 5)["pool"] == []
    await desk.bought(zip_id)
    assert [(row["status"], row["nonce"]) for row in await desk.purchases()] == [(3, 1), (1, 0)]
    assert desk.devnet.orders() == 1


async def test_every_way_to_fail_in_a_block_has_its_name(desk: Desk) -> None:
    errors = {
        "032004": "FileTooLarge",
        "032002": "FileSizeNotCorrect",
        "02": "BadOrigin",
        "04": "ConsumerRemaining",
        "0600": "Token.NoFunds",
        "0701": "Arithmetic.Overflow",
    }
    for number, (encoded, name) in enumerate(errors.items()):
        desk.devnet.turn(dispatch_error=encoded)
        zip_id = await desk.archive(number)
        await desk.attend(zip_id)
        desk.devnet.final()
        outcome = await desk.attend(zip_id)
        assert isinstance(outcome, Failed)
        assert outcome.reason.startswith(name)
    assert desk.devnet.orders() == 0


async def test_a_refusal_that_another_archives_turn_found_stops_its_own_archive(desk: Desk) -> None:
    refused, other = await desk.archive(0), await desk.archive(1)
    desk.devnet.turn(dispatch_error="032002")
    await desk.attend(refused)
    desk.devnet.final()
    desk.devnet.turn(dispatch_error="")
    await desk.bought(other)
    outcome = await desk.attend(refused)
    assert isinstance(outcome, Failed)
    assert "FileSizeNotCorrect" in outcome.reason
    assert (await desk.row(refused))["status"] == 2
    assert len(await desk.purchases()) == 2  # nothing more was burned
    assert await repair.retry(desk.db, ORDER, refused)
    await desk.bought(refused)
    assert [row["status"] for row in await desk.purchases()] == [2, 1, 1]


@pytest.mark.parametrize("devnet_server", [{"file_duration_blocks": 50}], indirect=True)
async def test_a_cid_known_with_a_larger_size_asks_a_person_before_anything_is_burned(desk: Desk) -> None:
    larger = await desk.chain.sign(CID.format(0), SIZE * 2)
    await desk.chain.submit(larger.extrinsic)
    desk.devnet.final()
    desk.devnet.turn(set_replicas={"cid": CID.format(0), "count": 1}, make_blocks=60)
    outcome = await desk.attend(await desk.archive())
    assert isinstance(outcome, Failed)
    assert f"{SIZE * 2} bytes" in outcome.reason
    assert await desk.purchases() == []


@pytest.mark.parametrize("devnet_server", [{"file_duration_blocks": 400}], indirect=True)
async def test_a_renewal_without_money_in_its_block_waits_for_it(open_desk: OpenDesk) -> None:
    async with open_desk(seed="//Bob") as desk:
        plenty = {"address": desk.chain.account, "planck": 10**14}
        desk.devnet.turn(fund=plenty)
        zip_id = await desk.archive()
        await desk.bought(zip_id)
        desk.devnet.turn(set_replicas={"cid": CID.format(0), "count": 60}, make_blocks=320)
        await desk.attend(zip_id)
        offer = await desk.chain.offer(CID.format(0), SIZE)
        desk.devnet.turn(set_balance={"address": desk.chain.account, "planck": offer.fee * 3 // 2})
        desk.devnet.final()
        outcome = await desk.attend(zip_id)
        assert isinstance(outcome, Wait)
        assert "InsufficientCurrency" in outcome.reason
        assert outcome.after == 3600
        for _ in range(3):
            assert isinstance(await desk.attend(zip_id), Wait)
        assert [row["status"] for row in await desk.purchases()] == [1, 2]  # no further fee was burned
        desk.devnet.turn(fund=plenty)
        desk.devnet.final()
        await desk.bought(zip_id)
        assert (desk.devnet.orders(), (await desk.row(zip_id))["status"]) == (2, 3)


async def test_a_file_that_the_market_closes_again_and_again_asks_a_person(desk: Desk) -> None:
    zip_id = await desk.archive()
    await desk.bought(zip_id)

    async def close() -> None:
        desk.devnet.turn(close_file=CID.format(0), make_blocks=3)
        await desk.attend(zip_id)
        desk.devnet.blocks(1)

    await close()
    await desk.bought(zip_id)  # once it is bought again
    await close()
    outcome = await desk.attend(zip_id)
    assert isinstance(outcome, Failed)
    assert "size" in outcome.reason
    assert desk.devnet.orders() == 2
    assert await repair.retry(desk.db, ORDER, zip_id)
    desk.devnet.blocks(1)
    await desk.attend(zip_id)
    desk.devnet.blocks(1)
    await desk.bought(zip_id)
    assert desk.devnet.orders() == 3


async def test_a_vanished_archive_without_local_copies_is_fetched_back_first_and_bought_once(desk: Desk) -> None:
    zip_id = await desk.archive()
    await desk.bought(zip_id)
    desk.devnet.turn(set_replicas={"cid": CID.format(0), "count": 60}, make_blocks=3)
    await desk.attend(zip_id)
    await desk.db.execute("UPDATE zip_ipfs_info SET dropped_at = UTC_TIMESTAMP(6), prove_due = NULL")
    desk.devnet.turn(close_file=CID.format(0), make_blocks=3)
    await desk.attend(zip_id)
    desk.devnet.blocks(1)
    outcome = await desk.attend(zip_id)
    assert isinstance(outcome, Wait)
    assert "fetched back" in outcome.reason
    row = await desk.row(zip_id)
    assert (row["restore_due"] is not None, row["status"]) == (True, 4)
    assert [one["valid"] for one in await evidence(desk.db, zip_id)] == [None]
    await desk.db.execute(
        "UPDATE zip_ipfs_info SET restore_due = NULL, restore_failed_at = UTC_TIMESTAMP(6), restore_reason = 'no peers'"
    )
    for _ in range(3):
        desk.devnet.blocks(1)
        outcome = await desk.attend(zip_id)
        assert isinstance(outcome, Wait)
        assert "failed and has to be retried first: no peers" in outcome.reason
    assert desk.devnet.orders() == len(await desk.purchases()) == 1
    await desk.db.execute("UPDATE zip_ipfs_info SET restore_failed_at = NULL, restored_at = UTC_TIMESTAMP(6)")
    for _ in range(8):
        desk.devnet.blocks(1)
        await desk.attend(zip_id)
    assert (desk.devnet.orders(), (await desk.row(zip_id))["status"]) == (2, 1)


async def test_an_order_in_flight_elsewhere_is_left_alone_and_strands_nobody(
    open_desk: OpenDesk, devnet: Devnet, tmp_path: Path
) -> None:
    async with open_desk() as desk:
        moved, other = await desk.archive(0), await desk.archive(1)
        await desk.attend(moved)
    with running_devnet(tmp_path / "other") as elsewhere:
        async with open_desk(crust_url=elsewhere.server.url) as desk:
            outcome = await desk.attend(moved)
            assert isinstance(outcome, Failed)
            assert devnet.state()["genesis"] in outcome.reason
            assert len(outcome.reason) < 500
            desk.devnet = elsewhere.server
            await desk.bought(other)  # the account is the same
            assert elsewhere.server.orders() == 1
    devnet.final()
    async with open_desk(seed="//Bob") as desk:  # who pays from now on is of no consequence to it
        assert isinstance(await desk.attend(moved), Done)
    assert devnet.orders() == 1


async def test_heights_of_another_market_are_not_waited_for(desk: Desk) -> None:
    zip_id = await desk.archive()
    await desk.bought(zip_id)
    await desk.db.execute("UPDATE order_info SET market = 'pin.example', block = 300000000")
    assert isinstance(await desk.attend(zip_id), Done)


async def test_two_orderers_at_once_with_one_account_pay_once_for_each_archive(
    open_desk: OpenDesk, devnet: Devnet
) -> None:
    async def run(desk: Desk, archives: list[int]) -> None:
        """Attend to all of them, again and again, until each was seen as bought."""
        left = set(archives)
        while left:
            for zip_id in list(left):
                await desk.db.execute(
                    "UPDATE zip_ipfs_info SET order_due = UTC_TIMESTAMP(6) WHERE zip_id = %s AND order_token IS NULL",
                    (zip_id,),
                )
                if isinstance(await desk.orderer.buying.ordering.work(zip_id), Done):
                    left.discard(zip_id)
            await asyncio.sleep(0)

    devnet.turn(block_seconds=0.05)
    async with open_desk() as one, open_desk() as two, asyncio.timeout(60):
        archives = [await one.archive(number) for number in range(4)]
        await asyncio.gather(run(one, archives), run(two, archives[::-1]))
        assert devnet.orders() == 4
        bought = [row for row in await one.purchases() if row["status"] == 1]
        assert len(bought) == len(await one.purchases()) == 4
