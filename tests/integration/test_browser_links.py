"""Links in a real browser: what their files are saved as, playing and jumping, and what scripts of pages may read."""

import asyncio
from pathlib import Path

import pytest
from browser import troubles
from clients_run import answer
from playwright.async_api import Browser, Page
from saving import BYTES, NAMES, READ, saved_files, video, whole
from servers_door import LinkDoor, OpenLinks
from sites import portal


async def test_files_are_saved_under_their_names(link_door: LinkDoor, browser: Browser, tmp_path: Path) -> None:
    context = await browser.new_context()
    page = await context.new_page()
    tab, of_all = await context.new_cdp_session(page), await browser.new_browser_cdp_session()
    profile = (await tab.send("Target.getTargetInfo"))["targetInfo"]["browserContextId"]
    saving = {"behavior": "allow", "browserContextId": profile, "downloadPath": str(tmp_path), "eventsEnabled": True}
    await of_all.send("Browser.setDownloadBehavior", saving)  # Playwright's own gives files names of its own
    for name, other in NAMES.items():
        saved = other or name
        await page.set_content(f"<a href='{await link_door.link(BYTES, name)}'>a link</a>")
        async with page.expect_download() as download:
            await page.click("a")
        assert (await download.value).suggested_filename == saved
        async with asyncio.timeout(20):
            while not whole(tmp_path / saved):
                await asyncio.sleep(0.02)
        assert saved_files(tmp_path) == {saved: BYTES}
        (tmp_path / saved).unlink()
    await context.close()


async def test_curl_saves_files_under_a_harmless_form_of_their_names(link_door: LinkDoor, tmp_path: Path) -> None:
    for number, name in enumerate(NAMES):
        place = tmp_path / str(number)
        place.mkdir()
        await answer(["curl", "-sS", "--fail", "-OJ"], await link_door.link(BYTES, name), cwd=place)
        ((saved, content),) = saved_files(place).items()
        assert (content, saved.isascii(), saved.startswith((".", "-", "~"))) == (BYTES, True, False), saved


@pytest.mark.parametrize("allowed", [False, True])
async def test_a_page_of_another_site_plays_a_video_and_jumps_in_it(
    open_link_door: OpenLinks, page: Page, *, allowed: bool
) -> None:
    async with portal() as other, open_link_door(link_origins=other if allowed else "") as door:
        link = await door.link(await asyncio.to_thread(video), "京A12345.mp4")
        answers: list[tuple[int, str]] = []
        page.on("response", lambda got: answers.append((got.status, got.headers.get("content-range", ""))))
        await page.goto(other)
        # What is drawn of a video may be read only if its host lets the page have it.
        reads = "crossorigin" if allowed else ""
        await page.set_content(f"<video muted {reads} src='{link}'></video><canvas></canvas>")
        video_is = "document.querySelector('video')"
        await page.wait_for_function(f"{video_is}.readyState >= 1")
        assert await page.evaluate(f"{video_is}.duration") == 30.0
        await page.evaluate(f"{video_is}.currentTime = 25")
        await page.wait_for_function(f"!{video_is}.seeking && {video_is}.readyState >= 2")
        await page.evaluate(f"{video_is}.play()")
        await page.wait_for_function(f"{video_is}.currentTime > 25.2")
        assert await page.evaluate(f"{video_is}.videoWidth") == 320
        if allowed:
            await page.evaluate(f"document.querySelector('canvas').getContext('2d').drawImage({video_is}, 0, 0)")
            await page.evaluate("document.querySelector('canvas').getContext('2d').getImageData(0, 0, 1, 1)")
        assert {status for status, told in answers if told} == {206}
        assert any(not told.startswith("bytes 0-") for _, told in answers if told), answers


async def test_scripts_read_ranges_of_links_of_a_host_that_lets_them(open_link_door: OpenLinks, page: Page) -> None:
    async with portal() as other, open_link_door(link_origins=other) as door:
        await page.goto(other)
        found, link = troubles(page), await door.link(BYTES, "京A12345.mp4")
        whole = await page.evaluate(READ, [link, {}])
        assert (whole["status"], bytes(whole["bytes"])) == (200, BYTES)
        assert "filename*=UTF-8''%E4%BA%ACA12345.mp4" in whole["content-disposition"]
        part = await page.evaluate(READ, [link, {"Range": "bytes=5-9", "If-Range": whole["etag"]}])
        assert (part["status"], bytes(part["bytes"])) == (206, BYTES[5:10])
        assert (part["content-range"], part["repr-digest"]) == (f"bytes 5-9/{len(BYTES)}", whole["repr-digest"])
        other_file = await page.evaluate(READ, [link, {"Range": "bytes=5-9", "If-Range": '"another"'}])
        assert (other_file["status"], bytes(other_file["bytes"])) == (200, BYTES)
        same = await page.evaluate(READ, [link, {"If-None-Match": whole["etag"]}])
        assert (same["status"], same["bytes"]) == (304, [])
        assert (await page.evaluate(READ, [f"{link}x", {}]))["status"] == 403
        assert [told for told in found if "403" not in told] == []


async def test_scripts_read_no_links_of_a_host_that_does_not_let_them(link_door: LinkDoor, page: Page) -> None:
    async with portal() as other:
        await page.goto(other)
        found, link = troubles(page), await link_door.link(BYTES)
        for headers in ({}, {"Range": "bytes=5-9"}, {"If-Range": '"x"', "Range": "bytes=5-9"}):
            caught = "url_and_headers => fetch(url_and_headers[0], { headers: url_and_headers[1] }).catch(String)"
            assert await page.evaluate(caught, [link, headers]) == "TypeError: Failed to fetch"
        assert sum("blocked by CORS policy" in told for told in found) == 3
