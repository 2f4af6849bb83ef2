"""Runs a service: signals, its jobs, health, and a drain that finishes or hands back what is in hand."""

import asyncio
import faulthandler
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial

import structlog
from aiohttp import web
from aiohttp.typedefs import Middleware
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import ValidationError

from roadvault_common.bus import Handler, HandlerTable
from roadvault_common.config import Settings, explain
from roadvault_common.db import Database
from roadvault_common.errors import RoadVaultError, SettingsError, TransientError, brief
from roadvault_common.events import Event
from roadvault_common.migrate import check_schema

log = structlog.get_logger()

Job = Callable[[asyncio.Event], Awaitable[None]]
"""Runs until the event it is given is set, then finishes what it has in hand and returns."""
RequestHandler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Check = Callable[[], Awaitable[None]]
"""Raises a RoadVaultError, saying what is missing, unless all is well."""

_CHECK_SECONDS = 5.0
_LOOK_SECONDS = 1.0
_LOOK_AT_REQUESTS_SECONDS = 0.02
_STDERR = 2
_FORCE_SECONDS = 3.0
"""More than all else takes after the drain."""


def bind(handlers: HandlerTable, service: object) -> dict[type[Event], Handler]:
    """Return a service's table of handlers with the service as their first argument."""
    return {event: partial(handler, service) for event, handler in handlers.items()}


async def repeat(work: Callable[[], Awaitable[None]], closing: asyncio.Event, seconds: float) -> None:
    """Do `work` now and `seconds` after it ended, until `closing` is set; a server that is away skips its turn."""
    while not closing.is_set():
        try:
            await work()
        except TransientError as error:
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
) -> None:
    """Run the jobs until SIGTERM or SIGINT, serving /metrics, /healthz, /readyz and `routes` beside them.

    No job begins before the database was seen to have a schema that this code knows. On the signal no new work is
    begun and /readyz says so; requests are still taken for `settings.notice_seconds`, until whoever looks at /readyz
    sends them elsewhere; work in hand has `settings.drain_seconds` to finish, then it is cancelled, which hands its
    rows back. A job that ends or fails by itself ends the service; a thread that hangs does not keep it.

    Raises:
        SettingsError: The schema is one that this code does not know.
    """
    closing = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, closing.set)
    all_routes = [*health_routes({"database": db.ping, **checks}, closing), *routes]
    address = settings.http_host, settings.http_port
    async with site(all_routes, *address, middlewares, settings.drain_seconds, closing):
        await _schema_known(db, closing)
        tasks = [asyncio.ensure_future(job(closing)) for job in jobs]
        stop = asyncio.create_task(closing.wait())
        done, _ = await asyncio.wait({stop, *tasks}, return_when=asyncio.FIRST_COMPLETED)
        closing.set()
        log.info("closing", notice_seconds=settings.notice_seconds, drain_seconds=settings.drain_seconds)
        _leave_by_force_after(settings.notice_seconds + 2 * settings.drain_seconds + _FORCE_SECONDS)
        await asyncio.gather(
            asyncio.wait(tasks, timeout=settings.drain_seconds), asyncio.sleep(settings.notice_seconds)
        )
        for task in tasks:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
    for result in results:
        if isinstance(result, Exception):
            raise result
    if stop not in done:
        raise RuntimeError("a job ended by itself")
    log.info("closed")


@asynccontextmanager
async def site(
    routes: Sequence[web.AbstractRouteDef],
    host: str,
    port: int,
    middlewares: Sequence[Middleware] = (),
    drain_seconds: float = 5,
    closing: asyncio.Event | None = None,
) -> AsyncIterator[str]:
    """Serve `routes` and yield the base URL; at the end requests in hand have `drain_seconds` to finish.

    Once `closing` is set, each answer is the last one on its connection.

    Raises:
        SettingsError: The address is in use or not ours.
    """
    in_hand: set[int] = set()

    @web.middleware
    async def count(request: web.Request, handler: RequestHandler) -> web.StreamResponse:
        in_hand.add(id(request))
        try:
            return await handler(request)
        finally:
            in_hand.discard(id(request))

    app = web.Application(middlewares=[count, *middlewares])
    app.add_routes(routes)

    async def last_answer(_: web.Request, response: web.StreamResponse) -> None:
        if closing is not None and closing.is_set():
            response.force_close()

    app.on_response_prepare.append(last_answer)
    runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=drain_seconds)
    await runner.setup()
    listener = web.TCPSite(runner, host, port)
    try:
        try:
            await listener.start()
        except OSError as error:
            raise SettingsError(f"{host}:{port} can't be listened on: {error.strerror}") from error
        url = "http://{}:{}".format(*runner.addresses[0][:2])
        log.info("listening", url=url)
        yield url
        # aiohttp's own clean-up waits for answers, but reads no more of the bodies on their way: uploads end first.
        await listener.stop()
        with suppress(TimeoutError):
            async with asyncio.timeout(drain_seconds):
                while in_hand:  # noqa: ASYNC110 - a set, not an event: nothing is to be set for each request
                    await asyncio.sleep(_LOOK_AT_REQUESTS_SECONDS)
    finally:
        await runner.cleanup()


async def _schema_known(db: Database, closing: asyncio.Event) -> None:
    """Return once the database was seen to have a schema that this code knows, or the service closes."""
    while not closing.is_set():
        try:
            return await check_schema(db)
        except TransientError as error:
            log.warning("waiting for the database", error=brief(error))
            await pause(closing, _LOOK_SECONDS)
    return None


def _leave_by_force_after(seconds: float) -> None:
    """End the process then, with the stacks of all threads on stderr: one that hangs would keep it for ever."""
    faulthandler.dump_traceback_later(seconds, exit=True, file=_STDERR)


def health_routes(checks: Mapping[str, Check], closing: asyncio.Event) -> list[web.RouteDef]:
    """Return the routes of /metrics, /healthz (the process runs) and /readyz (it can do its work)."""

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(body=generate_latest(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def healthz(_: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def readyz(_: web.Request) -> web.Response:
        states = {name: await _state(check) for name, check in checks.items()}
        ready = not closing.is_set() and all(state == "ok" for state in states.values())
        return web.json_response({"ready": ready, "checks": states}, status=200 if ready else 503)

    return [web.get("/metrics", metrics), web.get("/healthz", healthz), web.get("/readyz", readyz)]


async def _state(check: Check) -> str:
    try:
        async with asyncio.timeout(_CHECK_SECONDS):
            await check()
    except TimeoutError:
        return f"no answer within {_CHECK_SECONDS:.0f} s"
    except RoadVaultError as error:
        return brief(error)
    return "ok"


def main(serve: Callable[[], Awaitable[None]]) -> None:
    """Run a service's `serve()` as the process; a RoadVaultError ends it with one line and exit code 1."""
    try:
        asyncio.run(_as_coroutine(serve))
    except ValidationError as error:
        sys.exit(f"SettingsError: {explain(error)}")
    except RoadVaultError as error:
        sys.exit(f"{type(error).__name__}: {brief(error)}")


async def _as_coroutine(serve: Callable[[], Awaitable[None]]) -> None:
    await serve()
