"""A long run of small things: memory and open files must stay flat, a long queue must be worked off in order.

`make soak` runs 100 000 due rows, 100 000 events and 10 000 files on servers of its own, and prints a table.
"""

import asyncio
import os
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import aiohttp
from cryptography.fernet import Fernet
from pydantic import SecretStr
from redis.asyncio import Redis
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from servers_process import Running
from servers_services import Service

from roadvault_common.bus import Bus
from roadvault_common.db import Database
from roadvault_common.events import FileReceived
from roadvault_common.lease import EXPIRE, Lease
from roadvault_common.migrate import migrate
from roadvault_common.outcome import Done, Outcome
from roadvault_common.stage import Worker
from roadvault_stack.mariadb import MariaDB
from roadvault_stack.ports import pick_free
from roadvault_stack.redis_server import Redis as RedisServer

AT_ONCE = 16
_WARM = 0.2
"""The share of a run after which a process is as large as it gets, but for connections in its pool (32 at most)."""
_GROWTH, _GROWTH_BYTES, _GROWTH_FILES = 1.2, 8_000_000, 40


@dataclass
class Reading:
    """What a process uses: memory in bytes, open files."""

    memory: int
    files: int

    @classmethod
    def of(cls, pid: int) -> "Reading":
        status = Path(f"/proc/{pid}/status").read_text()
        return cls(int(status.split("VmRSS:")[1].split()[0]) * 1024, len(list(Path(f"/proc/{pid}/fd").iterdir())))


@dataclass
class Result:
    """One part of the soak; `warm` and `end` are readings of the process under test."""

    name: str
    count: int
    seconds: float
    warm: Reading
    end: Reading

    def leaks(self) -> list[str]:
        """Return what grew after the process was warm."""
        wrong = []
        if self.end.memory > self.warm.memory * _GROWTH + _GROWTH_BYTES:
            wrong.append(f"{self.name}: memory grew from {self.warm.memory} to {self.end.memory} bytes")
        if self.end.files > self.warm.files + _GROWTH_FILES:
            wrong.append(f"{self.name}: open files grew from {self.warm.files} to {self.end.files}")
        return wrong


async def rows(db: Database, bus: Bus, count: int, tick: Callable[[int], None]) -> tuple[Result, list[str]]:
    """Work off `count` due rows, and now and then a new one that an event brings."""
    base = "SELECT seq, 'http://c/', UTC_TIMESTAMP(6) - INTERVAL (%s - seq) SECOND FROM seq_1_to_"
    await db.execute(f"INSERT INTO download_info (file_id, cb_url, expire_due) {base}{count}", (count + 10,))
    order: list[int] = []
    waits: list[float] = []
    readings: list[Reading] = []
    done = asyncio.Event()

    async def do(lease: Lease) -> Outcome:
        order.append(lease.row_id)
        tick(1)
        if len(order) >= _WARM * count and not readings:
            readings.append(Reading.of(os.getpid()))
        if len(order) >= count:
            done.set()
        return Done()

    worker = Worker(EXPIRE, do, db, bus, lease_seconds=60, concurrency=AT_ONCE)

    async def newcomers() -> None:
        while not done.is_set():
            new = await db.transact(
                lambda tx: tx.insert(
                    "INSERT INTO download_info (file_id, cb_url, expire_due) VALUES (0, '', UTC_TIMESTAMP(6))"
                )
            )
            started = time.monotonic()
            await worker.work(new)
            waits.append(time.monotonic() - started)
            await asyncio.sleep(0.2)

    started = time.monotonic()
    async with asyncio.TaskGroup() as group:
        group.create_task(worker.sweep(done, 5))
        group.create_task(newcomers())
    seconds = time.monotonic() - started
    old = [row_id for row_id in order if row_id <= count]
    wrong = []
    # A claim that the server answers late lets others pass; nobody is left behind for long.
    late = sorted(abs(place - row_id) for place, row_id in enumerate(old, start=1))
    if late[int(0.99 * len(late))] > 4 * AT_ONCE or late[-1] > 50 * AT_ONCE:
        wrong.append(f"rows: not in the order in which they came due, off by up to {late[-1]} places")
    if max(waits) > 2:
        wrong.append(f"rows: a new row waited {max(waits):.1f} s behind the queue")
    return Result("rows due", count, seconds, readings[0], Reading.of(os.getpid())), wrong


async def events(packer: Service, redis_url: str, count: int, tick: Callable[[int], None]) -> Result:
    """Send `count` events, and wait until the packer has read and acknowledged them."""
    redis = Redis.from_url(redis_url)
    assert packer.process is not None
    started, warm = time.monotonic(), None
    try:
        body = FileReceived(file_id=1, folder_id=999_999_999).model_dump_json()
        for sent in range(0, count, 500):
            async with redis.pipeline(transaction=False) as pipe:
                for _ in range(min(500, count - sent)):
                    pipe.xadd("file.received", {"event": body})
                await pipe.execute()
            await _caught_up(redis, 2000)
            tick(500)
            if warm is None and sent >= _WARM * count:
                warm = Reading.of(packer.process.pid)
        await _caught_up(redis, 0)
    finally:
        await redis.aclose()
    end = Reading.of(packer.process.pid)
    return Result("events (packer)", count, time.monotonic() - started, warm or end, end)


async def _caught_up(redis: Redis, behind: int) -> None:
    async with asyncio.timeout(120):
        while True:
            (group,) = await redis.xinfo_groups("file.received")
            if (group["lag"] or 0) + group["pending"] <= behind:
                return
            await asyncio.sleep(0.02)


async def files(ingest: Service, packer: Service, count: int, tick: Callable[[int], None]) -> list[Result]:
    """Upload `count` small files; ingest records them, packer packs them."""
    assert ingest.process is not None
    assert packer.process is not None
    pids = {"files (ingest)": ingest.process.pid, "files (packer)": packer.process.pid}
    numbers, taken = iter(range(count)), 0
    warm: dict[str, Reading] = {}
    started = time.monotonic()

    async def client(http: aiohttp.ClientSession) -> None:
        nonlocal taken
        for _ in numbers:
            form = aiohttp.FormData()
            form.add_field("filename", "a.mp4")
            form.add_field("file", os.urandom(10_000), filename="a.mp4")
            async with http.post(f"{ingest.url}/api/open/upload", data=form) as response:
                assert response.status == 200, await response.text()
            taken += 1
            tick(1)
            if not warm and taken >= _WARM * count:
                warm.update({name: Reading.of(pid) for name, pid in pids.items()})

    async with aiohttp.ClientSession() as http:
        await asyncio.gather(*(client(http) for _ in range(AT_ONCE)))
    seconds = time.monotonic() - started
    return [Result(name, count, seconds, warm[name], Reading.of(pid)) for name, pid in pids.items()]


async def soak(
    database_url: str, redis_url: str, service: Callable[..., Service], counts: tuple[int, int, int], progress: Progress
) -> tuple[list[Result], list[str]]:
    """Run the three parts; return what they used, and what is wrong."""
    how_many_rows, how_many_events, how_many_files = counts

    def ticker(name: str, total: int) -> Callable[[int], None]:
        task = progress.add_task(name, total=total)
        return lambda amount: progress.advance(task, amount)

    async with Database.open(database_url, size=AT_ONCE) as db, Bus.open(SecretStr(redis_url), "soak") as bus:
        worked, wrong = await rows(db, bus, how_many_rows, ticker("rows due", how_many_rows))
    ingest, packer = service("ingest", folder_files=200), service("packer")
    results = [worked]
    begin: list[Callable[[], Awaitable[None]]] = [ingest.start, packer.start]
    for start in begin:
        await start()
    results.append(await events(packer, redis_url, how_many_events, ticker("events", how_many_events)))
    results += await files(ingest, packer, how_many_files, ticker("files", how_many_files))
    return results, wrong + [leak for result in results for leak in result.leaks()]


def show(results: list[Result], console: Console) -> None:
    """Print the table."""
    table = Table("part", "count", "seconds", "a second", "memory warm, MB", "at the end", "files warm", "at the end")
    for result in results:
        table.add_row(
            result.name, f"{result.count:,}", f"{result.seconds:.1f}", f"{result.count / result.seconds:.0f}",
            f"{result.warm.memory / 1e6:.1f}", f"{result.end.memory / 1e6:.1f}",
            str(result.warm.files), str(result.end.files),
        )  # fmt: skip
    console.print(table)


async def _main(root: Path, console: Console) -> list[str]:
    made: list[Service] = []
    with ExitStack() as stack, Progress(console=console) as progress:
        mariadb = Running(MariaDB(root / "mariadb", pick_free(1)[0], "soak-password"))
        redis = Running(RedisServer(root / "redis", pick_free(1)[0]))
        for server in (mariadb, redis):
            stack.callback(server.stop)
            server.start()
        database_url, redis_url = mariadb.server.url(), redis.server.url()
        await asyncio.to_thread(migrate, database_url)
        (root / "data").mkdir()
        common = {
            "ROADVAULT_DATABASE_URL": database_url,
            "ROADVAULT_REDIS_URL": redis_url,
            "ROADVAULT_DATA_DIR": str(root / "data"),
            "ROADVAULT_MASTER_KEYS": Fernet.generate_key().decode(),
            "ROADVAULT_LINK_SECRET": "a secret for signing links",
        }

        def service(name: str, **settings: object) -> Service:
            ports = dict(zip(("http_port", "public_port"), pick_free(2), strict=True))
            own = {f"ROADVAULT_{key.upper()}": str(value) for key, value in {**ports, **settings}.items()}
            made.append(Service(name, {**common, **own}, root / f"{name}.log"))
            return made[-1]

        try:
            results, wrong = await soak(database_url, redis_url, service, (100_000, 100_000, 10_000), progress)
        finally:
            for one in made:
                if one.process is not None:
                    one.process.kill()
                    await one.process.wait()
    show(results, console)
    return wrong


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="rv-soak-") as directory:
        found = asyncio.run(_main(Path(directory), Console(width=140)))
    sys.exit("\n".join(found) or None)
