"""Keeps a second run of the same work out, from wherever it is started: a lock of the database's server."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager

import pymysql

from roadvault_common.errors import DatabaseUnavailable, SettingsError
from roadvault_common.sql import locks
from roadvault_common.sql.servers import connect_to_all, database_of

_WAITS_SECONDS = 31_536_000
"""So long the server keeps a connection that says nothing: the most that it takes."""


@asynccontextmanager
async def alone(url: str, work: str) -> AsyncIterator[None]:
    """Have nobody else do such work in this database meanwhile: the server lets go of the lock with its connection.

    Raises:
        SettingsError: Somebody does.
        DatabaseUnavailable: The database is away.
    """
    name = database_of(url)
    with ExitStack() as stack:
        try:
            connections = await asyncio.to_thread(stack.enter_context, connect_to_all(url))
        except pymysql.err.MySQLError as error:
            raise DatabaseUnavailable(f"the database can't be reached: {error}") from error
        for connection in connections:
            connection.cursor().execute(f"SET SESSION wait_timeout = {_WAITS_SECONDS}")
        if not locks.take(connections, hashlib.sha256(f"{work} {name}".encode()).hexdigest(), 0):
            raise SettingsError(f"another {work} is under way in {name}: wait for its end")
        yield
