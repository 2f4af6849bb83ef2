"""A short run of three stores on a cluster: each kind of fault, then a lost store."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from chaos.stores import FAULTS

_SECONDS = 540


@pytest.mark.timeout(_SECONDS + 60)
def test_what_is_lost_with_a_store_is_what_its_report_lists_and_nothing_else_goes_wrong(tmp_path: Path) -> None:
    report, output = tmp_path / "report.json", tmp_path / "output.txt"
    arguments = ["--faults", len(FAULTS), "--seed", 1, "--report", report]
    try:
        with output.open("wb") as out:
            done = subprocess.run(
                [sys.executable, "-m", "chaos.stores", *map(str, arguments)],
                env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
                stdin=subprocess.DEVNULL, stdout=out, stderr=out, timeout=_SECONDS, check=False,
            )  # fmt: skip
        found = json.loads(report.read_text())
        assert (done.returncode, found["wrong"]) == (0, [])
        assert set(found["faults"]) == set(FAULTS)
        assert found["files"] > 20
    finally:
        sys.stdout.write(output.read_text(errors="replace")[-8000:] if output.exists() else "it did not begin")
