"""Runs a service: signals, its jobs, health, and a drain that finishes or hands back what is in hand."""

import asyncio
import faulthandler
import signal
import sys
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from functools import partial

import structlog
import uvloop
from aiohttp import web
from aiohttp.typedefs import Middleware
from pydantic import ValidationError

from roadvault_common import metrics
from roadvault_common.errors import Domain, IdentityMismatch, RoadVaultError, TransientError, brief
from roadvault_common.events.bus import Handler, HandlerTable
from roadvault_common.events.kinds import Event
from roadvault_common.files.identity import Identity, NoDirectory
from roadvault_common.history import heartbeats
from roadvault_common.history.heartbeats import Heart
from roadvault_common.loops import repeat
from roadvault_common.settings.config import ServiceSettings, explain
from roadvault_common.sql.db import Database
from roadvault_common.sql.migrate import check_schema, check_server
from roadvault_common.tracing import spans
from roadvault_common.web.connections import Limits
from roadvault_common.web.cors import Cors
from roadvault_common.web.guards import own_sites_only
from roadvault_common.web.health import Check, Gate, health_routes, only_once
from roadvault_common.web.listener import Listener, open_site
from roadvault_common.work.breakers import Breakers

log = structlog.get_logger()

Job = Callable[[asyncio.Event], Awaitable[None]]
"""Runs until the event it is given is set, then finishes what it has in hand and returns."""

_LOOK_SECONDS = 1.0
_IDENTITY_SECONDS = 5.0
"""Between two looks whether database and data directory still belong together."""
_STDERR = 2
FORCE_SECONDS = 5.0
"""More than all else takes after the drain; then the process is ended by force."""


def bind(handlers: HandlerTable, service: object) -> dict[type[Event], Handler]:
    """Return a service's table of handlers with the service as their first argument."""
    return {event: partial(handler, service) for event, handler in handlers.items()}


async def run(  # noqa: PLR0913 - all that a process is made of
    settings: ServiceSettings,
    db: Database,
    jobs: Sequence[Job],
    checks: Mapping[str, Check],
    routes: Sequence[web.AbstractRouteDef] = (),
    middlewares: Sequence[Middleware] = (),
    *,
    public: Listener | None = None,
    identity: Identity | NoDirectory | None = None,
    breakers: Breakers | None = None,
    cors: Cors | None = None,
    heart: Heart | None = None,
) -> None:
    """Run the jobs until SIGTERM or SIGINT, serving /metrics, /healthz, /readyz and `routes`, and `public` besides.

    No job begins and no request but those for its health is taken before the database was seen to have a schema that
    this code knows and, where there is an `identity`, to be the data directory's own. A service whose database is not
    waits, and says so; one that finds it out later takes nothing more, and ends. /readyz shows what `breakers` wait
    for; `heart` says in the database that the service lives. On the signal no new work is begun and /readyz says so.
    Jobs in hand have `settings.drain_seconds` to finish, then they are cancelled, which hands their rows back. Requests
    are still taken for `settings.notice_seconds`, until whoever looks at /readyz sends them elsewhere; then the
    listeners close, and those in hand have `settings.drain_seconds`. Both go on at once, and what hangs does not keep
    the process for longer than notice, drain and FORCE_SECONDS. A job that ends or fails by itself ends the service.

    Raises:
        SettingsError: The schema is one that this code does not know.
        IdentityMismatch: The database is no longer the data directory's.
    """
    breakers = breakers or Breakers()
    closing, gate = asyncio.Event(), Gate("schema", *(["identity"] if identity else []))

    def close() -> None:
        if not closing.is_set():
            closing.set()
            log.info("closing", notice_seconds=settings.notice_seconds, drain_seconds=settings.drain_seconds)
            _leave_by_force_after(settings.notice_seconds + settings.drain_seconds + FORCE_SECONDS)

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, close)
    own = Listener(
        [*health_routes({"database": db.ping, **checks}, closing, gate, breakers.states), *routes],
        settings.http_host,
        settings.http_port,
        Limits(settings.http_header_seconds, settings.http_idle_seconds, settings.http_connections),
    )
    inner = [*middlewares, only_once(gate)]
    intranet = [own_sites_only(settings.host_names, cors), *inner]
    async with AsyncExitStack() as stack:
        sites = [
            await stack.enter_async_context(open_site(listener, outer, settings.drain_seconds, closing))
            for listener, outer in ((own, intranet), (public, inner))
            if listener is not None
        ]
        stop = asyncio.create_task(closing.wait())
        await _unless_stopped(_open_gate(db, identity, gate), stop)
        if identity is not None:
            jobs = [*jobs, partial(_keep_looking, identity, gate)]
        if heart is not None:
            jobs = [*jobs, partial(_keep_beating, heart, breakers)]
        tasks = [] if closing.is_set() else [asyncio.ensure_future(job(closing)) for job in jobs]
        done, _ = await asyncio.wait({stop, *tasks}, return_when=asyncio.FIRST_COMPLETED)
        close()
        ending = asyncio.create_task(_end(tasks, settings.drain_seconds))
        # Whoever takes requests takes them for as long as it said; the others show their health while they drain.
        await (asyncio.sleep(settings.notice_seconds) if routes or public else asyncio.wait({ending}))
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


async def _open_gate(db: Database, identity: Identity | NoDirectory | None, gate: Gate) -> None:
    """Wait until the database was seen to have a schema that this code knows, to take writes, and to be ours."""
    while not gate.open:
        try:
            await check_schema(db)
            await check_server(db)
            gate.well("schema")
            if identity is not None:
                await identity.settle()
                gate.well("identity")
                metrics.IDENTITY_MISMATCH.set(0)
        except IdentityMismatch as error:
            if gate.states["identity"] != brief(error):
                log.critical("nothing is served: database and data directory don't belong together", error=brief(error))
            gate.shut("identity", brief(error))
            metrics.IDENTITY_MISMATCH.set(1)
            await asyncio.sleep(_LOOK_SECONDS)
        except (TransientError, OSError) as error:
            log.warning("waiting for the database", error=brief(error))
            await asyncio.sleep(_LOOK_SECONDS)


async def _keep_looking(identity: Identity | NoDirectory, gate: Gate, closing: asyncio.Event) -> None:
    """Shut the gate, and end the service, when the database is no longer the data directory's own."""
    try:
        await repeat(identity.look, closing, _IDENTITY_SECONDS)
    except IdentityMismatch as error:
        gate.shut("identity", brief(error))
        raise


async def _keep_beating(heart: Heart, breakers: Breakers, closing: asyncio.Event) -> None:
    """Say every few seconds that the service lives, and what it finds away; and that it ends, once it is told to."""

    async def beat() -> None:
        away = breakers.states()
        await heart.beat(redis=int(Domain.REDIS not in away), away=", ".join(away))

    await repeat(beat, closing, heartbeats.SECONDS)
    with suppress(TransientError):
        await heart.end()


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


def main(serve: Callable[[], Coroutine[None, None, None]]) -> None:
    """Run a service's `serve()` as the process; a RoadVaultError ends it with one line of the log and exit code 1."""
    try:
        uvloop.run(serve())
    except ValidationError as error:
        sys.exit(f"SettingsError: {explain(error)}")
    except RoadVaultError as error:
        reason = f"{type(error).__name__}: {brief(error)}"
        if not structlog.is_configured():
            sys.exit(reason)
        log.critical("the service ends", reason=reason)
        sys.exit(1)
    finally:
        spans.end()
