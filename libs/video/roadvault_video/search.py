"""Finds the way into videos without an index: MP4s in fragments, Matroska without cues, MPEG-TS.

libavformat would read these from the beginning, look at each fragment, or look about for longer. Where a time should
lie is worked out from what lies where; from there one goes back to where it can be begun to be read: that way is a part
of what is wanted.
"""

from collections.abc import Callable
from fractions import Fraction
from typing import NamedTuple

from roadvault_video.reading import BLOCK_BYTES, Blocks, Spliced

_NEAR = Fraction(1, 2)
"""Seconds behind a time from which one goes back to it."""
_LOOKS = 40
_SCANNED_BYTES = 64 << 20
"""In which a part has to begin."""
_BETWEEN_BYTES = 1 << 12
"""What may lie between two parts."""


class Mark(NamedTuple):
    """Where a part begins, its time in seconds, where the next one should begin, if it says so, and what it is."""

    at: int
    time: Fraction
    end: int | None
    is_key: bool = True
    """Whether it can be read without those before it."""


Marks = Callable[[int, int], list[Mark]]
"""Returns the marks of a stretch of the file, in order."""


class Parts:
    """A video of a head and parts, each of which tells its time."""

    def __init__(
        self,
        blocks: Blocks,
        head: int,
        marks: Marks,
        *,
        before: int = 0,
        spliced: type[Spliced] = Spliced,
    ) -> None:
        """`before` are bytes in front of a part that are read, too."""
        self._blocks, self._head, self._marks, self._before = blocks, head, marks, before
        self._spliced = spliced
        self.first = self._next(head, blocks.size)
        self.last = self._back(blocks.size, head) if self.first and self.first.end is None else None
        """The last mark, where parts do not say where they end."""

    def begin_at(self, time: Fraction) -> Spliced:
        """Return the video as if it began with the last part that can be read and begins at a time, or before it.

        Times are counted from the first part on.
        """
        at = self._head
        if self.first is not None and time > 0:
            at = self._find(self.first, self.first.time + time) - self._before
        return self._spliced(self._blocks, self._head, max(at, self._head))

    def _find(self, first: Mark, time: Fraction) -> int:
        # The last mark that is known to be early enough, one that is too late, and where they are too late.
        low, high, ends = first, None, self._blocks.size
        if self.last is not None and self.last.time > time:
            high, ends = self.last, self.last.at
        leapt = True
        for look in range(_LOOKS):
            if leapt and (following := self._following(low)) is not None:
                if following.time > time:
                    if low.is_key:
                        return low.at
                    ends = low.at
                    break
                low = following
            begins = low.end or low.at + 1
            aim = max(_aim(low, high or first, ends, time, look), begins)
            found = self._back(aim, begins) or self._next(aim, ends)
            if found is None:
                break
            if leapt := found.time <= time:
                low = found
                continue
            high, ends = found, found.at
            if found.time - time <= _NEAR:
                break
        key = self._back(ends, first.at, lambda mark: mark.is_key and mark.time <= time)
        return (key or low).at

    def _following(self, mark: Mark) -> Mark | None:
        """Return the mark behind one that says where it ends."""
        if mark.end is None:
            return None
        return self._next(mark.end, min(mark.end + _BETWEEN_BYTES, self._blocks.size))

    def _next(self, at: int, ends: int) -> Mark | None:
        """Return the first mark from `at` on, before `ends`."""
        ends = min(ends, at + _SCANNED_BYTES)
        while at < ends:
            behind = min(at - at % BLOCK_BYTES + BLOCK_BYTES, ends)
            if marks := self._marks(at, behind):
                return marks[0]
            at = behind
        return None

    def _back(self, ends: int, begins: int, good: Callable[[Mark], bool] = lambda _: True) -> Mark | None:
        """Return the last good mark before `ends`, from `begins` on."""
        begins = max(begins, ends - _SCANNED_BYTES)
        while ends > begins:
            at = max((ends - 1) // BLOCK_BYTES * BLOCK_BYTES, begins)
            for mark in reversed(self._marks(at, ends)):
                if good(mark):
                    return mark
            ends = at
        return None


def words(blocks: Blocks, word: bytes, mark: Callable[[int], Mark | None]) -> Marks:
    """Return how marks are found that have `word` in them; `mark` tells whether one is really there."""

    def marks(begin: int, end: int) -> list[Mark]:
        data, found, place = blocks.read_at(begin, end - begin + len(word) - 1), list[Mark](), -1
        while (place := data.find(word, place + 1)) >= 0:
            if (one := mark(begin + place)) is not None:
                found.append(one)
        return found

    return marks


def _aim(low: Mark, other: Mark, ends: int, time: Fraction, look: int) -> int:
    """Return from where to go back, behind `low` and up to `ends`: by bytes a second, and every third time half-way."""
    if look % 3 == 2 or other.time == low.time:  # noqa: PLR2004
        return (low.at + ends + 1) // 2
    rate = (other.at - low.at) / (other.time - low.time)
    return min(low.at + int(rate * (time + _NEAR / 2 - low.time)), ends)
