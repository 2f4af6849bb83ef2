"""What goes wrong on a page is a page: in the reader's language, with what to do next."""

from aiohttp import hdrs, web

from roadvault_ingest.pages.render import Renderer, renews

SECONDS = 4.0
"""After which a page that still waits for the database says so."""
_AGAIN = 10
"""Seconds after which a page that could not be shown is asked for again by itself."""
_API, _STATIC = "/api/", "/static/"
_WORDS = {403: "forbidden", 404: "missing", 405: "missing", 503: "away_page", 507: "full_page"}
_renderer = Renderer(auth=True)


def for_people(request: web.Request) -> bool:
    """Tell whether somebody sits before what asks: a browser that wants a page."""
    page = not request.path.startswith((_API, _STATIC)) and "text/html" in request.headers.get(hdrs.ACCEPT, "")
    return page and not renews(request) and hdrs.AUTHORIZATION not in request.headers


def bounded(request: web.Request) -> bool:
    """Tell whether a request is for a page, or a part of one, that has to be there soon, or say why not."""
    page = request.method == hdrs.METH_GET and not request.path.startswith((_API, _STATIC))
    return page and ("text/html" in request.headers.get(hdrs.ACCEPT, "") or renews(request))


def error_page(request: web.Request, status: int, detail: str | None, error: str | None = None) -> web.Response:
    """Return the page of an error; `error` is the word that the API has for it."""
    word = _WORDS.get(status, "wrong" if status < 500 else "internal")  # noqa: PLR2004 - from here on it is ours
    again = _AGAIN if status == web.HTTPServiceUnavailable.status_code and request.method == hdrs.METH_GET else None
    values = {"code": status, "word": word, "detail": detail, "error": error, "again": again}
    return _renderer.render(request, "error.html", status=status, **values)
