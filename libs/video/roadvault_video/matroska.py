"""Matroska without cues, as it is left by who records and is switched off, or streams (RFC 9559)."""

from collections.abc import Iterator
from fractions import Fraction
from functools import partial

from roadvault_video.reading import Blocks
from roadvault_video.search import Mark, Parts, words

_EBML, _SEGMENT, _SEEK_HEAD, _SEEK, _SEEK_ID, _SEEK_POSITION = (
    0x1A45DFA3,
    0x18538067,
    0x114D9B74,
    0x4DBB,
    0x53AB,
    0x53AC,
)
_INFO, _SCALE, _CUES, _CLUSTER, _TIMESTAMP = 0x1549A966, 0x2AD7B1, 0x1C53BB6B, 0x1F43B675, 0xE7
_ELEMENTS = 100
"""Before the first cluster, that are looked at."""
_TRACKS, _ENTRY, _NUMBER, _TYPE, _PICTURES = 0x1654AE6B, 0xAE, 0xD7, 0x83, 1
_BLOCK, _GROUP, _SIMPLE, _REFERENCE, _KEY = 0xA1, 0xA0, 0xA3, 0xFB, b"\x80"
_FIRST = 50
"""In a cluster, among which are its time and the first picture."""
_SECOND = 1_000_000_000

Element = tuple[int, int, int | None]
"""Its number, where its content begins, and where that ends, if it says so."""


def clusters(blocks: Blocks) -> Parts | None:
    """Return the clusters of a Matroska that has no cues; None if it is none, or has them."""
    number, _, end = _element(blocks, 0)
    if number != _EBML or end is None:
        return None
    number, segment, _ = _element(blocks, end)
    if number != _SEGMENT:
        return None
    scale, tracks, at = 1_000_000, set[int](), segment
    for number, body, end in _elements(blocks, segment, _ELEMENTS):
        if number == _CLUSTER:
            break
        if number == _CUES or (number == _SEEK_HEAD and end and _has_cues(blocks, segment, body, end)):
            return None
        if number == _TRACKS and end:
            entries = [
                _numbers(blocks, inner, inner_end or inner)
                for _, inner, inner_end in _elements(blocks, body, _ELEMENTS, end)
            ]
            tracks = {one[_NUMBER] for one in entries if one.get(_TYPE) == _PICTURES and _NUMBER in one}
        if number == _INFO and end:
            scale = _numbers(blocks, body, end).get(_SCALE, scale)
        at = end or at
    else:
        return None

    marks = words(blocks, _CLUSTER.to_bytes(4), partial(_mark, blocks, Fraction(scale, _SECOND), tracks))
    return Parts(blocks, at, marks)


def _pictures(blocks: Blocks, body: int, end: int) -> set[int]:
    """Return the numbers of the tracks that are pictures."""
    entries = [_numbers(blocks, inner, stop) for _, inner, stop in _elements(blocks, body, _ELEMENTS, end) if stop]
    return {one[_NUMBER] for one in entries if one.get(_TYPE) == _PICTURES and _NUMBER in one}


def _mark(blocks: Blocks, scale: Fraction, tracks: set[int], place: int) -> Mark | None:
    """Return the cluster that begins at a place, if one does."""
    _, body, end = _element(blocks, place)
    time, is_key = None, True
    for number, inner, inner_end in _elements(blocks, body, _FIRST):
        if inner_end is None or number == _CLUSTER:
            break
        if number == _TIMESTAMP and inner_end <= inner + 8:
            time = int.from_bytes(blocks.read_at(inner, inner_end - inner))
        elif time is not None and (found := _picture(blocks, number, inner, inner_end, tracks)) is not None:
            is_key, time = found[0], time + found[1]
            break
    return None if time is None else Mark(place, time * scale, end, is_key)


def _picture(blocks: Blocks, number: int, body: int, end: int, tracks: set[int]) -> tuple[bool, int] | None:
    """Tell whether a block is a picture that needs no other, and its time in the cluster; None if it is no picture."""
    inside = {_BLOCK: body} if number == _SIMPLE else {}
    if number == _GROUP:
        inside = {one: inner for one, inner, _ in _elements(blocks, body, _ELEMENTS, end)}
    header = blocks.read_at(inside.get(_BLOCK, end), 12)
    length = _length(header)
    if _BLOCK not in inside or int.from_bytes(header[:length]) & (1 << 7 * length) - 1 not in tracks:
        return None
    time, flags = int.from_bytes(header[length : length + 2], signed=True), header[length + 2 : length + 3]
    return (flags >= _KEY if number == _SIMPLE else _REFERENCE not in inside), time


def _has_cues(blocks: Blocks, segment: int, body: int, end: int) -> bool:
    """Tell whether a list of places names one at which there are cues."""
    for number, inner, inner_end in _elements(blocks, body, _ELEMENTS, end):
        if number == _SEEK and inner_end is not None:
            entry = _numbers(blocks, inner, inner_end)
            place = segment + entry.get(_SEEK_POSITION, 0)
            if entry.get(_SEEK_ID) == _CUES and blocks.read_at(place, 4) == _CUES.to_bytes(4):
                return True
    return False


def _numbers(blocks: Blocks, body: int, end: int) -> dict[int, int]:
    """Return the whole numbers that an element has in it."""
    return {
        number: int.from_bytes(blocks.read_at(inner, inner_end - inner))
        for number, inner, inner_end in _elements(blocks, body, _ELEMENTS, end)
        if inner_end is not None and inner_end - inner <= 8  # noqa: PLR2004 - bytes of the longest number
    }


def _elements(blocks: Blocks, at: int, most: int, end: int | None = None) -> Iterator[Element]:
    """Yield elements one after the other, until one does not say where it ends."""
    for _ in range(most):
        number, body, ends = _element(blocks, at)
        if not number or (end is not None and at >= end):
            return
        yield number, body, ends
        if ends is None:
            return
        at = ends


def _element(blocks: Blocks, at: int) -> Element:
    header = blocks.read_at(at, 12)
    id_length = _length(header)
    size_length = _length(header[id_length:])
    if not id_length or not size_length or len(header) < id_length + size_length:
        return 0, at, None
    number = int.from_bytes(header[:id_length])
    body = at + id_length + size_length
    mask = (1 << 7 * size_length) - 1
    size = int.from_bytes(header[id_length : id_length + size_length]) & mask
    return number, body, None if size == mask else body + size


def _length(data: bytes) -> int:
    """Return how many bytes a number has that begins here; 0 if none does."""
    return 9 - data[0].bit_length() if data and data[0] else 0
