"""Looking at archives, many in one call, and buying for them one after the other; on a devnet and a real database."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from evidence_rows import evidence
from servers_devnet import Devnet
from servers_orderer import CID, SIZE, Desk, OpenDesk
from servers_process import Running
from substrateinterface import SubstrateInterface
from sweeps import look_once

from roadvault_common.errors import ChainUnavailable
from roadvault_common.work import backlog, batches, repair
from roadvault_common.work import lease as leases
from roadvault_common.work.lease import ORDER, WATCH
from roadvault_common.work.outcome import Done, Failed
from roadvault_crust_orderer.markets.market import FileInfo
from roadvault_crust_orderer.watching import TOGETHER

MANY = 250
DAY = 86_400


@contextmanager
def calls(monkeypatch: pytest.MonkeyPatch) -> Iterator[Counter[str]]:
    """Count the calls of the node, by method."""
    seen: Counter[str] = Counter()
    ask = SubstrateInterface.rpc_request

    def counted(self: SubstrateInterface, method: str, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - as it is
        seen[method] += 1
        return ask(self, method, *args, **kwargs)

    with monkeypatch.context() as patched:
        patched.setattr(SubstrateInterface, "rpc_request", counted)
        yield seen


async def stock(desk: Desk, count: int = MANY, replicas: int = 60) -> list[int]:
    """Let there be archives that were bought, and files of theirs on the market; all are to be looked at."""
    desk.devnet.turn(add_files={"cid": CID, "count": count, "size": SIZE, "replicas": replicas})
    desk.devnet.final()
    archives = [await desk.archive(number) for number in range(count)]
    await desk.db.execute(
        "INSERT INTO order_info (zip_id, term, account, in_flight, status, cid, declared_size, nonce, era_birth,"
        " era_death, extrinsic_hash, extrinsic, price, block) SELECT zip_id, 1, 'a', NULL, 1, cid, 1, 0, 0, 1, zip_id,"
        " 'x', 1, 1 FROM zip_ipfs_info"
    )
    await desk.db.execute(
        "UPDATE zip_ipfs_info SET order_due = NULL, watch_due = UTC_TIMESTAMP(6) - INTERVAL zip_id SECOND, status = 1"
    )
    return archives


async def looked_at(desk: Desk) -> int:
    """Look at all that is due; return in how many looks."""
    looks = 0
    while await look_once(desk.orderer.watching):
        looks += 1
    return looks


async def test_many_archives_are_looked_at_in_a_few_calls(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    await stock(desk)
    await desk.chain.files(
        [CID.format(0)], await desk.chain.head_to_look_at()
    )  # the connection, and the runtime's description
    monkeypatch.setattr("roadvault_crust_orderer.watching.time.monotonic", lambda: 1.0)  # all within one block
    with calls(monkeypatch) as asked:
        assert await looked_at(desk) == -(-MANY // TOGETHER)
    assert asked["state_queryStorageAt"] == -(-MANY // TOGETHER)
    assert asked["chain_getFinalizedHead"] == asked["system_health"] == 1  # one head for all of them
    assert asked["state_getStorage"] == asked["state_getStorageAt"] == 0
    assert sum(asked.values()) < 12
    rows = await desk.db.fetch_all(
        "SELECT status, replicas, checked_at IS NOT NULL AS seen, watch_token, watch_attempts, order_due > watch_due"
        " AS renewed_later, TIMESTAMPDIFF(DAY, order_due, expires_at) BETWEEN 5 AND 8 AS before_its_end,"
        " COUNT(*) AS n FROM zip_ipfs_info GROUP BY 1, 2, 3, 4, 5, 6, 7"
    )
    expected = {"status": 3, "replicas": 60, "seen": 1, "watch_token": None, "watch_attempts": 0}
    assert rows == [{**expected, "renewed_later": 1, "before_its_end": 1, "n": MANY}]
    counted = await desk.db.fetch_one("SELECT COUNT(*) AS n FROM evidence_info WHERE valid = 1 AND replicas = 60")
    assert counted == {"n": MANY}
    assert len(await backlog.due_rows(desk.db, leases.PROVE, 1000)) == MANY
    ends = await desk.db.fetch_one("SELECT SUM(archives) AS n FROM renewal_info")
    assert ends == {"n": MANY}


@pytest.mark.parametrize("devnet_server", [{}, {"generation": "v1"}], indirect=True)
async def test_what_many_are_asked_for_together_is_what_each_is_asked_for_alone(desk: Desk) -> None:
    desk.devnet.turn(add_files={"cid": CID, "count": 3, "size": SIZE, "replicas": 0})
    desk.devnet.turn(set_replicas={"cid": CID.format(1), "count": 250})
    desk.devnet.final()
    head, cids = await desk.chain.head(), [CID.format(number) for number in range(5)]
    together = await desk.chain.files(cids, head)
    assert together == {cid: await desk.chain.file(cid, head) for cid in cids}
    assert together[cids[0]] == FileInfo(SIZE, 1, None, 0)
    assert together[cids[1]] == FileInfo(SIZE, 2, 2 + head.term, 250)
    assert together[cids[4]] is None


@pytest.mark.parametrize(("most", "methods"), [(30, {"state_queryStorageAt": 11}), (0, {"state_getStorage": 100})])
async def test_a_node_that_does_not_give_so_many_at_once_is_asked_for_fewer(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, most: int, methods: dict[str, int]
) -> None:
    """Providers refuse the method, or long answers."""
    await stock(desk, 100)
    desk.devnet.turn(most_keys=most)
    with calls(monkeypatch) as asked:
        assert await looked_at(desk) == 1
    assert {name: asked[name] for name in methods} == methods
    rows = await desk.db.fetch_all("SELECT status, COUNT(*) AS n FROM zip_ipfs_info GROUP BY status")
    assert rows == [{"status": 3, "n": 100}]
    desk.devnet.turn(most_keys=1000, drop_connections=True)
    with pytest.raises(ChainUnavailable):
        await desk.chain.head_to_look_at()
    await desk.db.execute("UPDATE zip_ipfs_info SET watch_due = UTC_TIMESTAMP(6)")
    with calls(monkeypatch) as asked:
        await desk.look_at_due()
    assert (asked["state_queryStorageAt"], asked["state_getStorage"]) == (1, 0)  # over a new connection all is tried


async def test_an_answer_that_is_too_long_for_a_node_is_asked_for_in_parts(desk: Desk) -> None:
    await stock(desk, 100, replicas=200)  # as many as the market keeps
    assert await looked_at(desk) == 1
    head = await desk.chain.head()
    cids = [CID.format(number % 100) + "x" * (number // 100) for number in range(100)]
    assert len(await desk.chain.files(cids, head)) == 100


async def test_an_entry_that_cannot_be_read_holds_up_no_other(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    first, *others = await stock(desk, 5)
    marked = CID.format(0).encode().hex()
    ask = SubstrateInterface.rpc_request

    def spoilt(self: SubstrateInterface, method: str, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - as it is
        answer = ask(self, method, *args, **kwargs)
        if method == "state_queryStorageAt":
            changes = answer["result"][0]["changes"]
            answer["result"][0]["changes"] = [
                [key, "0x00" if key.endswith(marked) else value] for key, value in changes
            ]
        return answer

    monkeypatch.setattr(SubstrateInterface, "rpc_request", spoilt)
    assert await desk.look_at_due() == 5
    assert [(await desk.row(zip_id))["status"] for zip_id in others] == [3] * 4
    row = await desk.row(first)
    assert (row["status"], row["watch_attempts"]) == (1, 1)
    assert "can't be read" in row["watch_reason"]
    await desk.db.execute(
        "UPDATE zip_ipfs_info SET watch_due = IF(zip_id = %s, UTC_TIMESTAMP(6), NULL), watch_attempts = 29", (first,)
    )
    monkeypatch.undo()
    monkeypatch.setattr(SubstrateInterface, "rpc_request", _one_spoilt(ask))
    assert await desk.look_at_due() == 1
    assert (await desk.row(first))["watch_failed_at"] is not None  # a person is asked
    monkeypatch.undo()
    assert await repair.retry(desk.db, WATCH, first)
    assert await desk.look_at_due() == 1
    assert (await desk.row(first))["status"] == 3


def _one_spoilt(ask: Any) -> Any:  # noqa: ANN401 - as it is
    def spoilt(self: SubstrateInterface, method: str, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - as it is
        return {"result": "0x00"} if method == "state_getStorage" else ask(self, method, *args, **kwargs)

    return spoilt


async def test_a_market_that_is_away_counts_against_no_archive(desk: Desk, devnet_server: Running[Devnet]) -> None:
    archives = await stock(desk, 5)
    devnet_server.kill()
    for _ in range(3):
        await desk.db.execute("UPDATE zip_ipfs_info SET watch_due = UTC_TIMESTAMP(6), watch_attempts = 29")
        assert await desk.look_at_due() == 5
    rows = [await desk.row(zip_id) for zip_id in archives]
    assert {(row["watch_attempts"], row["watch_failed_at"], row["watch_token"]) for row in rows} == {(29, None, None)}
    assert all("can't be reached" in row["watch_reason"] for row in rows)
    assert await desk.look_at_due() == 0  # all of them rest
    devnet_server.start()
    await desk.db.execute("UPDATE zip_ipfs_info SET watch_due = UTC_TIMESTAMP(6)")
    assert await desk.look_at_due() == 5
    assert {(await desk.row(zip_id))["status"] for zip_id in archives} == {3}


async def test_two_that_look_at_once_look_at_each_archive_once(open_desk: OpenDesk) -> None:
    async with open_desk() as one, open_desk() as two:
        await stock(one)
        claims = [batches.claim(desk.db, WATCH, 100, 60) for desk in (one, two) for _ in range(4)]
        claimed = await asyncio.gather(*claims)
        ids = [lease.row_id for batch in claimed for lease in batch]
        assert len(ids) == len(set(ids)) > 0
        taken = next(batch for batch in claimed if batch)
        await one.db.execute("UPDATE zip_ipfs_info SET watch_token = 'other' WHERE zip_id = %s", (taken[0].row_id,))
        looks = await one.orderer.watching._looks(taken)
        await one.orderer.watching._store.close(looks)
        lost, kept = await one.row(taken[0].row_id), await one.row(taken[1].row_id)
        assert (lost["status"], lost["watch_token"], kept["status"], kept["watch_token"]) == (1, "other", 3, None)


async def test_what_is_cut_short_is_handed_back(desk: Desk) -> None:
    archives = await stock(desk, 5)
    desk.devnet.turn(answer_seconds=30)
    closing = asyncio.Event()
    sweeping = asyncio.create_task(desk.orderer.watching.sweep(closing, 60))
    while await backlog.count_at_work(desk.db, WATCH) < 5:
        await asyncio.sleep(0.01)
    sweeping.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sweeping
    rows = [await desk.row(zip_id) for zip_id in archives]
    assert {(row["watch_token"], row["watch_attempts"]) for row in rows} == {(None, 0)}
    assert len(await backlog.due_rows(desk.db, WATCH, 10)) == 5


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
    await desk.db.transact(lambda tx: leases.close(tx, lease, Failed("ask a person")))
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
