"""What a long history costs: pages, sweeps and status queries on archives of 10^3, 10^5 and 10^7 files.

RoadVault at the largest is beside itself at the smaller ones: the same work in hand, and the same server.
"""

import asyncio
import math
import random
import statistics
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from pathlib import Path

import aiohttp
import statements
from bench.measure import OURS, Measure, Target
from bench.uploads import process
from filled import Filled, fill
from free_ports import pick_free
from servers_process import Running
from statements import Statement

from roadvault_common.sql.db import Database
from roadvault_common.sql.migrate import migrate
from roadvault_ingest.pages.office import PAGE
from roadvault_stack.mariadb import MariaDB
from roadvault_stack.ports import HOST
from roadvault_stack.redis_server import Redis as RedisServer

SIZES, QUICK_SIZES = (10**3, 10**5, 10**7), (10**3, 10**5)
_CALLS = 20
_MOST = 2

Call = Callable[["Archive"], Awaitable[object]]


@dataclass
class Archive:
    """A filled database, the calls to it, and an ingest on it."""

    filled: Filled
    db: Database
    http: aiohttp.ClientSession
    calls: list[Statement]

    async def get(self, path: str) -> None:
        """Read a page."""
        async with self.http.get(path) as response:
            response.raise_for_status()
            await response.read()

    def file_id(self) -> int:
        """Return the id of a file in the middle of the history, another each time."""
        return random.randint(self.filled.files // 4, self.filled.files * 3 // 4)

    def zip_id(self) -> int:
        """Return the id of an archive in the middle, with at least a page of others before it, another each time."""
        ids = self.filled.zip_ids
        return random.choice(ids[max(len(ids) // 4, PAGE + 1) : len(ids) * 3 // 4])


_PAGES: dict[str, Call] = {
    "page /file": lambda archive: archive.get("/file"),
    "page /file?before=… in the middle": lambda archive: archive.get(f"/file?before={archive.file_id()}"),
    "page /zip": lambda archive: archive.get("/zip"),
    "page /zip?before=… in the middle": lambda archive: archive.get(f"/zip?before={archive.zip_id()}"),
    "page /": lambda archive: archive.get("/"),
    "page /api/open/file/{id} in the middle": lambda archive: archive.get(f"/api/open/file/{archive.file_id()}"),
}


def measure(directory: Path, sizes: Sequence[int], runs: int) -> list[Measure]:
    """Fill databases of these numbers of files, the largest last; a run's figure is the median of 20 calls."""
    with asyncio.Runner() as loop, _archives(directory, sizes, loop) as archives:
        *smaller, largest = archives
        contenders = {OURS: archives[largest], **{_named(size): archives[size] for size in smaller}}

        def timed(name: str, call: Call) -> Measure:
            targets = [Target(_named(size), _MOST, least=False) for size in smaller]
            result = Measure(name, "ms", more_is_better=False, targets=targets, note=_named(largest))
            for number in range(runs + 1):
                for who, took in loop.run(_run(contenders, call)).items():
                    if number:  # the first run warms the caches
                        result.add(who, took)
            return result

        results = [timed(name, call) for name, call in _PAGES.items()]
        for group, ones in groupby(enumerate(archives[largest].calls), lambda one: one[1].group):
            results += _worst([timed(f"{group}: {one.name}", partial(_asked, number)) for number, one in ones])
        return results


async def _run(contenders: dict[str, Archive], call: Call) -> dict[str, float]:
    """Make a call to each of the archives in turn, many times; return the medians in milliseconds."""
    took: dict[str, list[float]] = {who: [] for who in contenders}
    for number in range(_CALLS):
        names = [*contenders]
        first = number % len(names)
        for who in names[first:] + names[:first]:
            started = time.perf_counter()
            await call(contenders[who])
            took[who].append(time.perf_counter() - started)
    return {who: statistics.median(times) * 1000 for who, times in took.items()}


def _asked(number: int, archive: Archive) -> Awaitable[object]:
    return archive.calls[number].run(archive.db)


def _worst(group: list[Measure]) -> list[Measure]:
    """Return the one of a group that grows most, which stands for all of them, and all others that grow too much."""
    most, *others = sorted(group, key=lambda one: one.ratio(one.targets[0].peer), reverse=True)
    if others:
        most.name += f" (grows most of {len(group)})"
    return [most, *(one for one in others if one.ratio(one.targets[0].peer) > _MOST)]


def _named(size: int) -> str:
    return f"at 10^{round(math.log10(size))} files"


@contextmanager
def _archives(directory: Path, sizes: Sequence[int], loop: asyncio.Runner) -> Iterator[dict[int, Archive]]:
    """Run one durable MariaDB with a database of each size, and an ingest on each."""
    database_port, redis_port = pick_free(2)
    database = Running(MariaDB(directory / "mariadb", database_port, "bench-password"))
    redis = Running(RedisServer(directory / "redis", redis_port))
    with ExitStack() as stack:
        for server in (database, redis):
            stack.callback(server.stop)
            server.start()
        clients = AsyncExitStack()
        stack.callback(lambda: loop.run(clients.aclose()))
        archives = {}
        for size in sizes:
            name = f"roadvault_{size}"
            with database.server.connect() as connection, connection.cursor() as cursor:
                cursor.execute(f"CREATE DATABASE {name} CHARACTER SET utf8mb4")
            url = database.server.url(name)
            migrate(url)
            base = stack.enter_context(_ingest(directory / name, url, redis.server.url()))
            archives[size] = loop.run(_filled(clients, size, url, base))
        yield archives


@contextmanager
def _ingest(data_dir: Path, database_url: str, redis_url: str) -> Iterator[str]:
    """Run an ingest; give its URL."""
    data_dir.mkdir()
    (port,) = pick_free(1)
    environment = {
        "ROADVAULT_DATABASE_URL": database_url,
        "ROADVAULT_REDIS_URL": redis_url,
        "ROADVAULT_DATA_DIR": str(data_dir),
        "ROADVAULT_HTTP_PORT": str(port),
    }
    with process([str(Path(sys.executable).with_name("roadvault-ingest"))], port, environment):
        yield f"http://{HOST}:{port}"


async def _filled(clients: AsyncExitStack, size: int, url: str, base: str) -> Archive:
    db = await clients.enter_async_context(Database.open(url, size=1))
    http = await clients.enter_async_context(aiohttp.ClientSession(base))
    filled = await fill(db, size)
    calls = [*statements.sweeps(), *statements.status(filled), *statements.of_a_row(filled)]
    return Archive(filled, db, http, calls)
