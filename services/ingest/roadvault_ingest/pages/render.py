"""Makes pages of templates, in the reader's language and time zone."""

import hashlib
from datetime import UTC, tzinfo
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlencode

from aiohttp import web
from jinja2 import Environment, FileSystemLoader
from yarl import URL

from roadvault_ingest.access.who import current
from roadvault_ingest.pages import shown
from roadvault_ingest.pages.states import STATES
from roadvault_ingest.pages.words import LANGUAGES

HERE = Path(__file__).parent
STATIC = {path.relative_to(HERE / "static").as_posix(): path for path in (HERE / "static").rglob("*") if path.is_file()}
_COOKIE, _ZONE = "lang", "zone"
_YEAR_SECONDS = 365 * 86_400
_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; frame-ancestors 'none'; form-action 'self'; base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Vary": "HX-Request, Accept-Language, Cookie",
}
PLACES = (("/", "home"), ("/file", "files"), ("/zip", "archives"), ("/requests", "requests"), ("/upload", "upload"))
"""Where the navigation leads, with the keys of its words; what comes below has the operation of it all."""
BELOW = (("/money", "money"), ("/system", "system"))
_PASSING = frozenset({"lang", "notice"})
"""Of a query, what is said once."""


def renews(request: web.Request) -> bool:
    """Tell whether a page asks by itself for its living part: nobody need sit before it."""
    return "HX-Request" in request.headers


class Renderer:
    """Knows the templates; `auth` tells whether who asks is known."""

    def __init__(self, *, auth: bool) -> None:
        self._auth = auth
        self._templates = Environment(
            loader=FileSystemLoader(HERE / "templates"),
            autoescape=True,
            trim_blocks=True,
            lstrip_blocks=True,
            finalize=shown.plainly,
        )
        self._templates.filters |= {**shown.FILTERS, **STATES}
        self._templates.globals |= {"static": _static_url, "places": PLACES, "below": BELOW, "utc": UTC}

    def render(self, request: web.Request, template: str, *, status: int = 200, **values: Any) -> web.Response:  # noqa: ANN401
        """Return a page in the reader's language; `notice` is the key of a text above it.

        Of a page that renews itself its block `live` alone. `media` is the URL of what plays on it.
        """
        media = values.pop("media", None)
        language = _language(request)
        texts = LANGUAGES[language]
        page = self._templates.get_template(template)
        context = page.new_context(
            {
                "t": texts,
                "language": language,
                "zone": zone_of(request),
                "zone_name": _zone_name(request),
                "path": request.path,
                "query": {name: value for name, value in request.query.items() if name not in _PASSING},
                "link": _links(request),
                "auth": self._auth,
                "who": current(),
                "notice": texts.get(values.pop("notice", None) or ""),
                **values,
            }
        )
        block = page.blocks.get("live") if renews(request) and status < web.HTTPBadRequest.status_code else None
        body = "".join((block or page.root_render_func)(context))
        response = web.Response(text=body, content_type="text/html", status=status, headers=_HEADERS)
        if media is not None:
            response.headers["Content-Security-Policy"] += f"; media-src {URL(media).origin()}"
        if self._auth or block is not None:  # who logs out, or goes away from the machine, leaves nothing behind
            response.headers["Cache-Control"] = "no-store"
        if "lang" in request.query:
            response.set_cookie(_COOKIE, language, max_age=_YEAR_SECONDS, samesite="Lax", httponly=True)
        return response


def zone_of(request: web.Request) -> tzinfo:
    """Return the reader's time zone; UTC, until their browser has said it."""
    return shown.zone(_zone_name(request))


def _zone_name(request: web.Request) -> str:
    return unquote(request.cookies.get(_ZONE, ""))


def static_file(request: web.Request) -> web.StreamResponse:
    """Send a script, a style or an icon. What is asked for by its version may be kept for good.

    Raises:
        HTTPNotFound: There is none such.
    """
    path = STATIC.get(request.match_info["name"])
    if path is None:
        raise web.HTTPNotFound
    kept = "public, max-age=31536000, immutable" if "v" in request.query else "no-cache"
    return web.FileResponse(path, headers={"Cache-Control": kept, "X-Content-Type-Options": "nosniff"})


def _static_url(name: str) -> str:
    return f"/static/{name}?v={_VERSIONS[name]}"


_VERSIONS = {name: hashlib.sha256(path.read_bytes()).hexdigest()[:12] for name, path in STATIC.items()}


def _links(request: web.Request) -> Any:  # noqa: ANN401 - a template's function
    """Return what makes links to the page at hand with other values in its query; None takes one out."""
    there = "" if request.method == "GET" else "/"  # what was posted has no page of its own
    kept = {name: value for name, value in request.query.items() if name not in _PASSING}

    def link(**changes: object) -> str:
        query = {name: value for name, value in {**kept, **changes}.items() if value is not None}
        return f"{there}?{urlencode(query)}" if query else request.path

    return link


def _language(request: web.Request) -> str:
    for wanted in (request.query.get("lang"), request.cookies.get(_COOKIE)):
        if wanted in LANGUAGES:
            return wanted
    return "zh" if request.headers.get("Accept-Language", "").lower().startswith("zh") else "en"
