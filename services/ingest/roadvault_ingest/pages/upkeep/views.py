"""The page of upkeep: what waits for a person's word, and what is done with all at once."""

import asyncio
from typing import Any

from aiohttp import web

from roadvault_common.catalogue import left_out
from roadvault_common.custody import accepting, fault_store
from roadvault_common.errors import RedisUnavailable
from roadvault_common.events.letters import DeadLetters, Letter
from roadvault_common.files import set_aside_store, sweep_store
from roadvault_common.retention import asking, left_holds
from roadvault_common.sql.folders import close_folder, open_folders
from roadvault_common.work import lease as leases
from roadvault_common.work import letters, repair
from roadvault_common.work.stages import PUBLISH
from roadvault_ingest.access.acts import note
from roadvault_ingest.pages.office import Office
from roadvault_ingest.pages.upkeep.aside import aside_routes
from roadvault_ingest.pages.upkeep.forms import ROWS, form_of, number_of, picked, reason_of, refusing
from roadvault_ingest.pages.upkeep.quarantine import quarantine_routes
from roadvault_ingest.pages.upkeep.retention import retention_routes
from roadvault_ingest.problems import Conflict

_REDIS_SECONDS = 1.5


def upkeep_routes(office: Office) -> list[web.RouteDef]:
    """Return the routes of upkeep."""
    page = Upkeep(office)
    return [
        web.get("/upkeep", page.show),
        web.post("/upkeep/ends", page.allow_ends),
        web.post("/upkeep/sweep", page.allow_sweep),
        web.post("/upkeep/left-out", page.give_up_left),
        web.post("/upkeep/custody", page.accept_custody),
        web.post("/upkeep/letters/retry", page.retry_letters),
        web.post("/upkeep/letters/discard", page.discard_letters),
        web.post("/upkeep/seal", page.seal),
        web.post("/upkeep/pin", page.pin_again),
        *aside_routes(office),
        *quarantine_routes(office),
        *retention_routes(office),
    ]


class Upkeep:
    """One method for each act."""

    def __init__(self, office: Office) -> None:
        self._office = office
        self._db = office.db

    async def show(self, request: web.Request) -> web.Response:
        """Show what waits."""
        db, records = self._db, dict[str, Any]()
        left = await left_out.listed(db, ROWS)
        for record in await left_out.noted(db, [row["cid"] for row in left]) if left else []:
            records[record.cid] = record, await left_holds.in_force(db, record)
        values: dict[str, Any] = {
            "ends_ask": await asking.asked(db, self._office.settings.shred_archives),
            "stopped": await sweep_store.stopped(db),
            "aside": await set_aside_store.waiting(db, ROWS),
            "aside_count": await set_aside_store.count(db),
            "left": left,
            "records": records,
            "faults": [row for row in await fault_store.faults(db, ROWS) if row["accepted_at"] is None],
            "faults_count": await fault_store.count_faults(db),
            "letters": await self._letters(),
            "open_folders": len(await open_folders(db)),
        }
        return self._office.render(request, "upkeep/upkeep.html", notice=request.query.get("notice"), **values)

    async def _letters(self) -> list[tuple[str, Letter]] | None:
        """Return the latest dead letters; None if Redis is away."""
        try:
            async with asyncio.timeout(_REDIS_SECONDS), DeadLetters.open(self._office.settings.redis_url) as found:
                return await found.latest(ROWS)
        except (RedisUnavailable, TimeoutError):
            return None

    async def allow_ends(self, request: web.Request) -> web.StreamResponse:
        """Let archives end that wait for a person, as many as the page has shown."""
        fields = await form_of(request, self._office, destroys=True)
        found = await asking.asked(self._db, self._office.settings.shred_archives)
        if found is None:
            raise Conflict("no archive waits for you; nothing was changed")
        if found.archives > number_of(fields.text("archives")):
            raise Conflict(f"{found.archives} archives are over by now, more than the page has shown: look again")
        await asking.allow(self._db)
        note(subject=f"{found.archives} archives")
        raise web.HTTPSeeOther("/upkeep?notice=ends_allowed")

    async def allow_sweep(self, request: web.Request) -> web.StreamResponse:
        """Let a sweep that has stopped go on once."""
        directory = (await form_of(request, self._office)).text("directory")
        files = await sweep_store.allow(self._db, directory)
        if not files:
            raise Conflict("that sweep has not stopped; nothing was changed")
        note(subject=f"{directory}: {files} files")
        raise web.HTTPSeeOther("/upkeep?notice=sweep_allowed")

    async def give_up_left(self, request: web.Request) -> web.StreamResponse:
        """Give up what a recovery left out."""
        cids = picked(await form_of(request, self._office, destroys=True))
        with refusing():
            await left_holds.give_up(self._db, cids)
        note(subject=", ".join(cids))
        raise web.HTTPSeeOther("/upkeep?notice=left_given_up")

    async def accept_custody(self, request: web.Request) -> web.StreamResponse:
        """Go on from the custody log as it is."""
        reason = reason_of(await form_of(request, self._office, destroys=True))
        count = await fault_store.count_faults(self._db)
        if not count:
            raise Conflict("nothing is known to be wrong with the custody log; nothing was changed")
        with refusing():
            await accepting.accept(self._db, self._office.settings.data_dir, reason)
        await self._db.transact(lambda tx: leases.make_due(tx, PUBLISH, 1))
        note(subject=f"{count} lines: {reason}")
        raise web.HTTPSeeOther("/upkeep?notice=custody_accepted")

    async def retry_letters(self, request: web.Request) -> web.StreamResponse:
        """Start what dead letters tell of anew."""
        entries = picked(await form_of(request, self._office))
        note(subject=", ".join(entries))
        async with DeadLetters.open(self._office.settings.redis_url) as found:
            with refusing():
                for entry in entries:
                    await letters.again(found, self._db, entry)
        raise web.HTTPSeeOther("/upkeep?notice=letters_retried")

    async def discard_letters(self, request: web.Request) -> web.StreamResponse:
        """Remove dead letters."""
        entries = picked(await form_of(request, self._office, destroys=True))
        note(subject=", ".join(entries))
        async with DeadLetters.open(self._office.settings.redis_url) as found:
            with refusing():
                for entry in entries:
                    await found.letter(entry)
                    await found.discard(entry)
        raise web.HTTPSeeOther("/upkeep?notice=letters_discarded")

    async def seal(self, request: web.Request) -> web.StreamResponse:
        """Close open folders now: one, or all."""
        fields = await form_of(request, self._office)
        one = fields.values.get("folder")
        wanted = [number_of(fields.text("folder"))] if one else await open_folders(self._db)
        closed = [done for folder_id in wanted if (done := await close_folder(self._db, folder_id))]
        if one and not closed:
            raise Conflict(f"folder {wanted[0]} is not open; nothing was changed")
        await self._office.ingest.ring(closed)
        note(subject=f"folders {', '.join(str(folder.folder_id) for folder in closed) or 'none'}")
        raise web.HTTPSeeOther("/upkeep?notice=" + ("sealed" if closed else "sealed_none"))

    async def pin_again(self, _: web.Request) -> web.StreamResponse:
        """Add all archives to IPFS once more that have a copy here."""
        count = 0
        for zip_id in await repair.kept_archives(self._db):
            count += await repair.pin_again(self._db, zip_id)
        note(subject=f"{count} archives")
        raise web.HTTPSeeOther("/upkeep?notice=" + ("pin_all_done" if count else "pin_all_none"))
