"""Uploads that had rotted before they were packed: packed after all, or given up."""

import asyncio
from typing import Self

from aiohttp import web

from roadvault_common.files import set_aside, whole
from roadvault_common.files.identity import Identity
from roadvault_common.files.vault import Vault
from roadvault_common.sql.db import Row
from roadvault_ingest.access.acts import note
from roadvault_ingest.pages.office import Office
from roadvault_ingest.pages.upkeep.forms import form_of, picked_numbers, refusing
from roadvault_ingest.problems import Conflict


class Reading:
    """Reads uploads again before something is done with them: one form's at a time."""

    def __init__(self, office: Office) -> None:
        self.vault = Vault(office.settings.data_dir)
        self._lock = asyncio.Lock()

    async def __aenter__(self) -> Self:
        """Begin.

        Raises:
            Conflict: Uploads of another form are being read.
        """
        if self._lock.locked():
            raise Conflict("uploads are being read for another form: try again in a minute; nothing was changed")
        await self._lock.acquire()
        return self

    async def __aexit__(self, *_: object) -> None:
        """End."""
        self._lock.release()

    async def is_whole(self, upload: Row) -> bool:
        """Tell whether an upload is what its row says."""
        return await whole.fault(self.vault, upload) is None


def aside_routes(office: Office) -> list[web.RouteDef]:
    """Return the routes of what was set aside."""
    db, reading = office.db, Reading(office)

    async def retry(request: web.Request) -> web.StreamResponse:
        files = picked_numbers(await form_of(request, office))
        async with reading:
            with refusing():
                count, closed = await set_aside.pack_whole(db, files, reading.is_whole)
        await office.ingest.ring(closed)
        note(subject=_named(files), outcome="done" if count == len(files) else f"{count} of {len(files)} are whole")
        raise web.HTTPSeeOther("/upkeep?notice=" + ("aside_whole" if count == len(files) else "aside_not_whole"))

    async def give_up(request: web.Request) -> web.StreamResponse:
        files = picked_numbers(await form_of(request, office, destroys=True))
        note(subject=_named(files))
        with refusing():
            await Identity(db, reading.vault.root, only_looks=True).look()
            rows = [row["file_id"] async for row in set_aside.wanted(db, files)]
            for file_id in rows:
                await set_aside.give_up(db, reading.vault, file_id)
        raise web.HTTPSeeOther("/upkeep?notice=aside_given_up")

    return [web.post("/upkeep/set-aside/retry", retry), web.post("/upkeep/set-aside/give-up", give_up)]


def _named(files: list[int]) -> str:
    return f"file {files[0]}" if len(files) == 1 else f"files {', '.join(map(str, files))}"
