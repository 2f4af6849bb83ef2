"""A listener: its routes, and a drain that lets the requests in hand end."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import NamedTuple

import structlog
from aiohttp import web
from aiohttp.typedefs import Middleware

from roadvault_common import metrics
from roadvault_common.errors import SettingsError
from roadvault_common.tracing import spans
from roadvault_common.web.connections import Connection, Crowd, Limits
from roadvault_common.web.guards import answerable, refuse_compressed
from roadvault_common.web.health import RequestHandler
from roadvault_common.web.traced import name_trace, route_of, traced

log = structlog.get_logger()

_LOOK_AT_REQUESTS_SECONDS = 0.02
_CUT_SECONDS = 0.5
"""What a request gets, twice, once it has to end: aiohttp waits, cancels it, and waits again. 0 would mean for ever."""
_BACKLOG = 1024
"""Connections that the kernel keeps for us while we are busy; it takes no more than net.core.somaxconn."""


class Listener(NamedTuple):
    """Where a service listens, and what it serves there."""

    routes: Sequence[web.AbstractRouteDef]
    host: str
    port: int
    limits: Limits = Limits()


class _Site:
    """An open listener and the requests that came through it."""

    def __init__(
        self, server: asyncio.AbstractServer, runner: web.AppRunner, in_hand: set[int], drain_seconds: float, url: str
    ) -> None:
        self._server = server
        self._runner = runner
        self._in_hand = in_hand
        self._drain_seconds = drain_seconds
        self.url = url

    async def drain(self) -> None:
        """Take no more connections; wait until the requests in hand have ended, or their time is up."""
        self._server.close()
        with suppress(TimeoutError):
            async with asyncio.timeout(self._drain_seconds):
                # aiohttp's own shutdown reads no more of the bodies on their way, so uploads end first; but it knows
                # of answers that are still being sent after their handlers have returned.
                while self._in_hand:  # noqa: ASYNC110 - a set, not an event: nothing is to be set for each request
                    await asyncio.sleep(_LOOK_AT_REQUESTS_SECONDS)
                if self._runner.server is not None and self._drain_seconds:
                    self._runner.server.pre_shutdown()  # connections on which nobody asks anything end at once
                    await self._runner.server.shutdown(self._drain_seconds)


@asynccontextmanager
async def open_site(
    listener: Listener, middlewares: Sequence[Middleware], drain_seconds: float, closing: asyncio.Event
) -> AsyncIterator[_Site]:
    """Listen; once `closing` is set, each answer is the last one on its connection.

    Raises:
        SettingsError: The address is in use or not ours.
    """
    in_hand: set[int] = set()
    runner = web.AppRunner(
        _application(listener.routes, middlewares, in_hand, closing),
        handle_signals=False,
        shutdown_timeout=_CUT_SECONDS,
    )
    await runner.setup()
    if runner.server is not None:
        runner.server.request_factory = answerable(runner.server.request_factory)
    try:
        server = await _listen(listener, runner)
        try:
            url = "http://{}:{}".format(*server.sockets[0].getsockname()[:2])
            log.info("listening", url=url)
            yield _Site(server, runner, in_hand, drain_seconds, url)
        finally:
            server.close()
    finally:
        await runner.cleanup()


async def _listen(listener: Listener, runner: web.AppRunner) -> asyncio.Server:
    handling, crowd = runner.server, Crowd(listener.limits)
    assert handling is not None  # noqa: S101 - it was set up
    loop = asyncio.get_running_loop()
    try:
        return await loop.create_server(
            lambda: Connection(handling, crowd), listener.host, listener.port, backlog=_BACKLOG
        )
    except OSError as error:
        raise SettingsError(f"{listener.host}:{listener.port} can't be listened on: {error.strerror}") from error


def _application(
    routes: Sequence[web.AbstractRouteDef],
    middlewares: Sequence[Middleware],
    in_hand: set[int],
    closing: asyncio.Event,
) -> web.Application:
    @web.middleware
    async def count(request: web.Request, handler: RequestHandler) -> web.StreamResponse:
        in_hand.add(id(request))
        started, status = time.monotonic(), "aborted"
        try:
            response = await handler(request)
            status = str(response.status)
        except web.HTTPException as error:
            status = str(error.status)
            raise
        finally:
            in_hand.discard(id(request))
            metrics.HTTP_SECONDS.labels(route_of(request), status).observe(time.monotonic() - started)
        return response

    async def last_answer(_: web.Request, response: web.StreamResponse) -> None:
        if closing.is_set():
            # aiohttp has chosen the headers by now: alone, force_close() would close the connection without a word.
            response.headers["Connection"] = "close"
            response.force_close()

    app = web.Application(middlewares=[*([traced] if spans.on() else []), count, refuse_compressed, *middlewares])
    app.add_routes(routes)
    app.on_response_prepare.append(last_answer)
    if spans.on():
        app.on_response_prepare.append(name_trace)
    return app
