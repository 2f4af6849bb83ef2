"""The back-office: server-rendered pages in English and Chinese. Scripts only add a progress bar and local times."""

from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from roadvault_common.work.stages import STAGES
from roadvault_ingest.access.acts import note
from roadvault_ingest.clients import client_of
from roadvault_ingest.fields import request_fields
from roadvault_ingest.openapi.views import document_routes
from roadvault_ingest.pages.render import HERE, Renderer
from roadvault_ingest.pages.store import PagesStore
from roadvault_ingest.problems import NotFound, Problem
from roadvault_ingest.service import Ingest
from roadvault_ingest.states import facts

_STATIC = frozenset(path.name for path in (HERE / "static").iterdir())
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def page_routes(ingest: Ingest, store: PagesStore) -> list[web.RouteDef]:
    """Return the routes of the pages."""
    pages = Pages(ingest, store)
    return [
        web.get("/", pages.home),
        web.get("/file", pages.files),
        web.get("/file/{file_id:[0-9]{1,18}}", pages.file),
        web.post("/file/{file_id:[0-9]{1,18}}/ask", pages.ask),
        web.get("/zip", pages.archives),
        web.post("/retry", pages.retry),
        web.get("/static/{name}", pages.static),
        *document_routes(pages._render),  # noqa: SLF001 - it is ours
    ]


class Pages:
    """One method for each page."""

    def __init__(self, ingest: Ingest, store: PagesStore) -> None:
        self._ingest = ingest
        self._store = store
        self._render = Renderer(auth=ingest.settings.auth).render

    async def home(self, request: web.Request) -> web.Response:
        """Show what needs attention, the work in hand, and a form to upload a test file."""
        values: dict[str, Any] = {
            "away": await self._store.away(),
            "failures": await self._store.failures(),
            "audits": await self._store.audit_problems(),
            "set_aside": await self._store.set_aside(),
            "left_out": await self._store.left_out(),
            "stopped": await self._store.stopped_sweeps(),
            "ends_ask": await self._store.ends_ask(self._ingest.settings.shred_archives),
            "waiting": await self._store.waiting(self._ingest.settings.waiting_days),
            "ends": await self._store.ends(),
            "due": await self._store.due(),
        }
        return self._render(request, "home.html", notice=request.query.get("notice"), **values)

    async def files(self, request: web.Request) -> web.StreamResponse:
        """List files, newest first."""
        wanted = _number(request, "id")
        if wanted is not None:
            raise web.HTTPSeeOther(f"/file/{wanted}")
        page = await self._store.files(_number(request, "before"), _number(request, "after"))
        return self._render(request, "files.html", page=page)

    async def file(self, request: web.Request) -> web.Response:
        """Show where one file and its requests stand."""
        try:
            row, requests = await self._ingest.file(int(request.match_info["file_id"]))
        except NotFound:
            return self._render(request, "missing.html", status=404)
        notice = request.query.get("notice")
        lines = [{**line, "facts": facts(line)} for line in await self._ingest.custody(row["file_id"], None)]
        return self._render(request, "file.html", file=row, requests=requests, lines=lines, notice=notice)

    async def ask(self, request: web.Request) -> web.StreamResponse:
        """Ask for a file from its page."""
        file_id = int(request.match_info["file_id"])
        fields = await request_fields(request, self._ingest.settings)
        await self._ingest.request_download(
            file_id, fields.text("cbUrl"), client_of(request, self._ingest.settings.proxy_networks)
        )
        raise web.HTTPSeeOther(f"/file/{file_id}?notice=asked")

    async def archives(self, request: web.Request) -> web.Response:
        """List archives, newest first."""
        wanted = _number(request, "id")
        before = wanted + 1 if wanted is not None else _number(request, "before")
        page = await self._store.archives(before, _number(request, "after"))
        return self._render(request, "archives.html", page=page, catalogue=await self._store.catalogue())

    async def retry(self, request: web.Request) -> web.StreamResponse:
        """Give a failed row a new start."""
        fields = await request_fields(request, self._ingest.settings)
        stage = next((stage for stage in STAGES if stage.name == fields.text("stage")), None)
        row_id = fields.text("id")
        if stage is None or not row_id.isascii() or not row_id.isdigit():
            raise Problem("stage and id must name a failed row")
        revived = await self._store.retry(stage, int(row_id[:18]))
        note(subject=f"{stage.name} {row_id[:18]}", outcome="done" if revived else "it had not failed")
        raise web.HTTPSeeOther("/?notice=" + ("retry_done" if revived else "retry_gone"))

    async def static(self, request: web.Request) -> web.StreamResponse:
        """Send a script, a style or an icon."""
        name = request.match_info["name"]
        if name not in _STATIC:
            raise web.HTTPNotFound
        return web.FileResponse(HERE / "static" / name)


def _number(request: web.Request, name: str) -> int | None:
    text = request.query.get(name, "")
    return int(text[:18]) if text.isascii() and text.isdigit() else None
