"""Reads a video through a few blocks that are kept: demuxers ask for small pieces, and for the same ones again."""

import io
from collections import OrderedDict
from typing import Protocol

BLOCK_BYTES = 1 << 18
_KEPT = 64
_SIZE = 0x10000
"""What FFmpeg asks for a file's size by."""


class Readable(Protocol):
    """What a video is read from."""

    def read(self, size: int, /) -> bytes:
        """Return up to `size` bytes; none at the end."""

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """Go to a byte, and return its number."""


class Blocks:
    """A seekable file over another one, of which it keeps the blocks that were used last."""

    def __init__(self, source: Readable) -> None:
        self._source = source
        self._blocks = OrderedDict[int, bytes]()
        self._at = 0
        self.size = source.seek(0, io.SEEK_END)

    def read(self, size: int) -> bytes:
        """Return `size` bytes, fewer at the end."""
        data = self.read_at(self._at, size)
        self._at += len(data)
        return data

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a byte, and return its number."""
        if whence == _SIZE:
            return self.size
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self.size}[whence]
        self._at = max(base + offset, 0)
        return self._at

    def tell(self) -> int:
        """Return the number of the byte that is read next."""
        return self._at

    def read_at(self, offset: int, size: int) -> bytes:
        """Return the bytes of a place, fewer at the end."""
        pieces = []
        while size > 0 and (piece := self._block(offset // BLOCK_BYTES)[offset % BLOCK_BYTES :][:size]):
            pieces.append(piece)
            offset, size = offset + len(piece), size - len(piece)
        return b"".join(pieces)

    def _block(self, number: int) -> bytes:
        left = self.size - number * BLOCK_BYTES
        if left <= 0:  # wherever a hostile file says that there is more
            return b""
        if number not in self._blocks:
            self._source.seek(number * BLOCK_BYTES)
            self._blocks[number] = self._whole(min(BLOCK_BYTES, left))
            if len(self._blocks) > _KEPT:
                self._blocks.popitem(last=False)
        self._blocks.move_to_end(number)
        return self._blocks[number]

    def _whole(self, size: int) -> bytes:
        data = b""
        while len(data) < size and (piece := self._source.read(size - len(data))):
            data += piece
        return data


class Spliced:
    """The head of a file, and then the rest of it from somewhere on."""

    def __init__(self, blocks: Blocks, head: int, rest: int) -> None:
        self._blocks = blocks
        self._head = head
        self._gap = rest - head
        self._at = 0

    def read(self, size: int) -> bytes:
        """Return up to `size` bytes; none at the end."""
        if self._at < self._head:
            data = self._blocks.read_at(self._at, min(size, self._head - self._at))
        else:
            data = self._blocks.read_at(self._at + self._gap, size)
        self._at += len(data)
        return data


class Seekable(Spliced):
    """The same where one may go to and fro: sound may lie far behind its pictures."""

    _end: int | None = None

    def end_within(self, size: int) -> None:
        """Be at the end so many bytes from here."""
        self._end = self._at + size

    def read(self, size: int) -> bytes:
        """Return up to `size` bytes; none at the end."""
        return b"" if self._end is not None and self._at > self._end else super().read(size)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a byte, and return its number."""
        size = self._blocks.size - self._gap
        if whence == _SIZE:
            return size
        self._at = max({io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: size}[whence] + offset, 0)
        return self._at

    def tell(self) -> int:
        """Return the number of the byte that is read next."""
        return self._at
