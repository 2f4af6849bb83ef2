"""Where no small disks can be had, one sentence says so."""

import os
import subprocess
import sys
from pathlib import Path


def test_a_machine_without_mount_namespaces_is_told_so_in_a_sentence() -> None:
    as_root = [] if os.getuid() == 0 else ["unshare", "--user", "--map-root-user"]
    as_in_a_container = ["setpriv", "--bounding-set", "-sys_admin", "--inh-caps", "-sys_admin"]
    done = subprocess.run(
        [*as_root, *as_in_a_container, sys.executable, "-m", "chaos", "--faults", "1"],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
        stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("chaos: Small disks need a mount namespace with tmpfs, which this machine refuses (")
    assert done.stderr.endswith("started with --privileged.\n")
    assert len(done.stderr.splitlines()) == 1
