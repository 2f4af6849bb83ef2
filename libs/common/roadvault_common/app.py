"""Runs a service: signals, its jobs, health, and a drain that finishes or hands back what is in hand."""

import asyncio
import faulthandler
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from typing import NamedTuple

import structlog
import uvloop
from aiohttp import web
from aiohttp.typedefs import Middleware
from pydantic import ValidationError

from roadvault_common import metrics
from roadvault_common.bus import Handler, HandlerTable
from roadvault_common.config import Settings, explain
from roadvault_common.db import Database
from roadvault_common.errors import RoadVaultError, SettingsError, TransientError, brief
from roadvault_common.events import Event
from roadvault_common.guards import answerable, own_sites_only, refuse_compressed
from roadvault_common.health import Check, RequestHandler, health_routes, only_once
from roadvault_common.migrate import check_schema, check_server

log = structlog.get_logger()

Job = Callable[[asyncio.Event], Awaitable[None]]
"""Runs until the event it is given is set, then finishes what it has in hand and returns."""

_LOOK_SECONDS = 1.0
_LOOK_AT_REQUESTS_SECONDS = 0.02
_STDERR = 2
_CUT_SECONDS = 0.5
"""What a request gets, twice, once it has to end: aiohttp waits, cancels it, and waits again. 0 would mean for ever."""
_READ_BYTES = 1 << 17
"""Of a body, twice: then the client waits. Double what aiohttp takes: longer pieces, and fewer."""
FORCE_SECONDS = 5.0
"""More than all else takes after the drain; then the process is ended by force."""


class Door(NamedTuple):
    """A listener of a service besides the one that serves its health."""

    routes: Sequence[web.AbstractRouteDef]
    host: str
    port: int


def bind(handlers: HandlerTable, service: object) -> dict[type[Event], Handler]:
    """Return a service's table of handlers with the service as their first argument."""
    return {event: partial(handler, service) for event, handler in handlers.items()}


async def repeat(work: Callable[[], Awaitable[None]], closing: asyncio.Event, seconds: float) -> None:
    """Do `work` now and `seconds` after it ended, until `closing` is set; a server or disk in trouble skips a turn."""
    while not closing.is_set():
        try:
            await work()
        except (TransientError, OSError) as error:
            log.warning("will be done later", work=getattr(work, "__name__", "work"), error=brief(error))
        await pause(closing, seconds)


async def pause(closing: asyncio.Event, seconds: float) -> None:
    """Wait for `seconds`, or until `closing` is set."""
    try:
        async with asyncio.timeout(seconds):
            await closing.wait()
    except TimeoutError:
        return


async def run(
    settings: Settings,
    db: Database,
    jobs: Sequence[Job],
    checks: Mapping[str, Check],
    routes: Sequence[web.AbstractRouteDef] = (),
    middlewares: Sequence[Middleware] = (),
    public: Door | None = None,
) -> None:
    """Run the jobs until SIGTERM or SIGINT, serving /metrics, /healthz, /readyz and `routes`, and a door if it has one.

    No job begins and no request but those for its health is taken before the database was seen to have a schema that
    this code knows. On the signal no new work is begun and /readyz says so. Jobs in hand have `settings.drain_seconds`
    to finish, then they are cancelled, which hands their rows back. Requests are still taken for
    `settings.notice_seconds`, until whoever looks at /readyz sends them elsewhere; then the listeners close, and those
    in hand have `settings.drain_seconds`. Both go on at once, and what hangs does not keep the process for longer than
    notice, drain and FORCE_SECONDS. A job that ends or fails by itself ends the service.

    Raises:
        SettingsError: The schema is one that this code does not know.
    """
    closing, known = asyncio.Event(), asyncio.Event()

    def close() -> None:
        if not closing.is_set():
            closing.set()
            log.info("closing", notice_seconds=settings.notice_seconds, drain_seconds=settings.drain_seconds)
            _leave_by_force_after(settings.notice_seconds + settings.drain_seconds + FORCE_SECONDS)

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, close)
    own = Door(
        [*health_routes({"database": db.ping, **checks}, closing, known), *routes],
        settings.http_host,
        settings.http_port,
    )
    inner = [*middlewares, only_once(known)]
    intranet = [own_sites_only(settings.host_names), *inner]
    async with AsyncExitStack() as stack:
        sites = [
            await stack.enter_async_context(_open(*door, outer, settings.drain_seconds, closing))
            for door, outer in ((own, intranet), (public, inner))
            if door is not None
        ]
        stop = asyncio.create_task(closing.wait())
        await _unless_stopped(_look_at_schema(db, known), stop)
        tasks = [] if closing.is_set() else [asyncio.ensure_future(job(closing)) for job in jobs]
        done, _ = await asyncio.wait({stop, *tasks}, return_when=asyncio.FIRST_COMPLETED)
        close()
        ending = asyncio.create_task(_end(tasks, settings.drain_seconds))
        # Whoever takes requests takes them for as long as it said; the others show their health while they drain.
        await (asyncio.sleep(settings.notice_seconds) if routes else asyncio.wait({ending}))
        await asyncio.gather(*(site.drain() for site in sites))
        results = await ending
    for result in results:
        if isinstance(result, Exception):
            raise result
    if stop not in done:
        raise RuntimeError("a job ended by itself")
    log.info("closed")


async def _end(tasks: Sequence[asyncio.Future[None]], drain_seconds: float) -> list[BaseException | None]:
    """Let the jobs finish, and cancel those that don't; return how each ended."""
    if tasks:
        await asyncio.wait(tasks, timeout=drain_seconds)
    for task in tasks:
        task.cancel()
    return await asyncio.gather(*tasks, return_exceptions=True)


@asynccontextmanager
async def site(
    routes: Sequence[web.AbstractRouteDef],
    host: str,
    port: int,
    middlewares: Sequence[Middleware] = (),
    drain_seconds: float = 5,
) -> AsyncIterator[str]:
    """Serve `routes` and yield the base URL; at the end requests in hand have `drain_seconds` to finish.

    Raises:
        SettingsError: The address is in use or not ours.
    """
    async with _open(routes, host, port, middlewares, drain_seconds, asyncio.Event()) as opened:
        yield opened.url
        await opened.drain()


def route_of(request: web.Request) -> str:
    """Return the pattern of a request's route, such as /d/{token}: the path itself may be a secret, and has no end."""
    resource = request.match_info.route.resource
    return "none" if resource is None else resource.canonical


class _Site:
    """A listener and the requests that came through it."""

    def __init__(
        self, listener: web.TCPSite, runner: web.AppRunner, in_hand: set[int], drain_seconds: float, url: str
    ) -> None:
        self._listener = listener
        self._runner = runner
        self._in_hand = in_hand
        self._drain_seconds = drain_seconds
        self.url = url

    async def drain(self) -> None:
        """Take no more connections; wait until the requests in hand have ended, or their time is up."""
        await self._listener.stop()
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
async def _open(
    routes: Sequence[web.AbstractRouteDef],
    host: str,
    port: int,
    middlewares: Sequence[Middleware],
    drain_seconds: float,
    closing: asyncio.Event,
) -> AsyncIterator[_Site]:
    """Listen; once `closing` is set, each answer is the last one on its connection."""
    in_hand: set[int] = set()

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

    app = web.Application(middlewares=[count, refuse_compressed, *middlewares])
    app.add_routes(routes)
    app.on_response_prepare.append(last_answer)
    runner = web.AppRunner(
        app,
        access_log=None,
        handle_signals=False,
        shutdown_timeout=_CUT_SECONDS,
        read_bufsize=_READ_BYTES,
        auto_decompress=False,
    )
    await runner.setup()
    if runner.server is not None:
        runner.server.request_factory = answerable(runner.server.request_factory)
    listener = web.TCPSite(runner, host, port)
    try:
        try:
            await listener.start()
        except OSError as error:
            raise SettingsError(f"{host}:{port} can't be listened on: {error.strerror}") from error
        url = "http://{}:{}".format(*runner.addresses[0][:2])
        log.info("listening", url=url)
        yield _Site(listener, runner, in_hand, drain_seconds, url)
    finally:
        await runner.cleanup()


async def _look_at_schema(db: Database, known: asyncio.Event) -> None:
    """Set `known` once the database was seen to have a schema that this code knows, and to take what it writes."""
    while not known.is_set():
        try:
            await check_schema(db)
            await check_server(db)
            known.set()
        except TransientError as error:
            log.warning("waiting for the database", error=brief(error))
            await asyncio.sleep(_LOOK_SECONDS)


async def _unless_stopped(work: Coroutine[None, None, None], stop: asyncio.Task[bool]) -> None:
    """Do `work` to its end; a stop cuts it short, whatever it waits for."""
    task = asyncio.create_task(work)
    await asyncio.wait({task, stop}, return_when=asyncio.FIRST_COMPLETED)
    if not task.done():
        task.cancel()
        await asyncio.wait({task})
    if not task.cancelled():
        task.result()


def _leave_by_force_after(seconds: float) -> None:
    """End the process then, with the stacks of all threads on stderr: one that hangs would keep it for ever."""
    faulthandler.dump_traceback_later(seconds, exit=True, file=_STDERR)


def main(serve: Callable[[], Awaitable[None]]) -> None:
    """Run a service's `serve()` as the process; a RoadVaultError ends it with one line of the log and exit code 1."""
    try:
        uvloop.run(_as_coroutine(serve))
    except ValidationError as error:
        sys.exit(f"SettingsError: {explain(error)}")
    except RoadVaultError as error:
        reason = f"{type(error).__name__}: {brief(error)}"
        if not structlog.is_configured():
            sys.exit(reason)
        log.critical("the service ends", reason=reason)
        sys.exit(1)


async def _as_coroutine(serve: Callable[[], Awaitable[None]]) -> None:
    await serve()
