"""Who watches is written down: one line of the custody log for each token, beside what is sent."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Self

import structlog

from roadvault_common.errors import TransientError, brief
from roadvault_common.sql.db import Database
from roadvault_common.web.links import View
from roadvault_retriever.streaming.store import StreamStore

log = structlog.get_logger()

_WAIT_MOST = 1000
_PAUSE_SECONDS = 2.0
_END_SECONDS = 3.0
"""For what is not written yet as the process ends; less than what it is left by force after."""
_WRITTEN_MOST = 10_000
"""Tokens that are known to be written, so that the database is not asked at each range."""


class Register:
    """Writes down who watches. Use `Register.open`."""

    def __init__(self, db: Database) -> None:
        self._store = StreamStore(db)
        self._written: dict[str, None] = {}
        self._writing: dict[str, asyncio.Task[None]] = {}

    @classmethod
    @asynccontextmanager
    async def open(cls, db: Database) -> AsyncIterator[Self]:
        """Open it; at the end what is not written yet has a last chance."""
        register = cls(db)
        try:
            yield register
        finally:
            await register._end()

    def note(self, view: View) -> None:
        """Have it written, soon, that a token's first bytes are sent. While the database is away it is tried on.

        Raises:
            TransientError: So many are not written yet that there is no room for one more.
        """
        if view.view_id in self._written or view.view_id in self._writing:
            return
        if len(self._writing) >= _WAIT_MOST:
            raise TransientError("who watches can't be written down now")
        self._writing[view.view_id] = asyncio.create_task(self._write(view))

    async def _write(self, view: View) -> None:
        try:
            while True:
                try:
                    await self._store.note_watched(view)
                except TransientError as error:
                    log.warning("who watches is written down later", file_id=view.file_id, error=brief(error))
                    await asyncio.sleep(_PAUSE_SECONDS)
                else:
                    break
            self._written[view.view_id] = None
            while len(self._written) > _WRITTEN_MOST:
                del self._written[next(iter(self._written))]
        except asyncio.CancelledError:
            log.warning("not written down: somebody watched", file_id=view.file_id, **view.made_for)
            raise
        except Exception:  # a defect of ours; the next range tries again
            log.exception("not written down: somebody watched", file_id=view.file_id, **view.made_for)
        finally:
            del self._writing[view.view_id]

    async def _end(self) -> None:
        if self._writing:
            _, late = await asyncio.wait(self._writing.values(), timeout=_END_SECONDS)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
