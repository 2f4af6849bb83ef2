"""What a GoPro says of itself: GPMF, a tree of keys, lengths and values in a track of its own (gopro/gpmf-parser).

Runs in the sandbox: whatever is wrong with the data, it raises, or finds nothing.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

_HEAD = struct.Struct(">4scBH")
_DEEPEST = 8
_FIX = 2
"""From here on (2D, 3D) the receiver knew where it was."""
_GPS9 = struct.Struct(">7i2H")
_2000 = datetime.strptime("20000101", "%Y%m%d").replace(tzinfo=UTC)  # loads what strptime needs, too


@dataclass
class Told:
    """What a sample tells."""

    camera: str | None = None
    at: datetime | None = None
    """By the satellites' clock, when its first position was found; none without a fix, as is the position."""
    place: tuple[float, float] | None = None
    """Latitude and longitude."""
    _said: dict[bytes, bytes] = field(default_factory=dict)


def read(sample: bytes) -> Told:
    """Read one sample of the track."""
    told = Told()
    for key, value in _items(sample):
        if key == b"DVNM" and told.camera is None:
            told.camera = value.split(b"\0")[0].decode("latin-1").strip() or None
        elif key == b"STRM":
            _read_stream(dict(_items(value)), told)
    return told


def _items(data: bytes, depth: int = 0) -> Iterator[tuple[bytes, bytes]]:
    """Yield what a level has, each with its value; of devices, what is in them."""
    at = 0
    while at + _HEAD.size <= len(data):
        key, kind, size, count = _HEAD.unpack_from(data, at)
        at += _HEAD.size
        value = data[at : at + size * count]
        at += (size * count + 3) // 4 * 4
        if key == b"DEVC" and kind == b"\0" and depth < _DEEPEST:
            yield from _items(value, depth + 1)
        else:
            yield key, value


def _read_stream(stream: dict[bytes, bytes], told: Told) -> None:
    scales = stream.get(b"SCAL", b"")
    if b"GPS9" in stream and len(stream[b"GPS9"]) >= _GPS9.size and len(scales) >= _GPS9.size - 4 + 8:
        lat, lon, _, _, _, days, seconds, _, fix = _GPS9.unpack_from(stream[b"GPS9"])
        scale = struct.unpack_from(">9i", scales)
        if fix >= _FIX:
            told.place = lat / scale[0], lon / scale[1]
            told.at = _2000 + timedelta(days=days / scale[5], seconds=seconds / scale[6])
    elif b"GPS5" in stream and len(stream[b"GPS5"]) >= 8 and len(scales) >= 8 and told.place is None:  # noqa: PLR2004
        (fix,) = struct.unpack(">I", stream.get(b"GPSF", b"\0" * 4))
        lat, lon = struct.unpack_from(">2i", stream[b"GPS5"])
        by_lat, by_lon = struct.unpack_from(">2i", scales)
        if fix >= _FIX:
            told.place = lat / by_lat, lon / by_lon
            told.at = datetime.strptime(stream.get(b"GPSU", b"").decode("ascii"), "%y%m%d%H%M%S.%f").replace(tzinfo=UTC)
