"""Where the programs are that RoadVault is measured beside; `make bench` installs what is missing."""

import os
import shutil
import sys
from pathlib import Path

_PLACES = [str(Path(sys.executable).parent), *os.defpath.split(os.pathsep), "/usr/sbin"]


def find(program: str) -> str:
    """Return the path of a program.

    Raises:
        FileNotFoundError: It is not on this machine.
    """
    found = shutil.which(program, path=os.pathsep.join([os.environ.get("PATH", ""), *_PLACES]))
    if found is None:
        raise FileNotFoundError(f"{program} is not on this machine: run `setup/install.sh bench`")
    return found
