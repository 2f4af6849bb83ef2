"""Room on the disk: what it is reserved for, and who waits for it."""

import time
from collections.abc import Callable
from enum import StrEnum
from functools import partial
from typing import NamedTuple

from roadvault_common import metrics
from roadvault_common.files.new_file import BLOCK_BYTES

_WAITED_SECONDS = 60.0
"""Who waits for room asks more often than that."""


class Purpose(StrEnum):
    """What room is reserved for."""

    UPLOADS = "uploads"
    PACKING = "packing"
    PINNING = "pinning"
    EXTRACTIONS = "extractions"
    RESTORES = "restores"
    COPIES = "copies"


WAY_OUT = {Purpose.PACKING, Purpose.PINNING}
"""Of them, what leads out of a full disk."""


class Reservation:
    """Room for something that is being written.

    `file` is where, relative to the data directory, if that is known to be seen there; or `on_disk` tells how many of
    the bytes are on the disk by now, at least. `row` is the folder, archive or request that it is for.
    """

    def __init__(
        self,
        purpose: Purpose,
        *,
        row: int | None = None,
        file: str | None = None,
        on_disk: Callable[[], int] = lambda: 0,
    ) -> None:
        self.purpose = purpose
        self.row = row
        self.file = file
        self.size = 0
        """Bytes that were reserved in all."""
        self._on_disk = on_disk

    @property
    def left(self) -> int:
        """Bytes that are reserved and not known to be written."""
        return max(0, self.size - self._on_disk())


class _Refused(NamedTuple):
    """A wish for which there was no room since there was some: the first and the last time, monotonic, and bytes."""

    first: float
    last: float
    size: int

    @property
    def waits(self) -> bool:
        """Whether somebody still waits for it, as far as can be told."""
        return time.monotonic() - self.last < _WAITED_SECONDS


class Waits:
    """The wishes for which one process finds no room."""

    def __init__(self) -> None:
        self._refused: dict[tuple[Purpose, int | None], _Refused] = {}
        for purpose in Purpose:
            metrics.DISK_WAITING.labels(purpose).set_function(partial(self.seconds, purpose))

    def begin(self, reservation: Reservation, size: int) -> None:
        """Note that there is no room for `size` bytes."""
        wish, now = (reservation.purpose, reservation.row), time.monotonic()
        before = self._refused.get(wish)
        wanted = size + size // 8 + (1 << 16)  # whatever is written besides must not take the last bytes of it
        self._refused[wish] = _Refused(before.first if before is not None and before.waits else now, now, wanted)

    def end(self, reservation: Reservation) -> None:
        """Note that there is room."""
        self._refused.pop((reservation.purpose, reservation.row), None)

    def wanted(self) -> int:
        """Return the bytes that are waited for, other than by uploads."""
        self._refused = {wish: one for wish, one in self._refused.items() if one.waits}
        return sum(one.size for (purpose, _), one in self._refused.items() if purpose is not Purpose.UPLOADS)

    def seconds(self, purpose: Purpose) -> float:
        """Return for how many seconds there has been no room."""
        since = [one.first for (what, _), one in self._refused.items() if what is purpose and one.waits]
        return time.monotonic() - min(since) if since else 0


def blocks(size: int) -> int:
    """Return what a file of `size` bytes takes of the disk at most."""
    return -(-size // BLOCK_BYTES) * BLOCK_BYTES
