"""The page that takes files, in a real browser: what is sent arrives once, whatever breaks in between."""

import asyncio
import base64
import hashlib
import os
from pathlib import Path
from typing import Literal

import pytest
from browser import FILM_BYTES, FILM_NAME, findings, slowly, troubles, until
from playwright.async_api import Browser, Dialog, Page
from servers_services import Service, Services

from roadvault_common.sql.db import Database

SMALL = {f"{number}.mp4": os.urandom(1000 + number) for number in range(5)}
SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
DIGEST = """(pieces) => {
  const sha256 = new Sha256();
  for (const piece of pieces) sha256.update(Uint8Array.from(atob(piece), (letter) => letter.charCodeAt(0)));
  return sha256.hex();
}"""


@pytest.fixture
async def ingest(services: Services) -> Service:
    service = services("ingest")
    await service.start()
    return service


async def progress(page: Page, least: float) -> None:
    await until(page, f"document.querySelector('#queue progress').value > {least}")


async def done(page: Page, count: int) -> None:
    await page.locator("#queue li.is-done").nth(count - 1).wait_for()


async def received(db: Database) -> list[tuple[str, str]]:
    rows = await db.fetch_all("SELECT file_name, sha256 FROM file_upload_info ORDER BY file_name")
    return [(row["file_name"], row["sha256"]) for row in rows]


async def test_sha256_is_what_it_is_however_a_file_is_cut(ingest: Service, page: Page) -> None:
    await page.goto(f"{ingest.url}/upload")
    for length in (0, 1, 3, 55, 56, 57, 63, 64, 65, 119, 120, 127, 128, 1000, 300_001):
        content = os.urandom(length)
        for cut in {0, min(length, 10), length // 2, max(0, length - 64)}:
            pieces = [base64.b64encode(piece).decode() for piece in (content[:cut], content[cut:])]
            assert await page.evaluate(DIGEST, pieces) == hashlib.sha256(content).hexdigest(), (length, cut)


async def test_an_upload_goes_on_by_itself_when_ingest_is_back_and_arrives_once(
    ingest: Service, page: Page, db: Database, film: Path, data_dir: Path
) -> None:
    begun: list[str] = []
    page.on("request", lambda request: begun.append(request.url) if request.method == "POST" else None)
    await page.goto(f"{ingest.url}/upload")
    await page.set_input_files("[name=file]", [film])
    await page.set_input_files("[name=file]", [film])  # the same once more
    assert await page.locator("#queue li").count() == 1
    await page.fill("[name=camera]", "gate 7")
    await page.fill("[name=tags]", "night, rain")
    async with slowly(page, 1_500_000):
        await page.press("[name=camera]", "Enter")
        await page.press("[name=camera]", "Enter")
        await progress(page, 0.2)
        assert ingest.process is not None
        ingest.process.kill()
        await ingest.process.wait()
        await page.locator("#queue li.is-waiting").wait_for()
        await ingest.start()
        await page.locator("#queue li.is-sending").wait_for()
        await page.click("[data-act=turn]")
        await page.locator("#queue li.is-paused").wait_for()
        await page.click("[data-act=turn]")
    await done(page, 1)
    sha256 = hashlib.sha256(FILM_BYTES).hexdigest()
    assert await page.locator("#queue code").inner_text() == sha256
    assert await received(db) == [(FILM_NAME, sha256)]
    assert len(begun) == 1
    row = await db.fetch_one("SELECT path, camera FROM file_upload_info")
    assert row is not None
    assert row["camera"] == "gate 7"
    assert (data_dir / str(row["path"])).read_bytes() == FILM_BYTES
    await page.click("#queue a")
    await page.wait_for_url("**/file/1")


async def test_after_a_reload_the_same_file_goes_on_where_it_stopped(
    ingest: Service, page: Page, db: Database, film: Path
) -> None:
    asked: list[Dialog] = []

    async def leave(dialog: Dialog) -> None:
        asked.append(dialog)
        await dialog.accept()

    page.on("dialog", leave)
    begun: list[str] = []
    page.on("request", lambda request: begun.append(request.url) if request.method == "POST" else None)
    await page.goto(f"{ingest.url}/upload")
    await page.set_input_files("[name=file]", [film])
    async with slowly(page, 1_200_000):
        await page.click("#send")
        await progress(page, 0.3)
        await page.reload()
    assert [dialog.type for dialog in asked] == ["beforeunload"]
    await page.locator("#before").wait_for()
    await page.set_input_files("[name=file]", [film])
    await page.click("#send")
    await done(page, 1)
    assert len(begun) == 1
    assert await page.locator("#before").is_hidden()
    await page.reload()  # and by mistake again
    await page.set_input_files("[name=file]", [film])
    await page.click("#send")
    await done(page, 1)
    assert await received(db) == [(FILM_NAME, hashlib.sha256(FILM_BYTES).hexdigest())]


async def test_a_folder_goes_and_what_is_cancelled_leaves_nothing(
    ingest: Service, page: Page, db: Database, film: Path, tmp_path: Path
) -> None:
    found = troubles(page)
    folder = tmp_path / "morning"
    folder.mkdir()
    for name, content in SMALL.items():
        (folder / name).write_bytes(content)
    (folder / ".hidden").write_bytes(b"x")
    (tmp_path / "empty.mp4").write_bytes(b"")
    await page.goto(f"{ingest.url}/upload")
    await page.set_input_files("#folder-chosen", folder)
    await page.set_input_files("[name=file]", [film, tmp_path / "empty.mp4"])
    assert await page.locator("#queue li").count() == len(SMALL) + 2
    async with slowly(page, 400_000):
        await page.click("#send")
        await done(page, len(SMALL))
        await page.locator("#queue li.is-sending [data-act=cancel]").click()
        await until(page, "document.querySelectorAll('#queue li').length === 6")
    async with asyncio.timeout(10):
        while await db.fetch_value("SELECT COUNT(*) FROM upload_info WHERE file_id IS NULL"):
            await asyncio.sleep(0.05)
    assert await received(db) == [(name, hashlib.sha256(content).hexdigest()) for name, content in SMALL.items()]
    assert await page.locator("#queue li.is-failed").count() == 1
    for scheme in SCHEMES:
        await page.emulate_media(color_scheme=scheme)
        assert await findings(page) == []
    await page.click("#clear")
    assert await page.locator("#queue li").count() == 1
    assert [told for told in found if "ERR_ABORTED" not in told] == []


async def test_without_scripts_a_form_takes_a_file(ingest: Service, browser: Browser, db: Database, film: Path) -> None:
    context = await browser.new_context(java_script_enabled=False)
    page = await context.new_page()
    await page.goto(f"{ingest.url}/upload")
    await page.set_input_files("[name=file]", film)
    await page.fill("[name=recordedAt]", "2026-11-28T08:30:00")
    await page.fill("[name=tags]", "night")
    await page.click("#send")
    await page.wait_for_url("**/file/1?notice=up_taken")
    await context.close()
    assert await received(db) == [(FILM_NAME, hashlib.sha256(FILM_BYTES).hexdigest())]
    assert str(await db.fetch_value("SELECT recorded_at FROM file_upload_info")).startswith("2026-11-28 08:30:00")
