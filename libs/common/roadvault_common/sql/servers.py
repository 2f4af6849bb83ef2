"""The servers that a database URL names: one, or the nodes of a Galera cluster, of which one is written to at a time.

Which one is told by the same rule everywhere: the first of the list that is well. So all processes write to the same.
"""

import asyncio
import ssl
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from enum import IntEnum
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import asyncmy
import pymysql
from asyncmy.errors import Error as DriverError
from pydantic import SecretStr
from pymysql.cursors import Cursor

from roadvault_common.cancellation import cancellations, heeding, stop_if_cancelled
from roadvault_common.errors import DatabaseUnavailable, SettingsError

_WRONG = "ROADVAULT_DATABASE_URL must look like mysql://user:password@host:port/name or mysql://…@host,host,host/name"
LOOK_SECONDS = 3
"""A server that does not say by then how it is, is not well."""
_LIMITS = {"connect_timeout": LOOK_SECONDS, "read_timeout": LOOK_SECONDS, "write_timeout": LOOK_SECONDS}
_CATCH_UP_SECONDS = 20
"""The others notice within 5 to 7 seconds that a node has died; only then can one say that it has all that there is."""
_STATE = (
    "SHOW GLOBAL STATUS WHERE Variable_name IN ('wsrep_ready', 'wsrep_cluster_status', 'wsrep_local_state_comment')"
)


class Health(IntEnum):
    """How well a server of several is: the best is written to, and of those the first."""

    NO = 0
    GIVES = 1
    """It takes writes, but gives a copy of itself to another node, or is backed up: it may stall."""
    WELL = 2


def servers_of(url: SecretStr | str) -> list[dict[str, Any]]:
    """Return a driver's arguments for each server of a database URL, in the URL's order.

    Raises:
        SettingsError: The URL is not one, or has an option that there is not, or its certificate can't be read.
    """
    try:
        parts = urlsplit(url.get_secret_value() if isinstance(url, SecretStr) else url)
        options = dict(parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query)))
        user, _, hosts = parts.netloc.rpartition("@")
        name, _, password = user.partition(":")
        places = [(one.hostname, one.port or 3306) for one in map(urlsplit, (f"//{host}" for host in hosts.split(",")))]
    except ValueError:
        # Its own message would show a piece of a password that has a slash in it.
        raise SettingsError(f"{_WRONG}, and what is special in a URL as %XX") from None
    database = parts.path.lstrip("/")
    if parts.scheme != "mysql" or not database or "@" in database or not all(host for host, _ in places):
        raise SettingsError(_WRONG)
    authority = options.pop("ssl_ca", None)
    if options:
        raise SettingsError("ROADVAULT_DATABASE_URL has an option that there is not; there is ssl_ca")
    login: dict[str, Any] = {
        "user": unquote(name),
        "password": unquote(password),
        "database": database,
        "charset": "utf8mb4",
    }
    if authority is not None:
        login["ssl"] = _verified_by(authority)
    return [{"host": host, "port": port, **login} for host, port in places]


def database_of(url: SecretStr | str) -> str:
    """Return the name of a URL's database.

    Raises:
        SettingsError: As `servers_of`.
    """
    name: str = servers_of(url)[0]["database"]
    return name


def _verified_by(authority: str) -> ssl.SSLContext:
    """Return what has a connection be TLS, to a server that has a certificate of this authority for its name."""
    try:
        return ssl.create_default_context(cafile=authority)
    except (OSError, ValueError) as error:
        raise SettingsError(f"ROADVAULT_DATABASE_URL: ssl_ca={authority} can't be read: {error}") from None


def place(server: dict[str, Any]) -> str:
    """Return host and port of a server."""
    return f"{server['host']}:{server['port']}"


def connect(url: SecretStr | str) -> "pymysql.Connection[Cursor]":
    """Open a blocking connection that commits each statement, to the server that is written to.

    Raises:
        SettingsError: As `servers_of`.
        MySQLError: There is none, or it refuses.
    """
    return pymysql.connect(**_well(url)[0], autocommit=True)


@contextmanager
def connect_to_all(url: SecretStr | str) -> "Iterator[list[pymysql.Connection[Cursor]]]":
    """As `connect`, and then to each other server that is well.

    Raises:
        SettingsError: As `servers_of`.
        MySQLError: There is none, or it refuses.
    """
    with ExitStack() as stack:
        first, *others = _well(url)
        opened = [stack.enter_context(pymysql.connect(**first, autocommit=True))]
        for server in others:
            with suppress(pymysql.err.MySQLError):
                opened.append(stack.enter_context(pymysql.connect(**server, **_LIMITS, autocommit=True)))
        yield opened


def _well(url: SecretStr | str) -> list[dict[str, Any]]:
    """Return the server that is written to, and others that are well."""
    servers = servers_of(url)
    if len(servers) == 1:
        return servers
    states = [_look(server) for server in servers]
    found = [server for server, health in zip(servers, states, strict=True) if health is not Health.NO]
    if not found:
        raise pymysql.err.OperationalError(2003, none_is_well(servers))
    first = servers[states.index(max(states))]
    return [first, *(server for server in found if server is not first)]


def none_is_well(servers: Iterable[dict[str, Any]]) -> str:
    """Return what to say when no server can be written to."""
    return f"none of the database's servers is well: {', '.join(map(place, servers))}"


def _look(server: dict[str, Any]) -> Health:
    try:
        with pymysql.connect(**server, **_LIMITS) as connection, connection.cursor() as cursor:
            cursor.execute(_STATE)
            return _health(cursor.fetchall())
    except (pymysql.err.MySQLError, OSError):
        return Health.NO


def _health(rows: Iterable[tuple[str, str]]) -> Health:
    """Return how a node is. A server that is in no cluster is not well: among several, none may be written to alone."""
    state = dict(rows)
    if state.get("wsrep_ready") != "ON" or state.get("wsrep_cluster_status") != "Primary":
        return Health.NO
    return {"Synced": Health.WELL, "Donor/Desynced": Health.GIVES}.get(state["wsrep_local_state_comment"], Health.NO)


class Watched:
    """A server of several, which is asked how it is, over a connection that is for this alone."""

    def __init__(self, server: dict[str, Any]) -> None:
        self.server = server
        self._connection: asyncmy.Connection | None = None
        self._lock = asyncio.Lock()

    async def health(self) -> Health:
        """Ask how it is."""
        try:
            return _health(await self._ask(LOOK_SECONDS, _STATE))
        except (DriverError, OSError, EOFError, RuntimeError):
            return Health.NO

    async def catch_up(self, seconds: float = _CATCH_UP_SECONDS) -> None:
        """Wait until it has all that was committed at any node so far.

        Raises:
            DatabaseUnavailable: It has not, or does not say so.
        """
        try:
            await self._ask(seconds, "SET STATEMENT wsrep_sync_wait = 1 FOR SELECT 1")
        except (DriverError, OSError, EOFError, RuntimeError) as error:
            raise DatabaseUnavailable(f"{place(self.server)} has not caught up with its cluster: {error}") from error

    async def _ask(self, seconds: float, statement: str) -> list[Any]:
        async with self._lock:
            return await self._ask_alone(seconds, statement)

    async def _ask_alone(self, seconds: float, statement: str) -> list[Any]:
        answered = False
        try:
            async with asyncio.timeout(seconds):
                if self._connection is None:
                    before = cancellations()
                    self._connection = await asyncmy.connect(**self.server, autocommit=True)
                    stop_if_cancelled(before)  # only now: what has come about has to be closed
                async with self._connection.cursor() as cursor:
                    await heeding(cursor.execute(statement))
                    rows = list(await cursor.fetchall()) if cursor.description else []
            answered = True
            return rows
        finally:
            if not answered:
                self.close()

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
