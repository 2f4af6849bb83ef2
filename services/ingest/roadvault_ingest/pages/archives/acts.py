"""What a person may do with one archive, besides holding and pinning it: move its end, pack it again, give it up."""

from datetime import UTC, date, datetime, timedelta

from aiohttp import web

from roadvault_common.errors import PermanentError
from roadvault_common.retention import holding
from roadvault_common.work import repair
from roadvault_common.work.stages import DROP, ORDER, PIN, PROVE
from roadvault_ingest.access.acts import note
from roadvault_ingest.pages.office import Office
from roadvault_ingest.pages.render import zone_of
from roadvault_ingest.pages.upkeep.aside import Reading
from roadvault_ingest.pages.upkeep.forms import form_of, reason_of, refusing
from roadvault_ingest.problems import Conflict, Problem

_ONE = "/zip/{zip_id:[0-9]{1,18}}"
GIVEN_UP = {stage.name: stage for stage in (PIN, ORDER, PROVE, DROP)}
"""Stages that an archive is tried again and again in, and that a person takes it out of."""


def act_routes(office: Office) -> list[web.RouteDef]:
    """Return the routes of what is done with an archive."""
    acts = ArchiveActs(office)
    return [
        web.post(f"{_ONE}/end", acts.end),
        web.post(f"{_ONE}/pack", acts.pack_again),
        web.post(f"{_ONE}/give-up", acts.give_up),
    ]


class ArchiveActs:
    """One method for each act."""

    def __init__(self, office: Office) -> None:
        self._office = office
        self._reading = Reading(office)

    async def end(self, request: web.Request) -> web.StreamResponse:
        """Move the end: to the end of a day, of the reader's zone, or to never."""
        zip_id, for_ever = int(request.match_info["zip_id"]), "ever" in request.query
        fields = await form_of(request, self._office, destroys=not for_ever)
        at = None if for_ever else _end_of(fields.text("until"), request)
        with refusing():
            row = await holding.set_end(self._office.db, zip_id, at)
        note(subject=f"archive {zip_id}: {'never' if at is None else f'{at:%Y-%m-%d %H:%M} UTC'}")
        raise web.HTTPSeeOther(f"/zip/{zip_id}?notice=end_{holding.key_lives(row, at)}")

    async def pack_again(self, request: web.Request) -> web.StreamResponse:
        """Give up an archive that never came to IPFS, and have its files packed once more from whole uploads."""
        zip_id, db = int(request.match_info["zip_id"]), self._office.db
        await form_of(request, self._office, destroys=True)
        note(subject=f"archive {zip_id}")
        async with self._reading as reading:
            with refusing():
                uploads = await db.transact(lambda tx: repair.uploads_to_pack(tx, zip_id))
                broken = [row["file_id"] for row in uploads if not await reading.is_whole(row)]
                if broken:  # the archive may hold the only good copy, and its key must stay
                    raise PermanentError(f"{len(broken)} uploads are not whole, file {broken[0]} first")
                closed = await repair.pack_again(db, zip_id)
        await self._office.ingest.ring([closed])
        raise web.HTTPSeeOther("/upkeep?notice=packed_again")

    async def give_up(self, request: web.Request) -> web.StreamResponse:
        """Take an archive that is tried again and again out of a stage, as failed."""
        zip_id, fields = int(request.match_info["zip_id"]), await form_of(request, self._office)
        stage, why = GIVEN_UP.get(fields.text("stage")), reason_of(fields)
        if stage is None:
            raise Problem("stage must name one that an archive can be taken out of")
        if not await repair.give_up(self._office.db, stage, zip_id, f"given up by a person: {why}"):
            raise Conflict(f"{stage.name} {zip_id} waits for nothing, or is worked on right now; nothing was changed")
        note(subject=f"{stage.name} {zip_id}: {why}")
        raise web.HTTPSeeOther(f"/zip/{zip_id}?notice=gave_up")


def _end_of(text: str, request: web.Request) -> datetime:
    """Return when a day is over in the reader's zone, in UTC.

    Raises:
        Problem: It is no day.
    """
    try:
        there = datetime.combine(date.fromisoformat(text), datetime.min.time(), zone_of(request)) + timedelta(days=1)
        return there.astimezone(UTC).replace(tzinfo=None)
    except (ValueError, OverflowError):
        raise Problem("until must be a day, such as 2036-12-31; nothing was changed") from None
