"""Finds the manifest of an archive of format 1, which no label tells of: by the 7z container's own header."""

import asyncio
import io
import struct
from collections.abc import Awaitable, Callable
from typing import IO, cast

import py7zr
from py7zr.exceptions import ArchiveError

from roadvault_common.archive.crypto import ArchiveKey
from roadvault_common.errors import IntegrityError
from roadvault_operator.recover.manifest import FIRST_OFFSET, Manifest, most_bytes

MANIFEST = "manifest.json"
Read = Callable[[int, int], Awaitable[bytes]]
"""Returns so many bytes of the archive, from an offset on, as they stand there: encrypted."""


async def manifest(read: Read, key: ArchiveKey, size: int, files: int) -> Manifest:
    """Return an archive's manifest; it is `size` bytes long, and has so many files.

    Raises:
        IntegrityError: It is no such archive. What `read` raises is raised, too.
    """
    loop = asyncio.get_running_loop()

    async def plain(offset: int, length: int) -> bytes:
        return key.stream(offset).update(await read(offset, length))

    def ask(offset: int, length: int) -> bytes:
        return asyncio.run_coroutine_threadsafe(plain(offset, length), loop).result()

    names = await asyncio.to_thread(_names, _Asked(ask, size, most_bytes(files)))
    if len(names) != files + 1 or names[-1][0] != MANIFEST or names[-1][1] > most_bytes(files):
        raise IntegrityError(
            f"the container has {len(names)} members; {files} files, and their manifest, were expected"
        )
    begin = FIRST_OFFSET + sum(length for _, length in names[:-1])
    found = await asyncio.to_thread(Manifest.parse, await plain(begin, names[-1][1]))
    if len(found.files) != files or found.end != begin:
        raise IntegrityError(
            f"the manifest names {len(found.files)} files up to byte {found.end}, not {files} to {begin}"
        )
    return found


def _names(file: io.RawIOBase) -> list[tuple[str, int]]:
    """Return the members of a container, by their names, and their lengths."""
    try:
        with py7zr.SevenZipFile(cast("IO[bytes]", file)) as container:
            return [(one.filename, one.uncompressed) for one in container.list()]
    except (ArchiveError, ValueError, KeyError, IndexError, EOFError, struct.error) as error:
        raise IntegrityError(f"it is no 7z container: {type(error).__name__}") from None


class _Asked(io.RawIOBase):
    """A file for py7zr, in a thread, of which it reads the beginning, and the headers at the end."""

    def __init__(self, ask: Callable[[int, int], bytes], size: int, most: int) -> None:
        """Ask for what is read of `size` bytes; no more than `most` at a time."""
        self._ask = ask
        self._size = size
        self._most = most
        self._position = 0
        self._head = b""

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        origin = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        self._position = origin + offset
        return self._position

    def read(self, size: int | None = -1) -> bytes:
        left = self._size - self._position
        wanted = left if size is None or size < 0 else min(size, left)
        if wanted > self._most:
            raise IntegrityError(f"its header has {wanted} bytes")
        if self._position + wanted <= FIRST_OFFSET:
            self._head = self._head or self._ask(0, FIRST_OFFSET)
            data = self._head[self._position : self._position + wanted]
        else:
            data = self._ask(self._position, wanted)
        self._position += len(data)
        return data
