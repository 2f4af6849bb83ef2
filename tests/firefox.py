"""Debian's Firefox, as another browser than Chromium: driven by WebDriver BiDi, which it speaks by itself."""

import asyncio
import json
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any

import aiohttp
from browser import started
from free_ports import pick_free

_SECONDS = 60
_SAVED = "video/mp4,video/mp2t,video/quicktime,application/octet-stream"


class Firefox:
    """A page of it; what is downloaded goes into `saved`."""

    def __init__(self, line: aiohttp.ClientWebSocketResponse, saved: Path) -> None:
        self._line = line
        self._numbers = count(1)
        self._context = ""
        self.saved = saved

    async def ask(self, method: str, **params: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
        number = next(self._numbers)
        await self._line.send_json({"id": number, "method": method, "params": params})
        async with asyncio.timeout(_SECONDS):
            while (told := await self._line.receive_json()).get("id") != number:
                pass
        assert told["type"] == "success", told
        result: dict[str, Any] = told["result"]
        return result

    async def begin(self) -> None:
        await self.ask("session.new", capabilities={})
        self._context = (await self.ask("browsingContext.getTree"))["contexts"][0]["context"]

    async def go(self, url: str) -> None:
        await self.ask("browsingContext.navigate", context=self._context, url=url, wait="complete")

    async def run(self, script: str, *arguments: object) -> Any:  # noqa: ANN401 - JSON
        """Call an asynchronous function of the page; return what it returns."""
        call = f"Promise.resolve(({script})(...{json.dumps(arguments)})).then(JSON.stringify)"
        told = await self.ask("script.evaluate", expression=call, awaitPromise=True, target={"context": self._context})
        assert told["type"] == "success", told
        return json.loads(told["result"]["value"]) if told["result"]["type"] == "string" else None


@asynccontextmanager
async def firefox(home: Path) -> AsyncIterator[Firefox]:
    """Start one with a fresh profile."""
    saved, port = home / "saved", pick_free(1)[0]
    saved.mkdir()
    settings = {
        "browser.download.dir": str(saved),
        "browser.download.folderList": 2,
        "browser.download.always_ask_before_handling_new_types": False,
        "browser.helperApps.neverAsk.saveToDisk": _SAVED,
        "app.update.enabled": False,
        "datareporting.policy.dataSubmissionEnabled": False,
        "network.captive-portal-service.enabled": False,
        "network.connectivity-service.enabled": False,
    }
    lines = (f"user_pref({json.dumps(name)}, {json.dumps(value)});" for name, value in settings.items())
    (home / "user.js").write_text("\n".join(lines))
    command = ["firefox-esr", "--headless", "--no-remote", "--profile", str(home), f"--remote-debugging-port={port}"]
    with started(command, home) as process:
        async with aiohttp.ClientSession() as http, await _line(http, port, process) as line:
            page = Firefox(line, saved)
            await page.begin()
            yield page


async def _line(
    http: aiohttp.ClientSession, port: int, process: subprocess.Popen[bytes]
) -> aiohttp.ClientWebSocketResponse:
    async with asyncio.timeout(_SECONDS):
        while True:
            assert process.poll() is None, "Firefox ended; is the package firefox-esr installed?"
            try:
                return await http.ws_connect(f"ws://127.0.0.1:{port}/session", max_msg_size=0)
            except aiohttp.ClientError:
                await asyncio.sleep(0.1)
