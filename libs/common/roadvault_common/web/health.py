"""What a service says of itself over HTTP, and that it takes no request before it is known to be right."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping

from aiohttp import web
from aiohttp.typedefs import Middleware
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from roadvault_common.build import VERSION
from roadvault_common.errors import DatabaseUnavailable, RoadVaultError, brief

RequestHandler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Check = Callable[[], Awaitable[None]]
"""Raises a RoadVaultError, saying what is missing, unless all is well."""

_CHECK_SECONDS = 5.0
_OK = "ok"
PATHS = ("/metrics", "/healthz", "/readyz")


class Gate:
    """What has to be seen before requests are taken and jobs begin: that the schema fits, and whose files these are."""

    def __init__(self, *names: str) -> None:
        self.states = dict.fromkeys(names, "not yet seen")
        """By name: `ok`, or what keeps the gate shut."""

    @property
    def open(self) -> bool:
        """Whether all has been seen, and is well."""
        return all(state == _OK for state in self.states.values())

    def well(self, name: str) -> None:
        """Note that one thing is as it should be."""
        self.states[name] = _OK

    def shut(self, name: str, reason: str) -> None:
        """Note what is wrong: no request is taken from now on."""
        self.states[name] = reason


def health_routes(
    checks: Mapping[str, Check], closing: asyncio.Event, gate: Gate, away: Callable[[], Mapping[str, object]]
) -> list[web.RouteDef]:
    """Return the routes of /metrics, /healthz (the process runs) and /readyz (it can do its work).

    /readyz also says which version this is, and for how long it runs. `away` tells what some of the work waits for:
    that is shown, and decides nothing.
    """
    began = time.monotonic()

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(body=generate_latest(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def healthz(_: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def readyz(_: web.Request) -> web.Response:
        # A load balancer is to hear of the end at once, not after a database that hangs.
        states = {} if closing.is_set() else {name: await _state(check) for name, check in checks.items()}
        states |= gate.states
        ready = not closing.is_set() and all(state == _OK for state in states.values())
        body = {"ready": ready, "checks": states, "away": away(), "version": VERSION}
        body["up_seconds"] = round(time.monotonic() - began, 1)
        return web.json_response(body, status=200 if ready else 503)

    return [web.get(path, handler) for path, handler in zip(PATHS, (metrics, healthz, readyz), strict=True)]


async def _state(check: Check) -> str:
    try:
        async with asyncio.timeout(_CHECK_SECONDS):
            await check()
    except TimeoutError:
        return f"no answer within {_CHECK_SECONDS:.0f} s"
    except RoadVaultError as error:
        return brief(error)
    return _OK


def only_once(gate: Gate) -> Middleware:
    """Make a middleware that takes no requests, except for health, while the gate is shut."""

    @web.middleware
    async def refuse(request: web.Request, handler: RequestHandler) -> web.StreamResponse:
        if not gate.open and request.path not in PATHS:
            shut = "; ".join(f"{name}: {state}" for name, state in gate.states.items() if state != _OK)
            raise DatabaseUnavailable(f"nothing is served yet: {shut}")
        return await handler(request)

    return refuse
