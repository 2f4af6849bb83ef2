"""Nothing lapses in silence: what the orderer shows of all archives and of the chain, and how long rows wait."""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import timedelta

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families
from servers_devnet import Devnet
from servers_process import Running
from servers_services import Services

from roadvault_common import metrics
from roadvault_common.errors import DatabaseUnavailable
from roadvault_common.sql.db import Database
from roadvault_common.sql.states import ArchiveStatus
from roadvault_common.work import backlog
from roadvault_common.work.stages import CALLBACK, DROP, FETCH, ORDER, PACK, PIN
from roadvault_crust_orderer.buying import renewals_store
from roadvault_crust_orderer.watching.overview_store import OverviewStore

DAY = 86_400


@pytest.fixture
async def db(database_url: str) -> AsyncIterator[Database]:
    async with Database.open(database_url, size=1) as opened:
        yield opened


async def archive(db: Database, **columns: object) -> None:
    """Insert an archive; a timedelta stands for the time so long from now."""
    values = {"zip_name": "a", "`key`": "k", "iv": "i", "size": 1, "files": 1, **columns}
    seconds = {name: value for name, value in values.items() if isinstance(value, timedelta)}
    holes = ["UTC_TIMESTAMP(6) + INTERVAL %s SECOND" if name in seconds else "%s" for name in values]
    given = [value.total_seconds() if isinstance(value, timedelta) else value for value in values.values()]
    await db.execute(
        f"INSERT INTO zip_ipfs_info (folder_id, {', '.join(values)})"  # noqa: S608
        f" SELECT 1 + COUNT(*), {', '.join(holes)} FROM zip_ipfs_info",
        given,
    )


async def test_archives_are_counted_by_state_and_their_bytes_without_reading_them(db: Database) -> None:
    store, day = OverviewStore(db), renewals_store.BLOCKS_A_DAY
    assert await store.stored() == (0, 0)
    for status in (0, 0, 1, 4):
        await archive(db, status=status)
    async with db.transaction() as tx:
        for height, size in ((7 * day, 1), (7 * day + 1, 3 << 20), (9 * day, 1 << 20)):
            await renewals_store.note(tx, None, height, size)
        await renewals_store.note(tx, 9 * day, None, 1 << 20)  # it vanished
    assert await store.stored() == (2, 4 << 20)
    counts = [await store.in_state(state) for state in ArchiveStatus if state.name != "LIVE"]
    assert counts == [2, 1, 0, 1, 0]


async def test_orders_are_seen_from_afar(db: Database) -> None:
    store = OverviewStore(db)
    assert (await store.soonest_expiry(), await store.expired(), await store.under(10)) == (None, 0, 0)
    assert await store.oldest_unreplicated() == 0
    old = {"pinned_at": timedelta(days=-40), "dropped_at": timedelta(days=-20)}
    await archive(db, status=3, expires_at=timedelta(days=5), replicas=60, **old)
    await archive(db, status=3, expires_at=timedelta(days=90), replicas=9, **old)
    assert await store.soonest_expiry() == pytest.approx(5 * DAY, abs=60)
    assert (await store.expired(), await store.under(10), await store.oldest_unreplicated()) == (0, 1, 0)
    # Nobody has looked since it ran out; the next is known to have vanished, and the last is new and may have few.
    await archive(db, status=3, expires_at=timedelta(days=-2), replicas=60, **old)
    await archive(db, status=4, replicas=0, **old)
    await archive(db, status=1, replicas=3, pinned_at=timedelta(days=-8))
    assert await store.soonest_expiry() == pytest.approx(-2 * DAY, abs=60)
    assert (await store.expired(), await store.under(10)) == (2, 2)
    assert await store.oldest_unreplicated() == pytest.approx(8 * DAY, abs=60)


async def test_how_long_rows_wait_is_seen_however_often_they_are_tried(db: Database) -> None:
    for stage in (PACK, PIN, ORDER, FETCH, CALLBACK, DROP):
        assert await backlog.seconds_waiting(db, stage) == 0
    three = (3 * DAY,)
    await db.execute(
        "INSERT INTO folder_info (status, close_at, closed_at, pack_due) VALUES (1, UTC_TIMESTAMP(6),"
        " UTC_TIMESTAMP(6) - INTERVAL %s SECOND, UTC_TIMESTAMP(6) + INTERVAL 1 HOUR)",
        three,
    )
    await archive(db, create_time=timedelta(days=-3), pin_due=timedelta(hours=1))
    await archive(db, create_time=timedelta(days=-9), pinned_at=timedelta(days=-3), order_due=timedelta(hours=1))
    await db.execute(
        "INSERT INTO download_info (file_id, cb_url, create_time, fetch_due)"
        " VALUES (1, 'x', UTC_TIMESTAMP(6) - INTERVAL %s SECOND, UTC_TIMESTAMP(6) + INTERVAL 1 HOUR)",
        three,
    )
    await db.execute(
        "INSERT INTO download_info (file_id, cb_url, extracted_at, callback_due)"
        " VALUES (1, 'x', UTC_TIMESTAMP(6) - INTERVAL %s SECOND, UTC_TIMESTAMP(6) + INTERVAL 1 HOUR)",
        three,
    )
    for stage in (PACK, PIN, ORDER, FETCH, CALLBACK):
        assert await backlog.seconds_waiting(db, stage) == pytest.approx(3 * DAY, abs=60), stage.name
    # What was ordered is only looked at again, and what was pinned long ago may be pinned once more.
    await db.execute("UPDATE zip_ipfs_info SET status = 1, pin_due = UTC_TIMESTAMP(6), pinned_at = UTC_TIMESTAMP(6)")
    assert (await backlog.seconds_waiting(db, ORDER), await backlog.seconds_waiting(db, PIN)) == (0, 0)


async def test_gauges_that_can_not_be_read_are_seen_to_age() -> None:
    """Only what fails ages, and one that fails keeps no other from being read."""
    turns = 0
    closing = asyncio.Event()

    async def broken() -> None:
        raise DatabaseUnavailable("away")

    async def well() -> None:
        nonlocal turns
        turns += 1
        if turns > 20:
            closing.set()

    await metrics.watch(closing, {"broken": broken, "well": well}, 0.01)
    assert _age("broken") > _age("well")


async def test_a_sample_that_hangs_keeps_no_other_from_being_taken() -> None:
    turns = 0
    closing = asyncio.Event()

    async def well() -> None:
        nonlocal turns
        turns += 1

    async def hangs() -> None:
        await closing.wait()

    watching = asyncio.create_task(metrics.watch(closing, {"hangs": hangs, "well": well}, 0.01))
    async with asyncio.timeout(5):
        while turns < 5:
            await asyncio.sleep(0.01)
    closing.set()
    await watching


def _age(sample: str) -> float:
    (family,) = metrics.SAMPLE_AGE.collect()
    return next(one.value for one in family.samples if one.labels["sample"] == sample)


async def shown(url: str) -> dict[str, float]:
    """Scrape a service; return its gauges, those of a sample by the sample's name."""
    async with aiohttp.ClientSession() as http, http.get(f"{url}/metrics") as response:
        text = await response.text()
    return {
        sample.labels.get("sample", sample.name): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if family.type == "gauge"
    }


async def until(url: str, condition: Callable[[dict[str, float]], bool]) -> dict[str, float]:
    async with asyncio.timeout(30):
        while not condition(seen := await shown(url)):
            await asyncio.sleep(0.1)
    return seen


async def test_a_node_that_is_away_is_seen_while_orders_run_out(
    db: Database, services: Services, devnet_server: Running[Devnet]
) -> None:
    devnet = devnet_server.server
    orderer = services("crust-orderer", crust_url=devnet.url, crust_seed="//Alice", sweep_seconds=0.2)
    await orderer.start()
    head, ends = "roadvault_finalized_head_age_seconds", "roadvault_soonest_expiry_seconds"
    await until(orderer.url, lambda seen: seen["roadvault_archives_expired"] == 0 and seen["chain"] < 1)
    devnet_server.stop()
    await archive(db, status=3, expires_at=timedelta(seconds=2), watch_due=timedelta(0), cid="bafy", dag_size=1)
    await archive(db, status=3, expires_at=timedelta(days=3), watch_due=timedelta(0), cid="bafz", dag_size=1)
    seen = await until(orderer.url, lambda seen: seen["roadvault_archives_expired"] == 1 and seen[head] > 3)
    assert seen["chain"] > 2
    assert seen["money"] > 2
    assert max(seen["rows"], seen["archives"], seen["events"]) < 2
    assert seen[ends] < 0
    assert seen["roadvault_rows_failed"] == 0  # the node's absence counts against no row
    devnet_server.start()
    devnet.final()
    await until(orderer.url, lambda seen: max(seen[head], seen["chain"], seen["money"]) < 3)
