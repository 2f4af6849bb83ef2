"""Tags uploads once their rows are committed, and at each sweep those that were left without: their rows are there."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import structlog
from prometheus_client import Gauge

from roadvault_common.errors import brief
from roadvault_common.files import tags
from roadvault_common.files.vault import RECEIVED
from roadvault_common.sql.db import Row
from roadvault_ingest.store import IngestStore, Placed
from roadvault_ingest.uploads.receive import Received

log = structlog.get_logger()

UNTAGGED = Gauge(
    "roadvault_uploads_untagged", "Uploads whose numbers and names only the database knows, at the last sweep"
)
_AT_ONCE = 100
"""Rows that are read at a time."""


class Tagger:
    """Tags the uploads of one data directory, unless its file system takes no tags: it is told at the start."""

    def __init__(self, store: IngestStore, root: Path) -> None:
        self._store = store
        self._root = root
        self._untagged = 0
        why = tags.refusal(root / RECEIVED)
        self._able = why is None
        if why is not None:
            log.error(
                "uploads can't be tagged: if the database is lost, so are numbers and names of those that wait to be"
                " packed; user extended attributes are needed, as ext4, XFS, and tmpfs since Linux 6.6 have them",
                data_dir=str(root), reason=why,
            )  # fmt: skip

    async def tag(self, recorded: Sequence[tuple[Received, Placed]]) -> None:
        """Tag uploads that were just recorded. Never fails: what can't be done now is done by the sweep."""
        if self._able:
            await self._write(
                [
                    {"path": received.path, "file_name": received.name, "size": received.size,
                     "sha256": received.sha256, "file_id": placed.file_id, "folder_id": placed.folder_id,
                     "create_time": placed.create_time, "facts": received.facts}
                    for received, placed in recorded
                ]
            )  # fmt: skip

    def begin(self) -> None:
        """Begin a sweep."""
        self._untagged = 0

    async def named(self, paths: list[str]) -> set[str]:
        """Return those of `paths` that are the upload of a file; tag those of them that have no tag."""
        named = await self._store.named(paths)
        lacking = await asyncio.to_thread(tags.lacking, self._root, named)
        if not self._able:
            self._untagged += len(lacking)
            return named
        for begin in range(0, len(lacking), _AT_ONCE):
            self._untagged += await self._write(await self._store.uploads(lacking[begin : begin + _AT_ONCE]))
        return named

    def measure(self) -> None:
        """Show how many uploads the sweep had to leave untagged."""
        UNTAGGED.set(self._untagged)

    async def _write(self, rows: Sequence[Row]) -> int:
        """Tag the uploads of these rows; return how many could not be."""
        errors = await asyncio.to_thread(tags.write, self._root, rows)
        if errors:
            log.warning("uploads could not be tagged", files=len(errors), error=brief(errors[0]))
        return len(errors)
