"""The bytes of an upload: a file on the disk, or an object that is read from."""

import hashlib
import io
import os
import secrets
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

PIECE_BYTES = 1 << 18

Progress = Callable[[int, int | None], object]
"""Is told how many bytes of the file were sent, and how many it has; None if that is not known."""


class Source:
    """What is read from, from where it stood. It is known to end at `size`, or, if that is None, where it ends."""

    def __init__(self, file: BinaryIO, *, close: bool) -> None:
        self._file = file
        self._close = close
        self.seekable = file.seekable()
        self._start = file.tell() if self.seekable else 0
        self.size = file.seek(0, io.SEEK_END) - self._start if self.seekable else None
        self.begun = False
        """Something was read from it."""

    @classmethod
    def open(cls, source: "str | os.PathLike[str] | BinaryIO") -> "Source":
        """Open a path, or take what is open."""
        if isinstance(source, str | os.PathLike):
            return cls(Path(source).open("rb"), close=True)
        return cls(source, close=False)

    def close(self) -> None:
        """Close what `open` opened."""
        if self._close:
            self._file.close()

    def pieces(self, offset: int = 0) -> Iterator[bytes]:
        """Read it from there on."""
        if self.seekable:
            self._file.seek(self._start + offset)
        self.begun, left = True, None if self.size is None else self.size - offset
        while left is None or left > 0:
            piece = self._file.read(PIECE_BYTES if left is None else min(PIECE_BYTES, left))
            if not piece:
                break
            left = None if left is None else left - len(piece)
            yield piece
        if left:
            raise OSError(f"the file has become {left} bytes shorter while it was read")

    def sha256(self) -> str:
        """Read it; return its SHA-256."""
        digest = hashlib.sha256()
        for piece in self.pieces():
            digest.update(piece)
        return digest.hexdigest()


@dataclass
class Rest:
    """The body of a request that has the rest of a file."""

    source: Source
    offset: int
    progress: Progress | None

    @property
    def again(self) -> bool:
        """Whether it can be sent once more."""
        return self.source.seekable

    def __iter__(self) -> Iterator[bytes]:
        sent = self.offset
        for piece in self.source.pieces(self.offset):
            yield piece
            sent += len(piece)
            if self.progress is not None:
                self.progress(sent, self.source.size)


class Form:
    """A multipart form with a file, hashed while it is read: its SHA-256 comes last, `wanted` if that is known."""

    def __init__(
        self, source: Source, name: str, fields: Mapping[str, str], progress: Progress | None, wanted: str | None
    ) -> None:
        self._source = source
        self._progress = progress
        self._wanted = wanted
        self._mark = secrets.token_hex(16)
        fields = {"filename": name, **fields}
        self._head = b"".join(self._part(f'"{field}"', value.encode()) for field, value in fields.items())
        self._head += self._part('"file"; filename="file"', b"")[:-2]
        self._tail = b"\r\n" + self._part('"sha256"', b"%s") + f"--{self._mark}--\r\n".encode()
        self.sha256 = ""
        """Of what was sent last."""
        self.size = 0
        """Likewise, in bytes."""

    @property
    def again(self) -> bool:
        """Whether it can be sent once more."""
        return self._source.seekable or not self._source.begun

    @property
    def headers(self) -> dict[str, str]:
        """What a request says of it."""
        headers = {"Content-Type": f"multipart/form-data; boundary={self._mark}"}
        if self._source.size is not None:
            length = len(self._head) + self._source.size + len(self._tail) - 2 + 64
            headers["Content-Length"] = str(length)
        return headers

    def _part(self, name: str, content: bytes) -> bytes:
        return f"--{self._mark}\r\nContent-Disposition: form-data; name={name}\r\n\r\n".encode() + content + b"\r\n"

    def __iter__(self) -> Iterator[bytes]:
        yield self._head
        digest = hashlib.sha256()
        self.size = 0
        for piece in Rest(self._source, 0, self._progress):
            digest.update(piece)
            self.size += len(piece)
            yield piece
        self.sha256 = self._wanted or digest.hexdigest()
        yield self._tail % self.sha256.encode()
