"""How busy the machine is with other things than what gives way to all of them."""

import os
from pathlib import Path
from typing import NamedTuple

_PROCESSORS = Path("/proc/stat")
_LEAST_SECONDS = 1.0
_MUCH = 0.25
"""Of what all processors could do."""


class _Ticks(NamedTuple):
    all: int
    """Of all processors, since the machine started."""
    others: int
    """Those that are neither idle nor given to what has a low priority, as looks have."""


class Machine:
    """Tells whether others keep the processors busy, or wait for the disk; in a container, too, of the whole machine.

    The load would tell it a minute later, and counts looks themselves.
    """

    def __init__(self) -> None:
        self._before = _ticks()
        self._is_busy = False

    def is_busy(self) -> bool:
        """Tell whether it is: since it was asked last, or for the last second if that is longer."""
        now = _ticks()
        passed = now.all - self._before.all
        if passed >= _LEAST_SECONDS * os.sysconf("SC_CLK_TCK") * (os.cpu_count() or 1):
            self._is_busy = now.others - self._before.others > _MUCH * passed
            self._before = now
        return self._is_busy


def _ticks() -> _Ticks:
    user, nice, system, idle, waits, *more = map(int, _PROCESSORS.read_text().split("\n", 1)[0].split()[1:9])
    everything = user + nice + system + idle + waits + sum(more)
    return _Ticks(everything, everything - nice - idle)
