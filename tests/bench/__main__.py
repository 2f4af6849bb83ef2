"""`make bench` and `make bench-quick`: RoadVault beside what a user would pick instead, in turns, in one run."""

import argparse
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from bench import (
    bookkeeping,
    growth,
    latency,
    line,
    looks,
    pack,
    recover,
    retrieval,
    shared,
    start,
    stream,
    uploads,
    written,
)
from bench.measure import RUNS, Measure, show
from rich.console import Console


def main() -> None:
    """Run the measures, or those that are named, and print the table of ratios."""
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="less of each, in under three minutes")
    parser.add_argument("--only", nargs="*", help="names of measures")
    arguments = parser.parse_args()
    quick = arguments.quick
    runs, fewer = (2, 1) if quick else (RUNS, RUNS)
    large = 200_000_000 if quick else 1_000_000_000
    pack_bytes = 2_000_000_000 if quick else 5_000_000_000
    measures: dict[str, Callable[[Path], Measure | list[Measure]]] = {
        "pack": lambda directory: pack.measure(directory, pack_bytes, fewer, warm=True),
        "pack-cold": lambda directory: pack.measure(directory, pack_bytes, fewer, warm=False),
        "written": lambda directory: written.measure(directory, 100_000_000 if quick else 1_000_000_000, fewer),
        "upload-1": lambda directory: uploads.large(directory, 1, large, runs),
        "upload-4": lambda directory: uploads.large(directory, 4, large // 2 if quick else large, runs),
        "tus-1": lambda directory: uploads.large(directory, 1, large, runs, tus=True),
        "tus-4": lambda directory: uploads.large(directory, 4, large // 2 if quick else large, runs, tus=True),
        "upload-small": lambda directory: uploads.small(directory, 300 if quick else 3000, runs),
        "retrieval": lambda directory: retrieval.measure(
            directory, 200_000_000 if quick else 5_000_000_000, runs, 20 if quick else 200
        ),
        "stream": lambda directory: stream.measure(directory, 100_000_000 if quick else 500_000_000, runs),
        "line": lambda directory: line.measure(directory, 1_000_000_000, runs),
        "events": lambda directory: latency.measure(directory, 200 if quick else 2000, runs),
        "bookkeeping": lambda directory: bookkeeping.measure(directory, 4_000 if quick else 20_000, runs),
        "looks": lambda directory: looks.measure(directory, 500 if quick else 2000, runs),
        "custody": lambda directory: bookkeeping.custody(directory, 4_000 if quick else 20_000, runs),
        "start": lambda directory: start.measure(directory, 1 if quick else runs),
        "recover": lambda directory: recover.measure(directory, 200 if quick else 2000, fewer),
        "shared": lambda directory: shared.measure(
            directory, shared.QUICK_STORES if quick else shared.STORES, 8 if quick else 20, fewer if quick else runs
        ),
        "growth": lambda directory: growth.measure(directory, growth.QUICK_SIZES if quick else growth.SIZES, fewer),
    }
    console = Console(width=150)
    results: list[Measure] = []
    for name, run in measures.items():
        if name not in (arguments.only or measures.keys() - ({"pack-cold", "line", "custody"} if quick else set())):
            continue
        # On the same disk as the checkout, as the data of the local stack is; not in a memory file system.
        directory = Path(tempfile.mkdtemp(prefix=".bench-", dir=Path(__file__).parents[2]))
        try:
            with console.status(f"measuring {name}"):
                found = run(directory)
        finally:
            shutil.rmtree(directory, ignore_errors=True)
        found = found if isinstance(found, list) else [found]
        show(found, console)
        results += found
    if len(results) > 1:
        show(results, console)


if __name__ == "__main__":
    main()
