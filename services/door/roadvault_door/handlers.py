"""What comes in over HTTP from the outside: signed links, to download and to play."""

import structlog
from aiohttp import web
from aiohttp.typedefs import Middleware

from roadvault_common.errors import Outage, TransientError, brief
from roadvault_common.web.cors import Cors, is_preflight
from roadvault_common.web.health import RequestHandler
from roadvault_common.web.traced import route_of
from roadvault_door.config import DoorSettings
from roadvault_door.sending import send
from roadvault_door.service import Door, Refused
from roadvault_door.watching import Player

log = structlog.get_logger()

_ALWAYS = {
    # A page that is nobody's file must not run in the name of this host, nor be told of a link's token by one.
    "Content-Security-Policy": "sandbox",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "private, no-store",
}
_PLAYS = {"Content-Security-Policy": "sandbox allow-same-origin"}
"""Where a video is opened by itself, the browser's own page with it has to be of our origin to play; no script runs."""
_METHODS = ("GET", "HEAD")
_SENT = ("Range", "If-Range", "If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since")
_READ = (
    *("Accept-Ranges", "Content-Disposition", "Content-Length", "Content-Range"),
    *("ETag", "Last-Modified", "Repr-Digest"),
)
_RETRY_SECONDS = "5"


def link_routes(settings: DoorSettings, door: Door, player: Player | None = None) -> list[web.RouteDef]:
    """Return the routes of the public listener; videos are played if there is a `player`."""
    cors = _cors(settings)

    async def link(request: web.Request) -> web.StreamResponse:
        found = await door.find(request.match_info["token"])
        headers = _headers(request, cors)
        return await send(request, found, headers, settings.download_bytes_per_second, settings.download_grace_seconds)

    async def view(request: web.Request) -> web.StreamResponse:
        if player is None:
            raise Outage("ROADVAULT_STREAM_URL is not set: no video is played")
        return await player.play(request, request.match_info["token"], _headers(request, cors) | _PLAYS)

    async def preflight(request: web.Request) -> web.Response:
        if not is_preflight(request):
            raise web.HTTPMethodNotAllowed(request.method, _METHODS)
        response = web.Response(status=204, headers={**_ALWAYS, **cors.preflight(request)})
        response.force_close()  # as any answer that takes no link
        return response

    routes = [web.get("/d/{token}", link), web.get("/v/{token}", view)]
    preflights = [web.options(path, preflight) for path in ("/d/{token}", "/v/{token}")]
    return [*routes, *preflights] if settings.origins else routes


def _cors(settings: DoorSettings) -> Cors:
    return Cors(settings.origins, lambda _: _METHODS, _SENT, _READ)


def _headers(request: web.Request, cors: Cors) -> dict[str, str]:
    """Return what every answer carries, and what lets the scripts of allowed origins read it."""
    return {**_ALWAYS, **cors.headers(request)}


def answer_plainly(settings: DoorSettings) -> Middleware:
    """Make a middleware that turns what handlers raise into a line of plain text."""
    cors = _cors(settings)

    def refusal(request: web.Request, status: int, text: str, more: dict[str, str] | None = None) -> web.Response:
        headers = {**_headers(request, cors), **(more or {})}
        response = web.Response(status=status, text=f"{text}\n", headers=headers)
        # Who has no link gets one answer: many, asked for at once and never taken, would hold the connection.
        response.force_close()
        return response

    @web.middleware
    async def answer(request: web.Request, handler: RequestHandler) -> web.StreamResponse:
        try:
            return await handler(request)
        except Refused as refused:
            more = {} if refused.location is None else {"Location": refused.location}
            return refusal(request, refused.status, str(refused), more)
        except TransientError as error:
            log.warning("request failed", route=route_of(request), error=brief(error))
            return refusal(request, 503, "not possible right now; try again", {"Retry-After": _RETRY_SECONDS})
        except web.HTTPException as error:
            more = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else {}
            return refusal(request, error.status, error.reason, more)
        except ConnectionError:
            raise
        except Exception:  # a defect of ours: the client is told that it is one, the log gets the trace
            log.exception("request failed", route=route_of(request))
            return refusal(request, 500, "internal error; it has been logged")

    return answer
