"""Extractions as a retriever that runs by itself removes them."""

import asyncio
from pathlib import Path

from servers_services import Services

from roadvault_common.sql.db import Database


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
