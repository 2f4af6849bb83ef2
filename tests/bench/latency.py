"""From an event sent to its work begun, on an idle system, beside redis-py's bare XADD and XREADGROUP."""

import asyncio
import time
from pathlib import Path
from typing import Any

from bench.measure import OURS, Measure, Target
from free_ports import pick_free
from pydantic import SecretStr
from redis.asyncio import Redis
from servers_process import Running

from roadvault_common.events.bus import Bus
from roadvault_common.events.kinds import FolderSealed
from roadvault_stack.redis_server import Redis as RedisServer

_PAUSE_SECONDS = 0.005
BARE = "bare XADD → XREADGROUP"


def measure(directory: Path, count: int, runs: int) -> Measure:
    """Send events one by one; figures are the 99th percentile in milliseconds."""
    result = Measure(
        "event sent → its work begun, idle, p99",
        "ms",
        more_is_better=False,
        targets=[Target(BARE, 3, least=False)],
        note="≤ 20 ms is the aim",
    )
    server = Running(RedisServer(directory / "redis", pick_free(1)[0]))
    server.start()
    try:
        for number in range(runs):
            ours = (OURS, asyncio.run(_ours(server.server.url(), count)))
            bare = (BARE, asyncio.run(_bare(server.server.url(), count)))
            for name, waits in (ours, bare) if number % 2 else (bare, ours):
                result.add(name, _p99(waits) * 1000)
    finally:
        server.stop()
    return result


def _p99(waits: list[float]) -> float:
    return sorted(waits)[int(0.99 * len(waits))]


async def _ours(url: str, count: int) -> list[float]:
    waits: list[float] = []
    closing, sent = asyncio.Event(), 0.0
    async with Bus.open(SecretStr(url), "bench") as bus, Bus.open(SecretStr(url), "sender") as sender:

        async def begin(_: FolderSealed) -> None:
            waits.append(time.perf_counter() - sent)

        listening = asyncio.create_task(bus.listen({FolderSealed: begin}, closing, 16))
        await asyncio.sleep(0.5)
        for number in range(count):
            sent = time.perf_counter()
            await sender.emit(FolderSealed(zip_id=number))
            while len(waits) <= number:
                await asyncio.sleep(0)
            await asyncio.sleep(_PAUSE_SECONDS)
        closing.set()
        await listening
    return waits


async def _bare(url: str, count: int) -> list[float]:
    waits: list[float] = []
    reader, writer = Redis.from_url(url), Redis.from_url(url)
    await writer.delete("bare")
    await writer.xgroup_create("bare", "bench", id="0", mkstream=True)
    sent = 0.0

    async def read() -> None:
        while len(waits) < count:
            answer: Any = await reader.xreadgroup("bench", "one", {"bare": ">"}, count=1, block=1000)
            waits.append(time.perf_counter() - sent)
            ((_, ((entry, _),)),) = answer.items() if isinstance(answer, dict) else answer
            await reader.xack("bare", "bench", entry)

    reading = asyncio.create_task(read())
    await asyncio.sleep(0.5)
    for number in range(count):
        sent = time.perf_counter()
        await writer.xadd("bare", {"event": "x"})
        while len(waits) <= number:
            await asyncio.sleep(0)
        await asyncio.sleep(_PAUSE_SECONDS)
    await reading
    await reader.aclose()
    await writer.aclose()
    return waits
