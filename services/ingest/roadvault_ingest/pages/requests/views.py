"""The list of requests, and the page of each."""

from aiohttp import web

from roadvault_common.history import event_log
from roadvault_common.work.stages import CALLBACK, FETCH
from roadvault_ingest.access.acts import note
from roadvault_ingest.access.who import current
from roadvault_ingest.pages.office import Office, Slice, number
from roadvault_ingest.pages.requests.cancelling import cancel
from roadvault_ingest.pages.requests.store import STATES, RequestPagesStore
from roadvault_ingest.problems import NotFound

_ONE = "/requests/{download_id:[0-9]{1,18}}"
_EVENTS = 60


def request_routes(office: Office) -> list[web.RouteDef]:
    """Return the routes of requests."""
    pages = Requests(office)
    return [web.get("/requests", pages.listing), web.get(_ONE, pages.show), web.post(f"{_ONE}/cancel", pages.cancel)]


class Requests:
    """One method for each page."""

    def __init__(self, office: Office) -> None:
        self._office = office
        self._store = RequestPagesStore(office.db)

    async def listing(self, request: web.Request) -> web.Response:
        """List requests, newest first, or those that are open, or failed."""
        state = request.query.get("state")
        if state in STATES:
            page = Slice(await self._store.in_state(state), None, None)
        else:
            page = await self._store.requests(number(request, "before"), number(request, "after"))
        return self._office.render(request, "requests/list.html", page=page, states=STATES)

    async def show(self, request: web.Request) -> web.Response:
        """Show one request."""
        number = _number(request)
        row = await self._store.request(number)
        if row is None:
            raise NotFound(f"there is no request {number}")
        events = await event_log.of_row(self._office.db, [(FETCH, number), (CALLBACK, number)], _EVENTS)
        values = {"row": row, "events": events, "notice": request.query.get("notice")}
        good = row["path"] is not None and row["link_expires_at"] is not None and row["link_expires_at"] > row["now"]
        if good and current().has_links:
            values["download_url"] = self._office.ingest.link_url(number, row["link_expires_at"])
        return self._office.render(request, "requests/request.html", **values)

    async def cancel(self, request: web.Request) -> web.StreamResponse:
        """Cancel a request that is open."""
        number = _number(request)
        done = await cancel(self._office.db, number)
        note(subject=f"request {number}", outcome="done" if done else "it was not open, or being called back")
        raise web.HTTPSeeOther(f"/requests/{number}?notice=" + ("cancel_done" if done else "cancel_gone"))


def _number(request: web.Request) -> int:
    return int(request.match_info["download_id"])
