"""The database: connections to the server that is written to, short transactions, and errors in our own words.

Every session is READ COMMITTED, strict, and in UTC. SQL stands in each service's `store.py` and `*_store.py`, and, of
what is common, in `work/` and here.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence, Sized
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import wraps
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

from asyncmy.cursors import DictCursor
from asyncmy.errors import Error as DriverError
from pydantic import SecretStr

from roadvault_common.cancellation import cancellations, heeding, stop_if_cancelled
from roadvault_common.errors import CommitUnknown, DatabaseUnavailable
from roadvault_common.loops import repeat
from roadvault_common.sql.server_errors import RolledBack, lost, meaning, never_took_place
from roadvault_common.sql.servers import servers_of
from roadvault_common.sql.writer import EACH_SECONDS, Writer

Row = dict[str, Any]
P = ParamSpec("P")
T = TypeVar("T")

# MariaDB and MySQL name the isolation level's variable differently; each runs only its own comment.
_LOCK_SECONDS = 20
"""A statement waits this long for another's lock; short of the read timeout, so that it is told apart from it."""
_READ_SECONDS = 30
"""A server that says nothing for this long is taken for gone: the connection may be half open."""
_SESSION = (
    "SET SESSION time_zone = '+00:00', sql_mode = 'TRADITIONAL'"
    f", innodb_lock_wait_timeout = {_LOCK_SECONDS}, lock_wait_timeout = {_LOCK_SECONDS}"
    " /*M! , tx_isolation = 'READ-COMMITTED' */ /*!80000 , transaction_isolation = 'READ-COMMITTED' */"
)
_DEADLOCK_TRIES = 8
_MARK = "%s"


WRITES_NOTHING = "UPDATE folder_info SET files = files WHERE folder_id = 0"
"""Changes no row, and is refused like any other write by a server that takes none."""


def marks(values: Sized) -> str:
    """Return a placeholder for each of some values, for a list of them."""
    return ", ".join([_MARK] * len(values))


class Transaction:
    """One connection, for as long as a transaction or a single statement lasts."""

    def __init__(self, connection: Any) -> None:  # noqa: ANN401 - the driver has no types
        self.connection = connection

    async def execute(self, sql: str, args: Sequence[object] = ()) -> int:
        """Run a statement and return how many rows it changed."""
        async with self.connection.cursor() as cursor:
            await heeding(cursor.execute(sql, args))
            return int(cursor.rowcount)

    async def insert(self, sql: str, args: Sequence[object] = ()) -> int:
        """Run an INSERT and return the row's new id."""
        async with self.connection.cursor() as cursor:
            await heeding(cursor.execute(sql, args))
            return int(cursor.lastrowid)

    async def fetch_all(self, sql: str, args: Sequence[object] = ()) -> list[Row]:
        """Run a SELECT and return its rows by column name."""
        async with self.connection.cursor(DictCursor) as cursor:
            await heeding(cursor.execute(sql, args))
            return list(await cursor.fetchall())

    async def fetch_one(self, sql: str, args: Sequence[object] = ()) -> Row | None:
        """Run a SELECT and return its first row, or None."""
        rows = await self.fetch_all(sql, args)
        return rows[0] if rows else None


class Database:
    """A pool of connections. Use `Database.open`."""

    def __init__(self, writer: Writer, *, read_only: bool = False) -> None:
        self._writer = writer
        self._read_only = read_only

    @classmethod
    @asynccontextmanager
    async def open(cls, url: SecretStr | str, size: int = 10, *, read_only: bool = False) -> AsyncIterator["Database"]:
        """Open a pool of at most `size` connections; none is made before the first use.

        `read_only` is for a service that never writes: whether the server takes writes is nothing to it.

        Raises:
            SettingsError: The URL is not mysql://user:password@host:port/name, or with several hosts.
        """
        servers = servers_of(url)
        writer = Writer(servers, size, init_command=_SESSION, connect_timeout=5, read_timeout=_READ_SECONDS)
        looks = asyncio.create_task(repeat(writer.look, asyncio.Event(), EACH_SECONDS)) if servers[1:] else None
        try:
            yield cls(writer, read_only=read_only)
        finally:
            if looks:
                looks.cancel()
                await asyncio.wait([looks])
            await writer.close()

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[Transaction]:
        before = cancellations()
        pool, connection = await self._writer.acquire()
        clean = False
        try:
            stop_if_cancelled(before)
            yield Transaction(connection)
            clean = True
        except (DriverError, OSError, EOFError) as error:
            told = meaning(error)
            if told is not None and not isinstance(told, RolledBack):
                self._writer.doubt(pool)
            clean = not lost(error) and (told is None or isinstance(told, RolledBack))
            if told is None:
                raise
            raise told from error
        except CommitUnknown:
            self._writer.doubt(pool)
            raise
        finally:
            # A statement that was cut short leaves its answer in the pipe: such a connection is not used again.
            if not clean:
                connection.close()
            await pool.release(connection)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        """Run statements that take place together or not at all.

        Raises:
            CommitUnknown: The connection was lost while COMMIT was under way, or the server says nothing definite.
            DatabaseUnavailable: It was lost before, or the server can't do this now; nothing took place.
        """
        async with self._connection() as tx:
            await heeding(tx.connection.begin())
            try:
                yield tx
            except DriverError as error:
                if not lost(error):
                    await tx.connection.rollback()
                raise
            except Exception:  # of the caller's work, whatever it is: the connection goes back to the pool
                await tx.connection.rollback()
                raise
            try:
                await heeding(tx.connection.commit())
            except (DriverError, OSError, EOFError) as error:
                if never_took_place(error):
                    await tx.connection.rollback()
                    raise
                tx.connection.close()
                raise CommitUnknown(f"whether COMMIT took place is not known: {error}") from error

    async def transact(self, work: Callable[[Transaction], Awaitable[T]]) -> T:
        """Run `work` in a transaction, again when it met a deadlock.

        Raises:
            CommitUnknown: As for `transaction`.
            DatabaseUnavailable: Likewise, or it met deadlocks again and again.
        """
        for attempt in range(1, _DEADLOCK_TRIES + 1):
            try:
                async with self.transaction() as tx:
                    return await work(tx)
            except RolledBack:
                if attempt == _DEADLOCK_TRIES:
                    raise
                await asyncio.sleep(random.uniform(0, 0.01 * 2**attempt))  # noqa: S311 - jitter
        raise AssertionError("unreachable")

    async def execute(self, sql: str, args: Sequence[object] = ()) -> int:
        """Run one statement in a transaction of its own and return how many rows it changed."""
        return await self.transact(lambda tx: tx.execute(sql, args))

    async def fetch_all(self, sql: str, args: Sequence[object] = ()) -> list[Row]:
        """Run a SELECT and return its rows by column name; a connection lost while idle is replaced once."""
        try:
            async with self._connection() as tx:
                return await tx.fetch_all(sql, args)
        except DatabaseUnavailable:
            async with self._connection() as tx:
                return await tx.fetch_all(sql, args)

    async def fetch_one(self, sql: str, args: Sequence[object] = ()) -> Row | None:
        """Run a SELECT and return its first row, or None."""
        rows = await self.fetch_all(sql, args)
        return rows[0] if rows else None

    async def fetch_value(self, sql: str, args: Sequence[object] = ()) -> Any:  # noqa: ANN401 - as the column is
        """Run a SELECT of one column and return it from the first row; None if there is none."""
        row = await self.fetch_one(sql, args)
        return None if row is None else next(iter(row.values()))

    async def catch_up(self) -> None:
        """Have what is read from now on be all that was committed before, though another node of a cluster had it.

        Where two were written to for a moment, one of them may be late.
        """
        await self.fetch_all("/*M! SET STATEMENT wsrep_sync_wait = 1 FOR */ SELECT 1")

    async def now(self) -> datetime:
        """Return the time by the database's clock, aware."""
        now: datetime = await self.fetch_value("SELECT UTC_TIMESTAMP(6)")
        return now.replace(tzinfo=UTC)

    async def ping(self) -> None:
        """Raise DatabaseUnavailable unless the database answers, and takes what is written to it."""
        await self.fetch_one("SELECT 1")
        if self._read_only:
            return
        try:
            await self.execute(WRITES_NOTHING)
        except DriverError as error:  # no tables yet, or no right to write
            raise DatabaseUnavailable(f"the database takes no writes: {error}") from error


class _Store(Protocol):
    _db: Database


S = TypeVar("S", bound=_Store)


def transacted(
    method: Callable[Concatenate[S, Transaction, P], Awaitable[T]],
) -> Callable[Concatenate[S, P], Coroutine[Any, Any, T]]:
    """Have a store's method, which is given the transaction, be called without it: see `Database.transact`."""

    @wraps(method)
    async def run(store: S, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await store._db.transact(lambda tx: method(store, tx, *args, **kwargs))  # noqa: SLF001 - as of each store

    return run


async def sums(source: Database | Transaction, sql: str, *args: object) -> Row:
    """Run a SELECT of sums or counts and return the one row that it has, whatever there is."""
    row = await source.fetch_one(sql, args)
    assert row is not None  # noqa: S101 - without rows, too, there is one of sums
    return row
