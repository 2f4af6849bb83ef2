"""Several accounts buy side by side: each archive is at one of them, until that one's orderer is gone; on a devnet."""

import asyncio

from servers_orderer import CID, OpenDesk

from roadvault_common.history.heartbeats import Heart
from roadvault_common.work.outcome import Wait
from roadvault_crust_orderer.buying import renewals_store


async def test_orderers_of_different_accounts_share_the_archives_and_pay_for_each_once(open_desk: OpenDesk) -> None:
    async with open_desk() as alice, open_desk("//Bob") as bob:
        desks = (alice, bob)
        bob.devnet.turn(set_balance={"address": bob.chain.account, "planck": 10**13})
        archives = [await alice.archive(number) for number in range(6)]
        for _ in range(12):
            await asyncio.gather(*(desk.orderer.buying.take_turn() for desk in desks))
            alice.devnet.final()
            await alice.db.execute(
                "UPDATE zip_ipfs_info JOIN order_info USING (zip_id) SET order_due = UTC_TIMESTAMP(6)"
                " WHERE in_flight = 1"
            )
        rows = await alice.db.fetch_all("SELECT zip_id, account, status FROM order_info ORDER BY zip_id")
        assert [(row["zip_id"], row["status"]) for row in rows] == [(zip_id, 1) for zip_id in archives]
        accounts = {desk.chain.account for desk in desks}
        assert {row["account"] for row in rows} == accounts
        payers = await alice.db.fetch_all("SELECT zip_id, payer FROM zip_ipfs_info ORDER BY zip_id")
        assert [row["payer"] for row in payers] == [row["account"] for row in rows]


async def test_an_account_leaves_anothers_archives_alone_until_that_ones_orderer_is_silent(
    open_desk: OpenDesk,
) -> None:
    async with open_desk() as alice, open_desk("//Bob") as bob:
        zip_id = await alice.archive()
        await alice.bought(zip_id)
        alice.devnet.turn(set_replicas={"cid": CID.format(0), "count": 60})
        alice.devnet.final()
        await alice.look(zip_id)
        await alice.db.execute("UPDATE zip_ipfs_info SET order_due = UTC_TIMESTAMP(6) - INTERVAL 2 HOUR")
        assert (await bob.orderer.buying._next())[0] is None
        alice.devnet.turn(set_replicas={"cid": CID.format(0), "count": 0})  # under the floor: one more has to be bought
        alice.devnet.final()
        await alice.db.execute("UPDATE zip_ipfs_info SET dropped_at = UTC_TIMESTAMP(6)")
        outcome = await bob.attend(zip_id)
        assert isinstance(outcome, Wait)
        assert outcome.reason.code == "other_account"
        await alice.db.execute("UPDATE zip_ipfs_info SET order_due = UTC_TIMESTAMP(6) - INTERVAL 2 HOUR")
        heart = Heart(alice.db, "crust-orderer", [alice.orderer.money.facts])
        await heart.beat()
        await bob.orderer.buying.stand_in()
        assert (await bob.orderer.buying._next())[0] is None
        await alice.db.execute("UPDATE heartbeat_info SET heard_at = UTC_TIMESTAMP(6) - INTERVAL 2 HOUR")
        await bob.orderer.buying.stand_in()
        assert (await bob.orderer.buying._next())[0] == zip_id
        ends = [await renewals_store.until(bob.db, 1 << 40, desk.chain.account) for desk in (alice, bob)]
        assert [one.archives for one in ends] == [0, 1]


async def test_an_account_without_money_leaves_what_is_nobodys_yet_to_one_that_has_some(open_desk: OpenDesk) -> None:
    async with open_desk() as alice, open_desk("//Pauper") as poor:
        heart = Heart(alice.db, "crust-orderer", [alice.orderer.money.facts])
        await heart.beat()
        zip_id = await alice.archive()
        await poor.orderer.buying.take_turn()
        row = await alice.row(zip_id)
        assert (row["payer"], row["order_failed_at"]) == ("", None)
        await alice.db.execute("UPDATE zip_ipfs_info SET order_due = UTC_TIMESTAMP(6)")
        assert (await poor.orderer.buying._next())[0] is None
        await alice.bought(zip_id)
        assert (await alice.row(zip_id))["payer"] == alice.chain.account
        other = await alice.archive(1)
        await alice.db.execute("DELETE FROM heartbeat_info")
        poor.orderer.buying._leaves_until = 0
        await poor.orderer.buying.take_turn()
        assert (await alice.row(other))["order_failed_at"] is not None  # nobody else would buy it: a person is asked
