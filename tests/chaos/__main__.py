"""The chaos run: the whole stack under load, one fault after another, and at the end the books.

`make chaos N=500 SEED=7`. The seed decides which faults come, in which order and how hard; a failure prints it, with
the timeline. The run puts itself into a mount namespace of its own, for the small disks that it fills.
"""

import argparse
import asyncio
import json
import os
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import pymysql
from chaos.arena import ORPHAN_SECONDS, STAGES, Arena
from chaos.books import Books
from chaos.faults import Faults, plan
from chaos.load import Load
from chaos.watch import Watch
from rich.console import Console

_INSIDE = "ROADVAULT_CHAOS_INSIDE"
_QUIET_SECONDS = 240
_SETTLE_SECONDS = 20
_HASTENED = tuple(stage for stage in STAGES if stage != "expire")
_PASSES_SECONDS = 60


class Timeline:
    """What happened when, for the console and for whoever has to find out why."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._start = time.monotonic()
        self.lines: list[str] = []

    def say(self, text: str) -> None:
        line = f"{time.monotonic() - self._start:8.1f} s  {text}"
        self.lines.append(line)
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)


async def run(arena: Arena, count: int, seed: int, timeline: Timeline) -> dict[str, object]:
    """Throw `count` faults, wait for quiet, and return what was done and what the books say."""
    async with Load.open(arena.settings.ingest_port, seed) as load:
        faults = Faults(arena, load, seed)
        async with Watch.open(arena) as watch:
            names = plan(count, seed)
            for number, name in enumerate(names, start=1):
                await asyncio.sleep(faults.dice.uniform(0.1, 0.7))
                timeline.say(f"#{number} of {count}  {name} …")
                timeline.say(f"#{number} of {count}  {name}: {await faults.throw(name)}")
            load.ended.set()
            timeline.say(f"load ends: {len(load.files)} uploads and {len(load.requests)} requests were accepted")
            late = await asyncio.to_thread(arena.ready, 60)
            await _quiet(arena, timeline)
            wrong = late + await _check(arena, load, timeline)
        wrong += watch.changed
        timeline.say(f"{len(wrong)} things are wrong" if wrong else "the books are right")
        return {
            "seed": seed,
            "faults": dict(Counter(names).most_common()),
            "uploads": len(load.files),
            "bytes": sum(file.size for file in load.files.values()),
            "requests": len(load.requests),
            "callbacks": dict(load.receiver.calls),
            "refused": dict(load.refused.most_common()),
            "archives": len(arena.sql("SELECT zip_id FROM zip_ipfs_info")),
            "wrong": wrong,
        }


async def _quiet(arena: Arena, timeline: Timeline) -> None:
    """Wait until nothing is left to do; backoffs and leases of the dead run out sixty times as fast."""
    deadline = time.monotonic() + _QUIET_SECONDS
    waits = "the start"
    while time.monotonic() < deadline:
        await asyncio.sleep(1)
        try:
            await asyncio.to_thread(arena.pass_time, _HASTENED, _PASSES_SECONDS, leases=True)
            waits = await asyncio.to_thread(_waits_for, arena)
        except (OSError, pymysql.Error) as error:
            waits = f"the database: {error}"
        if not waits:
            timeline.say("quiet")
            return
    timeline.say(f"not quiet after {_QUIET_SECONDS} s: {waits}")


def _waits_for(arena: Arena) -> str:
    counts = {
        "open or unpacked folders": "SELECT 1 FROM folder_info WHERE status <> 2",
        "archives not dropped": "SELECT 1 FROM zip_ipfs_info WHERE path IS NOT NULL OR dropped_at IS NULL",
        "requests under way": "SELECT 1 FROM download_info WHERE status IN (0, 1)",
        "orders in flight": "SELECT 1 FROM order_info WHERE in_flight = 1",
    }
    left = {name: len(arena.sql(statement)) for name, statement in counts.items()}
    return ", ".join(f"{count} {name}" for name, count in left.items() if count)


async def _check(arena: Arena, load: Load, timeline: Timeline) -> list[str]:
    """Look at the books; what may be on its way at any moment is looked at again for a while."""
    wrong: list[str] = []
    for name in ("states", "streams", "uploads", "contents", "archives_and_orders", "payments", "callbacks", "disk"):
        found = await asyncio.to_thread(_settled, arena, load, name)
        timeline.say(f"{name}: {'right' if not found else found[0]}")
        wrong += found
    return wrong


def _settled(arena: Arena, load: Load, name: str) -> list[str]:
    # A file that no row names is swept a while after it was first seen.
    deadline = time.monotonic() + (2 * ORPHAN_SECONDS if name == "disk" else _SETTLE_SECONDS)
    while True:
        found: list[str] = getattr(Books(arena, load), name)()
        if not found or time.monotonic() > deadline:
            return found
        time.sleep(0.5)


def main() -> None:
    """Run, and exit with 1 if anything was wrong."""
    parser = argparse.ArgumentParser(prog="chaos", description=__doc__)
    parser.add_argument("--faults", type=int, default=25)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--report", type=Path, help="write what was done and found there, as JSON")
    parser.add_argument("--keep", action="store_true", help="keep the stack's data and logs")
    arguments = parser.parse_args()
    if _INSIDE not in os.environ:
        # Root needs no user namespace; others get one in which they may mount.
        flags = ["--mount"] if os.getuid() == 0 else ["--user", "--map-root-user", "--mount"]
        command = ["unshare", *flags, sys.executable, "-m", "chaos", *sys.argv[1:], "--seed", str(arguments.seed)]
        os.execvpe(command[0], command, {**os.environ, _INSIDE: "yes"})  # noqa: S606 - ourselves
    console = Console(width=200)
    timeline = Timeline(console)
    timeline.say(f"seed {arguments.seed}, {arguments.faults} faults")
    root = Path(tempfile.mkdtemp(prefix="rv-chaos-"))
    with Arena.open(root, console) as arena:
        report = asyncio.run(run(arena, arguments.faults, arguments.seed, timeline))
        logs = arena.layout.logs
        if report["wrong"] or arguments.keep:
            kept = Path(tempfile.mkdtemp(prefix="rv-chaos-logs-"))
            shutil.copytree(logs, kept, dirs_exist_ok=True)
            timeline.say(f"logs are kept in {kept}")
    if not arguments.keep:
        shutil.rmtree(root, ignore_errors=True)
    summary = json.dumps(report, indent=2, ensure_ascii=False)
    if arguments.report:
        arguments.report.write_text(summary)
    console.print(summary, markup=False, highlight=False, soft_wrap=True)
    if report["wrong"]:
        console.print(f"To see it again: make chaos N={arguments.faults} SEED={arguments.seed}")
        sys.exit(1)


if __name__ == "__main__":
    main()
