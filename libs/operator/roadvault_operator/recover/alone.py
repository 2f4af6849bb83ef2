"""Keeps a second run of the same work out, from wherever it is started: a lock of the database's server."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pymysql

from roadvault_common.errors import DatabaseUnavailable, SettingsError
from roadvault_common.sql.servers import connect, database_of

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
    try:
        connection = await asyncio.to_thread(connect, url)
    except pymysql.err.MySQLError as error:
        raise DatabaseUnavailable(f"the database can't be reached: {error}") from error
    with connection, connection.cursor() as cursor:
        cursor.execute(f"SET SESSION wait_timeout = {_WAITS_SECONDS}")
        cursor.execute("SELECT GET_LOCK(%s, 0)", (hashlib.sha256(f"{work} {name}".encode()).hexdigest(),))
        if cursor.fetchone() != (1,):
            raise SettingsError(f"another {work} is under way in {name}: wait for its end")
        yield
