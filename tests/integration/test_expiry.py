"""When extractions go, and when they don't."""

import asyncio
from pathlib import Path

from servers_retriever import Bench
from servers_services import Services
from sweeps import sweep_once

from roadvault_common.sql.db import Database
from roadvault_common.work.outcome import Wait


async def test_a_disk_that_is_short_is_cleared_of_what_nobody_can_fetch(
    services: Services, database_url: str, data_dir: Path
) -> None:
    async with Database.open(database_url, size=1) as db:
        for number, hours in ((1, -1), (2, 1)):
            path = data_dir / f"downloads/{number}/token"
            path.parent.mkdir()
            path.write_bytes(b"frames")
            await db.execute(
                "INSERT INTO download_info (file_id, cb_url, status, path, link_expires_at, expire_due) VALUES (1, 'x',"
                " 2, %s, UTC_TIMESTAMP(6) + INTERVAL %s HOUR, UTC_TIMESTAMP(6) + INTERVAL 7 DAY)",
                (f"downloads/{number}/token", hours),
            )
        retriever = services("retriever", disk_margin_bytes=1 << 60)
        await retriever.start()
        async with asyncio.timeout(20):
            while await db.fetch_one("SELECT 1 FROM download_info WHERE download_id = 1 AND path IS NOT NULL"):
                await asyncio.sleep(0.05)
        assert not (data_dir / "downloads/1").exists()
        assert (data_dir / "downloads/2/token").read_bytes() == b"frames"


async def test_a_full_disk_waits_and_makes_room(bench: Bench) -> None:
    await bench.fetched("1 MB")
    await bench.db.execute("UPDATE download_info SET callback_due = NULL")
    bench.retriever.ledger.margin_bytes = 1 << 60
    download_id = await bench.request("3 MB")
    outcome = await bench.retriever.fetching.work(download_id)
    assert isinstance(outcome, Wait)
    assert "1 extractions expire now" in outcome.reason
    await sweep_once(bench.retriever.expiring)
    assert [path for path in bench.downloads() if path.is_file()] == []


async def test_a_disk_that_is_short_is_cleared_though_nobody_asks(bench: Bench) -> None:
    await bench.fetched("1 MB")
    await bench.fetched("3 MB")
    await bench.db.execute(
        "UPDATE download_info SET callback_due = NULL, status = 2,"
        " link_expires_at = UTC_TIMESTAMP(6) + INTERVAL IF(download_id = 1, -1, 3600) SECOND"
    )
    await bench.retriever.keep_room()
    await sweep_once(bench.retriever.expiring)
    assert len([path for path in bench.downloads() if path.is_file()]) == 2
    bench.retriever.ledger.margin_bytes = 1 << 60
    await bench.retriever.keep_room()
    await sweep_once(bench.retriever.expiring)
    (left,) = [path for path in bench.downloads() if path.is_file()]
    assert left.read_bytes() == bench.contents["3 MB"]


async def test_a_live_link_is_never_removed_early(bench: Bench) -> None:
    await bench.fetched("1 MB")
    now = "expire_due = UTC_TIMESTAMP(6)"
    await bench.db.execute(f"UPDATE download_info SET {now}")  # noqa: S608 - the callback is still due
    await sweep_once(bench.retriever.expiring)
    await bench.db.execute(
        f"UPDATE download_info SET callback_due = NULL, status = 2, {now},"  # noqa: S608
        " link_expires_at = UTC_TIMESTAMP(6) + INTERVAL 1 HOUR"
    )
    await sweep_once(bench.retriever.expiring)
    assert len([path for path in bench.downloads() if path.is_file()]) == 1
    assert await bench.retriever._expiry.hasten_expiry(10) == 0
    await bench.db.execute(f"UPDATE download_info SET {now}, link_expires_at = UTC_TIMESTAMP(6)")  # noqa: S608
    await sweep_once(bench.retriever.expiring)
    assert bench.downloads() == []
    row = await bench.row(1)
    assert (row["status"], row["mirror"], row["path"]) == (4, 7, None)
