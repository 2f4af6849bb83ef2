"""A short chaos run: each kind of fault and loss, the books, the books spoilt. `make chaos N=500` is the long one."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from chaos.faults import FAULTS
from chaos.losses import LOSSES

COUNT, SEED = 25, 1
"""Enough for each kind of fault once; which connections and processes they hit changes with the seed."""
_SECONDS = 540


@pytest.mark.timeout(_SECONDS + 60)
def test_the_books_are_right_after_all_that_went_wrong_and_are_found_out_when_they_are_not(tmp_path: Path) -> None:
    report, timeline, output = tmp_path / "report.json", tmp_path / "timeline.txt", tmp_path / "output.txt"
    arguments = ["--faults", COUNT, "--seed", SEED, "--spoil", "--report", report, "--timeline", timeline]
    try:
        with output.open("wb") as out:
            done = subprocess.run(
                [sys.executable, "-m", "chaos", *map(str, arguments)],
                env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
                stdin=subprocess.DEVNULL, stdout=out, stderr=out, timeout=_SECONDS, check=False,
            )  # fmt: skip
        found = json.loads(report.read_text())
        assert (done.returncode, found["wrong"]) == (0, [])
        assert set(found["faults"]) == set(FAULTS)
        assert all(found[loss]["archives"] > 0 for loss in LOSSES)
        assert found["rows that a stopped process lost to another"] > 0
        assert any("things were spoilt, 0 not found out" in line for line in found["timeline"])
    finally:
        # pytest shows this last of all, also when the run took too long: it is what remains when the rest is cut.
        sys.stdout.write(f"{_tail(output)}\n{_tail(timeline)}\nTo see it again: make chaos N={COUNT} SEED={SEED}\n")


def _tail(file: Path) -> str:
    return file.read_text(errors="replace")[-8000:] if file.exists() else f"no {file.name}"
