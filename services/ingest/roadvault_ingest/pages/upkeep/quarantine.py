"""Quarantine: what no row names lies there for days; a person may bring it back, or let it go."""

import asyncio
import os
from itertools import islice
from pathlib import Path

from aiohttp import web

from roadvault_common.files.identity import Identity
from roadvault_common.files.quarantine import Entry
from roadvault_common.files.vault import SWEPT, Vault
from roadvault_common.work import quarantined
from roadvault_ingest.access.acts import note
from roadvault_ingest.fields import Fields
from roadvault_ingest.pages.office import Office
from roadvault_ingest.pages.upkeep.forms import ROWS, form_of, picked, refusing
from roadvault_ingest.problems import Conflict

_LOOKED_AT = 1000
"""Files of each directory that are looked at: a page costs no more as there are more, nor does a press."""


def writable(root: Path) -> list[str]:
    """Return the directories that files can be brought back to from here. Blocks."""
    return [name for name in SWEPT if os.access(root / name, os.W_OK)]


def quarantine_routes(office: Office) -> list[web.RouteDef]:
    """Return the routes of quarantine."""
    pages = QuarantinePages(office)
    return [
        web.get("/upkeep/quarantine", pages.show),
        web.post("/upkeep/quarantine/restore", pages.restore),
        web.post("/upkeep/quarantine/purge", pages.purge),
    ]


class QuarantinePages:
    """The list, and what is done with its entries."""

    def __init__(self, office: Office) -> None:
        self._office = office
        self._vault = Vault(office.settings.data_dir)

    async def show(self, request: web.Request) -> web.Response:
        """Show what came from everywhere, or from one directory, the latest first."""
        source = request.query.get("from")
        entries = await asyncio.to_thread(self._entries, source)
        open_to = await asyncio.to_thread(writable, self._vault.root)
        values = {
            "entries": [(entry, entry.origin.partition("/")[0] in open_to) for entry in entries[:ROWS]],
            "count": len(entries),
            "amount": sum(entry.size for entry in entries),
            "more": len(entries) >= _LOOKED_AT,
            "sources": SWEPT,
            "shut": [name for name in SWEPT if name not in open_to],
            "notice": request.query.get("notice"),
        }
        return self._office.render(request, "upkeep/quarantine.html", **values)

    async def restore(self, request: web.Request) -> web.StreamResponse:
        """Move files back to where they came from: those that were ticked, or that a row names again."""
        fields = await form_of(request, self._office)
        wanted = await self._wanted(fields)
        if fields.values.get("all"):
            wanted = await quarantined.named(self._office.db, wanted)
        open_to = await asyncio.to_thread(writable, self._vault.root)
        there = [entry for entry in wanted if entry.origin.partition("/")[0] in open_to]
        if len(there) < len(wanted) and not fields.values.get("all"):
            raise Conflict("ingest can't write there: `roadvault quarantine restore` can; nothing was changed")
        done, troubles = await asyncio.to_thread(quarantined.each, there, self._vault.quarantine.restore)
        self._note(there, done, troubles)
        raise web.HTTPSeeOther("/upkeep/quarantine?notice=" + _ended("restored", len(wanted), done))

    async def purge(self, request: web.Request) -> web.StreamResponse:
        """Remove files for good, but for those that a row names."""
        fields = await form_of(request, self._office, destroys=True)
        with refusing():
            # What rows name is asked of the right database.
            await Identity(self._office.db, self._vault.root, only_looks=True).look()
        wanted = await self._wanted(fields)
        kept = set(await quarantined.named(self._office.db, wanted))
        going = [entry for entry in wanted if entry not in kept]
        done, troubles = await asyncio.to_thread(quarantined.each, going, self._vault.quarantine.purge)
        self._note(wanted, done, troubles)
        raise web.HTTPSeeOther("/upkeep/quarantine?notice=" + _ended("purged", len(wanted), done))

    async def _wanted(self, fields: Fields) -> list[Entry]:
        if fields.values.get("all"):
            source = fields.values.get("from")
            return await asyncio.to_thread(self._entries, source if isinstance(source, str) else None)
        names = picked(fields)
        with refusing():
            return await asyncio.to_thread(lambda: [self._vault.quarantine.entry(name) for name in names])

    def _entries(self, source: str | None) -> list[Entry]:
        found = list[Entry]()
        for directory in [source] if source in SWEPT else SWEPT:
            found += islice(self._vault.quarantine.entries(directory), _LOOKED_AT)
        return sorted(found, key=lambda entry: entry.since, reverse=True)

    def _note(self, wanted: list[Entry], done: int, troubles: list[str]) -> None:
        names = ", ".join(entry.name for entry in wanted)
        note(subject=f"{len(wanted)} files: {names}", outcome="; ".join([f"{done} done", *troubles]))


def _ended(word: str, wanted: int, done: int) -> str:
    return word if done == wanted and done else f"{word}_some" if done else f"{word}_none"
