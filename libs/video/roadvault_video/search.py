"""Finds the way into videos without an index, MP4s in fragments and Matroska without cues, by looking at a few places.

libavformat would read these from the beginning, or look at each fragment.
"""

from collections.abc import Callable
from fractions import Fraction
from typing import NamedTuple

from roadvault_video.reading import BLOCK_BYTES, Blocks, Spliced

_NEAR = Fraction(1, 2)
"""Seconds before a time at which it is near enough to read on."""
_NEAR_BYTES = 1 << 20
_LOOKS = 40
_SCANNED_BYTES = 64 << 20
"""In which a part has to begin."""
_BETWEEN_BYTES = 1 << 12
"""What may lie between two parts."""


class Mark(NamedTuple):
    """Where a part begins, its time in seconds, and where the next one should begin."""

    at: int
    time: Fraction
    end: int


class Parts:
    """A video of a head and parts, each of which tells its time and can be read without those before it.

    A part has `word` in it, and `mark` tells where it begins if a place at which that stands is really a part's.
    """

    def __init__(self, blocks: Blocks, head: int, word: bytes, mark: Callable[[int], Mark | None]) -> None:
        self._blocks, self._head, self._word, self._mark = blocks, head, word, mark
        self._first = self._next(head, blocks.size)

    def begin_at(self, time: Fraction) -> Spliced:
        """Return the video as if it began with a part that begins at a time, or some before it."""
        return Spliced(self._blocks, self._head, self._head if self._first is None else self._find(self._first, time))

    def _find(self, first: Mark, time: Fraction) -> int:
        # The last mark that is early enough, one that is too late, and where no mark begins any more that is not.
        low, high, ends = first, None, self._blocks.size
        for look in range(_LOOKS):
            if time - low.time <= _NEAR or ends - low.at <= _NEAR_BYTES:
                break
            following = self._next(low.end, min(low.end + _BETWEEN_BYTES, ends))
            if following is not None and following.time > time:
                break
            low = following or low
            guess = _guess(first, low, high, ends, time, look)
            found = self._next(guess, ends)
            if found is not None and found.time <= time:
                low = found
            else:
                high, ends = found or high, guess
        return low.at

    def _next(self, at: int, ends: int) -> Mark | None:
        """Return the first mark from `at` on, before `ends`."""
        ends = min(ends, at + _SCANNED_BYTES)
        while at < ends:
            data = self._blocks.read_at(at, BLOCK_BYTES - at % BLOCK_BYTES + len(self._word) - 1)
            place = data.find(self._word)
            while place >= 0:
                mark = self._mark(at + place)
                if mark is not None:
                    return mark
                place = data.find(self._word, place + 1)
            at += max(len(data) - len(self._word) + 1, 1)
        return None


def _guess(first: Mark, low: Mark, high: Mark | None, ends: int, time: Fraction, look: int) -> int:
    """Return where to look next, behind `low` and before `ends`: by bytes a second, and every third time half-way."""
    other = high or first
    if look % 3 == 2 or other.time == low.time:  # noqa: PLR2004
        return (low.at + ends + 1) // 2
    rate = (other.at - low.at) / (other.time - low.time)
    part = max(low.end - low.at, BLOCK_BYTES)  # the one behind the right one is found where it is not aimed in front
    return max(min(low.at + int(rate * (time - low.time)), ends) - part, low.at + 1)
