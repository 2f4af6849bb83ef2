"""Where a video's bytes come from: the parent's side of what the sandbox asks for."""

import asyncio
import os
from pathlib import Path
from typing import Protocol


class Source(Protocol):
    """A video's bytes, from wherever they are."""

    @property
    def size(self) -> int:
        """How many there are."""

    async def read(self, offset: int, size: int) -> bytes:
        """Return `size` bytes from `offset` on, fewer only at the end."""


class LocalFile:
    """A file as it lies on the disk."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb", buffering=0)
        self.size = os.fstat(self._file.fileno()).st_size

    async def read(self, offset: int, size: int) -> bytes:
        """Return `size` bytes from `offset` on, fewer only at the end."""
        return await asyncio.to_thread(os.pread, self._file.fileno(), size, offset)

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()
