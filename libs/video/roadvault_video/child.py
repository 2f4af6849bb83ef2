"""The process in which a job parses a video; `sandbox.py` starts it and answers it.

It loads what the job needs, gives up all that it could do, and only then reads the first byte. A job is a module with
`run(video, out, **args)`; what it needs it imports at its top, as later nothing can be opened.

On the way out a frame is a letter, the length, and as many bytes: `B` says that it begins, `R` asks for bytes of the
video (offset, size), `N` is a note in JSON, `D` are data, `E` is the end, `F` an error in words. On the way in there is
a length with as many bytes, for each `R`.
"""

import ctypes
import importlib
import io
import json
import math
import os
import resource
import struct
import sys
import time
from contextlib import suppress

from roadvault_video import seccomp

FRAME = struct.Struct(">cI")
ASK = struct.Struct(">QI")
LENGTH = struct.Struct(">I")
MOST = 1 << 20
"""Bytes in a frame, and in an answer."""
NOTE_MOST = 1 << 16
"""Bytes in a note."""
UNCONFINED = 3
"""The exit status of a child that could not give up what it could do."""
_IN, _OUT = 0, 1
_DIES_WITH_PARENT, _KILL = 1, 9
_WORDS = 300
_AVSEEK_SIZE = 0x10000
"""FFmpeg asks for the size."""


class Video(io.RawIOBase):
    """The video, as FFmpeg reads files; the parent has the bytes."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._at = 0

    def readable(self) -> bool:
        """Tell that it is."""
        return True

    def seekable(self) -> bool:
        """Tell that it is."""
        return True

    def tell(self) -> int:
        """Return where the next byte is read."""
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go on elsewhere."""
        if whence == _AVSEEK_SIZE:
            return self.size
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self.size}[whence]
        if start + offset < 0:
            raise ValueError("before the beginning")
        self._at = start + offset
        return self._at

    def read(self, size: int | None = -1) -> bytes:
        """Return as many bytes as one answer has."""
        left = max(self.size - self._at, 0)
        wanted = min(left if size is None or size < 0 else size, left, MOST)
        if wanted == 0:
            return b""
        _write(b"R", ASK.pack(self._at, wanted))
        data = _read(LENGTH.unpack(_read(LENGTH.size))[0])
        self._at += len(data)
        return data

    def at(self, offset: int, size: int) -> bytes:
        """Return bytes from `offset` on, fewer only at the end, wherever the video is read next."""
        found, before = b"", self._at
        self._at = offset
        while len(found) < size and (more := self.read(size - len(found))):
            found += more
        self._at = before
        return found


class Out:
    """What a job says."""

    def note(self, **words: object) -> None:
        """Say something that can be said in JSON."""
        _write(b"N", json.dumps(words).encode())

    def data(self, data: bytes) -> None:
        """Give bytes out, however many."""
        for start in range(0, len(data), MOST):
            _write(b"D", data[start : start + MOST])


def main() -> None:
    """Do one job, as the first argument says."""
    told = json.loads(sys.argv[1])
    job = importlib.import_module(told["job"])
    try:
        _give_up(told["seconds"], told["memory_bytes"])
    except (OSError, ValueError, seccomp.Unfiltered):
        os._exit(UNCONFINED)
    video, out = Video(told["size"]), Out()
    _write(b"B", b"")
    try:
        job.run(video, out, **told["args"])
    except Exception as error:  # noqa: BLE001 - whatever a hostile video brings about
        _write(b"F", f"{type(error).__name__}: {error}"[:_WORDS].encode(errors="replace"))
    else:
        _write(b"E", b"")
    os._exit(0)  # nothing of what a hostile video has left behind is tidied up


def _give_up(seconds: int, memory_bytes: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_DIES_WITH_PARENT, _KILL, 0, 0, 0)
    with suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:  # noqa: PTH123
        file.write("1000")  # short of memory, it goes first
    with open("/proc/self/statm") as file:  # noqa: PTH123
        loaded = int(file.read().split()[0]) * resource.getpagesize()
    limits = {
        resource.RLIMIT_AS: loaded + memory_bytes,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_NOFILE: 0,
        resource.RLIMIT_NPROC: 0,
        resource.RLIMIT_MEMLOCK: 0,
    }
    for limit, value in limits.items():
        resource.setrlimit(limit, (value, value))
    # Of the two signals the first is for this alone: the other comes where the machine is short of memory, too.
    ends = math.ceil(time.process_time()) + seconds
    resource.setrlimit(resource.RLIMIT_CPU, (ends, ends + 1))
    seccomp.install()


def _read(size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = os.read(_IN, size - len(data))
        if not more:
            os._exit(1)  # the parent is gone
        data += more
    return data


def _write(kind: bytes, data: bytes) -> None:
    frame = memoryview(FRAME.pack(kind, len(data)) + data)
    try:
        while frame:
            frame = frame[os.write(_OUT, frame) :]
    except BrokenPipeError:
        os._exit(1)  # likewise


if __name__ == "__main__":
    main()
