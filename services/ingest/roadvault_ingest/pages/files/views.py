"""The list of files, and the page of each."""

import re
from collections.abc import Mapping
from datetime import tzinfo
from decimal import Decimal
from typing import Any

from aiohttp import web

from roadvault_common.sql.db import Row
from roadvault_common.videos import pictures
from roadvault_ingest.access.who import current
from roadvault_ingest.clients import client_of
from roadvault_ingest.fields import request_fields
from roadvault_ingest.lists.files_store import FilesStore
from roadvault_ingest.lists.filters import Filters, Order
from roadvault_ingest.pages.files.filters import NAMES, read_form, with_zone
from roadvault_ingest.pages.files.store import FilePagesStore
from roadvault_ingest.pages.office import PAGE, Office, number
from roadvault_ingest.pages.render import renews, zone_of
from roadvault_ingest.pages.way import way
from roadvault_ingest.problems import Problem
from roadvault_ingest.requests.clips import read_span
from roadvault_ingest.states import STATES, facts

_ONE = "/file/{file_id:[0-9]{1,18}}"

_POSITION = re.compile(r"(?:(\d{1,3}):)?(\d{1,4}):(\d{1,2}(?:\.\d{1,9})?)", re.ASCII)
"""In a video, as players show it: minutes and seconds, perhaps behind hours."""
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
        values["more"] = any(request.query.get(name) for name in NAMES[4:])
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
            "requests": [{**one, "link": self._link(one)} for one in requests],
            "links": ingest.makes_links and current().has_links,
            "lines": [{**line, "facts": facts(line)} for line in await ingest.custody(file_id, None)],
            "way": await way(self._office.db, row["folder_id"], row["zip_id"], row["create_time"]),
            "threshold": await self._office.threshold(),
            "notice": request.query.get("notice"),
        }
        values["plays"] = plays(row)
        if values["plays"] and not renews(request):
            if not values["video"] or values["video"]["container"] is None:
                await pictures.look_for(self._office.db, file_id)
            values["view_url"] = await ingest.view_url(
                file_id, client_of(request, self._office.settings.proxy_networks)
            )
        return self._office.render(request, "files/file.html", media=values.get("view_url"), **values)

    def _link(self, row: Row) -> str | None:
        """Return the link to what a request brought back, as long as it is good, for who may ask for files."""
        if not row["linked"] or not current().has_links:
            return None
        return self._office.ingest.link_url(row["download_id"], row["link_expires_at"])

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
        span = read_span(_with_times(fields.values, zone_of(request)), settings.clip_seconds)
        url = fields.text("cbUrl") if fields.values.get("cbUrl") else None
        await self._office.ingest.request_download(file_id, url or None, peer, span)
        raise web.HTTPSeeOther(f"/file/{file_id}?notice=" + ("asked" if url else "asked_here"))


def _with_times(values: Mapping[str, object], zone: tzinfo) -> dict[str, object]:
    """Return a form's fields with `from` and `to` as the API has them: people write 1:03, and times of their own."""
    read = dict(values)
    for name in ("from", "to"):
        text = str(values.get(name, "")).strip()
        found = _POSITION.fullmatch(text)
        if found is not None:
            hours, minutes, seconds = found.groups()
            read[name] = str(int(hours or 0) * 3600 + int(minutes) * 60 + Decimal(seconds))
        elif text:
            read[name] = with_zone(text, zone)
    return read


def plays(row: Row) -> bool:
    """Tell whether a file may be a video that a browser plays, and has not ended or been lost."""
    kind = row["file_name"].rpartition(".")[2].lower()
    return kind in _PLAYED and row["shredded_at"] is None and not row["set_aside"]
