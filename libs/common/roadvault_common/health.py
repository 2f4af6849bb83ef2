"""What a service says of itself over HTTP, and that it takes no request before its schema is known."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from aiohttp import web
from aiohttp.typedefs import Middleware
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from roadvault_common.errors import DatabaseUnavailable, RoadVaultError, brief

RequestHandler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Check = Callable[[], Awaitable[None]]
"""Raises a RoadVaultError, saying what is missing, unless all is well."""

_CHECK_SECONDS = 5.0
_PATHS = ("/metrics", "/healthz", "/readyz")


def health_routes(checks: Mapping[str, Check], closing: asyncio.Event, known: asyncio.Event) -> list[web.RouteDef]:
    """Return the routes of /metrics, /healthz (the process runs) and /readyz (it can do its work)."""

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(body=generate_latest(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def healthz(_: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def readyz(_: web.Request) -> web.Response:
        # A load balancer is to hear of the end at once, not after a database that hangs.
        states = {} if closing.is_set() else {name: await _state(check) for name, check in checks.items()}
        states["schema"] = "ok" if known.is_set() else "not yet seen"
        ready = not closing.is_set() and all(state == "ok" for state in states.values())
        return web.json_response({"ready": ready, "checks": states}, status=200 if ready else 503)

    return [web.get(path, handler) for path, handler in zip(_PATHS, (metrics, healthz, readyz), strict=True)]


async def _state(check: Check) -> str:
    try:
        async with asyncio.timeout(_CHECK_SECONDS):
            await check()
    except TimeoutError:
        return f"no answer within {_CHECK_SECONDS:.0f} s"
    except RoadVaultError as error:
        return brief(error)
    return "ok"


def only_once(known: asyncio.Event) -> Middleware:
    """Make a middleware that takes no requests, except for health, before `known` is set."""

    @web.middleware
    async def refuse(request: web.Request, handler: RequestHandler) -> web.StreamResponse:
        if not known.is_set() and request.path not in _PATHS:
            raise DatabaseUnavailable("the database's schema has not been seen yet")
        return await handler(request)

    return refuse
