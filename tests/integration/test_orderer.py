"""Buying storage: one payment for each need, every refusal with its own ending; on a devnet and a real database."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from servers_devnet import Devnet
from servers_process import Running

from roadvault_common.bus import Bus
from roadvault_common.db import Database, Row
from roadvault_common.outcome import Done, Failed, Outcome, Retry
from roadvault_crust_orderer.chain import Chain
from roadvault_crust_orderer.config import OrdererSettings
from roadvault_crust_orderer.node import ERA_BLOCKS
from roadvault_crust_orderer.service import Orderer
from roadvault_stack.ports import pick_free

CID = "bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzd{}"
SIZE = 5_000_000
STRANGER = "5FHneW46xGXgs5mUiveU4sbTyGBzmstUspZC92UhjJM694ty"


@dataclass
class Desk:
    """An orderer, its database and its network, and hands to move time."""

    db: Database
    devnet: Devnet
    chain: Chain
    orderer: Orderer

    async def archive(self, number: int = 0, size: int = SIZE) -> int:
        return await self.db.transact(
            lambda tx: tx.insert(
                "INSERT INTO zip_ipfs_info (folder_id, zip_name, `key`, iv, size, files, cid, dag_size, order_due)"
                " VALUES (%s, 'a', 'k', 'i', %s, 1, %s, %s, UTC_TIMESTAMP(6))",
                (number + 1, size, CID.format(number), size),
            )
        )

    async def attend(self, zip_id: int) -> Outcome:
        """Let the archive's time come, and the orderer look at it."""
        await self.db.execute(
            "UPDATE zip_ipfs_info SET order_due = UTC_TIMESTAMP(6), order_failed_at = NULL WHERE zip_id = %s", (zip_id,)
        )
        outcome = await self.orderer.ordering.work(zip_id)
        assert outcome is not None
        return outcome

    async def bought(self, zip_id: int) -> None:
        assert isinstance(await self.attend(zip_id), Retry)
        self.devnet.final()
        assert isinstance(await self.attend(zip_id), Done)

    async def row(self, zip_id: int) -> Row:
        row = await self.db.fetch_one("SELECT * FROM zip_ipfs_info WHERE zip_id = %s", (zip_id,))
        assert row is not None
        return row

    async def purchases(self) -> list[Row]:
        return await self.db.fetch_all("SELECT * FROM order_info ORDER BY order_id")


OpenDesk = Callable[..., AbstractAsyncContextManager[Desk]]


@pytest.fixture
def open_desk(database_url: str, redis_url: str, devnet: Devnet) -> OpenDesk:
    @asynccontextmanager
    async def opened(seed: str = "//Alice", **overrides: Any) -> AsyncIterator[Desk]:  # noqa: ANN401 - any setting
        values = {
            "database_url": database_url,
            "redis_url": redis_url,
            "crust_url": devnet.url,
            "crust_seed": seed,
            "master_keys": "unused",
        }
        settings = OrdererSettings.model_validate({**values, **overrides})
        async with (
            Database.open(database_url) as db,
            Bus.open(SecretStr(redis_url), "crust-orderer") as bus,
            Chain.open(settings.crust_url, settings.seed(), settings.crust_timeout_seconds) as chain,
        ):
            yield Desk(db, devnet, chain, Orderer(settings, db, bus, chain, lambda: None))

    return opened


@pytest.fixture
async def desk(open_desk: OpenDesk) -> AsyncIterator[Desk]:
    async with open_desk() as opened:
        yield opened


async def test_an_order_is_recorded_sent_found_and_watched(desk: Desk) -> None:
    zip_id = await desk.archive()
    outcome = await desk.attend(zip_id)
    assert isinstance(outcome, Retry)
    assert "not final" in outcome.reason
    (intent,) = await desk.purchases()
    assert (intent["status"], intent["in_flight"], intent["term"], intent["nonce"]) == (0, 1, 1, 0)
    assert desk.devnet.state()["pool"] == [intent["extrinsic_hash"]]
    desk.devnet.blocks(1)
    assert isinstance(await desk.attend(zip_id), Retry)  # in a block is not final
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
async def test_replicas_above_the_threshold_at_a_finalized_block_make_the_proof_due(desk: Desk) -> None:
    zip_id = await desk.archive()
    await desk.bought(zip_id)
    for count, replicated in ((50, False), (51, True)):
        desk.devnet.turn(set_replicas={"cid": CID.format(0), "count": count})
        await desk.attend(zip_id)
        assert (await desk.row(zip_id))["replicas"] != count  # not final yet
        desk.devnet.final()
        await desk.attend(zip_id)
        row = await desk.row(zip_id)
        assert (row["replicas"], row["enough_at"] is not None) == (count, replicated)
        assert (row["prove_due"] is not None) == replicated
        assert (row["replicated_at"], row["drop_due"]) == (None, None)  # nothing goes before the proof
    assert row["status"] == 3
    assert row["expired_on"] > 2_592_000
    assert row["expires_at"] is not None


async def test_the_answer_lost_is_one_payment(desk: Desk) -> None:
    zip_id = await desk.archive()
    desk.devnet.turn(lose_answer=1)
    assert isinstance(await desk.attend(zip_id), Retry)  # taken by the node, answer lost
    assert isinstance(await desk.attend(zip_id), Retry)  # the same bytes again
    desk.devnet.final()
    assert isinstance(await desk.attend(zip_id), Done)
    assert (desk.devnet.orders(), len(await desk.purchases())) == (1, 1)


async def test_a_node_that_restarts_without_its_pool_gets_the_same_bytes_again(
    desk: Desk, devnet_server: Running[Devnet]
) -> None:
    zip_id = await desk.archive()
    await desk.attend(zip_id)
    devnet_server.kill()
    outcome = await desk.attend(zip_id)
    assert isinstance(outcome, Retry)
    assert "can't be reached" in outcome.reason
    devnet_server.start()
    await desk.attend(zip_id)
    desk.devnet.final()
    assert isinstance(await desk.attend(zip_id), Done)
    assert (desk.devnet.orders(), len(await desk.purchases())) == (1, 1)


async def test_an_order_whose_era_ends_without_it_is_made_anew(desk: Desk) -> None:
    zip_id = await desk.archive()
    desk.devnet.turn(refuse_submissions={"code": 1010, "text": "Invalid Transaction"})
    await desk.attend(zip_id)
    desk.devnet.blocks(ERA_BLOCKS)
    outcome = await desk.attend(zip_id)
    assert isinstance(outcome, Retry)
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


@pytest.mark.parametrize("devnet_server", [{"file_duration_blocks": 400}], indirect=True)
async def test_an_order_is_renewed_before_it_ends_and_once(desk: Desk) -> None:
    zip_id = await desk.archive()
    await desk.bought(zip_id)
    desk.devnet.turn(set_replicas={"cid": CID.format(0), "count": 60})
    desk.devnet.final()
    for _ in range(80):
        desk.devnet.blocks(10)
        await desk.attend(zip_id)
        assert (await desk.row(zip_id))["status"] == 3  # never expired
    terms = [(purchase["term"], purchase["status"]) for purchase in await desk.purchases()]
    assert terms == [(1, 1), (2, 1), (3, 1)]


@pytest.mark.parametrize("devnet_server", [{"file_duration_blocks": 400}], indirect=True)
async def test_an_order_that_ran_out_or_vanished_is_bought_again(desk: Desk) -> None:
    zip_id = await desk.archive()
    await desk.bought(zip_id)
    desk.devnet.turn(set_replicas={"cid": CID.format(0), "count": 60})
    desk.devnet.final()
    await desk.attend(zip_id)
    desk.devnet.blocks(500)  # nobody looked for that long
    await desk.bought(zip_id)
    assert desk.devnet.orders() == 2
    desk.devnet.turn(close_file=CID.format(0))
    desk.devnet.final()
    await desk.attend(zip_id)
    assert (await desk.row(zip_id))["status"] == 4
    await desk.bought(zip_id)
    assert [purchase["term"] for purchase in await desk.purchases()] == [1, 2, 3]


async def test_a_closed_market_is_waited_for_and_nothing_is_burned(desk: Desk) -> None:
    zip_id = await desk.archive()
    desk.devnet.turn(market_enabled=False)
    for _ in range(40):  # more often than the stage has attempts
        assert await desk.attend(zip_id) == Retry("the market is closed", after=300, counts=False)
    assert await desk.purchases() == []
    desk.devnet.turn(market_enabled=True)
    await desk.bought(zip_id)


async def test_a_market_that_closes_in_between_is_waited_for(desk: Desk) -> None:
    zip_id = await desk.archive()
    await desk.attend(zip_id)
    desk.devnet.turn(market_enabled=False)
    desk.devnet.final()
    assert await desk.attend(zip_id) == Retry("the market is closed", after=300, counts=False)
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


async def test_a_node_that_is_not_synced_is_waited_for(desk: Desk) -> None:
    zip_id = await desk.archive()
    desk.devnet.turn(syncing=True)
    outcome = await desk.attend(zip_id)
    assert isinstance(outcome, Retry)
    assert "syncing" in outcome.reason
    desk.devnet.turn(syncing=False)
    await desk.bought(zip_id)


async def test_a_dropped_connection_is_made_anew(desk: Desk) -> None:
    zip_id = await desk.archive()
    await desk.attend(zip_id)
    desk.devnet.turn(drop_connections=True)
    await desk.attend(zip_id)
    desk.devnet.final()
    assert isinstance(await desk.attend(zip_id), Done)
    assert desk.devnet.orders() == 1


async def test_the_seed_never_shows(open_desk: OpenDesk, capfd: pytest.CaptureFixture[str]) -> None:
    phrase = "bottom drive obey lake curtain smoke basket hold race lonely fit walk"
    async with open_desk(seed=phrase) as desk:
        await desk.attend(await desk.archive())
        shown = repr(vars(desk.orderer)) + repr(desk.orderer._settings) + repr(await desk.purchases())
    out, err = capfd.readouterr()
    assert phrase not in shown + out + err
    with pytest.raises(Exception, match="neither a phrase") as caught:
        async with open_desk(seed="not a valid phrase at all"):
            pass
    assert "not a valid phrase at all" not in str(caught.value)


async def test_another_node_stands_in_for_one_that_is_away(open_desk: OpenDesk, devnet: Devnet) -> None:
    async with open_desk(crust_url=f"ws://127.0.0.1:9,{devnet.url}") as desk:
        await desk.bought(await desk.archive())
        assert desk.devnet.orders() == 1


async def test_a_node_of_another_chain_is_refused(
    open_desk: OpenDesk, devnet_server: Running[Devnet], tmp_path: Path
) -> None:
    other = Running(Devnet(tmp_path / "other", pick_free(1)[0], genesis_accounts=f"{STRANGER}=1"))
    try:
        other.start()
        async with open_desk(crust_url=f"{devnet_server.server.url},{other.server.url}") as desk:
            zip_id = await desk.archive()
            await desk.attend(zip_id)
            devnet_server.kill()
            outcome = await desk.attend(zip_id)
            assert isinstance(outcome, Failed)
            assert "another chain" in outcome.reason
            assert other.server.orders() == 0
    finally:
        other.stop()


async def test_finality_that_is_delayed_is_waited_for(desk: Desk) -> None:
    zip_id = await desk.archive()
    await desk.attend(zip_id)
    desk.devnet.turn(hold_finality=True, make_blocks=ERA_BLOCKS * 2)
    for _ in range(3):
        outcome = await desk.attend(zip_id)
        assert isinstance(outcome, Retry)
        assert "not final" in outcome.reason
    desk.devnet.turn(hold_finality=False, make_blocks=1)
    assert isinstance(await desk.attend(zip_id), Done)
    assert (desk.devnet.orders(), len(await desk.purchases())) == (1, 1)


@pytest.mark.parametrize("refused", [False, True])
async def test_a_node_that_has_pruned_the_blocks_state(desk: Desk, *, refused: bool) -> None:
    zip_id = await desk.archive()
    await desk.attend(zip_id)
    if refused:
        desk.devnet.turn(market_enabled=False)
    desk.devnet.blocks(600)  # the orderer was away for longer than the node remembers
    desk.devnet.turn(market_enabled=True)
    await desk.attend(zip_id)
    if refused:  # no file on the map: the order bought nothing, and a person is asked
        (purchase,) = await desk.purchases()
        assert (purchase["status"], purchase["reason"]) == (2, "StateDiscarded")
        await desk.bought(zip_id)
    assert desk.devnet.orders() == 1
    assert (await desk.row(zip_id))["status"] == 1


async def test_replicas_under_the_floor_call_the_archive_back_and_are_bought_once_more(desk: Desk) -> None:
    zip_id = await desk.archive()
    await desk.bought(zip_id)
    desk.devnet.turn(set_replicas={"cid": CID.format(0), "count": 60})
    desk.devnet.final()
    await desk.attend(zip_id)
    await desk.db.execute(
        "UPDATE zip_ipfs_info SET replicated_at = UTC_TIMESTAMP(6), dropped_at = UTC_TIMESTAMP(6), prove_due = NULL"
    )
    desk.devnet.turn(set_replicas={"cid": CID.format(0), "count": 5})
    desk.devnet.final()
    for _ in range(5):
        await desk.attend(zip_id)
        desk.devnet.final()
    row = await desk.row(zip_id)
    assert row["restore_due"] is not None
    assert (row["enough_at"], row["replicated_at"]) == (None, None)
    assert desk.devnet.orders() == 2
    desk.devnet.turn(set_replicas={"cid": CID.format(0), "count": 60})
    desk.devnet.final()
    await desk.attend(zip_id)
    row = await desk.row(zip_id)
    assert (row["enough_at"] is not None, row["prove_due"] is not None) == (True, True)


async def test_an_archive_that_stays_under_the_threshold_is_ordered_again_if_that_is_wanted(
    open_desk: OpenDesk,
) -> None:
    async with open_desk(crust_reorder_days=0.01) as desk:  # 144 blocks
        zip_id = await desk.archive()
        await desk.bought(zip_id)
        desk.devnet.blocks(100)
        await desk.attend(zip_id)
        assert desk.devnet.orders() == 1
        desk.devnet.blocks(60)
        await desk.bought(zip_id)
        assert desk.devnet.orders() == 2


async def test_a_tip_is_part_of_the_price(desk: Desk) -> None:
    async with Chain.open(desk.devnet.url, SecretStr("//Alice"), 10, tip=7_000_000) as generous:
        plain, tipped = await desk.chain.offer(CID.format(0), SIZE), await generous.offer(CID.format(0), SIZE)
        assert tipped.price - plain.price == 7_000_000
        before = await generous.balance()
        signed = await generous.sign(CID.format(0), SIZE)
        await generous.submit(signed.extrinsic)
        desk.devnet.final()
        # The quoted fee is that of an immortal extrinsic, which is a byte shorter than ours.
        assert before - await generous.balance() == pytest.approx(tipped.total, rel=0.001)
