"""Watches the files that rows name: whole when first seen, and once named a file never changes again; it only goes."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pymysql
from chaos.arena import Arena
from chaos.contents import Contents, Row, compare

_SECONDS = 0.5
_NAMED = {
    "the upload": "SELECT path, file_id, sha256 FROM file_upload_info WHERE path IS NOT NULL",
    "the extraction": "SELECT download.path, file.file_id, file.sha256 FROM download_info AS download"
    " JOIN file_upload_info AS file USING (file_id) WHERE download.path IS NOT NULL",
    "the archive": "SELECT * FROM zip_ipfs_info WHERE path IS NOT NULL",
}

Mark = tuple[int, int, int]


class Watch:
    """Notes, for each named file, what it was when first seen. Use `Watch.open`."""

    def __init__(self, arena: Arena) -> None:
        self._arena = arena
        self._contents = Contents(arena)
        self._marks: dict[str, Mark] = {}
        self.changed: list[str] = []
        """What was written to after a row had named it, or had other bytes from the first."""

    @property
    def seen(self) -> int:
        """How many files were looked at."""
        return len(self._marks)

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
                await asyncio.to_thread(self.look)
            await asyncio.sleep(_SECONDS)

    def look(self) -> None:
        """Look at all files that a row names now."""
        for what, statement in _NAMED.items():
            for row in self._arena.sql(statement):
                try:
                    state = (self._arena.layout.vault / row["path"]).stat()
                except FileNotFoundError:
                    continue
                mark = (state.st_ino, state.st_size, state.st_mtime_ns)
                if row["path"] not in self._marks:
                    self.changed += [f"{why}, when first seen" for why in self._first_sight(what, row)]
                if self._marks.setdefault(row["path"], mark) != mark:
                    self.changed.append(f"{row['path']} was written to after a row had named it")

    def _first_sight(self, what: str, row: Row) -> list[str]:
        """Compare the file with what its row, and so its uploader, knows of it."""
        content = self._contents.on_disk(row["path"])
        if content is None:  # it has just gone
            return []
        if what != "the archive":
            return compare(row, content, what)
        files = self._arena.sql("SELECT * FROM file_upload_info WHERE zip_id = %s", (row["zip_id"],))
        return self._contents.members(row, files, content, what)
