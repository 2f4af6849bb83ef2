"""What uploads and packing lose while videos are looked at beside them: all share a machine.

`PYTHONPATH=tests .venv/bin/python -m bench.looking` measures looks that are made one after the other, and then looks as
they are made on a busy machine, some seconds apart.
"""

import asyncio
import os
import shutil
import sys
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from statistics import harmonic_mean
from tempfile import TemporaryDirectory

from bench.measure import OURS, Measure, Target, take_turns, timed
from bench.pack import _members, _pack, _read
from bench.uploads import _by_curl, _crowd, ingest, process
from cryptography.fernet import Fernet
from free_ports import pick_free
from servers_process import Running

from roadvault_common.sql.db import Database
from roadvault_stack.demo.videos import make
from roadvault_stack.ports import HOST
from roadvault_stack.redis_server import Redis as RedisServer

BESIDE = "nothing looks"
_VIDEOS = 1000
_VIDEO_BYTES = 20_000_000


_UNBRAKED = "import os; os.getloadavg = lambda: (0, 0, 0); from roadvault_retriever.__main__ import main; main()"


def measure(directory: Path, total_bytes: int, small: int, runs: int, *, braked: bool, seconds: float) -> list[Measure]:
    """Upload one large file, many small ones, and pack; each with and without looks at videos of 20 MB.

    A run goes on for so many `seconds`, since looks come now and then. Unless they are `braked` they are made one after
    the other, though the machine is busy.
    """
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
        code = "from roadvault_retriever.__main__ import main; main()" if braked else _UNBRAKED
        stack.enter_context(process([sys.executable, "-c", code], port, environment))

        def both(run: Callable[[], float]) -> dict[str, Callable[[], float]]:
            def looking(due: str) -> Callable[[], float]:
                def begun() -> float:
                    asyncio.run(_turn(database_url, due, waits=not braked))
                    figures = list[float]()
                    with timed() as passed:
                        while not figures or passed() < seconds:
                            figures.append(run())
                    return harmonic_mean(figures)

                return begun

            return {OURS: looking("UTC_TIMESTAMP(6)"), BESIDE: looking("NULL")}

        source = directory / "large"
        source.write_bytes(os.urandom(1_000_000) * (total_bytes // 1_000_000))
        with ThreadPoolExecutor(1) as pool:
            arguments = ["-T", str(source), f"{url}/api/open/upload/a.mp4"]
            uploading = _by_curl(pool, 1, total_bytes, lambda _: arguments, directory / "none", fsync=False)
            measures = [
                _taken("upload of a large file", "MB/s", both(uploading), runs),
                _taken(
                    "uploads of 100 KB",
                    "files/s",
                    both(lambda: asyncio.run(_crowd(f"{url}/api/open/upload", small))),
                    runs,
                ),
                _taken("pack + encrypt, warm", "MB/s", both(_packing(directory, total_bytes)), runs),
            ]
        looked = asyncio.run(_looked(database_url))
        measures[0].note = f"{looked} looks in all"
    return measures


def _taken(name: str, unit: str, contenders: dict[str, Callable[[], float]], runs: int) -> Measure:
    result = Measure(f"{name}, while videos are looked at", unit, more_is_better=True, targets=[Target(BESIDE, 0.95)])
    take_turns(result, contenders, runs)
    return result


def _packing(directory: Path, total_bytes: int) -> Callable[[], float]:
    source, out = directory / "source", directory / "out"
    members = _members(source, total_bytes)

    def run() -> float:
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir()
        os.sync()
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
        for number in range(_VIDEOS):
            path = f"received/00/{uuid.uuid4().hex}"
            (data_dir / path).hardlink_to(video)
            await db.execute(
                "INSERT INTO file_upload_info (file_name, file_type, size, sha256, path, folder_id, status,"
                " create_time) VALUES (%s, 'mp4', %s, '', %s, 1, 0, '2020-01-01')",
                (f"{number}.mp4", video.stat().st_size, path),
            )
        await db.execute("INSERT INTO video_info (file_id) SELECT file_id FROM file_upload_info")


async def _turn(database_url: str, due: str, *, waits: bool) -> None:
    """Have all videos be due, or none, and wait until that has come about."""
    async with Database.open(database_url) as db:
        await db.execute(f"UPDATE video_info SET look_due = {due} WHERE look_token IS NULL")  # noqa: S608
        question = "SELECT COUNT(*) FROM video_info WHERE look_token IS NOT NULL"
        while (waits or due == "NULL") and bool(await db.fetch_value(question)) != (due != "NULL"):
            await asyncio.sleep(0.1)
    time.sleep(0.5)  # noqa: ASYNC251


async def _looked(database_url: str) -> int:
    async with Database.open(database_url) as db:
        return int(await db.fetch_value("SELECT COUNT(*) FROM video_info WHERE looked_at IS NOT NULL"))


def main(runs: int = 5, total_bytes: int = 500_000_000, small: int = 1000, seconds: float = 20) -> None:
    """Print what each run came to."""
    for braked in (False, True):
        with TemporaryDirectory() as directory:
            for one in measure(Path(directory), total_bytes, small, runs, braked=braked, seconds=seconds):
                runs_of = {name: [round(run, 1) for run in found] for name, found in one.runs.items()}
                print(one.name, "(braked)" if braked else "", one.unit, runs_of, one.verdict(BESIDE), one.note)  # noqa: T201


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
