"""Small disks: file systems that nobody sees but the processes of one mount namespace."""

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from tempfile import gettempdir
from typing import Any

import pytest


class NoMounts(Exception):
    """This machine gives no mount namespace."""


def with_own_mounts() -> list[str]:
    """Return what to put before a command to run it in a mount namespace of its own.

    Raises:
        NoMounts: There is none to be had, as in most containers.
    """
    # Root needs no user namespace; others get one in which they may mount.
    flags = ["--mount"] if os.getuid() == 0 else ["--user", "--map-root-user", "--mount"]
    probe = ["mount", "-t", "tmpfs", "roadvault-chaos", gettempdir()]
    done = subprocess.run(["unshare", *flags, *probe], capture_output=True, text=True, check=False)
    if done.returncode:
        raise NoMounts(
            f"Small disks need a mount namespace with tmpfs, which this machine refuses ({done.stderr.strip()}):"
            " run this as root, in a container only if it was started with --privileged."
        )
    return ["unshare", *flags]


def mount(path: Path, size: int) -> None:
    """Mount a file system of `size` bytes at `path`; nobody outside this mount namespace sees it."""
    path.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "roadvault-chaos", str(path)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert not done.returncode, f"no file system could be mounted at {path}: {done.stderr.strip()}"


async def on_small_disk(module: str, tmp_path: Path, settings: dict[str, str], *arguments: str) -> Any:  # noqa: ANN401 - JSON
    """Run a module that mounts a small disk at ROADVAULT_DATA_DIR and prints a report; return that."""
    try:
        before = with_own_mounts()
    except NoMounts as error:
        raise pytest.fail.Exception(str(error), pytrace=False) from None
    data_dir = tmp_path / "data"
    data_dir.mkdir()
    paths = {"PYTHONPATH": str(Path(__file__).parents[1]), "ROADVAULT_DATA_DIR": str(data_dir)}
    process = await asyncio.create_subprocess_exec(
        *before, sys.executable, "-m", module, *arguments,
        env={**os.environ, **paths, **settings}, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()[-3000:]
    sys.stderr.write(errors.decode()[-3000:])  # shown where the test fails
    return json.loads(out.splitlines()[-1])


def unmount(path: Path) -> None:
    """Unmount it, so that the directory can be removed; what still uses it keeps it until then."""
    subprocess.run(["umount", "--lazy", str(path)], capture_output=True, check=False)
