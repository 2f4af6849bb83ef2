"""What was bought stays bought: recovered archives find their orders running, and are renewed in time."""

from servers_orderer import OpenDesk
from servers_recovery import Archived

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
