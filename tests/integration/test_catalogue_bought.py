"""The catalogue on the market: bought like an archive, and its newest in place of the one before."""

from servers_orderer import Desk

from roadvault_common.sql.db import Row
from roadvault_common.work import lease as leases
from roadvault_common.work.outcome import Wait
from roadvault_common.work.stages import PUBLISH
from roadvault_pinner.catalogue.catalogue_store import CatalogueStore

OLD, NEW = (f"bafybei{letter * 52}" for letter in "ab")
KEY_ID = "0123456789abcdef"
DAY = 86_400


async def published(desk: Desk, cid: str) -> None:
    await desk.db.execute(
        "UPDATE catalogue_info SET cid = %s, dag_size = 5000, publish_due = UTC_TIMESTAMP(6), publish_token = NULL",
        (cid,),
    )


async def order(desk: Desk, every: float = DAY) -> int | None:
    lease = await leases.claim(desk.db, PUBLISH, 1, 60)
    assert lease is not None
    zip_id = await CatalogueStore(desk.db).order(lease, KEY_ID, every)
    await desk.db.transact(lambda tx: leases.hand_back(tx, lease))
    return zip_id


async def row(desk: Desk) -> Row:
    found = await desk.db.fetch_one("SELECT * FROM zip_ipfs_info WHERE folder_id = 0")
    assert found is not None
    return found


async def purchases(desk: Desk) -> list[tuple[int, str, int]]:
    return [(one["term"], one["cid"], one["status"]) for one in await desk.purchases()]


async def test_it_is_bought_once_a_day_if_it_changed(desk: Desk) -> None:
    await published(desk, OLD)
    zip_id = await order(desk)
    assert zip_id is not None
    assert await order(desk) is None  # it has not changed
    await published(desk, NEW)
    assert await order(desk, 0) == zip_id  # nothing of it was bought yet
    await published(desk, OLD)
    assert await order(desk, 0) == zip_id
    await desk.bought(zip_id)
    assert await purchases(desk) == [(1, OLD, 1)]
    desk.devnet.turn(set_replicas={"cid": OLD, "count": 60})
    desk.devnet.final()
    assert (await desk.look(zip_id))["prove_due"] is not None
    seen = await desk.look(zip_id)
    assert (seen["status"], seen["replicas"], seen["drop_due"]) == (3, 60, None)
    await published(desk, NEW)
    assert await order(desk) is None  # not twice in a day
    assert await order(desk, 0) == zip_id
    assert ((await row(desk))["status"], (await row(desk))["cid"]) == (0, NEW)
    outcome = await desk.attend(zip_id)
    assert isinstance(outcome, Wait)
    assert "looking once more" in outcome.reason
    desk.devnet.final()
    await desk.bought(zip_id)
    assert await purchases(desk) == [(1, OLD, 1), (2, NEW, 1)]
    desk.devnet.turn(set_replicas={"cid": NEW, "count": 60})
    desk.devnet.final()
    seen = await desk.look(zip_id)
    assert (seen["status"], seen["cid"], seen["expired_on"] > 2_592_000) == (3, NEW, True)
    (renewals,) = await desk.db.fetch_all("SELECT SUM(archives) AS n FROM renewal_info")
    assert renewals["n"] == 1  # the one before is not to be renewed


async def test_a_purchase_under_way_is_not_disturbed(desk: Desk) -> None:
    await published(desk, OLD)
    zip_id = await order(desk)
    assert zip_id is not None
    assert isinstance(await desk.attend(zip_id), Wait)  # sent, not final
    await published(desk, NEW)
    assert await order(desk, 0) is None
    assert (await row(desk))["cid"] == OLD
    desk.devnet.final()
    await desk.attend(zip_id)
    assert await order(desk, 0) == zip_id


async def test_archives_and_catalogue_do_not_disturb_each_other(desk: Desk) -> None:
    archive = await desk.archive()
    await published(desk, OLD)
    catalogue = await order(desk)
    assert catalogue is not None
    await desk.bought(archive)
    await desk.bought(catalogue)
    assert desk.devnet.orders() == 2
    assert {one["zip_id"] for one in await desk.purchases()} == {archive, catalogue}
