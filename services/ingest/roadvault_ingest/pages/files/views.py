"""The list of files, and the page of each."""

from typing import Any

from aiohttp import web

from roadvault_common.sql.db import Row
from roadvault_ingest.clients import client_of
from roadvault_ingest.fields import request_fields
from roadvault_ingest.lists.files_store import FilesStore
from roadvault_ingest.lists.filters import Filters, Order
from roadvault_ingest.pages.files.filters import NAMES, read_form
from roadvault_ingest.pages.files.store import FilePagesStore
from roadvault_ingest.pages.office import PAGE, Office, number
from roadvault_ingest.pages.render import renews, zone_of
from roadvault_ingest.pages.way import way
from roadvault_ingest.problems import Problem
from roadvault_ingest.requests.clips import read_span
from roadvault_ingest.states import STATES, facts

_ONE = "/file/{file_id:[0-9]{1,18}}"

_PLAYED = frozenset({"mp4", "m4v", "mov", "webm"})
"""Names' extensions of what browsers play."""


def file_routes(office: Office) -> list[web.RouteDef]:
    """Return the routes of files."""
    pages = Files(office)
    return [
        web.get("/file", pages.listing),
        web.get(_ONE, pages.show),
        web.post(f"{_ONE}/ask", pages.ask),
        web.get(f"{_ONE}/picture/{{number:[0-2]}}", pages.picture),
    ]


class Files:
    """One method for each page."""

    def __init__(self, office: Office) -> None:
        self._office = office
        self._store = FilePagesStore(office.db)
        self._lists = FilesStore(office.db)

    async def listing(self, request: web.Request) -> web.StreamResponse:
        """List files, newest first."""
        wanted = number(request, "id")
        if wanted is not None:
            raise web.HTTPSeeOther(f"/file/{wanted}")
        filters, wrong = read_form(request.query, zone_of(request))
        values: dict[str, Any] = {"names": NAMES, "states": STATES, "wrong": wrong, "newer": None, "older": None}
        if filters.given:
            rows, values["next"] = await self._narrowed(filters, request.query.get("next"))
        else:
            page = await self._store.files(number(request, "before"), number(request, "after"))
            rows, values["newer"], values["older"] = [*page.rows], page.newer, page.older
        values |= {"rows": await self._store.with_states(rows), "narrowed": bool(filters.given)}
        return self._office.render(request, "files/list.html", threshold=await self._office.threshold(), **values)

    async def _narrowed(self, filters: Filters, after: str | None) -> tuple[list[dict[str, Any]], str | None]:
        """Return files that fit, and the mark of those behind; one that is no mark of this list begins it anew."""
        try:
            return await self._lists.page(filters, Order(limit=PAGE, after=after))
        except Problem:
            return await self._lists.page(filters, Order(limit=PAGE))

    async def show(self, request: web.Request) -> web.Response:
        """Show where one file and its requests stand."""
        ingest, file_id = self._office.ingest, int(request.match_info["file_id"])
        row, requests = await ingest.file(file_id)
        values: dict[str, Any] = {
            "file": await self._store.with_failures(row),
            "video": await self._store.video(file_id),
            "requests": requests,
            "lines": [{**line, "facts": facts(line)} for line in await ingest.custody(file_id, None)],
            "way": await way(self._office.db, row["folder_id"], row["zip_id"], row["create_time"]),
            "threshold": await self._office.threshold(),
            "notice": request.query.get("notice"),
        }
        values["plays"] = plays(row)
        if values["plays"] and not renews(request):
            values["view_url"] = await ingest.view_url(
                file_id, client_of(request, self._office.settings.proxy_networks)
            )
        return self._office.render(request, "files/file.html", media=values.get("view_url"), **values)

    async def picture(self, request: web.Request) -> web.Response:
        """Send a small picture of a video."""
        file_id, place = int(request.match_info["file_id"]), int(request.match_info["number"])
        content = await self._office.ingest.picture(file_id, place)
        headers = {"Cache-Control": "private, max-age=86400", "X-Content-Type-Options": "nosniff"}
        return web.Response(body=content, content_type="image/jpeg", headers=headers)

    async def ask(self, request: web.Request) -> web.StreamResponse:
        """Ask for a file from its page, or for a clip of it."""
        file_id, settings = int(request.match_info["file_id"]), self._office.settings
        fields = await request_fields(request, settings)
        peer = client_of(request, settings.proxy_networks)
        span = read_span(fields.values, settings.clip_seconds)
        await self._office.ingest.request_download(file_id, fields.text("cbUrl"), peer, span)
        raise web.HTTPSeeOther(f"/file/{file_id}?notice=asked")


def plays(row: Row) -> bool:
    """Tell whether a file may be a video that a browser plays, and has not ended or been lost."""
    kind = row["file_name"].rpartition(".")[2].lower()
    return kind in _PLAYED and row["shredded_at"] is None and not row["set_aside"]
