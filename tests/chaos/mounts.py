"""Small disks: file systems that nobody sees but the processes of one mount namespace."""

import os
import subprocess
from pathlib import Path
from tempfile import gettempdir


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


def unmount(path: Path) -> None:
    """Unmount it, so that the directory can be removed; what still uses it keeps it until then."""
    subprocess.run(["umount", "--lazy", str(path)], capture_output=True, check=False)
