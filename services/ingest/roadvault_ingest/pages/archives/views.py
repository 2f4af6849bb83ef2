"""The list of archives, and the page of each."""

from aiohttp import web

from roadvault_ingest.pages.archives.store import ArchivePagesStore
from roadvault_ingest.pages.office import Office, number


def archive_routes(office: Office) -> list[web.RouteDef]:
    """Return the routes of archives."""
    pages = Archives(office)
    return [web.get("/zip", pages.list), web.get("/zip/{zip_id:[0-9]{1,18}}", pages.show)]


class Archives:
    """One method for each page."""

    def __init__(self, office: Office) -> None:
        self._office = office
        self._store = ArchivePagesStore(office.db)

    async def list(self, request: web.Request) -> web.Response:
        """List archives, newest first."""
        wanted = number(request, "id")
        before = wanted + 1 if wanted is not None else number(request, "before")
        page = await self._store.archives(before, number(request, "after"))
        return self._office.render(request, "archives/list.html", page=page, catalogue=await self._store.catalogue())

    async def show(self, request: web.Request) -> web.StreamResponse:
        """Show one archive."""
        raise web.HTTPSeeOther(f"/zip?id={request.match_info['zip_id']}")
