"""What the chaos run itself stands on: bent clocks that bend nothing else, a plan by its seed, words that are kept."""

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from chaos import __main__ as chaos_main
from chaos.event_faults import is_corrupt
from chaos.faults import FAULTS, plan
from chaos.report import Timeline
from chaos.throws import Throws
from chaos.wiring import bend, bendable

WAIT = 0.1
CLOCKS = f"""
import asyncio, sys, threading, time
for _ in sys.stdin:
    times = [time.monotonic()]
    for wait in (lambda: asyncio.run(asyncio.sleep({WAIT})), lambda: threading.Event().wait({WAIT})):
        wait()
        times.append(time.monotonic())
    print(time.time(), *times, flush=True)
"""


class Probe:
    """A process with a clock that can be bent."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.process = subprocess.Popen(
            [sys.executable, "-c", CLOCKS], env={**os.environ, **bendable(file), "FAKETIME_NO_CACHE": "1"},
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def read(self) -> tuple[float, list[float]]:
        """Return its wall clock's time, and its monotonic clock's readings around two waits."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        wall, *monotonic = map(float, self.process.stdout.readline().split())
        return wall, monotonic


@pytest.fixture
def probe(tmp_path: Path) -> Iterator[Probe]:
    made = Probe(tmp_path / "clock")
    yield made
    with made.process:
        made.process.kill()


def test_a_bent_clock_shifts_the_wall_clock_and_no_other(probe: Probe) -> None:
    drift = [number / 4 for number in range(1, 4)]
    for shift in (0, 3600, -3600, 31_536_000, -86_400, *drift, *(-step for step in drift), 0):
        bend(probe.file, shift)
        waits = []
        for _ in range(5):  # of a busy machine the shortest counts
            wall, before = time.time(), time.monotonic()
            bent, readings = probe.read()
            assert wall - 0.01 <= bent - shift <= time.time() + 0.01
            # The monotonic clock is one for all processes: its readings lie between two of ours, in their order.
            assert before <= min(readings)
            assert readings == sorted(readings)
            assert max(readings) <= time.monotonic()
            waits.append(max(ended - began for began, ended in pairwise(readings)))
            assert waits[-1] >= WAIT
            if waits[-1] < 4 * WAIT:
                break
        # A clock at a fifth of its speed, as an earlier version set it, made every wait five times as long.
        assert min(waits) < 4 * WAIT, shift


def test_each_kind_of_fault_comes_in_a_short_run_and_the_order_is_the_seeds() -> None:
    for seed in range(20):
        assert set(plan(25, seed)) == set(FAULTS)
        assert plan(25, seed) == plan(25, seed)
        assert plan(25, seed) != plan(25, seed + 1)
    assert len(plan(500, 7)) == 500


def test_no_fault_changes_the_dice_of_the_next() -> None:
    nothing: Any = SimpleNamespace(proxies=SimpleNamespace(names=["one", "two"]))

    def third(drawn: int) -> float:
        throws = Throws(nothing, nothing, 5, 25)
        [throws.throw(number).dice.random() for number in (1, 2) for _ in range(drawn)]
        return throws.throw(3).dice.random()

    assert third(0) == third(7) == random.Random("5/3").random()


@pytest.mark.parametrize(
    ("body", "corrupt"),
    [
        (b'{"file_id": 1, "folder_id": 2}', False),
        (b'{"file_id": -1, "folder_id": 99999999999999999999999, "more": [1]}', False),
        (b'{"file_id": 1}', True),
        (b'{"file_id": 1, "folder_id": null}', True),
        (b"\xff\xfe\x00", True),
        (b"[]", True),
        (b"", True),
    ],
)
def test_which_events_have_to_come_to_the_dead_letters(body: bytes, corrupt: bool) -> None:  # noqa: FBT001
    assert is_corrupt("file.received", {b"event": body}) is corrupt


def test_a_run_that_breaks_off_still_says_how_to_see_it_again(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def break_off(_arguments: object, _console: object, timeline: Timeline, _report: object) -> None:
        timeline.say("#1 of 25  kill a service …")
        raise AssertionError("toxiproxy: 500")

    report, timeline = tmp_path / "report.json", tmp_path / "timeline.txt"
    monkeypatch.setattr(chaos_main, "_run_in_an_arena", break_off)
    monkeypatch.setenv("CHAOS_INSIDE", "yes")
    monkeypatch.setattr(sys, "argv", ["chaos", "--seed", "7", "--report", str(report), "--timeline", str(timeline)])
    with pytest.raises(AssertionError, match="toxiproxy"):
        chaos_main.main()
    last = capsys.readouterr().out.splitlines()[-2:]
    assert last == [f"seed 7; timeline in {timeline}", "To see it again: make chaos N=25 SEED=7"]
    assert "kill a service" in timeline.read_text()
    assert "kill a service" in json.loads(report.read_text())["timeline"][-1]
