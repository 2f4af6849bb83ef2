"""The stack's own processes, found and stopped without mistaking anybody else's for them.

Process ids are used again, and a pid file outlives a crash. So every process of a stack carries the stack's data
directory in its environment, which it was started with and can't lose, and is signalled through a handle on that very
process (a pidfd).
"""

import os
import select
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

MARK = "ROADVAULT_STACK"
"""The variable that names the stack a process belongs to."""

_KILL_AFTER_SECONDS = 30


class Found(NamedTuple):
    """A living process of a stack."""

    pid: int
    name: str


def find(root: Path) -> list[Found]:
    """Return the living processes of the stack in this data directory."""
    pids = (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit())
    return [Found(pid, _name(pid)) for pid in pids if pid != os.getpid() and belongs(pid, root)]


def belongs(pid: int, root: Path) -> bool:
    """Tell whether this process lives and is of the stack in this data directory."""
    try:
        environment = Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return False
    return f"{MARK}={root}".encode() in environment.split(b"\0")


def _name(pid: int) -> str:
    """Return the program's name; of a Python program that of its script, since they are all called python."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_text(errors="replace").split("\0")
    except OSError:
        return "a process that has just ended"
    names = [Path(word).name for word in words if word and not word.startswith("-")]
    script = len(names) > 1 and names[0].startswith("python")
    return names[1 if script else 0] if names else "a process without a name"


def ends(pid: int, seconds: float) -> bool:
    """Wait for a process to end, `seconds` at most; tell whether it did."""
    with _handle(pid) as handle:
        return handle is None or bool(select.select([handle], [], [], max(seconds, 0))[0])


def send(pid: int, root: Path, number: signal.Signals) -> None:
    """Signal a process of this stack; nothing happens when it is gone or its id has passed to another."""
    with _handle(pid) as handle:
        if handle is not None and belongs(pid, root):
            signal.pidfd_send_signal(handle, number)


def stop(found: list[Found], root: Path, seconds: float = _KILL_AFTER_SECONDS) -> None:
    """End these processes: politely, and after `seconds` not."""
    for process in found:
        send(process.pid, root, signal.SIGTERM)
    deadline = time.monotonic() + seconds
    for process in found:
        if not ends(process.pid, deadline - time.monotonic()):
            send(process.pid, root, signal.SIGKILL)
            ends(process.pid, seconds)


@contextmanager
def _handle(pid: int) -> Iterator[int | None]:
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        yield None
        return
    try:
        yield handle
    finally:
        os.close(handle)
