"""A long video that only the other IPFS node has, played through the door: how soon, and for how many bytes."""

import asyncio
import os
import subprocess
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
from bench.measure import OURS, Measure, Target, take_turns, timed
from bench.peers import find
from bench.retrieval import Stored
from pydantic import SecretStr
from servers_streaming import small_client

from roadvault_common.web.links import Views
from roadvault_stack import plan

_FRAME_BYTES = 1 << 20
_BEFORE_BYTES = 700_000
"""Of another file, before it in the archive: so that blocks of the two do not lie alike."""
_WATCHED_SECONDS, _WATCHED_RATE = 10.0, 2_000_000
_AHEAD_BYTES = 4 << 20
_WATCHERS, _EACH_BYTES = 50, 20_000_000
_READY_SECONDS = 30
_CURL, _EXTRACTED = "the raw range by curl", "extracted first, once"


def measure(directory: Path, size: int, runs: int) -> list[Measure]:
    """Play a file of `size` bytes: its beginning, from within, at its pace, and by 50 at once."""
    with Stored.open(directory, 0, 0, 1, [_BEFORE_BYTES, size]) as stored:
        player = _Player(stored)
        return [_first(player, runs), _jumps(player, runs), _watched(player), *_many(player)]


class _Player:
    """Asks for the file as a browser does, or for its raw bytes."""

    def __init__(self, stored: Stored) -> None:
        self.stored = stored
        (self.file,) = (file for file in stored.files if file.size != _BEFORE_BYTES)
        self.begin = stored.offsets[self.file.file_id]
        environment = stored.system.environment()
        views = Views(SecretStr(environment["ROADVAULT_VIEW_SECRET"]))
        token = views.token(self.file.file_id, datetime.now(UTC) + timedelta(hours=1), {"by": "bench"})
        self.url = f"{environment['ROADVAULT_PUBLIC_URL']}/v/{token}"

    def cold(self) -> None:
        """Have neither our node nor the retriever hold anything of the file."""
        with self.stored.system.without("retriever"):
            self.stored.forget()
        deadline = time.monotonic() + _READY_SECONDS
        while not plan.says_ready(self.stored.system.settings.retriever_port):
            if time.monotonic() > deadline:
                raise TimeoutError("the retriever is not ready")
            time.sleep(0.05)
        os.sync()

    def play(self, offset: int, url: str = "") -> None:
        """Get a frame from an offset on, through the door."""
        span = f"{offset}-{offset + _FRAME_BYTES - 1}"
        target = self.stored.scratch / "frame"
        subprocess.run([find("curl"), "-sS", "-f", "-o", str(target), "-r", span, url or self.url], check=True)

    def raw(self, offset: int) -> None:
        """Get as many bytes of the archive through our node's gateway."""
        begin = self.begin + offset
        self.stored.curl(self.stored.scratch / "frame", "-r", f"{begin}-{begin + _FRAME_BYTES - 1}")


def _first(player: _Player, runs: int) -> Measure:
    half = "half a second"
    name = f"first MiB of a {player.file.size / 1e6:.0f} MB video that the other node has, cold"
    targets = [Target(_CURL, 1.5, least=False), Target(half, 1, least=False)]
    measure = Measure(name, "s", more_is_better=False, targets=targets)

    def from_cold(get: Callable[[int], None]) -> Callable[[], float]:
        def run() -> float:
            player.cold()
            with timed() as seconds:
                get(0)
            return seconds()

        return run

    take_turns(measure, {OURS: from_cold(player.play), _CURL: from_cold(player.raw)}, runs)
    measure.add(half, 0.5)
    player.cold()
    with timed() as seconds:
        (link,) = player.stored.ask([player.file])
        player.play(0, link)
    measure.add(_EXTRACTED, seconds())
    return measure


def _jumps(player: _Player, runs: int) -> Measure:
    most = "0.3 s"
    measure = Measure(
        "the same: a jump to anywhere in it, 1 MiB",
        "s",
        more_is_better=False,
        targets=[Target(_CURL, 1.5, least=False), Target(most, 1, least=False)],
    )
    player.cold()
    player.play(0)
    player.raw(0)
    jumps, step = 2 * runs, player.file.size // (4 * runs + 2)
    for number in range(jumps):  # no two to the same place
        for name, get, at in ((OURS, player.play, 2 * number + 1), (_CURL, player.raw, 2 * number + 2)):
            with timed() as seconds:
                get(at * step + 12_345)
            measure.add(name, seconds())
    measure.add(most, 0.3)
    return measure


def _watched(player: _Player) -> Measure:
    most = "watched + 4 MiB"
    measure = Measure(
        f"the same, watched for {_WATCHED_SECONDS:.0f} s at {_WATCHED_RATE / 1e6:.0f} MB/s: bytes moved",
        "MB",
        more_is_better=False,
        targets=[Target(most, 1, least=False)],
    )
    player.cold()
    before = player.stored.moved()
    watched = player.stored.loop.run(_watch(player.url))
    time.sleep(1)  # nothing more comes
    measure.add(OURS, (player.stored.moved() - before) / 1e6)
    measure.add("watched", watched / 1e6)
    measure.add(most, (watched + _AHEAD_BYTES) / 1e6)
    return measure


async def _watch(url: str) -> int:
    """Take a video at its pace."""
    loop = asyncio.get_running_loop()
    began, taken = loop.time(), 0
    async with small_client() as http, http.get(url) as response:
        while (passed := loop.time() - began) < _WATCHED_SECONDS:
            if taken > passed * _WATCHED_RATE:
                await asyncio.sleep(0.01)
                continue
            taken += len(await response.content.read(1 << 15))
    return taken


def _many(player: _Player) -> list[Measure]:
    each = min(_EACH_BYTES, player.file.size)
    name = f"{_WATCHERS} who watch {each / 1e6:.0f} MB of it at once, cold"
    blocks = "the blocks, each once"
    took = Measure(f"{name}: all together", "MB/s", more_is_better=True, targets=[])
    moved = Measure(f"{name}: bytes moved", "MB", more_is_better=False, targets=[Target(blocks, 1.02, least=False)])
    player.cold()
    before = player.stored.moved()
    with timed() as seconds:
        player.stored.loop.run(_take(player.url, [0] * _WATCHERS, each))
    took.add(OURS, _WATCHERS * each / 1e6 / seconds())
    moved.add(OURS, (player.stored.moved() - before) / 1e6)
    first, last = player.begin >> 20, player.begin + each - 1 >> 20
    # The retriever's last block may be followed by one that was asked for ahead.
    moved.add(blocks, ((last - first + 1 << 20) + player.stored.inner_bytes) / 1e6)
    held = [_held(player, f"{name}: peak memory of the retriever", 256)]
    player.cold()
    step = player.file.size // _WATCHERS
    player.stored.loop.run(_take(player.url, [number * step for number in range(_WATCHERS)], step))
    name = f"{_WATCHERS} who watch {step / 1e6:.0f} MB each at as many places at once, cold"
    held.append(_held(player, f"{name}: peak memory of the retriever", 384))
    return [took, moved, *held]


def _held(player: _Player, name: str, megabytes: int) -> Measure:
    most = f"{megabytes} MB"
    held = Measure(name, "MB", more_is_better=False, targets=[Target(most, 1, least=False)])
    held.add(OURS, player.stored.system.peak_memory()["retriever"] / 1e6)
    held.add(most, megabytes)
    return held


async def _take(url: str, begins: list[int], size: int) -> None:
    """Take as many bytes from each of some places on, all at once."""

    async def take(begin: int) -> None:
        span = {"Range": f"bytes={begin}-{begin + size - 1}"}
        async with http.get(url, headers=span) as response:
            async for _ in response.content.iter_any():
                pass

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
        await asyncio.gather(*map(take, begins))
