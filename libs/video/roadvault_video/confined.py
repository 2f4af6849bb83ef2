"""The job that tries what no job may do, and notes what was not refused: nothing, where the sandbox is one."""

import mmap
import os
import socket
from collections.abc import Callable

from roadvault_video.child import Out, Video

_RUNNABLE = mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC
_TRIES: dict[str, Callable[[], object]] = {
    "open files": lambda: os.open("/", os.O_RDONLY),
    "open sockets": socket.socket,
    "start processes": lambda: os.fork() or os._exit(0),
    "run programs": lambda: os.execv("/nothing", ["nothing"]),  # noqa: S606
    "send signals": lambda: os.kill(os.getppid(), 0),
    "run what it writes": lambda: mmap.mmap(-1, 4096, prot=_RUNNABLE),
}


def run(video: Video, out: Out) -> None:
    """Try."""
    del video
    could = []
    for name, attempt in _TRIES.items():
        try:
            attempt()
        except PermissionError:
            continue
        except OSError:  # refused for another reason than the filter's
            pass
        could.append(name)
    out.note(could=could)
