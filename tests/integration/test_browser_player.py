"""The player of a file's page in a real browser, with a video that only the network has."""

import asyncio

import pytest
from browser import troubles, until
from playwright.async_api import Page
from pydantic import SecretStr
from saving import video
from servers_pages import Office
from servers_process import Running
from servers_streaming import VIEW_SECRET, Stage

from roadvault_common.web.links import Views
from roadvault_stack.kubo import Kubo

VIDEO = "document.querySelector('video')"


@pytest.mark.parametrize("bench", [lambda: {"film": video()}], indirect=True)
async def test_a_video_out_of_the_cold_plays_jumps_and_goes_on_when_kubo_is_back(
    stage: Stage, pages: Office, page: Page, kubo_server: Running[Kubo]
) -> None:
    await stage.sent_away()
    await pages.db.execute(
        "INSERT INTO folder_info (folder_id, status, files, bytes, close_at) VALUES (1, 2, 1, 1, UTC_TIMESTAMP(6))"
    )
    pages.ingest.settings.public_url, pages.ingest._views = stage.door.url, Views(SecretStr(VIEW_SECRET))
    line = await page.context.new_cdp_session(page)  # else all of it would be there at once
    await line.send("Network.enable")
    slow = {"offline": False, "latency": 0, "downloadThroughput": 1_000_000, "uploadThroughput": -1}
    await line.send("Network.emulateNetworkConditions", slow)
    found = troubles(page)
    before = await stage.moved()
    await page.goto(f"{pages.url}/file/{stage.bench.file_ids['film']}")
    assert await stage.moved() == before  # nobody has pressed play
    await page.evaluate(f"{VIDEO}.muted = true, {VIDEO}.play()")
    await until(page, f"{VIDEO}.currentTime > 0.5")
    assert await page.evaluate(f"{VIDEO}.duration") == 30.0
    assert await stage.moved() - before < len(stage.bench.contents["film"])
    await asyncio.to_thread(kubo_server.stop)
    stage.blocks._trim(0)
    await page.evaluate(f"{VIDEO}.currentTime = 25")
    await asyncio.sleep(1)
    assert await page.evaluate(f"{VIDEO}.seeking || {VIDEO}.readyState < 3")
    await asyncio.to_thread(kubo_server.start)
    await until(page, f"!{VIDEO}.seeking && {VIDEO}.currentTime > 25.3")
    assert await page.evaluate(f"[{VIDEO}.videoWidth, {VIDEO}.error]") == [320, None]
    assert [told for told in found if "ERR_ABORTED" not in told] == []  # as players leave off when they jump
