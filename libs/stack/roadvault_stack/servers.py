"""The servers that RoadVault stands on, run privately: what they have in common.

`MariaDB`, `Redis` and `Kubo` know how to lay out their data, how they are started and when they answer. Running
them is for others: supervisor in the local stack, a fixture in the tests.
"""

import hashlib
import os
import tempfile
from abc import ABC, abstractmethod
from pathlib import Path

from roadvault_stack.errors import StackError

_SOCKET_BYTES = 100
"""Linux takes 107 bytes for the path of a Unix socket; supervisor adds a suffix of its own while it binds."""


class Server(ABC):
    """One server with its data in one directory of its own, `home`."""

    name: str

    def __init__(self, home: Path) -> None:
        self.home = home

    @property
    @abstractmethod
    def ports(self) -> tuple[int, ...]:
        """The ports on 127.0.0.1 that it listens on."""

    @abstractmethod
    def prepare(self) -> None:
        """Create the data at the first time, and write the configuration at each; to be called while it is down."""

    @abstractmethod
    def command(self) -> list[str]:
        """Return the program and its arguments; it stays in the foreground and ends upon SIGTERM."""

    def environment(self) -> dict[str, str]:
        """Return the variables that it needs on top of the inherited ones."""
        return {}

    @abstractmethod
    def answers(self) -> bool:
        """Tell whether it takes requests now."""


def private_file(path: Path, text: str) -> None:
    """Write a file that only its owner may read, whole or not at all."""
    fresh = path.with_name(f".{path.name}.new")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)


def socket_path(path: Path) -> Path:
    """Return the path if a Unix socket can have it, else one in a private directory under the system's temporary.

    Raises:
        StackError: That directory belongs to another user.
    """
    if len(os.fsencode(path)) <= _SOCKET_BYTES:
        return path
    directory = Path(tempfile.gettempdir()) / f"roadvault-{os.getuid()}"
    directory.mkdir(mode=0o700, exist_ok=True)
    if directory.is_symlink() or directory.stat().st_uid != os.getuid():
        raise StackError(f"{directory} belongs to another user: set ROADVAULT_LOCAL_DIR to a shorter path.")
    return directory / hashlib.sha256(os.fsencode(path)).hexdigest()[:16]
