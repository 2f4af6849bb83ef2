"""Writes architecture/pictures/, the README's pictures, in both languages; `make pictures` runs it.

They are taken of the real system: a local stack of its own, with the devnet, gets videos of cameras that do not exist,
archives them, and brings some back, while a browser looks at its pages. Only the pictures on the videos are drawn. It
takes some minutes, and needs what `make setup-tests` installs, and a Chinese font.

The moving picture is a time-lapse: it has `_FRAMES` frames of however long that takes, shown in ten seconds.
"""

import asyncio
import os
import random
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from string import Template
from tempfile import TemporaryDirectory
from typing import Literal

from playwright.async_api import Browser, Page, async_playwright
from rich.console import Console

from roadvault_client import AsyncClient, Facts, receive
from roadvault_stack import plan, settings
from roadvault_stack.ports import HOST
from roadvault_stack.settings import CHECKOUT
from roadvault_stack.up import Stack

FOLDER = CHECKOUT / "architecture" / "pictures"
_CHROMIUM = "/usr/bin/chromium"
_FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking")
_SCENE = {"FOLDER_BYTES": str(8 << 20), "FOLDER_AGE_SECONDS": "6", "REPLICAS_PER_BLOCK": "2"}
"""Of the stack: small folders, and replicas that come in slowly enough to be seen."""
_VIDEOS, _SECONDS, _RATE, _BITS_PER_SECOND = 24, 16, "6", 1_250_000
_EVERY_SECONDS = 0.7
"""Between two uploads, and between two frames."""
_FRAMES, _LENGTH_SECONDS = 60, 10
_WIDTH, _HEIGHT = 1280, 1000
_PATIENCE_SECONDS = 120
_ASKED = 12
_PAINTS = ("#b63a32", "#e7e7e4", "#20242b", "#3d6ea8", "#c9a227")
_RENEW = """() => new Promise((done) => {
  document.addEventListener("htmx:after:swap", () => done(), { once: true });
  setTimeout(done, 3000);
  htmx.trigger(document.getElementById("live"), "renew");
})"""
_PLAY = """(second) => new Promise((done) => {
  const video = document.querySelector("video");
  video.addEventListener("seeked", () => done(), { once: true });
  video.currentTime = second;
})"""

Scheme = Literal["light", "dark"]


@dataclass(frozen=True)
class Place:
    """A camera that does not exist: what it is called, where it would stand, and in what light."""

    english: str
    chinese: str
    lat: float
    lon: float
    colours: tuple[str, str, str, str]
    """Of the sky above and at the horizon, of the verge, and of the road."""

    def name(self, language: str) -> str:
        """Return what it is called in a language."""
        return self.chinese if language == "zh" else self.english


_PLACES = (
    Place("North Ring km 12", "北环路 12 公里", 51.561, -0.102, ("#6f9fd0", "#dfe9f2", "#66774e", "#5c6066")),
    Place("Gate 7", "七号门", 51.512, 0.018, ("#34406b", "#e8a172", "#4b4a45", "#44454d")),
    Place("Harbour Bridge", "海港大桥", 51.497, 0.009, ("#8d99a6", "#d4d8db", "#5b7480", "#6c6f70")),
    Place("Mill Street", "磨坊街", 51.53, -0.071, ("#0d1424", "#2b3550", "#1e2420", "#2c2e35")),
)


def main() -> None:
    """Take all pictures."""
    if not subprocess.run(["fc-list", ":lang=zh"], capture_output=True, check=True).stdout:  # noqa: S607
        sys.exit("pictures: there is no Chinese font; install one, as fonts-noto-cjk")
    FOLDER.mkdir(exist_ok=True)
    for language in ("en", "zh"):
        with TemporaryDirectory(prefix="roadvault-pictures-") as scratch:
            os.environ |= {settings.PREFIX + name: value for name, value in _SCENE.items()}
            os.environ[f"{settings.PREFIX}DIR"] = f"{scratch}/stack"
            stack = Stack(settings.load(), Console(), plan.make)
            stack.up(detach=True)
            try:
                asyncio.run(_take(stack, language, Path(scratch)))
            finally:
                stack.down()


async def _take(stack: Stack, language: str, scratch: Path) -> None:
    url = f"http://{HOST}:{stack.settings.ingest_port}"
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=_CHROMIUM, args=_FLAGS)
        videos = await _videos(browser, language, scratch)
        async with _page(browser, language, "light") as page:
            await page.goto(f"{url}/?lang={language}", wait_until="networkidle")
            files = asyncio.create_task(_work(url, videos))
            took = await _film(page, scratch)
            _moving(scratch, f"pipeline-{language}.webp")
            print(f"pipeline-{language}.webp: {took:.0f} s in {_LENGTH_SECONDS}")  # noqa: T201
            file_id, zip_id = await files
        for scheme in ("light", "dark"):
            async with _page(browser, language, scheme) as page:
                await page.goto(f"{url}/file/{file_id}?lang={language}", wait_until="networkidle")
                await page.evaluate(_PLAY, 11)
                await page.wait_for_timeout(1000)  # the player's own signs go a while later
                await _shot(page, scratch, f"file-{language}-{scheme}.webp")
                await page.goto(f"{url}/zip/{zip_id}", wait_until="networkidle")
                await _shot(page, scratch, f"archive-{language}-{scheme}.webp")
        await browser.close()


@asynccontextmanager
async def _page(browser: Browser, language: str, scheme: Scheme) -> AsyncIterator[Page]:
    context = await browser.new_context(
        viewport={"width": _WIDTH, "height": _HEIGHT},
        color_scheme=scheme,
        locale="zh-CN" if language == "zh" else "en-GB",
        timezone_id="Asia/Shanghai" if language == "zh" else "Europe/London",
    )
    yield await context.new_page()
    await context.close()


async def _work(url: str, videos: list[tuple[Path, Facts]]) -> tuple[int, int]:
    """Upload all videos in turn, and ask for some; return one that came back, and the archive of the last."""
    with receive(None) as callbacks:
        async with AsyncClient(url) as api:
            sent = []
            for path, facts in videos:
                sent.append((await api.upload(path, facts=facts)).file_id)
                await asyncio.sleep(_EVERY_SECONDS)
            await _reached(api, sent[_ASKED], "proven")
            await asyncio.gather(*(api.request(file_id, callbacks.url) for file_id in sent[:_ASKED]))
            for file_id in sent[:_ASKED]:
                await asyncio.to_thread(callbacks.wait, file_id, _PATIENCE_SECONDS)
            return sent[1], await _reached(api, sent[-1], "dropped")


async def _reached(api: AsyncClient, file_id: int, stage: Literal["proven", "dropped"]) -> int:
    """Wait until a file's archive has come so far, and return its number."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while (archive := (await api.file(file_id))["archive"]) is None or archive[stage] is None:
        if time.monotonic() > deadline:
            raise TimeoutError(f"the archive of file {file_id} is not {stage}")
        await asyncio.sleep(_EVERY_SECONDS)
    return archive["zipID"]


async def _film(page: Page, scratch: Path) -> float:
    """Take the frames of the pipeline; return how many seconds that took."""
    begun = time.monotonic()
    for number in range(_FRAMES):
        await page.evaluate(_RENEW)
        await page.screenshot(
            path=scratch / f"frame-{number:03d}.png", clip={"x": 0, "y": 0, "width": _WIDTH, "height": 500}
        )
        await asyncio.sleep(max(0, begun + (number + 1) * _EVERY_SECONDS - time.monotonic()))
    return time.monotonic() - begun


async def _shot(page: Page, scratch: Path, name: str) -> None:
    await page.screenshot(path=scratch / "shot.png")
    _ffmpeg("-i", scratch / "shot.png", "-c:v", "libwebp", "-quality", "88", FOLDER / name)


def _moving(scratch: Path, name: str) -> None:
    rate = f"{_FRAMES / _LENGTH_SECONDS:g}"
    _ffmpeg(
        "-framerate",
        rate,
        "-i",
        scratch / "frame-%03d.png",
        "-c:v",
        "libwebp_anim",
        "-quality",
        "80",
        "-loop",
        "0",
        FOLDER / name,
    )


def _ffmpeg(*arguments: str | Path) -> None:
    subprocess.run(["ffmpeg", "-v", "error", "-y", *map(str, arguments)], check=True)  # noqa: S603, S607


async def _videos(browser: Browser, language: str, scratch: Path) -> list[tuple[Path, Facts]]:
    """Make the videos, with what is known of each; half an hour ago the first began."""
    page = await browser.new_page(viewport={"width": 960, "height": 540})
    found = []
    now = datetime.now(UTC).replace(second=0, microsecond=0) - timedelta(minutes=30)
    for number in range(_VIDEOS):
        place = _PLACES[number % len(_PLACES)]
        recorded = now + timedelta(minutes=number // len(_PLACES) * 5)
        path = scratch / f"{place.name(language).replace(' ', '-')}_{recorded:%Y-%m-%d_%H%M}.mp4"
        await page.set_content(_drawing(place, number, f"{place.name(language)}  {recorded:%Y-%m-%d %H:%M:%S} UTC"))
        await page.screenshot(path=scratch / "scene.png")
        still = ("-loop", "1", "-framerate", _RATE, "-t", str(_SECONDS), "-i", scratch / "scene.png")
        noise = ("-vf", "noise=alls=9:allf=t,format=yuv420p", "-c:v", "libx264", "-preset", "ultrafast", "-g", _RATE)
        await asyncio.to_thread(_ffmpeg, *still, *noise, "-b:v", str(_BITS_PER_SECOND), "-movflags", "+faststart", path)
        found.append((path, Facts(camera=place.name(language), recorded_at=recorded, lat=place.lat, lon=place.lon)))
    await page.close()
    return found


def _drawing(place: Place, number: int, label: str) -> str:
    """Return a page with a road, two cars, and what a camera writes into its pictures."""
    dice = random.Random(number)  # noqa: S311 - a picture, not a secret
    cars = ""
    for side, lamps in ((-1, "towards"), (1, "ahead")):
        near = dice.uniform(0.12, 0.85)
        at = f"translate({480 + side * (30 + 190 * near):.0f} {250 + 260 * near:.0f}) scale({0.24 + 1.2 * near:.2f})"
        cars += f'<g transform="{at}" color="{dice.choice(_PAINTS)}"><use href="#car"/><use href="#{lamps}"/></g>'
    hills = " ".join(f"{x},{250 - dice.randrange(70)}" for x in range(0, 961, 80))
    above, below, verge, road = place.colours
    drawing = Template((Path(__file__).parent / "scene.svg").read_text()).substitute(
        above=above, below=below, verge=verge, road=road, hills=hills, cars=cars, label=label
    )
    return f"<body style='margin:0'>{drawing}"


if __name__ == "__main__":
    main()
