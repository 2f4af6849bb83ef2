"""Looking at archives, many in one call; on a devnet and a real database."""

import asyncio
from typing import Any

import pytest
from servers_devnet import Devnet
from servers_orderer import CID, MANY, SIZE, Desk, OpenDesk, calls, stock
from servers_process import Running
from substrateinterface import SubstrateInterface
from sweeps import look_once

from roadvault_common.errors import ChainUnavailable
from roadvault_common.work import backlog, batches, repair
from roadvault_common.work.stages import PROVE, WATCH
from roadvault_crust_orderer.markets.market import MOST_HEIGHT, FileInfo
from roadvault_crust_orderer.watching.watcher import TOGETHER

DAY = 86_400


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
    monkeypatch.setattr("roadvault_crust_orderer.watching.watcher.time.monotonic", lambda: 1.0)  # all within one block
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
    assert len(await backlog.due_rows(desk.db, PROVE, 1000)) == MANY
    ends = await desk.db.fetch_one("SELECT SUM(archives) AS n FROM renewal_info")
    assert ends == {"n": MANY}
    planned = await desk.db.fetch_one(
        "SELECT COUNT(*) AS n FROM zip_ipfs_info"
        " WHERE TIMESTAMPDIFF(DAY, UTC_TIMESTAMP(6), audit_due) BETWEEN 23 AND 30"
    )
    assert planned == {"n": MANY}  # also if they never have replicas enough for a proof


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


async def test_the_largest_numbers_that_there_can_be_are_written_down(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    (zip_id,) = await stock(desk, 1)
    most = FileInfo((1 << 63) - 1, MOST_HEIGHT, MOST_HEIGHT, (1 << 31) - 1)

    async def files(*_: object) -> dict[str, FileInfo]:
        return {CID.format(0): most}

    monkeypatch.setattr(desk.chain, "files", files)
    assert await desk.look_at_due() == 1
    row = await desk.row(zip_id)
    assert (row["status"], row["replicas"], row["expired_on"]) == (3, most.replicas, most.expires)


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
