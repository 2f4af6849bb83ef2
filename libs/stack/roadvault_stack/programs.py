"""Where the server programs are on this machine."""

import os
import shutil
import sys
from pathlib import Path

from roadvault_stack.errors import StackError

# Debian keeps servers in the sbin directories, which an ordinary user's PATH leaves out. `ipfs` is linked
# next to the interpreter by `make setup`, and that one comes first: its version was checked.
_PLACES = (Path(sys.executable).parent, *map(Path, os.defpath.split(os.pathsep)), Path("/usr/sbin"), Path("/sbin"))

_REMEDIES = {
    "ipfs": "run `make setup`, which builds it",
    "mariadbd": "run `make setup`, or install the package mariadb-server",
    "mariadb-install-db": "run `make setup`, or install the package mariadb-server",
    "redis-server": "run `make setup`, or install the package redis-server",
    "setpriv": "install the package util-linux",
}


def find(program: str) -> str:
    """Return the path of a server program, our virtual environment's first.

    Raises:
        StackError: It is not on this machine.
    """
    beside = _PLACES[0] / program
    path = str(beside) if os.access(beside, os.X_OK) else shutil.which(program)
    path = path or shutil.which(program, path=os.pathsep.join(map(str, _PLACES)))
    if path is None:
        remedy = _REMEDIES.get(program, "run `make setup`")
        raise StackError(f"{program} was not found on this machine: {remedy}.")
    return path


def tied_to_parent(command: list[str], signal_name: str) -> list[str]:
    """Wrap a command so that the kernel signals it when the thread that started it ends, however it does.

    That way a runner that is killed outright leaves nothing behind; it has to start its programs from a thread that
    stays. The wrapper replaces itself by the program, so the process id is the program's own.
    """
    return [find("setpriv"), "--pdeathsig", signal_name, "--", *command]
