"""Makes pages of templates, in the reader's language."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from aiohttp import web
from jinja2 import Environment, FileSystemLoader

from roadvault_common.plain import plain
from roadvault_common.sql.db import Row
from roadvault_common.sql.states import ArchiveStatus, FolderStatus
from roadvault_ingest.access.who import current
from roadvault_ingest.pages.texts import LANGUAGES

HERE = Path(__file__).parent
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


class Renderer:
    """Knows the templates; `auth` tells whether who asks is known."""

    def __init__(self, *, auth: bool) -> None:
        self._auth = auth
        self._templates = Environment(
            loader=FileSystemLoader(HERE / "templates"), autoescape=True, trim_blocks=True, finalize=_shown
        )
        self._templates.filters |= {"size": size, "moment": moment, "file_state": state}

    def render(self, request: web.Request, template: str, *, status: int = 200, **values: Any) -> web.Response:  # noqa: ANN401
        """Return a page in the reader's language; `notice` is the key of a text above it."""
        language = _language(request)
        texts = LANGUAGES[language]
        notice = values.pop("notice", None)
        body = self._templates.get_template(template).render(
            t=texts,
            language=language,
            path=request.path,
            auth=self._auth,
            who=current(),
            notice=texts.get(notice or ""),
            **values,
        )
        response = web.Response(text=body, content_type="text/html", status=status, headers=_HEADERS)
        if self._auth:  # who logs out, or goes away from the machine, leaves nothing in the browser
            response.headers["Cache-Control"] = "no-store"
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
