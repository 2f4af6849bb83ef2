"""A real browser: Debian's Chromium, one for a test session, driven by Playwright, which downloads none of its own.

- `browser`: Playwright's `Browser`; each `new_context()` is a fresh profile, and ends with the test
- `page`: a page in a fresh one
- `troubles(page)`: what goes wrong on a page from now on, as its console tells it
- `until(page, expression)`: wait until an expression is true on a page
- `findings(page)`: what axe finds on a page that keeps people from using it
- `slowly(page, rate)`: the page sends no faster, until the block ends
- `film`: a file to upload, of `FILM_NAME` and `FILM_BYTES`
- `started(command, home)`: a browser as a process, until the block ends

A Chromium that is missing fails the tests that need it.
"""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

import pytest
from playwright.async_api import Browser, ConsoleMessage, Page, async_playwright

from roadvault_stack import programs

CHROMIUM = "/usr/bin/chromium"
FILM_NAME, FILM_BYTES = "京A12345_前方 100%.mp4", os.urandom(4_000_000)
_START_SECONDS = 60
_AXE = Path(sys.prefix) / "clients/node/node_modules/axe-core/axe.min.js"
_FINDINGS = """async () => {
  const { violations } = await axe.run(document, { resultTypes: ["violations"] });
  return violations.filter(({ impact }) => impact === "serious" || impact === "critical").map(({ id, nodes }) =>
    `${id}: ${nodes.slice(0, 3).map(({ html, any }) => `${html.slice(0, 160)} ${any[0]?.message ?? ""}`).join(" | ")}`);
}"""
_FLAGS = (
    "--headless=new",
    "--no-sandbox",  # which a container's root can't have
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-extensions",
    "--no-proxy-server",
    "--remote-debugging-port=0",
)


@pytest.fixture(scope="session")
def chromium(servers_dir: Path) -> Iterator[str]:
    """Where the session's Chromium takes commands."""
    home = servers_dir / "chromium"
    home.mkdir()
    with started([CHROMIUM, *_FLAGS, f"--user-data-dir={home}", "about:blank"], home) as process:
        yield f"http://127.0.0.1:{_port(home, process)}"


@contextmanager
def started(command: list[str], home: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run a browser, with its log beside its profile; it goes with all that it has started."""
    with home.with_suffix(".log").open("wb") as log:
        process = subprocess.Popen(
            programs.tied_to_parent(command, "KILL"),
            env={**os.environ, "HOME": str(home)},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):  # it may have ended by itself
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _port(home: Path, process: subprocess.Popen[bytes]) -> int:
    deadline, told = time.monotonic() + _START_SECONDS, home / "DevToolsActivePort"
    while not (told.exists() and "\n" in (text := told.read_text())):
        assert process.poll() is None, "Chromium ended; is the package chromium installed?"
        assert time.monotonic() < deadline, "Chromium does not come up"
        time.sleep(0.02)
    return int(text.split("\n")[0])


@pytest.fixture
async def browser(chromium: str) -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        connected = await playwright.chromium.connect_over_cdp(chromium)
        yield connected
        await connected.close()


@pytest.fixture
async def page(browser: Browser) -> AsyncIterator[Page]:
    context = await browser.new_context()
    context.set_default_timeout(20_000)
    yield await context.new_page()
    await context.close()


@pytest.fixture
def film(tmp_path: Path) -> Path:
    path = tmp_path / FILM_NAME
    path.write_bytes(FILM_BYTES)
    return path


@asynccontextmanager
async def slowly(page: Page, bytes_per_second: int) -> AsyncIterator[None]:
    """Send so much a second at the most, until the block ends."""
    line = await page.context.new_cdp_session(page)
    await line.send("Network.enable")
    at = {"offline": False, "latency": 0, "downloadThroughput": -1}
    await line.send("Network.emulateNetworkConditions", {**at, "uploadThroughput": bytes_per_second})
    yield
    await line.send("Network.emulateNetworkConditions", {**at, "uploadThroughput": -1})


def troubles(page: Page) -> list[str]:
    """Collect what goes wrong on a page from now on: errors of its console, which tells of CSP, too, and of scripts."""
    found: list[str] = []

    def told(message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            found.append(f"{message.text} ({message.location['url']})")

    page.on("console", told)
    page.on("pageerror", lambda error: found.append(str(error)))
    page.on("requestfailed", lambda request: found.append(f"{request.method} {request.url}: {request.failure}"))
    return found


async def until(page: Page, expression: str) -> None:
    """Wait until an expression is true; Playwright's own wait is against the pages' policy."""
    async with asyncio.timeout(30):
        while not await page.evaluate(expression):
            await asyncio.sleep(0.02)


async def findings(page: Page) -> list[str]:
    """Return what axe finds on a page that is serious or critical."""
    await page.evaluate(_AXE.read_text())
    found: list[str] = await page.evaluate(_FINDINGS)
    return found
