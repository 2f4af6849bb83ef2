"""What one database carries of all stores together: a server, and a cluster of three, with 1, 2, 4 and 8 stores' work.

The stores' disks cost nothing (`shared_store.py`), so that only the shared part counts.
"""

import json
import shutil
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bench.measure import OURS, Measure, Target
from bench.shared_store import FILES
from free_ports import pick_free
from servers_process import Running

from roadvault_common.sql.migrate import migrate
from roadvault_stack.galera import NODES, GaleraNode, GaleraPorts
from roadvault_stack.mariadb import MariaDB
from roadvault_stack.ports import HOST

STORES, QUICK_STORES = (1, 2, 4, 8), (1, 4)
UPLOADS, ARCHIVES = 170.0, 1.0
"""A second, of 100 stores with 100 cameras each: 10 000 at 4 Mbit/s, in files of 60 s and 30 MB."""
_SPARE = 3.0
"""Two thirds of what the database carries are to be spare."""
_PASSWORD = "bench-password"


def measure(directory: Path, stores: tuple[int, ...], seconds: float, runs: int) -> list[Measure]:
    """Have so many stores work at once for so long, at a server and at a cluster in turns."""
    found: list[Measure] = []
    with ExitStack() as stack:
        urls = {
            OURS: stack.enter_context(_server(directory)),
            "Galera, 3 nodes": stack.enter_context(_galera(directory)),
        }
        needed = f"{UPLOADS * _SPARE:.0f} uploads/s"
        for count in stores:
            uploads = Measure(
                f"shared: uploads recorded, with {FILES} of each archive all the way, {count} stores",
                "uploads/s", more_is_better=True, targets=[Target(needed, 1)],
            )  # fmt: skip
            waits = Measure(f"shared: an upload's transaction, {count} stores", "ms", more_is_better=False, targets=[])
            for _ in range(runs):
                uploads.add(needed, UPLOADS * _SPARE)
                for who, url in urls.items():
                    told = _run(url, count, seconds)
                    uploads.add(who, sum(one["uploads"] for one in told))
                    waits.add(who, statistics.median(one["upload_ms"] for one in told))
            found += [uploads, waits]
    shutil.rmtree(directory)
    return found


def _run(url: str, stores: int, seconds: float) -> list[dict[str, float]]:
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "bench.shared_store", url, f"store-{number}", str(seconds)],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
        )
        for number in range(stores)
    ]  # fmt: skip
    told = [json.loads(process.communicate()[0].strip().splitlines()[-1]) for process in processes]
    if any(process.returncode for process in processes):
        raise RuntimeError("a store did not come to its end")
    return told


@contextmanager
def _server(directory: Path) -> Iterator[str]:
    running = Running(MariaDB(directory / "mariadb", pick_free(1)[0], _PASSWORD))
    running.start()
    try:
        migrate(running.server.url())
        yield running.server.url()
    finally:
        running.stop()


@contextmanager
def _galera(directory: Path) -> Iterator[str]:
    size = len(GaleraPorts._fields)
    ports = pick_free(NODES * size)
    groups = [GaleraPorts(*ports[number * size : (number + 1) * size]) for number in range(NODES)]
    for above in (directory, directory.parent):
        above.chmod(0o711)
    nodes = [
        Running(GaleraNode(directory / "cluster" / f"galera-{number}", number, groups, _PASSWORD))
        for number in range(NODES)
    ]
    with ExitStack() as stack:
        for node in nodes:
            stack.callback(node.stop)
            node.start()
        hosts = ",".join(f"{HOST}:{one.clients}" for one in groups)
        url = nodes[0].server.url().replace(f"{HOST}:{groups[0].clients}", hosts)
        migrate(url)
        yield url
