"""What is on hold, what ends soon, and the period keys."""

from aiohttp import web

from roadvault_common.retention import ends, holding, periods
from roadvault_ingest.access.acts import note
from roadvault_ingest.pages.office import PAGE, Office
from roadvault_ingest.pages.upkeep.forms import form_of, number_of, reason_of, refusing
from roadvault_ingest.problems import Problem

_KINDS = ("file", "archive")


def retention_routes(office: Office) -> list[web.RouteDef]:
    """Return the routes of holds and ends."""
    db = office.db

    async def show(request: web.Request) -> web.Response:
        values = {
            "holds": await holding.holds(db, PAGE),
            "soon": await ends.soon(db, PAGE),
            "soon_count": await ends.count_soon(db),
            "soon_days": ends.SOON_DAYS,
            "keys": await holding.period_keys(db),
            "destroyed": await periods.destroyed(db),
            "notice": request.query.get("notice"),
        }
        return office.render(request, "upkeep/retention.html", **values)

    async def hold(request: web.Request) -> web.StreamResponse:
        fields = await form_of(request, office)
        kind, number, reason = fields.text("kind"), number_of(fields.text("number")), reason_of(fields)
        if kind not in _KINDS:
            raise Problem("kind must be file or archive")
        zip_id, file_id = (number, None) if kind == "archive" else (None, number)
        with refusing():
            hold_id, _ = await holding.hold(db, reason, zip_id=zip_id, file_id=file_id)
        note(subject=f"hold {hold_id}: {kind} {number}: {reason}")
        here = await holding.is_here(db, zip_id=zip_id, file_id=file_id)
        raise web.HTTPSeeOther("/upkeep/retention?notice=" + ("held" if here else "held_left_out"))

    async def release(request: web.Request) -> web.StreamResponse:
        fields = await form_of(request, office)
        hold_id, reason = number_of(fields.text("hold")), reason_of(fields)
        with refusing():
            await holding.release(db, hold_id, reason)
        note(subject=f"hold {hold_id}: {reason}")
        raise web.HTTPSeeOther("/upkeep/retention?notice=released")

    async def hold_file(request: web.Request) -> web.StreamResponse:
        file_id, reason = int(request.match_info["file_id"]), reason_of(await form_of(request, office))
        with refusing():
            hold_id, _ = await holding.hold(db, reason, file_id=file_id)
        note(subject=f"hold {hold_id}: file {file_id}: {reason}")
        raise web.HTTPSeeOther(f"/file/{file_id}?notice=held")

    return [
        web.get("/upkeep/retention", show),
        web.post("/upkeep/retention/hold", hold),
        web.post("/upkeep/retention/release", release),
        web.post("/file/{file_id:[0-9]{1,18}}/hold", hold_file),
    ]
