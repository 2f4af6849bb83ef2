"""MP4s in fragments, as cameras write them that may be switched off at any moment (ISO/IEC 14496-12)."""

from collections.abc import Iterator
from fractions import Fraction

from roadvault_video.reading import Blocks, Seekable
from roadvault_video.search import Mark, Parts, words

_BOXES = 100
"""Before the first fragment, that are looked at."""
_LARGEST = 16 << 20
"""Of a header."""
_BEFORE_LATER, _LATER = (1, 4, 0x100, 0x200, 0x400), 0x800
"""What a run says of its samples: what comes before when they are shown, and that."""
_ABSOLUTE = 1
"""A fragment's bytes are named by their places in the whole file."""


def fragments(blocks: Blocks) -> Parts | None:
    """Return the fragments of an MP4, if it has any that can be told apart."""
    at, head, video = 0, 0, None
    for _ in range(_BOXES):
        kind, _, end = _box(blocks, at)
        if kind in {b"", b"mdat", b"moof"} or end <= at:
            break
        if kind == b"moov" and end - at <= _LARGEST:
            video, head = _video(blocks.read_at(at, end - at)), end
        at = end
    if kind != b"moof" or video is None:
        return None
    track, timescale = video

    def mark(place: int) -> Mark | None:
        begin = place - 4
        kind, _, end = _box(blocks, begin)
        if kind != b"moof" or not begin < end <= begin + _LARGEST or blocks.read_at(begin + 12, 4) != b"mfhd":
            return None
        time = _time(blocks.read_at(begin, end - begin), track)
        return None if time is None else Mark(begin, Fraction(time, timescale), max(_box(blocks, end)[2], end))

    return Parts(blocks, head, words(blocks, b"moof", mark), spliced=Seekable) if mark(at + 4) else None


def _box(blocks: Blocks, at: int) -> tuple[bytes, int, int]:
    """Return a box's kind, where its content begins, and where it ends."""
    header = blocks.read_at(at, 16)
    size, kind, body = int.from_bytes(header[:4]), header[4:8], 8
    if size == 1:
        size, body = int.from_bytes(header[8:16]), 16
    return kind, at + body, at + size if size else blocks.size


def _children(data: bytes, *path: bytes) -> Iterator[bytes]:
    """Yield the contents of the boxes at a path within a box's content."""
    at = 0
    while at + 8 <= len(data):
        size, kind = int.from_bytes(data[at : at + 4]), data[at + 4 : at + 8]
        if size < 8:  # noqa: PLR2004 - its own header
            return
        if kind == path[0]:
            inner = data[at + 8 : at + size]
            if path[1:]:
                yield from _children(inner, *path[1:])
            else:
                yield inner
        at += size


def _video(moov: bytes) -> tuple[int, int] | None:
    """Return number and timescale of the first track of pictures, if what follows are fragments."""
    if not any(_children(moov[8:], b"mvex", b"trex")):
        return None
    for track in _children(moov[8:], b"trak"):
        handler = next(_children(track, b"mdia", b"hdlr"), b"")
        header, media = next(_children(track, b"tkhd"), b""), next(_children(track, b"mdia", b"mdhd"), b"")
        number = header[20:24] if header[:1] == b"\1" else header[12:16]
        timescale = media[20:24] if media[:1] == b"\1" else media[12:16]
        if handler[8:12] == b"vide" and int.from_bytes(timescale):
            return int.from_bytes(number), int.from_bytes(timescale)
    return None


def _time(moof: bytes, track: int) -> int | None:
    """Return when a fragment of a track is first shown; None if it does not say, or can't stand by itself."""
    for part in _children(moof[8:], b"traf"):
        header, time = next(_children(part, b"tfhd"), b""), next(_children(part, b"tfdt"), b"")
        if header[3:4] and header[3] & _ABSOLUTE:
            return None
        if int.from_bytes(header[4:8]) == track and time:
            return int.from_bytes(time[4:12] if time[0] else time[4:8]) + _later(next(_children(part, b"trun"), b""))
    return None


def _later(run: bytes) -> int:
    """Return by how much later than decoded the first picture of a run is shown, if that is said."""
    flags = int.from_bytes(run[1:4])
    if not flags & _LATER:
        return 0
    at = 8 + 4 * sum(bool(flags & one) for one in _BEFORE_LATER)
    return int.from_bytes(run[at : at + 4], signed=run[:1] != b"\0")
