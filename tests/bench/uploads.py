"""Uploads, durable before the answer: large ones beside tusd and nginx, small ones beside a bare handler."""

import asyncio
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import aiohttp
from bench.measure import OURS, Measure, Target, take_turns, timed
from bench.pack import sync
from bench.peers import find
from free_ports import accepts, pick_free
from servers_process import Running

from roadvault_common.sql.migrate import migrate
from roadvault_stack.mariadb import MariaDB
from roadvault_stack.ports import HOST
from roadvault_stack.redis_server import Redis as RedisServer

HASHED = "tusd + fsync + SHA-256"
"""What tusd comes to if it does as much as RoadVault, which answers with the hash known and recorded."""
FORM = "RoadVault, multipart"
SMALL_BYTES, SMALL_AT_ONCE = 100_000, 32
_START_SECONDS = 20
_STOP_SECONDS = 10
_NGINX = """\
daemon off;
{user}
pid {home}/nginx.pid;
error_log {home}/error.log;
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_body_temp_path {home}/body;
    client_max_body_size 0;
    server {{
        listen {host}:{port};
        location / {{ root {home}/files; dav_methods PUT; client_body_in_single_buffer on; }}
    }}
}}
"""


@contextmanager
def process(command: list[str], port: int, environment: dict[str, str] | None = None) -> Iterator[None]:
    """Run a server until the block ends; it takes requests on the port by then."""
    running = subprocess.Popen(
        command, env={**os.environ, **(environment or {})}, stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        deadline = time.monotonic() + _START_SECONDS
        while not accepts(port):
            if running.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{command[0]} did not start")
            time.sleep(0.05)
        yield
    finally:
        running.terminate()
        try:
            running.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:  # started where SIGTERM is ignored, it ignores it too
            running.kill()
            running.wait()


@contextmanager
def ingest(directory: Path) -> Iterator[tuple[str, Path, str]]:
    """Run a real ingest on a durable MariaDB; give its URL, its data directory and the database's URL."""
    port, database_port, redis_port = pick_free(3)
    database = Running(MariaDB(directory / "mariadb", database_port, "bench-password"))
    data_dir = directory / "ingest"
    data_dir.mkdir()
    with ExitStack() as stack:
        for server in (database, Running(RedisServer(directory / "redis", redis_port))):
            stack.callback(server.stop)
            server.start()
        migrate(database.server.url())
        environment = {
            "ROADVAULT_DATABASE_URL": database.server.url(),
            "ROADVAULT_REDIS_URL": f"redis://{HOST}:{redis_port}/0",
            "ROADVAULT_DATA_DIR": str(data_dir),
            "ROADVAULT_HTTP_PORT": str(port),
        }
        stack.enter_context(process([str(Path(sys.executable).with_name("roadvault-ingest"))], port, environment))
        yield f"http://{HOST}:{port}", data_dir, database.server.url()


def large(directory: Path, at_once: int, size: int, runs: int, *, tus: bool = False) -> Measure:
    """Upload files of `size` bytes with curl, `at_once` in parallel; figures are MB for each second, all together.

    RoadVault's are forms, or, with `tus`, one request of tus each, as tusd's are; then its own forms are a peer.
    """
    source = directory / "large"
    with source.open("wb") as file:
        for _ in range(size // 1_000_000):
            file.write(os.urandom(1_000_000))
    measure = Measure(
        f"upload of {size / 1e9:g} GB files{' by tus' if tus else ''}, {at_once} at a time, durable before the answer",
        "MB/s",
        more_is_better=True,
        targets=[
            Target("tusd + fsync", 0.8), Target(HASHED, 1.0), Target("nginx PUT + fsync", 0.9), Target(FORM, 0.9),
        ],
    )  # fmt: skip
    tusd_port, nginx_port = pick_free(2)
    tusd_dir, nginx_dir = directory / "tusd", directory / "nginx"
    for path in (tusd_dir, nginx_dir / "files", nginx_dir / "body"):
        path.mkdir(parents=True)
    user = "user root;" if os.getuid() == 0 else ""  # its workers would become another user, who can't write here
    (nginx_dir / "nginx.conf").write_text(_NGINX.format(home=nginx_dir, host=HOST, port=nginx_port, user=user))
    with ExitStack() as stack:
        url, data_dir, _ = stack.enter_context(ingest(directory))
        tusd = [find("tusd"), "-host", HOST, "-port", str(tusd_port), "-upload-dir", str(tusd_dir), "-max-size", "0"]
        stack.enter_context(process(tusd, tusd_port))
        nginx = [find("nginx"), "-p", str(nginx_dir), "-c", str(nginx_dir / "nginx.conf")]
        stack.enter_context(process(nginx, nginx_port))
        pool = stack.enter_context(ThreadPoolExecutor(at_once))

        by_tus = [
            "-X", "POST", "-H", "Tus-Resumable: 1.0.0", "-H", f"Upload-Length: {size}",
            "-H", "Content-Type: application/offset+octet-stream", "-H", "Upload-Metadata: filename YS5tcDQ=",
            "-T", str(source),
        ]  # fmt: skip
        to_tusd = [*by_tus, f"http://{HOST}:{tusd_port}/files"]
        form = ["-F", "filename=a.mp4", "-F", f"file=@{source}", f"{url}/api/open/upload"]

        def ours(arguments: list[str]) -> Callable[[], float]:
            return _by_curl(pool, at_once, size, lambda _: arguments, data_dir / "received", fsync=False)

        contenders = {
            **({OURS: ours([*by_tus, f"{url}/api/open/files"]), FORM: ours(form)} if tus else {OURS: ours(form)}),
            "tusd + fsync": _by_curl(pool, at_once, size, lambda _: to_tusd, tusd_dir, fsync=True),
            HASHED: _by_curl(pool, at_once, size, lambda _: to_tusd, tusd_dir, fsync=True, sha256=True),
            "nginx PUT + fsync": _by_curl(pool, at_once, size,
                lambda number: ["-T", str(source), f"http://{HOST}:{nginx_port}/{number}"],
                nginx_dir / "files", fsync=True,
            ),
        }  # fmt: skip
        take_turns(measure, contenders, runs)
    source.unlink()
    for path in (tusd_dir, nginx_dir, data_dir, directory / "mariadb"):
        shutil.rmtree(path)
    return measure


def _by_curl(
    pool: Executor,
    at_once: int,
    size: int,
    arguments: Callable[[int], list[str]],
    written: Path,
    *,
    fsync: bool,
    sha256: bool = False,
) -> Callable[[], float]:
    """Return a run of parallel curls; with `fsync` and `sha256` what the server wrote is synced and hashed for it."""

    def files() -> list[Path]:
        return [path for path in written.rglob("*") if path.is_file()]

    def together(commands: list[list[str]]) -> None:
        for done in pool.map(lambda each: subprocess.run(each, stdout=subprocess.DEVNULL, check=False), commands):
            done.check_returncode()

    def run() -> float:
        os.sync()
        with timed() as seconds:
            together([[find("curl"), "-sS", "-f", "-o", "/dev/null", *arguments(n)] for n in range(at_once)])
            for path in files() if fsync else []:
                sync(path)
            together([[find("openssl"), "dgst", "-sha256", str(path)] for path in files() if sha256])
        figure = at_once * size / 1e6 / seconds()
        for path in files():
            path.unlink()
        return figure

    return run


def small(directory: Path, count: int, runs: int) -> Measure:
    """Upload 100 KB files, 32 at a time, over kept connections; figures are files for each second."""
    measure = Measure(
        f"upload of 100 KB files, {SMALL_AT_ONCE} at a time, durable, recorded",
        "files/s",
        more_is_better=True,
        targets=[Target("bare handler", 0.8)],
    )
    bare_dir = directory / "bare"
    bare_dir.mkdir()
    (port,) = pick_free(1)
    with ExitStack() as stack:
        url, data_dir, database_url = stack.enter_context(ingest(directory))
        handler = [sys.executable, str(Path(__file__).with_name("bare_handler.py"))]
        stack.enter_context(process([*handler, str(port), str(bare_dir), database_url], port))

        def contender(target: str) -> Callable[[], float]:
            return lambda: asyncio.run(_crowd(target, count))

        bare = f"http://{HOST}:{port}/upload"
        take_turns(measure, {OURS: contender(f"{url}/api/open/upload"), "bare handler": contender(bare)}, runs)
    for path in (bare_dir, data_dir, directory / "mariadb"):
        shutil.rmtree(path)
    return measure


async def _crowd(url: str, count: int) -> float:
    content, numbers = os.urandom(SMALL_BYTES), iter(range(count))

    async def client(http: aiohttp.ClientSession) -> None:
        for _ in numbers:
            form = aiohttp.FormData()
            form.add_field("filename", "a.mp4")
            form.add_field("file", content, filename="a.mp4")
            async with http.post(url, data=form) as response:
                assert response.status == 200, await response.text()
                await response.read()

    connector = aiohttp.TCPConnector(limit=SMALL_AT_ONCE)
    async with aiohttp.ClientSession(connector=connector) as http:
        with timed() as seconds:
            await asyncio.gather(*(client(http) for _ in range(SMALL_AT_ONCE)))
    return count / seconds()
