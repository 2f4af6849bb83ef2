"""The list of files, and the page of each."""

from typing import Any

from aiohttp import web

from roadvault_ingest.clients import client_of
from roadvault_ingest.fields import request_fields
from roadvault_ingest.pages.files.store import FilePagesStore
from roadvault_ingest.pages.office import Office, number
from roadvault_ingest.states import facts


def file_routes(office: Office) -> list[web.RouteDef]:
    """Return the routes of files."""
    pages = Files(office)
    return [
        web.get("/file", pages.list),
        web.get("/file/{file_id:[0-9]{1,18}}", pages.show),
        web.post("/file/{file_id:[0-9]{1,18}}/ask", pages.ask),
    ]


class Files:
    """One method for each page."""

    def __init__(self, office: Office) -> None:
        self._office = office
        self._store = FilePagesStore(office.db)

    async def list(self, request: web.Request) -> web.StreamResponse:
        """List files, newest first."""
        wanted = number(request, "id")
        if wanted is not None:
            raise web.HTTPSeeOther(f"/file/{wanted}")
        page = await self._store.files(number(request, "before"), number(request, "after"))
        rows = await self._store.with_states(page.rows)
        return self._office.render(
            request, "files/list.html", page=page._replace(rows=rows), threshold=await self._office.threshold()
        )

    async def show(self, request: web.Request) -> web.Response:
        """Show where one file and its requests stand."""
        ingest = self._office.ingest
        row, requests = await ingest.file(int(request.match_info["file_id"]))
        lines = [{**line, "facts": facts(line)} for line in await ingest.custody(row["file_id"], None)]
        values: dict[str, Any] = {
            "file": row,
            "requests": requests,
            "lines": lines,
            "notice": request.query.get("notice"),
        }
        values["threshold"] = await self._office.threshold()
        return self._office.render(request, "files/file.html", **values)

    async def ask(self, request: web.Request) -> web.StreamResponse:
        """Ask for a file from its page."""
        file_id, settings = int(request.match_info["file_id"]), self._office.settings
        fields = await request_fields(request, settings)
        peer = client_of(request, settings.proxy_networks)
        await self._office.ingest.request_download(file_id, fields.text("cbUrl"), peer)
        raise web.HTTPSeeOther(f"/file/{file_id}?notice=asked")
