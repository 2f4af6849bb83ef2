"""The back-office: server-rendered pages in English and Chinese. Scripts only add a progress bar and local times."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from aiohttp import web
from jinja2 import Environment, FileSystemLoader

from roadvault_common.plain import plain
from roadvault_common.sql.db import Row
from roadvault_common.sql.states import ArchiveStatus, FolderStatus
from roadvault_common.work.stages import STAGES
from roadvault_ingest.clients import client_of
from roadvault_ingest.fields import request_fields
from roadvault_ingest.openapi.views import document_routes
from roadvault_ingest.pages.store import PagesStore
from roadvault_ingest.pages.texts import LANGUAGES
from roadvault_ingest.problems import NotFound, Problem
from roadvault_ingest.service import Ingest
from roadvault_ingest.states import facts

_HERE = Path(__file__).parent
_STATIC = frozenset(path.name for path in (_HERE / "static").iterdir())
_COOKIE = "lang"
_YEAR_SECONDS = 365 * 86_400
_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; frame-ancestors 'none'; form-action 'self'; base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
}
_UNITS = ("bytes", "KB", "MB", "GB", "TB", "PB")
_THOUSAND = 1000

_FOLDER_STATES = {
    FolderStatus.OPEN: "state_open",
    FolderStatus.CLOSED: "state_closed",
    FolderStatus.FAILED: "state_pack_failed",
}
_ORDER_STATES = {
    ArchiveStatus.NOT_ORDERED: "state_pinned",
    ArchiveStatus.ORDERED: "state_ordered",
    ArchiveStatus.ORDER_FAILED: "state_order_failed",
    ArchiveStatus.EXPIRED: "state_expired",
    ArchiveStatus.ENDED: "state_ended",
}

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def page_routes(ingest: Ingest, store: PagesStore) -> list[web.AbstractRouteDef]:
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
        self._templates = Environment(
            loader=FileSystemLoader(_HERE / "templates"), autoescape=True, trim_blocks=True, finalize=_shown
        )
        self._templates.filters |= {"size": size, "moment": moment, "file_state": state}

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
        raise web.HTTPSeeOther("/?notice=" + ("retry_done" if revived else "retry_gone"))

    async def static(self, request: web.Request) -> web.StreamResponse:
        """Send a script, a style or an icon."""
        name = request.match_info["name"]
        if name not in _STATIC:
            raise web.HTTPNotFound
        return web.FileResponse(_HERE / "static" / name)

    def _render(self, request: web.Request, template: str, *, status: int = 200, **values: Any) -> web.Response:  # noqa: ANN401
        language = _language(request)
        texts = LANGUAGES[language]
        notice = values.pop("notice", None)
        body = self._templates.get_template(template).render(
            t=texts, language=language, path=request.path, notice=texts.get(notice or ""), **values
        )
        response = web.Response(text=body, content_type="text/html", status=status, headers=_HEADERS)
        if "lang" in request.query:
            response.set_cookie(_COOKIE, language, max_age=_YEAR_SECONDS, samesite="Lax", httponly=True)
        return response


def size(count: int) -> str:
    """Return a byte count with a decimal unit: 1500000 is 1.5 MB."""
    amount, unit = float(count), 0
    while amount >= _THOUSAND and unit < len(_UNITS) - 1:
        amount, unit = amount / _THOUSAND, unit + 1
    return f"{count} {_UNITS[0]}" if unit == 0 else f"{amount:.1f} {_UNITS[unit]}"


def _shown(value: object) -> object:
    """Make what a template shows plain: characters that turn the direction of text make an .exe look like a .jpg."""
    return plain(value) if type(value) is str else value


def moment(value: datetime) -> str:
    """Return a database time (UTC, naive) in ISO 8601, for a <time> element."""
    return value.replace(tzinfo=UTC).isoformat(timespec="seconds")


def state(row: Row) -> str:
    """Return the key of the words that tell where a file's or an archive's row stands."""
    if row.get("set_aside"):
        return "state_lost" if row["lost"] else "state_set_aside"
    if row["folder_status"] != FolderStatus.PACKED:
        return _FOLDER_STATES[row["folder_status"]]
    if row["zip_status"] == ArchiveStatus.ENDED:
        return "state_ended"
    if row["cid"] is None:
        return "state_packed" if row.get("pin_failed_at") is None else "state_pin_failed"
    away = "state_network" if row["proven"] else "state_unproven"
    live = away if row["zip_path"] is None else "state_live"
    return live if row["zip_status"] == ArchiveStatus.LIVE else _ORDER_STATES[row["zip_status"]]


def _language(request: web.Request) -> str:
    for wanted in (request.query.get("lang"), request.cookies.get(_COOKIE)):
        if wanted in LANGUAGES:
            return wanted
    return "zh" if request.headers.get("Accept-Language", "").lower().startswith("zh") else "en"


def _number(request: web.Request, name: str) -> int | None:
    text = request.query.get(name, "")
    return int(text[:18]) if text.isascii() and text.isdigit() else None
