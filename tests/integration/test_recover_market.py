"""What was bought stays bought: recovered archives find their orders running, and are renewed in time."""

from servers_orderer import OpenDesk
from servers_recovery import Archived

from roadvault_common.ipfs.rpc import Ipfs
from roadvault_common.work.outcome import Done, Wait

TERM = 1000
"""Blocks."""
ZIPS = "SELECT zip_id, status, replicas, expired_on, order_due > UTC_TIMESTAMP(6) AS later FROM zip_ipfs_info"


async def test_nothing_is_ordered_twice_and_renewals_are_in_time(archived: Archived, open_desk: OpenDesk) -> None:
    console = archived.console
    async with open_desk(replica_threshold=50, replica_floor=10) as desk:
        desk.devnet.turn(file_duration_blocks=TERM)
        for row in await console.db.fetch_all("SELECT zip_id FROM zip_ipfs_info"):
            await desk.bought(row["zip_id"])
        for cid in archived.cids:
            desk.devnet.turn(set_replicas={"cid": cid, "count": 60})
        desk.devnet.final()
        assert desk.devnet.orders() == 3
    await archived.lose_machine()
    await archived.recover("--cids", archived.listed)

    async with open_desk(replica_threshold=50, replica_floor=10) as desk:  # another orderer, that knows of nothing
        await desk.look_at_due()
        rows = await console.db.fetch_all(ZIPS)
        assert [(row["status"], row["replicas"], row["later"]) for row in rows] == [(3, 60, 1)] * 3
        assert await desk.orderer.buying.take_turn() > 0  # it is nobody's turn
        for row in rows:  # nor is anything bought for one whose turn it is all the same
            assert isinstance(await desk.attend(row["zip_id"]), Done)
        desk.devnet.final()
        assert desk.devnet.orders() == 3
        assert await desk.purchases() == []

        desk.devnet.blocks(TERM - 60)
        await desk.db.execute("UPDATE zip_ipfs_info SET watch_due = UTC_TIMESTAMP(6)")
        await desk.look_at_due()  # which has the renewals be due
        assert [row["later"] for row in await console.db.fetch_all(ZIPS)] == [0] * 3
        for row in rows:
            assert isinstance(await desk.attend(row["zip_id"]), Wait)
            desk.devnet.final()
            assert isinstance(await desk.attend(row["zip_id"]), Done)
        assert desk.devnet.orders() == 6
        later = {row["zip_id"]: row["expired_on"] for row in await console.db.fetch_all(ZIPS)}
        assert all(later[row["zip_id"]] > row["expired_on"] for row in rows)


async def test_what_never_reached_enough_replicas_is_bought_once_and_fetched_back(
    archived: Archived, open_desk: OpenDesk
) -> None:
    """Of three archives the first was never ordered; of the others' orders few came of it, and the last is not here."""
    console, cids = archived.console, archived.cids
    async with open_desk(replica_threshold=50, replica_floor=10) as desk:
        desk.devnet.turn(file_duration_blocks=TERM)
        rows = await console.db.fetch_all("SELECT zip_id FROM zip_ipfs_info ORDER BY folder_id")
        for row in rows[1:]:
            await desk.bought(row["zip_id"])
        for cid in cids[1:]:
            desk.devnet.turn(set_replicas={"cid": cid, "count": 3})
        desk.devnet.final()
        assert desk.devnet.orders() == 2
    await archived.lose_machine()
    async with Ipfs.open(archived.kubo.rpc_url, 30) as ours:
        for cid in cids[:2]:
            await ours.fetch_and_pin(cid, lambda: None)
    await archived.recover("--cids", archived.listed)
    numbers = [
        row["zip_id"] for row in await console.db.fetch_all("SELECT zip_id FROM zip_ipfs_info ORDER BY folder_id")
    ]
    _, few, gone = numbers

    async with open_desk(replica_threshold=50, replica_floor=10) as desk:
        await desk.look_at_due()
        for number in numbers:
            await desk.bought(number) if number != few else await desk.attend(number)
        # What is nowhere here was called back at once, and bought again; our node's copies stay until there is proof.
        assert desk.devnet.orders() == 4
        desk.devnet.turn(set_replicas={"cid": cids[0], "count": 3})
        called = await console.db.fetch_all("SELECT zip_id FROM zip_ipfs_info WHERE restore_due IS NOT NULL")
        assert called == [{"zip_id": gone}]
        assert await console.pinner.restoring.work(gone) == Done()
        async with Ipfs.open(archived.kubo.rpc_url, 30) as ours:
            assert {cid async for cid in ours.pins()} >= set(cids)
        for _ in range(3):
            await desk.db.execute("UPDATE zip_ipfs_info SET watch_due = UTC_TIMESTAMP(6)")
            desk.devnet.final()
            await desk.look_at_due()
            for number in numbers:
                assert isinstance(await desk.attend(number), Done)
        assert desk.devnet.orders() == 4
        for number in numbers:
            assert await console.pinner.dropping.work(number) in {None, Done()}
        kept = await console.db.fetch_all("SELECT restored_at IS NOT NULL AS kept FROM zip_ipfs_info")
        assert [row["kept"] for row in kept] == [1] * 3

        desk.devnet.blocks(TERM - 40)  # renewals are in time, whatever the replicas
        await desk.db.execute("UPDATE zip_ipfs_info SET watch_due = UTC_TIMESTAMP(6)")
        await desk.look_at_due()
        assert [row["later"] for row in await console.db.fetch_all(ZIPS)] == [0] * 3
