"""The list of archives, and the page of each."""

from datetime import datetime

from aiohttp import web

from roadvault_common.errors import PermanentError
from roadvault_common.retention import holding
from roadvault_common.sql.db import Row
from roadvault_common.work import repair
from roadvault_ingest.access.acts import note
from roadvault_ingest.fields import Fields, request_fields
from roadvault_ingest.pages.archives.store import STAGES, ArchivePagesStore
from roadvault_ingest.pages.office import Office, Slice, number
from roadvault_ingest.pages.way import way
from roadvault_ingest.problems import Conflict, NotFound, Problem

_ONE = "/zip/{zip_id:[0-9]{1,18}}"
_REASON_LENGTH = 500


def archive_routes(office: Office) -> list[web.RouteDef]:
    """Return the routes of archives."""
    pages = Archives(office)
    return [
        web.get("/zip", pages.listing),
        web.get(_ONE, pages.show),
        web.post(f"{_ONE}/hold", pages.hold),
        web.post(f"{_ONE}/release", pages.release),
        web.post(f"{_ONE}/pin", pages.pin_again),
    ]


class Archives:
    """One method for each page."""

    def __init__(self, office: Office) -> None:
        self._office = office
        self._store = ArchivePagesStore(office.db)

    async def listing(self, request: web.Request) -> web.Response:
        """List archives, newest first, or those that are in one stage."""
        wanted, stage = number(request, "id"), request.query.get("stage")
        threshold = await self._office.threshold()
        if stage in STAGES:
            page = Slice(await self._store.in_stage(stage, threshold), None, None)
        else:
            before = wanted + 1 if wanted is not None else number(request, "before")
            page = await self._store.archives(before, number(request, "after"))
        values = {"page": page, "catalogue": await self._store.catalogue(), "threshold": threshold, "stages": STAGES}
        return self._office.render(request, "archives/list.html", **values)

    async def show(self, request: web.Request) -> web.Response:
        """Show one archive."""
        store, zip_id = self._store, _zip_id(request)
        row = await store.archive(zip_id)
        if row is None:
            raise NotFound(f"there is no archive {zip_id}")
        threshold = await self._office.threshold()
        evidence, purchases = await store.evidence(zip_id), await store.purchases(zip_id)
        values = {
            "archive": row,
            "way": await way(self._office.db, row["folder_id"], zip_id) if row["kind"] == "archive" else (),
            "members": await store.members(zip_id),
            "purchases": purchases,
            "evidence": evidence,
            "counts": [(*count, threshold) for count in counts(row, purchases, evidence)],
            "audits": await store.audits(zip_id),
            "holds": await store.holds(zip_id),
            "threshold": threshold,
            "notice": request.query.get("notice"),
        }
        return self._office.render(request, "archives/archive.html", **values)

    async def hold(self, request: web.Request) -> web.StreamResponse:
        """Put an archive on hold."""
        zip_id, reason = _zip_id(request), _reason(await request_fields(request, self._office.settings))
        try:
            hold_id, _ = await holding.hold(self._office.db, reason, zip_id=zip_id)
        except PermanentError as error:
            raise Conflict(str(error)) from None
        note(subject=f"hold {hold_id}: {reason}")
        raise web.HTTPSeeOther(f"/zip/{zip_id}?notice=held")

    async def release(self, request: web.Request) -> web.StreamResponse:
        """Release a hold of an archive."""
        zip_id, fields = _zip_id(request), await request_fields(request, self._office.settings)
        hold_id, reason = fields.text("hold"), _reason(fields)
        if hold_id not in {str(row["hold_id"]) for row in await self._store.holds(zip_id)}:
            raise Conflict(f"archive {zip_id} has no hold of that number")
        try:
            await holding.release(self._office.db, int(hold_id), reason)
        except PermanentError as error:
            raise Conflict(str(error)) from None
        note(subject=f"hold {hold_id}: {reason}")
        raise web.HTTPSeeOther(f"/zip/{zip_id}?notice=released")

    async def pin_again(self, request: web.Request) -> web.StreamResponse:
        """Have an archive added to IPFS once more, from its copy here."""
        zip_id = _zip_id(request)
        done = await repair.pin_again(self._office.db, zip_id)
        note(subject=f"archive {zip_id}", outcome="done" if done else "nothing to pin")
        raise web.HTTPSeeOther(f"/zip/{zip_id}?notice=" + ("pin_again_done" if done else "pin_again_none"))


def counts(archive: Row, purchases: list[Row], evidence: list[Row]) -> list[tuple[datetime, int]]:
    """Return when which replicas were counted, as far as it was noted, the oldest first."""
    first = min((row["settled_at"] for row in purchases if row["settled_at"] is not None), default=None)
    found = [(row["create_time"], row["replicas"]) for row in evidence if row["counted_at"] == row["create_time"]]
    found += [(row["counted_at"], row["replicas"]) for row in evidence]
    if archive["checked_at"] is not None:
        found.append((archive["checked_at"], archive["replicas"]))
    return sorted({*found, *([] if first is None else [(first, 0)])})


def _zip_id(request: web.Request) -> int:
    return int(request.match_info["zip_id"])


def _reason(fields: Fields) -> str:
    reason = fields.text("reason")
    if not reason or len(reason) > _REASON_LENGTH:
        raise Problem(f"reason must have between 1 and {_REASON_LENGTH} characters")
    return reason
