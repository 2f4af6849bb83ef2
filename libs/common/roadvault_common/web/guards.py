"""What is refused before anything is done: what other sites' pages have a browser send, and compressed bodies.

A browser on the intranet reaches what its user visits *and* us. So a page from anywhere could have it send a form here,
or, under a name of its own that it lets point to our address, read our answers. Programs send none of the headers that
are looked at here, and pass.
"""

import re
from collections.abc import Callable, Collection, Iterable
from ipaddress import ip_address
from typing import Any

import structlog
from aiohttp import hdrs, web
from aiohttp.typedefs import Middleware
from multidict import MultiMapping
from yarl import URL

from roadvault_common.plain import plain
from roadvault_common.web.cors import Cors, is_preflight
from roadvault_common.web.health import RequestHandler

log = structlog.get_logger()

_AUTHORITY = re.compile(r"\[([^\[\]]*)\](?::\d*)?|([^\[\]:]*)(?::\d*)?", re.ASCII)
"""An address of IPv6 in brackets, or another host; either may have a port."""
_AUTHORITY_ENDS = re.compile("[/?#]")
_NOWHERE = URL("*")
_SHOWN = 100
"""Characters of a host's name in an answer."""

OTHER_ORIGIN = web.RequestKey("other_origin", bool)
"""A page of another origin sent this request, and may."""


def refusal(status: int, error: str, message: str, retry_after: int | None = None) -> web.Response:
    """Return an error in the API's shape: its code is the HTTP status, `error` the word that programs go by."""
    headers = {} if retry_after is None else {hdrs.RETRY_AFTER: str(retry_after)}
    body = {"code": status, "status": status, "error": error, "message": message, "result": None}
    return web.json_response(body, status=status, headers=headers)


@web.middleware
async def refuse_compressed(request: web.Request, handler: RequestHandler) -> web.StreamResponse:
    """Refuse a body that is compressed: how long it is, is seen when it has been taken."""
    if not _compressed(request.headers):
        return await handler(request)
    came = ", ".join(request.headers.getall(hdrs.CONTENT_ENCODING, ())) or "Transfer-Encoding"
    message = (
        f"the body must not be compressed: send it as it is, without Content-Encoding ({plain(came[:_SHOWN])} came)"
    )
    response = _refused(request, 415, "compressed", message)
    response.headers[hdrs.ACCEPT_ENCODING] = "identity"
    return response


def own_sites_only(hosts: Collection[str], cors: Cors | None = None) -> Middleware:
    """Make a middleware that refuses what pages of other sites send, and names that are not ours.

    `hosts` are our names besides addresses, localhost and names without a dot, which nobody else can let point to us;
    *.example.org stands for all names that end so. `cors` says which pages of other origins may send what all the same.
    """

    @web.middleware
    async def refuse(request: web.Request, handler: RequestHandler) -> web.StreamResponse:
        for name in _names(request):
            if not _ours(name, hosts):
                shown = plain(name[:_SHOWN])
                told = f"{shown!r} is not known as our name; if it is, ROADVAULT_HOSTS must say so"
                return _refused(request, 421, "unknown_host", told)
        headers: dict[str, str] = {}
        if _from_another_site(request):
            if cors is None or not _let_in(request, cors):
                told = (
                    "a page of another site sent this request; only RoadVault's own pages may, and upload those of"
                    " ROADVAULT_UPLOAD_ORIGINS"
                )
                return _refused(request, 403, "other_site", told)
            if is_preflight(request):  # here, since it shows no token
                return web.Response(status=204, headers=cors.preflight(request))
            request[OTHER_ORIGIN], headers = True, cors.headers(request)
        response = await handler(request)
        if not response.prepared:
            # Without TLS a browser does not say where the request for an image comes from: it is not to show it.
            response.headers.setdefault("Cross-Origin-Resource-Policy", "same-origin")
            response.headers.update(headers)
        return response

    return refuse


def answerable(make: Callable[..., web.BaseRequest]) -> Callable[..., web.BaseRequest]:
    """Return aiohttp's way to make a request of what it has parsed, but such that each request is answered.

    A target that names a host which can't be decoded would end the connection's task, and the connection would stand
    for ever. What else than 100-continue a client expects is passed over (RFC 9110, 10.1.1); aiohttp would quote it,
    which not every text survives. A body that is going to be refused is not asked for.
    """

    def made(message: Any, *rest: Any) -> web.BaseRequest:  # noqa: ANN401 - aiohttp's own, without a public type
        expected = message.headers.get(hdrs.EXPECT)
        if expected is not None and (expected.lower() != "100-continue" or _compressed(message.headers)):
            headers = message.headers.copy()
            headers.popall(hdrs.EXPECT)
            message = message._replace(headers=headers)
        try:
            return make(message, *rest)
        except ValueError:
            return make(message._replace(url=_NOWHERE), *rest)

    return made


def _refused(request: web.Request, status: int, error: str, message: str) -> web.Response:
    log.info("request refused", status=status, reason=message)
    response = refusal(status, error, message)
    if not request.content.is_eof():
        response.force_close()  # the rest of the body is not wanted, and no other request can follow it
    return response


def _compressed(headers: MultiMapping[str]) -> bool:
    encodings = headers.getall(hdrs.CONTENT_ENCODING, ())
    transfers = headers.getall(hdrs.TRANSFER_ENCODING, ())
    return bool(_words(encodings) - {"", "identity"} or _words(transfers) - {"", "identity", "chunked"})


def _words(values: Iterable[str]) -> set[str]:
    return {word.strip().lower() for value in values for word in value.split(",")}


def _names(request: web.Request) -> list[str]:
    """Return what a request calls this server, with ports: in its header, and where the target names a host, there."""
    names = list(request.headers.getall(hdrs.HOST, ()))
    target = request.raw_path
    if not target.startswith(("/", "*")):
        names.append(_AUTHORITY_ENDS.split(target.partition("://")[2] or target)[0].rpartition("@")[2])
    return names


def _ours(name: str, hosts: Collection[str]) -> bool:
    found = _AUTHORITY.fullmatch(name)
    if found is None:
        return False
    host = (found[1] or found[2] or "").lower().removesuffix(".")
    if "." not in host and ":" not in host:
        return True
    try:
        ip_address(host)
    except ValueError:
        return host in hosts or any(host.endswith(one[1:]) for one in hosts if one.startswith("*."))
    return True


def _from_another_site(request: web.Request) -> bool:
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None:
        return site not in {"same-origin", "none"} and not _opens_a_page(request)
    # Over plain HTTP, browsers say this of what may change something.
    origin = request.headers.get(hdrs.ORIGIN)
    return origin is not None and origin.partition("://")[2].lower() != request.headers.get(hdrs.HOST, "").lower()


def _let_in(request: web.Request, cors: Cors) -> bool:
    """Tell whether a page of another origin may send this, by a script: of a form's answer it could not be told."""
    if not cors.allowed(request) or request.headers.get("Sec-Fetch-Mode", "cors") != "cors":
        return False
    methods = cors.methods(request)
    return bool(methods) if is_preflight(request) else request.method in methods


def _opens_a_page(request: web.Request) -> bool:
    """Tell whether somebody followed a link: the page takes the place of the other site's, which sees nothing of it."""
    how = request.headers.get("Sec-Fetch-Mode"), request.headers.get("Sec-Fetch-Dest")
    return request.method == hdrs.METH_GET and how == ("navigate", "document")
