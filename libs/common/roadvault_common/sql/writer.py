"""The server that is written to, and a pool of connections to it.

With several servers the pool moves: at once when its server is not well, and back some time after an earlier one of the
list has come back. It never serves two at once: nobody gets a connection until the new server has all that was
committed, and nobody is left on the old one.
"""

import asyncio
from contextlib import suppress
from typing import Any

import asyncmy
import structlog
from asyncmy.errors import Error as DriverError
from prometheus_client import Gauge

from roadvault_common.cancellation import cancellations, stop_if_cancelled
from roadvault_common.errors import DatabaseUnavailable
from roadvault_common.sql.servers import LOOK_SECONDS, Health, Watched, none_is_well, place

log = structlog.get_logger()

AT = Gauge("roadvault_database_server", "Which server of ROADVAULT_DATABASE_URL is written to, the first being 0")
EACH_SECONDS = 2.0
"""Between two looks at the server that is written to, and at those before it."""
_BACK_SECONDS = 30.0
"""An earlier server is gone back to when it has been well for so long."""
_END_SECONDS = 1.0
"""Pools that were left have so long to close their connections when all is over."""
_DRAIN_SECONDS = 10.0
"""What is under way has so long to end before the pool goes back; then it is cut off."""


class Writer:
    """Hands out connections to the server that is written to; `options` are for each of them."""

    def __init__(self, servers: list[dict[str, Any]], size: int, **options: Any) -> None:  # noqa: ANN401 - the driver's
        self._servers = [Watched(server) for server in servers]
        self._size = size
        self._options = options
        self._at: Watched | None = None
        self._before = 0
        """Number of the server that was written to last; it is told when that changes."""
        self._pool: Any = None
        self._doubted = False
        self._moving: asyncio.Task[None] | None = None
        self._better: Watched | None = None
        """An earlier server that is well, for so long:"""
        self._better_since = 0.0
        self._left: set[asyncio.Task[None]] = set()
        """Ends of pools that were left."""

    async def acquire(self) -> tuple[Any, Any]:
        """Return a connection, and the pool that it goes back to.

        Raises:
            DatabaseUnavailable: No server can be reached that may be written to.
        """
        while True:
            pool = await self._current()
            before = cancellations()
            try:
                return pool, await pool.acquire()
            except (DriverError, OSError, EOFError, RuntimeError) as error:
                stop_if_cancelled(before)
                if pool is not self._pool or self._moving:  # it was left meanwhile
                    continue
                self.doubt(pool)
                # RuntimeError: the server hung up at once, so that uvloop's transport has no socket for the driver.
                raise DatabaseUnavailable(f"the database can't be reached: {error}") from error

    def doubt(self, pool: Any) -> None:  # noqa: ANN401 - the driver has no types
        """Have somebody look whether the pool's server is well before the next connection is handed out."""
        if pool is self._pool:
            self._doubted = len(self._servers) > 1

    async def look(self) -> None:
        """Leave a server that is not well, though nobody may have met that yet; or go back to an earlier one."""
        at = self._at
        if at is None or self._moving:
            return
        if await at.health() is not Health.WELL:
            self._doubted, self._better = True, None
            with suppress(DatabaseUnavailable):
                await self._current()
            return
        now = asyncio.get_running_loop().time()
        found = await self._first(self._servers[: self._servers.index(at)], Health.WELL)
        if found is None or found is not self._better:
            self._better, self._better_since = found, now
        elif now - self._better_since >= _BACK_SECONDS and self._at is at and not self._moving:
            self._better = None
            await found.catch_up(LOOK_SECONDS)  # one that was paused takes itself for well until it hears of the others
            await self._move_by(self._go_back(found))

    async def close(self) -> None:
        """Close all connections."""
        if self._moving:
            self._moving.cancel()
        tasks = {*self._left, *([self._moving] if self._moving else [])}
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=_END_SECONDS)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        for server in self._servers:
            server.close()
        if self._pool is not None:
            self._pool.terminate()
            await self._pool.wait_closed()

    async def _current(self) -> Any:  # noqa: ANN401 - the driver has no types
        """Return the pool, once it is known where it belongs."""
        if self._moving:
            await asyncio.shield(self._moving)
        elif self._pool is None or self._doubted:
            await self._move_by(self._choose())
        return self._pool

    async def _move_by(self, way: Any) -> None:  # noqa: ANN401 - a coroutine
        """Have everybody wait for a move, and for the same one; it goes on whoever of them is told to stop."""

        async def move() -> None:
            try:
                await way
            finally:
                self._moving = None

        self._moving = asyncio.create_task(move())
        self._moving.add_done_callback(lambda task: task.cancelled() or task.exception())  # nobody may be waiting
        await asyncio.shield(self._moving)

    async def _choose(self) -> None:
        """Stay if all is well here after all, else go to the first server that is well."""
        best = self._servers[0] if len(self._servers) == 1 else await self._best()
        if best is not self._at:
            # Those who still wait for an answer there would wait long; who is in COMMIT looks what became of it.
            self._leave(cut=True)
            await self._open(best)
        self._doubted = False

    async def _best(self) -> Watched:
        left = sorted(self._servers, key=lambda server: server is not self._at)
        for least in (Health.WELL, Health.GIVES):
            while found := await self._first(left, least):
                with suppress(DatabaseUnavailable):  # it takes itself for well, and does not get on
                    await found.catch_up()
                    return found
                left.remove(found)
        raise DatabaseUnavailable(none_is_well(one.server for one in self._servers))

    async def _go_back(self, server: Watched) -> None:
        old = self._at
        end = self._leave(cut=False)
        if end is not None:
            await asyncio.wait([end], timeout=_DRAIN_SECONDS)
        try:
            await server.catch_up(LOOK_SECONDS)
        except DatabaseUnavailable:
            assert old is not None  # noqa: S101 - it is gone back from there
            server = old
        await self._open(server)

    def _leave(self, *, cut: bool) -> asyncio.Task[None] | None:
        """Leave the pool; return what ends with its last connection, or after a while."""
        pool, self._pool, self._at = self._pool, None, None
        if pool is None:
            return None
        if cut:
            pool.terminate()
        else:
            pool.close()

        async def end() -> None:
            try:
                async with asyncio.timeout(_DRAIN_SECONDS):
                    await pool.wait_closed()
            except TimeoutError:
                pool.terminate()
                await pool.wait_closed()

        task = asyncio.create_task(end())
        self._left.add(task)
        task.add_done_callback(self._left.discard)
        return task

    async def _open(self, server: Watched) -> None:
        self._pool = await asyncmy.create_pool(
            minsize=0, maxsize=self._size, autocommit=True, **self._options, **server.server
        )
        self._at = server
        number = self._servers.index(server)
        AT.set(number)
        before, self._before = self._before, number
        if before != number:
            log.warning("the database is written to at", server=place(server.server), number=number)

    async def _first(self, servers: list[Watched], least: Health) -> Watched | None:
        """Return the first of some servers that is so well; all are asked at once."""
        asked = [asyncio.create_task(server.health()) for server in servers]
        try:
            for server, health in zip(servers, asked, strict=True):
                if await health >= least:
                    return server
            return None
        finally:
            for health in asked:
                health.cancel()
            await asyncio.gather(*asked, return_exceptions=True)
