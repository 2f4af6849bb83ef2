"""Orders and their network: replicas, terms, nodes that fail, delayed finality, pruned state."""

from dataclasses import replace
from pathlib import Path

import pytest
from evidence_rows import evidence
from pydantic import SecretStr
from servers_devnet import Devnet, running_devnet
from servers_orderer import CID, SIZE, STRANGER, Desk, OpenDesk, balance
from servers_process import Running

from roadvault_common.errors import ChainUnavailable
from roadvault_common.work.outcome import Done, Wait
from roadvault_crust_orderer.markets.chain import Chain
from roadvault_crust_orderer.markets.market import FileInfo, Head
from roadvault_crust_orderer.markets.node import ERA_BLOCKS


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
        assert (row["replicas"], [one["replicas"] for one in await evidence(desk.db, zip_id)]) == (
            count,
            [51] * replicated,
        )
        assert (row["prove_due"] is not None) == replicated
        assert row["drop_due"] is None  # nothing goes before the proof
    assert row["status"] == 3
    assert row["expired_on"] > 2_592_000
    assert row["expires_at"] is not None


async def test_a_node_that_restarts_without_its_pool_gets_the_same_bytes_again(
    desk: Desk, devnet_server: Running[Devnet]
) -> None:
    zip_id = await desk.archive()
    await desk.attend(zip_id)
    devnet_server.kill()
    outcome = await desk.attend(zip_id)
    assert isinstance(outcome, Wait)
    assert "can't be reached" in outcome.reason
    with pytest.raises(ChainUnavailable):  # metrics are left as they were, and their age grows
        await desk.orderer.money.sample()
    devnet_server.start()
    await desk.attend(zip_id)
    desk.devnet.final()
    assert isinstance(await desk.attend(zip_id), Done)
    assert (desk.devnet.orders(), len(await desk.purchases())) == (1, 1)


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
    outcome = await desk.attend(zip_id)
    assert isinstance(outcome, Wait)
    assert "looking once more" in outcome.reason
    await desk.attend(zip_id)
    assert desk.devnet.state()["pool"] == []  # the same head again tells nothing new
    desk.devnet.blocks(1)
    await desk.attend(zip_id)
    assert (await desk.row(zip_id))["status"] == 4
    await desk.bought(zip_id)
    assert [purchase["term"] for purchase in await desk.purchases()] == [1, 2, 3]


async def test_a_node_that_is_not_synced_is_waited_for(desk: Desk) -> None:
    zip_id = await desk.archive()
    desk.devnet.turn(syncing=True)
    outcome = await desk.attend(zip_id)
    assert isinstance(outcome, Wait)
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
        shown = repr(vars(desk.orderer)) + repr(desk.orderer.buying._settings) + repr(await desk.purchases())
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


async def test_a_node_of_another_chain_is_passed_over(
    open_desk: OpenDesk, devnet_server: Running[Devnet], tmp_path: Path
) -> None:
    with running_devnet(tmp_path / "other", genesis_accounts=f"{STRANGER}=1") as other:
        async with open_desk(crust_url=f"{devnet_server.server.url},{other.server.url}") as desk:
            zip_id = await desk.archive()
            await desk.attend(zip_id)
            devnet_server.kill()
            for _ in range(40):  # more often than the stage has attempts: no archive fails for it
                outcome = await desk.attend(zip_id)
                assert isinstance(outcome, Wait)
                assert "another chain" in outcome.reason
            assert other.server.orders() == 0
            devnet_server.start()
            await desk.attend(zip_id)
            desk.devnet.final()
            assert isinstance(await desk.attend(zip_id), Done)


async def test_finality_that_is_delayed_is_waited_for(desk: Desk) -> None:
    zip_id = await desk.archive()
    await desk.attend(zip_id)
    desk.devnet.turn(hold_finality=True, make_blocks=ERA_BLOCKS * 2)
    for _ in range(3):
        outcome = await desk.attend(zip_id)
        assert isinstance(outcome, Wait)
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
    await desk.db.execute("UPDATE zip_ipfs_info SET dropped_at = UTC_TIMESTAMP(6), prove_due = NULL")
    desk.devnet.turn(set_replicas={"cid": CID.format(0), "count": 5})
    desk.devnet.final()
    for _ in range(5):
        await desk.attend(zip_id)
        desk.devnet.final()
    row = await desk.row(zip_id)
    assert row["restore_due"] is not None
    assert [one["valid"] for one in await evidence(desk.db, zip_id)] == [None]
    assert desk.devnet.orders() == 2
    desk.devnet.turn(set_replicas={"cid": CID.format(0), "count": 60})
    desk.devnet.final()
    await desk.attend(zip_id)
    row = await desk.row(zip_id)
    assert [one["valid"] for one in await evidence(desk.db, zip_id)] == [None, 1]
    assert row["prove_due"] is not None


async def test_an_order_that_is_merely_wanted_obeys_the_limits_and_keeps_no_archive_from_being_watched(
    open_desk: OpenDesk,
) -> None:
    async with open_desk(crust_reorder_days=0.01, crust_daily_limit_cru=0.003) as desk:
        zip_id = await desk.archive()
        await desk.bought(zip_id)
        desk.devnet.turn(set_replicas={"cid": CID.format(0), "count": 7}, make_blocks=160)
        outcome = await desk.attend(zip_id)
        assert isinstance(outcome, Wait)
        assert "the limit is" in outcome.reason
        row = await desk.row(zip_id)
        assert (row["replicas"], row["status"], len(await desk.purchases())) == (7, 3, 1)
        assert (row["watch_reason"], row["watch_due"] > row["checked_at"]) == (None, True)


async def test_an_archive_that_stays_under_the_threshold_is_ordered_once_more_if_that_is_wanted(
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
        for _ in range(3):
            desk.devnet.blocks(160)
            assert isinstance(await desk.attend(zip_id), Done)
        assert desk.devnet.orders() == 2  # one time


async def test_a_renewal_comes_in_time_however_late_in_the_term_something_was_bought(desk: Desk) -> None:
    archive = await desk.orderer.buying._store.archive(await desk.archive(), "here")
    expires, day = 3_000_000, 14_400
    late = replace(archive, bought_at=expires - 4 * day)
    info, head = FileInfo(SIZE, 1, expires, 60), Head(expires - 3 * day, "")
    assert desk.orderer.buying._needs.blocks_to_renewal(late, info, head) <= 0


async def test_a_tip_is_part_of_the_price(desk: Desk) -> None:
    async with Chain.open(desk.devnet.url, SecretStr("//Alice"), 10, tip=7_000_000) as generous:
        plain, tipped = await desk.chain.offer(CID.format(0), SIZE), await generous.offer(CID.format(0), SIZE)
        assert tipped.price - plain.price == 7_000_000
        before = await balance(generous)
        signed = await generous.sign(CID.format(0), SIZE)
        await generous.submit(signed.extrinsic)
        desk.devnet.final()
        assert before - await balance(generous) == tipped.total


@pytest.mark.parametrize("devnet_server", [{"generation": "v1", "memo": False}], indirect=True)
async def test_a_runtime_upgrade_is_noticed_and_survived(desk: Desk) -> None:
    old = await desk.archive(0)
    await desk.bought(old)
    under_way = await desk.archive(1)
    await desk.attend(under_way)
    desk.devnet.turn(upgrade=True)
    for _ in range(ERA_BLOCKS // 8 + 2):  # what was signed for the old runtime can't be included; its era has to end
        await desk.attend(under_way)
        await desk.attend(old)
        desk.devnet.blocks(8)
    desk.devnet.final()
    await desk.attend(under_way)
    await desk.attend(under_way)
    for zip_id in (old, under_way):
        row = await desk.row(zip_id)
        assert (row["status"], row["calculated_at"] is not None) == (1, True)
    assert desk.devnet.orders() == 2


async def test_a_node_that_lags_behind_does_not_make_us_pay_twice(desk: Desk) -> None:
    zip_id = await desk.archive()
    await desk.bought(zip_id)
    head = await desk.chain.head()

    async def behind() -> Head:
        return Head(0, desk.devnet.state()["genesis"])

    desk.chain.head = behind  # type: ignore[method-assign]  # a node that is at its genesis still
    outcome = await desk.attend(zip_id)
    assert isinstance(outcome, Wait)
    assert "before the order's block" in outcome.reason
    assert head.height > 0
    assert desk.devnet.orders() == 1
