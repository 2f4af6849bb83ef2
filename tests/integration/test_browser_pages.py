"""The back-office in a real browser."""

import pytest
from browser import troubles
from playwright.async_api import Page
from servers_services import Services


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
