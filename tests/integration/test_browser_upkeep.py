"""Tokens, accounts and what waits for a person, in a real browser: without scripts, and readable by all."""

import asyncio
from typing import Literal

from browser import findings, troubles
from playwright.async_api import Browser, Page
from servers_access import Guarded

from roadvault_common.access import passwords, token_store, user_store
from roadvault_common.access.scopes import Role
from roadvault_common.files import sweep_store
from roadvault_ingest.pages.words import LANGUAGES

EN = LANGUAGES["en"]
WORDS = "correct horse battery staple"
VIEWS: tuple[tuple[int, Literal["light", "dark"]], ...] = ((390, "light"), (1440, "dark"))
WIDER = "document.documentElement.scrollWidth - document.documentElement.clientWidth"


async def operator(guarded: Guarded, browser: Browser, *, scripts: bool) -> Page:
    """Return a page of an operator who has logged in."""
    hashed = await asyncio.to_thread(passwords.hashed, WORDS, "anna")
    await guarded.db.transact(lambda tx: user_store.add(tx, "anna", Role.OPERATOR, hashed))
    context = await browser.new_context(java_script_enabled=scripts, locale="en")
    context.set_default_timeout(20_000)
    page = await context.new_page()
    await page.goto(f"{guarded.url}/access")
    await page.fill("[name=name]", "anna")
    await page.fill("[name=password]", WORDS)
    await page.press("[name=password]", "Enter")
    await page.wait_for_url("**/access")
    return page


async def make_token(page: Page) -> str:
    form = page.locator("form[action='/access/token']")
    await form.locator("[name=name]").fill("dock-1")
    await form.locator("[name=scope-request]").check()
    await form.locator("[name=cameras]").fill("dock-*")
    await form.locator("button").click()
    return await page.locator("code.token").inner_text()


async def test_without_scripts_tokens_and_accounts_are_made_and_ended(guarded: Guarded, browser: Browser) -> None:
    page = await operator(guarded, browser, scripts=False)
    assert (await make_token(page)).startswith("rvt_")
    await page.click("main a[href='/access']")
    await page.click("td details summary")
    await page.check("form[action$='/revoke'] [name=sure]")
    await page.click("form[action$='/revoke'] button")
    assert EN["token_revoked_now"] in await page.locator(".notice").inner_text()
    form = page.locator("form[action='/access/user']")
    await form.locator("[name=name]").fill("bob")
    await form.locator("[name=password]").fill(WORDS)
    await form.locator("[name=again]").fill(WORDS)
    await form.locator("button").click()
    assert EN["user_added"] in await page.locator(".notice").inner_text()
    (row,) = await token_store.listed(guarded.db)
    assert row["revoked_at"] is not None
    await page.context.close()


async def test_without_scripts_a_sweep_goes_on_and_nothing_is_lost_unticked(guarded: Guarded, browser: Browser) -> None:
    await sweep_store.stop(guarded.db, "received", 700, 7_000_000, 900)
    lies = guarded.ingest.settings.data_dir / "quarantine/received/20261127T020000Z-00%2Fabcdef"
    lies.write_bytes(b"x")
    page = await operator(guarded, browser, scripts=False)
    await page.click("nav a[href='/upkeep']")
    await page.click("#sweeps button")
    assert EN["sweep_allowed"] in await page.locator(".notice").inner_text()
    await page.click("main a[href='/upkeep/quarantine']")
    await page.check("[name=pick-1]")
    await page.click("[formaction$='/purge']")  # the browser asks for the tick
    assert page.url.endswith("/upkeep/quarantine")
    assert lies.exists()
    await page.locator("[name=sure]").first.check()
    await page.click("[formaction$='/purge']")
    assert EN["purged"] in await page.locator(".notice").inner_text()
    assert not lies.exists()
    await page.context.close()


async def test_what_operators_alone_see_is_readable_narrow_and_wide(guarded: Guarded, browser: Browser) -> None:
    page = await operator(guarded, browser, scripts=True)
    found, wrong = troubles(page), list[str]()
    await make_token(page)
    for path in (None, "/access"):
        if path is not None:
            await page.goto(guarded.url + path)
            for summary in await page.locator("td details summary").all():
                await summary.click()
        for width, scheme in VIEWS:
            await page.set_viewport_size({"width": width, "height": 900})
            await page.emulate_media(color_scheme=scheme)
            wrong += [f"{path} {width}: {one}" for one in await findings(page)]
            if (over := await page.evaluate(WIDER)) > 0:
                wrong.append(f"{path} is {over} px wider than {width}")
    await page.context.close()
    assert not [*wrong, *found], "\n".join([*wrong, *found])
