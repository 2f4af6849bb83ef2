"""Every page in a real browser, in both languages, narrow and wide, light and dark: readable by all, and whole.

Pictures of them come to lie in build/screenshots/, for a person to look at: two of each page, or, with
ROADVAULT_SCREENSHOTS=all, eight.
"""

import asyncio
import json
import os
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import filled
import pytest
from browser import findings, troubles
from playwright.async_api import Browser, Page
from servers_access import Guarded
from servers_pages import HOSTILE, Office
from servers_pages import fill as fill_pages

from roadvault_common.access import passwords, token_store, user_store
from roadvault_common.access.scopes import Role
from roadvault_common.access.tokens import checked_grant
from roadvault_common.catalogue import left_out
from roadvault_common.catalogue.records import ArchiveRecord
from roadvault_common.events.bus import Bus
from roadvault_common.files import sweep_store
from roadvault_common.retention import holding
from roadvault_common.sql.db import Database
from roadvault_common.work.stages import FETCH
from roadvault_ingest.pages.render import HERE
from roadvault_ingest.pages.words import LANGUAGES

SHOTS = Path(__file__).parents[2] / "build/screenshots"
ALL_SHOTS = os.environ.get("ROADVAULT_SCREENSHOTS") == "all"
WIDTHS: tuple[int, ...] = (390, 1440)
SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
WIDER = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
BARE = """() => [...document.querySelectorAll("h1, h2, h3, a, button, th, label, summary, dt")].filter((one) =>
  one.checkVisibility() && !one.innerText.trim() && !one.ariaLabel && !one.querySelector("input, select, img, video")
  && !(one.matches("th") && one.closest("thead"))).map((one) => one.outerHTML.slice(0, 160))"""
_SHOTS = {("en", 1440, "light"), ("zh-CN", 390, "dark")}
_MAY_LACK = ("act_", "ended_", "line_", "problem_", "state_is_", "market_")
"""Words that stand for themselves if there are none for them."""


class Watched(dict[str, str]):
    """Words, and the keys that pages asked for in vain."""

    def __init__(self, words: dict[str, str]) -> None:
        super().__init__(words)
        self.missing: set[str] = set()

    def __missing__(self, key: str) -> str:
        if not key.startswith(_MAY_LACK):
            self.missing.add(key)
        raise KeyError(key)


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> list[Watched]:
    both = {language: Watched(words) for language, words in LANGUAGES.items()}
    monkeypatch.setattr("roadvault_ingest.pages.render.LANGUAGES", both)
    return list(both.values())


async def rich(db: Database) -> list[str]:
    """Fill all tables; return the pages that there are then."""
    history = await filled.fill(db, 200, 20, 20)
    await db.execute(
        "UPDATE file_upload_info SET file_name = %s, camera = %s WHERE file_id = 199", (HOSTILE, "门" * 64)
    )
    await db.execute("UPDATE file_upload_info SET file_name = %s WHERE file_id = 198", ("x" * 200 + ".mp4",))
    await db.execute("UPDATE video_info SET path = NULL")  # their pictures are not there
    for service in ("ingest", "packer", "pinner", "crust-orderer", "retriever", "notifier"):
        facts = json.dumps({"redis": 1, "kubo_peers": 7, "chain_height": filled.HEIGHT, "chain_age_seconds": 3})
        await db.execute(
            "INSERT INTO heartbeat_info VALUES (%s, 'host-1', '1.2.3', UTC_TIMESTAMP(6), UTC_TIMESTAMP(6), %s)",
            (service, facts),
        )
    await db.execute(
        "INSERT INTO day_info (day, bytes_in, carried_bytes, carried_files) SELECT UTC_DATE() - INTERVAL seq DAY,"
        " 1e9 * MOD(seq * 7, 5), 0, 0 FROM seq_0_to_1"
    )
    await db.execute(
        "INSERT INTO act_info (kind, name, peer, act, subject, outcome)"
        " VALUES ('person', 'anna', '::1', 'retry', %s, 'done')",
        (HOSTILE,),
    )
    await _asks(db)
    return [
        "/", "/file", "/file?name=gate&state=nonsense&recordedFrom=x", "/file/199", "/file/198",
        f"/file/{history.files}", "/zip", "/zip/1", f"/zip/{history.zip_ids[-1]}", "/requests", "/requests/1",
        f"/requests/{history.failed(FETCH)[0]}", "/upload", "/money", "/system", "/audit", "/api", "/nowhere",
        "/upkeep", "/upkeep/quarantine", "/upkeep/retention", "/access",
    ]  # fmt: skip


async def _letters(pages: Office) -> None:
    """Have a dead letter, and a file in quarantine."""
    async with Bus.open(pages.ingest.settings.redis_url, "test") as bus:
        await bus.dead_letter("pin", HOSTILE, row=9)
    lies = pages.ingest.settings.data_dir / "quarantine/received/20261127T020000Z-00%2Fabcdef"
    lies.parent.mkdir(parents=True)
    lies.write_bytes(b"x")


async def _asks(db: Database) -> None:
    """Have something of each kind wait for a person's word, and a token and an account."""
    await db.execute("INSERT INTO set_aside_info (file_id, reason) VALUES (197, %s)", (HOSTILE,))
    for directory in ("received", "archives"):
        await sweep_store.stop(db, directory, 700, 7_000_000, 900)
    await sweep_store.allow(db, "archives")
    await db.execute("REPLACE INTO custody_fault_info (position, reason) VALUES (1, %s)", (HOSTILE,))
    record = ArchiveRecord(
        zip_id=6001, folder_id=1, zip_name="x", cid="bafyarchive", format=2, size=1, dag_size=1, files=1,
        created=datetime.now(UTC), key="wrapped",
    )  # fmt: skip
    await db.execute("DELETE FROM left_out_info WHERE record = '{}'")  # nothing that a catalogue has
    await left_out.end(db, [], {}, [(record, "no peer has it")])
    await holding.hold(db, HOSTILE, zip_id=6001)
    await db.execute("UPDATE retention_info SET ends_at = UTC_TIMESTAMP(6) - INTERVAL 1 DAY WHERE shredded_at IS NULL")
    await db.execute("UPDATE identity_info SET doubted_at = UTC_TIMESTAMP(6)")
    grant = checked_grant("upload,read", ["dock-*"], ["client.example"])
    await db.transact(lambda tx: token_store.create(tx, "dock-1", bytes(32), grant, 30))
    await db.transact(lambda tx: user_store.add(tx, "anna", Role.OPERATOR, "x"))


@pytest.mark.timeout(300)
@pytest.mark.parametrize("language", ["en", "zh-CN"])
async def test_every_page_is_whole_narrow_and_wide_light_and_dark(
    pages: Office, browser: Browser, watched: list[Watched], language: str
) -> None:
    paths, wrong, titles = await rich(pages.db), list[str](), dict[str, str]()
    await _letters(pages)
    context = await browser.new_context(locale=language)
    page = await context.new_page()
    found = troubles(page)
    for path in paths:
        await page.goto(pages.url + path, wait_until="load")
        wrong += [f"{path}: {what}" for what in await _wrong(page, language, axe=language == "en")]
        await _picture(page, language, path)
        titles.setdefault(await page.title(), path.partition("?")[0])
    await context.close()
    wrong += [what for what in found if "/nowhere" not in what]
    if alike := {path.partition("?")[0] for path in paths} - set(titles.values()):
        wrong.append(f"{alike} have the titles of others")
    wrong += [f"no words for {sorted(words.missing)}" for words in watched if words.missing]
    assert not wrong, "\n".join(wrong)


async def _wrong(page: Page, language: str, *, axe: bool) -> list[str]:
    """Return what is wrong with a page as it stands there."""
    wrong = []
    if await page.locator("h1").count() != 1:
        wrong.append(f"{await page.locator('h1').count()} h1")
    if await page.locator("html").get_attribute("lang") != language:
        wrong.append("another language")
    wrong += [f"without words: {one}" for one in await page.evaluate(BARE)]
    for width, scheme in zip(WIDTHS, SCHEMES, strict=True):
        await page.set_viewport_size({"width": width, "height": 900})
        if (over := await page.evaluate(WIDER)) > 0:
            wrong.append(f"{over} px wider than {width}")
        if axe:
            await page.emulate_media(color_scheme=scheme)
            wrong += [f"{width} {scheme} {one}" for one in await findings(page)]
    return wrong


async def _picture(page: Page, language: str, shown: str) -> None:
    SHOTS.mkdir(parents=True, exist_ok=True)
    name = re.sub(r"\W+", "-", shown).strip("-") or "home"
    for width in WIDTHS:
        for scheme in SCHEMES:
            if ALL_SHOTS or (language, width, scheme) in _SHOTS:
                await page.set_viewport_size({"width": width, "height": 900})
                await page.emulate_media(color_scheme=scheme)
                await page.screenshot(path=SHOTS / f"{name}-{language}-{width}-{scheme}.png", full_page=True)


def test_every_word_that_a_template_names_is_there() -> None:
    for template in (HERE / "templates").rglob("*.html"):
        named = set(re.findall(r"\bt\.(\w+)", template.read_text()))
        assert named <= LANGUAGES["en"].keys(), template


async def test_without_scripts_every_act_is_possible(guarded: Guarded, browser: Browser, tmp_path: Path) -> None:
    await fill_pages(guarded.db)
    hashed = await asyncio.to_thread(passwords.hashed, words := "correct horse battery staple", "anna")
    await guarded.db.transact(lambda tx: user_store.add(tx, "anna", Role.OPERATOR, hashed))
    context = await browser.new_context(java_script_enabled=False, locale="en")
    context.set_default_timeout(20_000)
    page = await context.new_page()
    await page.goto(f"{guarded.url}/file")
    await page.fill("[name=name]", "anna")
    await page.fill("[name=password]", words)
    await page.press("[name=password]", "Enter")
    await page.wait_for_url("**/file")
    await page.click(".language")
    assert await page.locator("html").get_attribute("lang") == "zh-CN"
    assert await page.locator("h1").inner_text() == LANGUAGES["zh"]["files"]
    await page.click(".language")
    await page.fill(".filters [name=name]", "7.mp4")
    await page.click(".filters button")
    assert await page.locator("tbody tr").count() == 1
    await page.click("tbody a[href='/file/7']")
    await page.fill("[name=cbUrl]", "https://client.example/done")
    await page.click("form[action$='/ask'] button.main")
    assert LANGUAGES["en"]["asked"] in await page.locator(".notice").inner_text()
    await page.goto(guarded.url)
    await page.locator("#attention form button").first.click()
    assert LANGUAGES["en"]["retry_done"] in await page.locator(".notice").inner_text()
    film = tmp_path / "京A12345.mp4"
    film.write_bytes(b"frames")
    await page.click("nav a[href='/upload']")
    await page.set_input_files("[name=file]", film)
    await page.click("#send")
    assert await page.locator("h1").inner_text() == film.name
    await page.click(".person button")
    await page.goto(f"{guarded.url}/file")
    assert "/login" in page.url
    await context.close()
    name: Any = await guarded.db.fetch_value("SELECT file_name FROM file_upload_info ORDER BY file_id DESC LIMIT 1")
    assert name == film.name
