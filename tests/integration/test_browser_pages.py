"""The back-office in a real browser."""

import pytest
from browser import troubles
from playwright.async_api import Page, expect
from servers_pages import Office, fill
from servers_services import Services

_CUT_OFF = """[...document.querySelectorAll(".card > table")].filter(
  (table) => table.getBoundingClientRect().right > table.closest(".card").getBoundingClientRect().right + 1).length"""


@pytest.mark.parametrize("language", ["en", "zh-CN"])
async def test_the_first_page_opens_without_an_error(services: Services, page: Page, language: str) -> None:
    ingest = services("ingest")
    await ingest.start()
    found = troubles(page)
    await page.set_extra_http_headers({"Accept-Language": language})
    response = await page.goto(ingest.url + "/", wait_until="networkidle")
    assert response is not None
    assert response.status == 200
    assert await page.locator("h1").count() == 1
    assert await page.locator("html").get_attribute("lang") == language
    assert found == []


async def test_a_page_renews_itself_without_taking_anything_from_its_reader(pages: Office, page: Page) -> None:
    await fill(pages.db)
    found = troubles(page)
    await page.goto(f"{pages.url}/file", wait_until="networkidle")
    await page.locator(".filters summary").click()
    await page.locator('input[name="name"]').fill("half a na")
    await pages.db.execute("UPDATE file_upload_info SET file_name = 'renamed.mp4' WHERE file_id = 130")
    await expect(page.get_by_text("renamed.mp4")).to_be_visible(timeout=15_000)
    assert await page.locator('input[name="name"]').input_value() == "half a na"
    assert await page.locator(".filters details").get_attribute("open") is not None
    assert found == []


async def test_the_readers_time_zone_is_told(pages: Office, page: Page) -> None:
    await page.goto(f"{pages.url}/money", wait_until="networkidle")
    zone = await page.evaluate("Intl.DateTimeFormat().resolvedOptions().timeZone")
    assert await page.locator(".zone").text_content() == zone


async def test_no_column_is_cut_off_on_a_middling_screen(pages: Office, page: Page) -> None:
    await fill(pages.db)
    await pages.db.execute("UPDATE file_upload_info SET recorded_at = create_time, size = 123456789012")
    await pages.db.execute("UPDATE zip_ipfs_info SET status = 1, replicas = 8, cid = 'bafy'")
    found = troubles(page)
    await page.set_viewport_size({"width": 1280, "height": 900})
    for path in ("/", "/file", "/file?name=1", "/file/1", "/zip", "/zip/1", "/requests", "/money", "/system", "/api"):
        await page.goto(pages.url + path, wait_until="networkidle")
        over = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        assert await page.evaluate(over) <= 0, path
        assert await page.evaluate(_CUT_OFF) == 0, path
    assert found == []


async def test_in_the_place_of_a_player_that_plays_nothing_stands_why(
    pages: Office, page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill(pages.db)

    async def no_video(_: int, __: str) -> str:
        return f"{pages.url}/static/icon.svg"

    monkeypatch.setattr(pages.ingest, "view_url", no_video)
    await page.goto(f"{pages.url}/file/1", wait_until="networkidle")
    await page.locator("video").evaluate("video => video.play().catch(() => {})")
    await expect(page.get_by_text("This can't be played here")).to_be_visible()
    await expect(page.locator("video")).to_be_hidden()


@pytest.mark.parametrize("language", ["en", "zh-CN"])
async def test_on_a_phone_every_place_is_in_sight(pages: Office, page: Page, language: str) -> None:
    await page.set_extra_http_headers({"Accept-Language": language})
    await page.set_viewport_size({"width": 390, "height": 800})
    await page.goto(f"{pages.url}/money", wait_until="load")
    for place in await page.locator("nav a").all():
        box = await place.bounding_box()
        assert box is not None
        assert (box["x"] >= 0, box["x"] + box["width"] <= 390, box["y"] < 150) == (True, True, True)


async def test_a_clip_begins_where_the_video_plays(pages: Office, page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    await fill(pages.db)

    async def no_video(_: int, __: str) -> str:
        return f"{pages.url}/static/icon.svg"

    monkeypatch.setattr(pages.ingest, "view_url", no_video)
    await page.goto(f"{pages.url}/file/1", wait_until="networkidle")
    await page.evaluate("Object.defineProperty(document.querySelector('video'), 'currentTime', { value: 12.34 })")
    await page.click("[data-takes=from]")
    assert await page.input_value("[name=from]") == "12.3"
