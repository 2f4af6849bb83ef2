"""What uploads and packing lose while videos are looked at beside them: all share a machine, which does nothing else.

`PYTHONPATH=tests .venv/bin/python -m bench.looking` decides in less than five minutes. Held back, looks are too few for
what they cost to be seen beside how runs differ. So they are made one after the other first, beside each load in turns
with none: that tells the seconds of it that one look costs. Then they are made as they are for people, which tells how
many there are while the load goes on; and so what it loses. What it came to with and without these is shown, too.
"""

import asyncio
import math
import os
import shutil
import statistics
import sys
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from bench.measure import timed
from bench.pack import _members, _pack, _read
from bench.uploads import _by_curl, _crowd, ingest, process
from cryptography.fernet import Fernet
from free_ports import pick_free
from servers_process import Running

from roadvault_common.sql.db import Database, Transaction
from roadvault_stack.demo.videos import make
from roadvault_stack.ports import HOST
from roadvault_stack.redis_server import Redis as RedisServer

_MOST = 0.05
"""Of their speed, that uploads and packing may lose."""
_VIDEOS = 1000
_VIDEO_BYTES = 20_000_000
_CODE = """
import os, sys
from roadvault_retriever.__main__ import main
from roadvault_retriever.looking.machine import Machine
is_busy = Machine.is_busy
Machine.is_busy = lambda self: not os.path.exists(sys.argv[1]) and is_busy(self)
main()
"""
"""The retriever; while there is a certain file it takes the machine for idle."""

Load = Callable[[], float]
"""Works for a moment, and returns its speed."""


class Turn(NamedTuple):
    """A load's speed for so many seconds, and how many looks there were meanwhile."""

    speed: float
    seconds: float
    looks: int


class Verdict(NamedTuple):
    """What a load loses, as parts of its speed."""

    name: str
    without_pause: float
    """While one look follows the other."""
    give_or_take: float
    """Twice the standard error of that."""
    look_seconds: float
    """Of the load, that one look costs."""
    looks_a_minute: float
    """As they are made for people."""
    loss: float
    """By these; at the worst, with what the measurement may be wrong by."""
    seen: float
    """What is seen of it, beside how runs differ."""

    def __str__(self) -> str:
        return (
            f"{self.name}: {'under' if self.loss < _MOST else 'NOT under'} {_MOST:.0%}: loses at most {self.loss:.2%}."
            f" Looks one after the other cost {self.without_pause:.1%} ± {self.give_or_take:.1%}, a look"
            f" {1000 * self.look_seconds:.0f} ms; held back there are {self.looks_a_minute:.1f} a minute"
            f" (seen directly: {self.seen:+.1%})"
        )


class Bench:
    """Has looks made or not, beside loads."""

    def __init__(self, database_url: str, unbraked: Path) -> None:
        self._database_url = database_url
        self._unbraked = unbraked

    def measure(self, name: str, load: Load, seconds: float) -> Verdict:
        """See what a load loses, in about twice so many seconds."""
        load()  # warm
        self._unbraked.touch()
        with_looks, without = self._turns(load, seconds / 20, 6)
        self._unbraked.unlink()
        held_back, beside = self._turns(load, seconds / 2, 1)
        loss, error = _lost(with_looks, without)
        looks = sum(turn.looks for turn in with_looks)
        each = sum(turn.seconds for turn in with_looks) / max(looks, 1)
        rate = max(sum(turn.looks for turn in held_back), 1) / sum(turn.seconds for turn in held_back)
        worst = max(loss + 2 * error, 0) * each * rate
        seen, _ = _lost(held_back, beside)
        return Verdict(name, loss, 2 * error, loss * each, 60 * rate, worst, seen)

    def _turns(self, load: Load, seconds: float, turns: int) -> tuple[list[Turn], list[Turn]]:
        """Return turns of so many seconds, with looks and without; the first of a pair is now with, now without."""
        taken: dict[bool, list[Turn]] = {True: [], False: []}
        for number in range(2 * turns):
            looks = number % 4 in {0, 3}
            taken[looks].append(asyncio.run(self._turn(load, seconds, looks=looks)))
        return taken[True], taken[False]

    async def _turn(self, load: Load, seconds: float, *, looks: bool) -> Turn:
        async with Database.open(self._database_url) as db:
            due = "UTC_TIMESTAMP(6)" if looks else "NULL"
            await db.execute(f"UPDATE video_info SET look_due = {due} WHERE look_token IS NULL AND looked_at IS NULL")  # noqa: S608
            while not looks and await db.fetch_value("SELECT COUNT(*) FROM video_info WHERE look_token IS NOT NULL"):
                await asyncio.sleep(0.1)
            await asyncio.sleep(1.5)  # the retriever sees it, and how busy the machine is
            question = "SELECT COUNT(*) FROM video_info WHERE looked_at IS NOT NULL OR look_token IS NOT NULL"
            speeds, before = list[float](), int(await db.fetch_value(question))
            with timed() as passed:
                while not speeds or passed() < seconds:
                    speeds.append(await asyncio.to_thread(load))
            return Turn(statistics.harmonic_mean(speeds), passed(), int(await db.fetch_value(question)) - before)


def _lost(with_looks: list[Turn], without: list[Turn]) -> tuple[float, float]:
    """Return which part of the speed is lost, and its standard error."""
    ratios = [one.speed / other.speed for one, other in zip(with_looks, without, strict=True)]
    error = statistics.stdev(ratios) / math.sqrt(len(ratios)) if len(ratios) > 1 else 1.0
    return 1 - statistics.mean(ratios), error


@contextmanager
def _benches(directory: Path) -> Iterator[tuple[Bench, str]]:
    """Run ingest and a retriever with many videos; give ingest's URL, too."""
    with ExitStack() as stack:
        url, data_dir, database_url = stack.enter_context(ingest(directory))
        port, redis_port = pick_free(2)
        redis = Running(RedisServer(directory / "redis-of-looks", redis_port))
        stack.callback(redis.stop)
        redis.start()
        asyncio.run(_videos(directory, data_dir, database_url))
        environment = {
            "ROADVAULT_DATABASE_URL": database_url,
            "ROADVAULT_REDIS_URL": f"redis://{HOST}:{redis_port}/0",
            "ROADVAULT_DATA_DIR": str(data_dir),
            "ROADVAULT_HTTP_PORT": str(port),
            "ROADVAULT_MASTER_KEYS": Fernet.generate_key().decode(),
            "ROADVAULT_SWEEP_SECONDS": "1",
        }
        unbraked = directory / "unbraked"
        stack.enter_context(process([sys.executable, "-c", _CODE, str(unbraked)], port, environment))
        yield Bench(database_url, unbraked), url


def _packing(directory: Path, total_bytes: int) -> Load:
    source, out = directory / "source", directory / "out"
    members = _members(source, total_bytes)

    def run() -> float:
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir()
        for path in source.iterdir():
            _read(path)
        with timed() as seconds:
            _pack(members, source, out)
        return total_bytes / 1e6 / seconds()

    return run


async def _videos(directory: Path, data_dir: Path, database_url: str) -> None:
    """Put rows of many videos into the database, whose files are one."""
    video = directory / "video.mp4"
    make(video, _VIDEO_BYTES, 1)
    (data_dir / "received/00").mkdir(parents=True, exist_ok=True)
    async with Database.open(database_url) as db:
        paths = [f"received/00/{uuid.uuid4().hex}" for _ in range(_VIDEOS)]
        for path in paths:
            (data_dir / path).hardlink_to(video)

        async def write(tx: Transaction) -> None:
            for path in paths:
                await tx.execute(
                    "INSERT INTO file_upload_info (file_name, file_type, size, sha256, path, folder_id, status,"
                    " create_time) VALUES ('a.mp4', 'mp4', %s, '', %s, 1, 0, '2020-01-01')",
                    (video.stat().st_size, path),
                )
            await tx.execute("INSERT INTO video_info (file_id) SELECT file_id FROM file_upload_info")

        await db.transact(write)


def main(seconds: float = 40, total_bytes: int = 200_000_000, small: int = 500) -> None:
    """Say of each load what it loses, in about twice so many seconds for each; exit with 1 if that may be too much."""
    with TemporaryDirectory() as temporary, ThreadPoolExecutor(1) as pool:
        directory = Path(temporary)
        with _benches(directory) as (bench, url):
            source = directory / "large"
            source.write_bytes(os.urandom(1_000_000) * (total_bytes // 1_000_000))
            arguments = ["-T", str(source), f"{url}/api/open/upload/a.mp4"]
            loads: dict[str, Load] = {
                "uploads of a large file": _by_curl(
                    pool, 1, total_bytes, lambda _: arguments, directory / "none", fsync=False
                ),
                "uploads of 100 KB": lambda: asyncio.run(_crowd(f"{url}/api/open/upload", small)),
                "pack + encrypt, warm": _packing(directory, total_bytes),
            }
            too_much = False
            for name, load in loads.items():
                verdict = bench.measure(name, load, seconds)
                print(verdict, flush=True)  # noqa: T201
                too_much |= verdict.loss >= _MOST
    sys.exit(too_much)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
