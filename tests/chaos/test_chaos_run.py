"""A short chaos run: every kind of fault once and a few more. `make chaos N=500` is the long one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

FAULTS, SEED = 25, 1


@pytest.mark.timeout(900)
def test_the_books_are_right_after_all_that_went_wrong(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    done = subprocess.run(
        [sys.executable, "-m", "chaos", "--faults", str(FAULTS), "--seed", str(SEED), "--report", report],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
        stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{done.stdout[-6000:]}\n{done.stderr[-3000:]}"
    assert "the books are right" in done.stdout
