"""MPEG-TS, as cameras write it (ISO/IEC 13818-1): finds the pictures that can be begun with, and their times."""

from fractions import Fraction

from roadvault_video.reading import Blocks
from roadvault_video.search import Mark, Parts

_SYNC = 0x47
_STRIDES = {188: 0, 192: 4}
"""How far packets lie apart, and what is in front of each: cameras (AVCHD) put a time there."""
_HEAD_BYTES = 1 << 18
"""In which the tables are, and the first picture."""
_BEFORE_PACKETS = 1000
"""In front of a picture in which sound may lie that is heard with it."""
_ALIGNED = 20
"""Packets that begin as such: then they do."""
_CLOCK = 90_000
_H264, _H265 = 0x1B, 0x24
_KEYS = {_H264: {5, 7}, _H265: {16, 17, 18, 19, 20, 21, 32, 33}}
"""Units that stand in front of, or in, pictures that need no other: of IDR and the like, and parameters."""


def transport(blocks: Blocks) -> Parts | None:
    """Return the pictures of an MPEG-TS of H.264 or H.265; None if it is none, or its clock begins anew in it."""
    head = blocks.read_at(0, _HEAD_BYTES)
    for stride, extra in _STRIDES.items():
        if _aligned(head, extra, stride):
            stream = _Stream(blocks, stride, extra)
            return stream.parts() if stream.read_tables(head) else None
    return None


def _aligned(data: bytes, at: int, stride: int) -> bool:
    starts = data[at::stride][:_ALIGNED]
    return len(starts) > 1 and set(starts) == {_SYNC}


class _Stream:
    """The stream of pictures in an MPEG-TS."""

    def __init__(self, blocks: Blocks, stride: int, extra: int) -> None:
        self._blocks, self._stride, self._extra = blocks, stride, extra
        self._pid, self._kind, self._head = -1, 0, 0

    def read_tables(self, head: bytes) -> bool:
        """Find the first stream of pictures; tell whether there is one that can be read."""
        table = 0
        for at in range(0, len(head) - self._stride, self._stride):
            packet = _Packet(head[at + self._extra : at + self._stride])
            if not packet.begins:
                continue
            if packet.pid == 0:
                table = _program(packet.section)
            elif table and packet.pid == table:
                self._pid, self._kind = _pictures(packet.section)
            elif packet.pid == self._pid and packet.time is not None:
                self._head = at
                return True
        return False

    def parts(self) -> Parts | None:
        parts = Parts(self._blocks, self._head, self.marks, before=_BEFORE_PACKETS * self._stride)
        if parts.first is None or parts.last is None or parts.last.time < parts.first.time:
            return None
        return parts

    def marks(self, begin: int, end: int) -> list[Mark]:
        """Return the pictures that begin in a stretch."""
        data = self._blocks.read_at(begin, end - begin + self._stride)
        phase = (self._extra - begin) % self._stride
        if not _aligned(data, phase, self._stride):  # somewhere in between a part of a packet is missing
            phase = next((one for one in range(self._stride) if _aligned(data, one, self._stride)), len(data))
        found = []
        for at in range(phase, min(end - begin + self._extra, len(data) - 187), self._stride):
            if not data[at + 1] & 0x40 or (data[at + 1] & 0x1F) << 8 | data[at + 2] != self._pid:
                continue
            packet = _Packet(data[at : at + 188])
            if packet.time is not None:
                is_key = packet.is_random or _has_key(packet.payload, self._kind)
                found.append(Mark(begin + at - self._extra, Fraction(packet.time, _CLOCK), None, is_key))
        return found


class _Packet:
    """What begins in a packet of 188 bytes."""

    def __init__(self, data: bytes) -> None:
        self.begins = data[:1] == b"\x47" and bool(data[1] & 0x40)
        self.pid = (data[1] & 0x1F) << 8 | data[2]
        adapted = data[3] & 0x20
        self.is_random = bool(adapted and data[4] and data[5] & 0x40)
        """Whether the writer says that one can begin here."""
        self.payload = data[5 + data[4] if adapted else 4 :] if data[3] & 0x10 else b""
        self.section = self.payload[1 + self.payload[0] :] if self.payload else b""
        self.time = self._time()
        """When what begins here is shown."""

    def _time(self) -> int | None:
        pes = self.payload
        if not self.begins or len(pes) < 14 or pes[:3] != b"\0\0\1" or not pes[7] & 0x80:  # noqa: PLR2004
            return None
        return (pes[9] & 0xE) << 29 | int.from_bytes(pes[10:12]) >> 1 << 15 | int.from_bytes(pes[12:14]) >> 1


def _program(section: bytes) -> int:
    """Return the number of the table of the first program that is one, in the table of all."""
    for at in range(8, 3 + (int.from_bytes(section[1:3]) & 0xFFF) - 4, 4):
        if int.from_bytes(section[at : at + 2]):
            return int.from_bytes(section[at + 2 : at + 4]) & 0x1FFF
    return 0


def _pictures(section: bytes) -> tuple[int, int]:
    """Return number and kind of the first stream of pictures in the table of a program."""
    at, end = 12 + (int.from_bytes(section[10:12]) & 0xFFF), 3 + (int.from_bytes(section[1:3]) & 0xFFF) - 4
    while at + 5 <= min(end, len(section)):
        if section[at] in _KEYS:
            return int.from_bytes(section[at + 1 : at + 3]) & 0x1FFF, section[at]
        at += 5 + (int.from_bytes(section[at + 3 : at + 5]) & 0xFFF)
    return -1, 0


def _has_key(pes: bytes, kind: int) -> bool:
    """Tell whether a picture that needs no other begins here, by the first units of it that lie in this packet."""
    at = 9 + pes[8]
    while (at := pes.find(b"\0\0\1", at) + 3) >= 3 and at < len(pes):  # noqa: PLR2004
        if (pes[at] & 0x1F if kind == _H264 else pes[at] >> 1 & 0x3F) in _KEYS[kind]:
            return True
    return False
