"""Watches the files that rows name: once named, a file never changes again; it only goes."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pymysql
from chaos.arena import Arena

_SECONDS = 0.5
_TABLES = ("file_upload_info", "zip_ipfs_info", "download_info")

Mark = tuple[int, int, int]


class Watch:
    """Notes, for each named file, what it was when first seen. Use `Watch.open`."""

    def __init__(self, arena: Arena) -> None:
        self._arena = arena
        self._marks: dict[str, Mark] = {}
        self.changed: list[str] = []
        """What was written to after a row had named it."""

    @classmethod
    @asynccontextmanager
    async def open(cls, arena: Arena) -> AsyncIterator["Watch"]:
        """Look twice a second until the block ends."""
        watch = cls(arena)
        task = asyncio.create_task(watch._watch())
        try:
            yield watch
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def _watch(self) -> None:
        while True:
            with suppress(OSError, pymysql.Error):  # the database is being broken: there will be another look
                await asyncio.to_thread(self._look)
            await asyncio.sleep(_SECONDS)

    def _look(self) -> None:
        for table in _TABLES:
            for row in self._arena.sql(f"SELECT path FROM {table} WHERE path IS NOT NULL"):  # noqa: S608 - constants
                path = self._arena.layout.vault / row["path"]
                try:
                    state = path.stat()
                except FileNotFoundError:
                    continue
                mark = (state.st_ino, state.st_size, state.st_mtime_ns)
                if self._marks.setdefault(row["path"], mark) != mark:
                    self.changed.append(f"{row['path']} was written to after a row had named it")
