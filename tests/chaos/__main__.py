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
from collections.abc import Callable
from pathlib import Path

import pymysql
from chaos import report as reports
from chaos.arena import STAGES, Arena
from chaos.books import CHECKS, Books, failed
from chaos.faults import FAULTS, plan
from chaos.load import Load
from chaos.losses import LOSSES, lose
from chaos.mounts import NoMounts, with_own_mounts
from chaos.report import Timeline
from chaos.spoils import spoil_all
from chaos.throws import Throws
from chaos.watch import Watch
from chaos.wiring import ORPHAN_SECONDS
from rich.console import Console

_INSIDE = "CHAOS_INSIDE"
_QUIET_SECONDS = 240
_SETTLE_SECONDS = 20
_TELL_SECONDS = 10
"""Between two words on what is still waited for."""
_HASTENED = {stage: 60 for stage in STAGES if stage != "expire"} | {
    "callback": 3600,
    "report": 3600,
    "fetch": 3600,
    "drop": 600,
}
"""Seconds that pass for a stage's backoffs in each second of waiting for quiet."""

Report = dict[str, object]


async def run(arena: Arena, arguments: argparse.Namespace, timeline: Timeline, report: Report) -> None:
    """Throw the faults, wait for quiet, and add to the report what was done and what the books say."""
    count, seed = arguments.faults, arguments.seed
    names = plan(count, seed)
    async with Load.open(arena.wiring, seed) as load:
        throws = Throws(arena, load, seed, count)
        async with Watch.open(arena) as watch:
            await _throw_and_lose(throws, load, names, timeline)
            load.ended.set()
            load.note_outage()
            timeline.say(f"load ends: {len(load.files)} uploads and {len(load.requests)} requests were accepted")
            wrong = await asyncio.to_thread(arena.ready, 60)
            await load.finish()
            wrong += await _quiet(arena, timeline)

            def books() -> Books:
                return Books(arena, load, throws.findings, count)

            wrong += await _check(books, timeline)
        wrong += watch.changed
        stopped = "stop longer than the lease"
        if stopped in names and not throws.findings.taken_over:
            wrong.append(f"{stopped}: no row of a stopped process was taken over by another")
        report |= reports.figures(arena, load, throws.findings, names, watch.seen)
        timeline.say(f"{len(wrong)} things are wrong" if wrong else "the books are right")
        if arguments.spoil and not wrong:
            wrong += await asyncio.to_thread(spoil_all, arena, load, throws.findings, books, watch, timeline.say)
        report["wrong"] = wrong


async def _throw_and_lose(throws: Throws, load: Load, names: list[str], timeline: Timeline) -> None:
    """Throw half of the faults before each loss: all that follows has to go by what was recovered."""
    numbered = list(enumerate(names, start=1))
    half = len(names) // 2
    for loss, some in zip(LOSSES, (numbered[:half], numbered[half:]), strict=True):
        await _throw_all(throws, some, f"of {len(names)}", timeline)
        timeline.say(f"{loss} …")
        throws.findings.losses.append(await lose(loss, throws.arena, load))
        timeline.say(f"{loss}: {throws.findings.losses[-1]}")


async def _throw_all(throws: Throws, names: list[tuple[int, str]], of: str, timeline: Timeline) -> None:
    try:
        for number, name in names:
            throw = throws.throw(number)
            await asyncio.sleep(throw.dice.uniform(0.1, 0.7))
            timeline.say(f"#{number} {of}  {name} …")
            timeline.say(f"#{number} {of}  {name}: {await FAULTS[name](throw)}")
            for ended in await throws.standing.passed():
                timeline.say(f"{ended}: over")
    finally:
        await throws.standing.end()


async def _quiet(arena: Arena, timeline: Timeline) -> list[str]:
    """Wait until nothing is left to do; backoffs run out faster, and so do the leases of drops whose worker died.

    Return what kept it from becoming quiet.
    """
    deadline = time.monotonic() + _QUIET_SECONDS
    waits, told = "the start", time.monotonic()
    while time.monotonic() < deadline:
        await asyncio.sleep(1)
        if time.monotonic() > told + _TELL_SECONDS:
            timeline.say(f"not quiet yet: {waits}")
            told = time.monotonic()
        try:
            waits = await asyncio.to_thread(_waits_for, arena)
            if not waits:
                timeline.say("quiet")
                return []
            if found := await asyncio.to_thread(failed, arena):
                timeline.say(f"never to be quiet: {found[0]}")
                return [f"not quiet: {waits}"]
            await asyncio.to_thread(_hasten, arena)
        except (OSError, pymysql.Error) as error:
            waits = f"the database: {error}"
    timeline.say(f"not quiet after {_QUIET_SECONDS} s: {waits}")
    return [f"not quiet after {_QUIET_SECONDS} s: {waits}"]


def _hasten(arena: Arena) -> None:
    for stage, seconds in _HASTENED.items():
        arena.pass_time((stage,), seconds, leases=stage == "drop")


def _waits_for(arena: Arena) -> str:
    archives = "SELECT 1 FROM zip_ipfs_info WHERE kind = 'archive' AND"
    counts = {
        "open or unpacked folders": "SELECT 1 FROM folder_info WHERE status <> 2",
        "archives not dropped": f"{archives} (path IS NOT NULL OR dropped_at IS NULL)",
        "archives never proven": f"{archives} zip_id NOT IN"  # noqa: S608 - two constants
        " (SELECT zip_id FROM evidence_info WHERE proven_at IS NOT NULL)",
        "requests under way": "SELECT 1 FROM download_info WHERE status IN (0, 1)",
        "batches under way": "SELECT 1 FROM batch_info WHERE ask_due IS NOT NULL OR report_due IS NOT NULL",
        "orders in flight": "SELECT 1 FROM order_info WHERE in_flight = 1",
    }
    left = {name: len(arena.sql(statement)) for name, statement in counts.items()}
    return ", ".join(f"{count} {name}" for name, count in left.items() if count)


async def _check(books: Callable[[], Books], timeline: Timeline) -> list[str]:
    """Look at the books; what may be on its way at any moment is looked at again for a while."""
    wrong: list[str] = []
    for name in CHECKS:
        found = await asyncio.to_thread(_settled, books, name)
        timeline.say(f"{name}: {'right' if not found else found[0]}")
        wrong += found
    return wrong


def _settled(books: Callable[[], Books], name: str) -> list[str]:
    # A file that no row names is swept a while after it was first seen.
    deadline = time.monotonic() + (2 * ORPHAN_SECONDS if name == "disk" else _SETTLE_SECONDS)
    while True:
        found: list[str] = getattr(books(), name)()
        if not found or time.monotonic() > deadline:
            return found
        time.sleep(0.5)


def main() -> None:
    """Run, and exit with 1 if anything was wrong."""
    parser = argparse.ArgumentParser(prog="chaos", description=__doc__)
    parser.add_argument("--faults", type=int, default=25)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--report", type=Path, help="write what was done and found there, as JSON")
    parser.add_argument("--timeline", type=Path, help="write what happens there, as it happens")
    parser.add_argument("--spoil", action="store_true", help="then spoil each book, to see that it is found out")
    parser.add_argument("--keep", action="store_true", help="keep the stack's data and logs")
    arguments = parser.parse_args()
    if _INSIDE not in os.environ:
        try:
            before = with_own_mounts()
        except NoMounts as error:
            sys.exit(f"chaos: {error}")
        command = [*before, sys.executable, "-m", "chaos", *sys.argv[1:], "--seed", str(arguments.seed)]
        os.execvpe(command[0], command, {**os.environ, _INSIDE: "yes"})  # noqa: S606 - ourselves
    console = Console(width=200)
    seed, count = arguments.seed, arguments.faults
    usual = Path(tempfile.gettempdir(), f"rv-chaos-{seed}-{os.getpid()}.txt")
    timeline = Timeline(console, arguments.timeline or usual)
    timeline.say(f"seed {seed}, {count} faults")
    report: Report = {"seed": seed, "timeline": timeline.lines, "wrong": ["the run did not come to its end"]}
    try:
        _run_in_an_arena(arguments, console, timeline, report)
    finally:
        if arguments.report:
            arguments.report.write_text(json.dumps(report, indent=2, ensure_ascii=False))
        _tell(report, console, timeline, f"make chaos N={count} SEED={seed}")
    sys.exit(1 if report["wrong"] else 0)


def _run_in_an_arena(arguments: argparse.Namespace, console: Console, timeline: Timeline, report: Report) -> None:
    root = Path(tempfile.mkdtemp(prefix="rv-chaos-"))
    with Arena.open(root, console) as arena:
        try:
            asyncio.run(run(arena, arguments, timeline, report))
        finally:
            if report["wrong"] or arguments.keep:
                kept = Path(tempfile.mkdtemp(prefix="rv-chaos-logs-"))
                shutil.copytree(arena.layout.logs, kept, dirs_exist_ok=True)
                timeline.say(f"logs are kept in {kept}")
    if not arguments.keep:
        shutil.rmtree(root, ignore_errors=True)


def _tell(report: Report, console: Console, timeline: Timeline, again: str) -> None:
    """Print what there is to know; the seed, the place of the timeline and how to see it again come last."""
    console.print(reports.table(report))
    wrong = report["wrong"]
    assert isinstance(wrong, list)
    for line in wrong:
        console.print(f"wrong: {line}", markup=False, highlight=False, soft_wrap=True)
    console.print(f"seed {report['seed']}; timeline in {timeline.file}", markup=False, highlight=False, soft_wrap=True)
    if wrong:
        console.print(f"To see it again: {again}", markup=False, highlight=False, soft_wrap=True)
    else:
        console.print("the books are right", markup=False, highlight=False)


if __name__ == "__main__":
    main()
