"""Uppy's tus plugin in a real browser, on a page of ours and on one of another origin."""

import asyncio
import hashlib
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from browser import FILM_BYTES, FILM_NAME, slowly, troubles
from playwright.async_api import Browser, Page
from servers_services import Service, Services
from sites import PAGE, portal

from roadvault_common.sql.db import Database

UPPY = Path(sys.prefix) / "clients/node/uppy.js"
SHA256 = hashlib.sha256(FILM_BYTES).hexdigest()


@asynccontextmanager
async def fresh(browser: Browser, url: str) -> AsyncIterator[Page]:
    """Open a page that lets Uppy be put into it, whatever its own policy says of scripts."""
    context = await browser.new_context(bypass_csp=True)
    page = await context.new_page()
    await page.goto(url)
    yield page
    await context.close()


async def begin(page: Page, endpoint: str, film: Path, **options: object) -> None:
    """Choose the file, as somebody does who has opened the page."""
    await page.set_content(f"{PAGE}<input type=file>")
    await page.add_script_tag(path=UPPY)
    await page.set_input_files("input", film)
    await page.evaluate("options => begin(options)", {"endpoint": endpoint, **options})


async def sent(page: Page, count: int) -> None:
    await page.wait_for_function("count => told.sent > count", arg=count, polling=20)


async def state(page: Page) -> str:
    """Wait until Uppy has ended; return how."""
    await page.wait_for_function("told.state")
    told: str = await page.evaluate("told.state")
    return told


async def crash(ingest: Service) -> None:
    assert ingest.process is not None
    ingest.process.kill()
    await ingest.process.wait()


@pytest.mark.parametrize("elsewhere", [False, True])
async def test_an_upload_survives_a_crash_of_ingest_and_a_reload_of_its_page(
    services: Services, browser: Browser, db: Database, film: Path, data_dir: Path, *, elsewhere: bool
) -> None:
    async with portal() as other:
        ingest = services("ingest", upload_origins=other)
        await ingest.start()
        async with fresh(browser, other if elsewhere else ingest.url) as page:
            asked: list[tuple[str, str | None]] = []
            page.on("request", lambda request: asked.append((request.method, request.headers.get("upload-offset"))))
            endpoint = f"{ingest.url}/api/open/files"
            async with slowly(page, 1_200_000):
                await begin(page, endpoint, film)
                await sent(page, 500_000)
                await crash(ingest)
                await ingest.start()
                async with asyncio.timeout(30):
                    while not (come := int(await db.fetch_value("SELECT came FROM upload_info"))):
                        await asyncio.sleep(0.05)
                await page.reload()
            await begin(page, endpoint, film)
            assert await state(page) == "done"
            assert [method for method, _ in asked].count("POST") == 1
            assert int(asked[-1][1] or 0) >= come
            await begin(page, endpoint, film)  # by mistake
            assert await state(page) == "done"
    rows = await db.fetch_all("SELECT file_name, sha256, path FROM file_upload_info")
    assert [(row["file_name"], row["sha256"]) for row in rows] == [(FILM_NAME, SHA256)]
    assert (data_dir / str(rows[0]["path"])).read_bytes() == FILM_BYTES


async def test_a_page_of_an_origin_that_no_setting_names_uploads_nothing(
    services: Services, browser: Browser, db: Database, film: Path
) -> None:
    ingest = services("ingest")
    await ingest.start()
    async with portal() as other, fresh(browser, other) as page:
        found = troubles(page)
        await begin(page, f"{ingest.url}/api/open/files", film, retryDelays=[])
        assert "network error" in await state(page)
        assert "has been blocked by CORS policy" in found[0]
    assert await db.fetch_value("SELECT COUNT(*) FROM upload_info") == 0
