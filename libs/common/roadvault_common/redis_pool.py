"""How Redis is reached: one server, or the one that Sentinels name as the master of the moment.

    redis://[user:password@]host:port/number                        rediss:// over TLS
    redis+sentinel://[user:password@]a:26379,b:26379/name/number    rediss+sentinel:// likewise, Sentinels and servers
    unix://[user:password@]/path?db=number

What redis-py takes as `?name=value` goes on: `ssl_ca_certs`, `ssl_certfile` and `ssl_keyfile` name files. A server's
certificate has to bear the name by which it is called. Sentinels are told user and password of the servers, but for
what `sentinel_username` and `sentinel_password` say.
"""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple
from urllib.parse import unquote

import structlog
from pydantic import SecretStr
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.connection import AbstractConnection, Connection, RedisSSLContext, SSLConnection, parse_url
from redis.asyncio.sentinel import MasterNotFoundError, Sentinel, SentinelConnectionPool
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeout
from redis.maint_notifications import MaintNotificationsConfig

from roadvault_common.cancellation import heeding
from roadvault_common.errors import brief

log = structlog.get_logger()

_CONNECTIONS = 16
"""To Redis, at most; a crowd of uploads that end together shares them."""
_ANSWER_SECONDS = _CONNECT_SECONDS = 3.0
"""Longer than whoever waits for events does; a server that stands still is left then."""
_SENTINEL_SECONDS = 2.0
_SENTINELS = re.compile(r"redis(s?)\+sentinel://((?:[^@/?#]*@)?)([^@/?#]+)/([^/?#]+)(/\d+)?/?(\?[^#]*)?")
_SENTINEL_PORT = "26379"
_HOST = re.compile(r"(?:\[([^\[\]]+)\]|([^:\[\]]+))(?::(\d{1,5}))?")
_QUIET: dict[str, Any] = {"driver_info": None, "maint_notifications_config": MaintNotificationsConfig(enabled=False)}
"""No server is told which library we are, nor asked to announce its maintenance: nobody needs the right to it."""


class Client(Redis):
    """A client whose every command heeds that its task was told to stop."""

    async def execute_command(self, *args: Any, **options: Any) -> Any:  # noqa: ANN401 - as redis-py has it
        """Execute one, as redis-py does."""
        return await heeding(super().execute_command(*args, **options))  # type: ignore[no-untyped-call]


class _Pool(BlockingConnectionPool):
    """Connections with one TLS context for all: to make it, the process stands still while it reads every authority."""

    tls: RedisSSLContext | None = None

    def make_connection(self) -> AbstractConnection:
        """Make one that connects when it is used."""
        made: AbstractConnection = super().make_connection()  # type: ignore[no-untyped-call]
        if isinstance(made, SSLConnection):
            made.ssl_context = self.tls = self.tls or made.ssl_context
        return made

    async def ensure_connection(self, connection: AbstractConnection) -> None:
        """Connect; what is said against it is told without the password, which odd servers quote.

        Raises:
            RedisError: It can't be used, also where something else answers than a Redis.
        """
        try:
            await super().ensure_connection(connection)
        except (RedisConnectionError, RedisTimeout, ResponseError, OSError) as error:
            words = str(error).partition(", with args")[0].replace(connection.password or "\n", "…")
            if words == str(error):
                raise
            raise RedisConnectionError(words) from None
        except Exception as error:  # noqa: BLE001 - redis-py takes an answer apart without looking at what it is
            await connection.disconnect(nowait=True)
            raise RedisConnectionError(f"no Redis answers there: {type(error).__name__}") from None


class _Sentinels(Sentinel):
    """Asks all Sentinels at once: one that hangs keeps nobody waiting, and one that is cut off misleads nobody."""

    _asking: asyncio.Task[tuple[str, int] | MasterNotFoundError] | None = None

    async def discover_master(self, service_name: str) -> tuple[str, int]:
        """Return where the master is, asked once for all who want to know at the same time.

        Raises:
            MasterNotFoundError: It is down as the Sentinels see it, or none of them knows it.
        """
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._ask(service_name))
        found = await asyncio.shield(self._asking)
        if isinstance(found, MasterNotFoundError):
            raise MasterNotFoundError(*found.args)
        return found

    async def _ask(self, name: str) -> tuple[str, int] | MasterNotFoundError:
        """Return the newest of what more than half of the Sentinels say, or all that answer."""
        asked = [asyncio.create_task(_view(one, name)) for one in self.sentinels]
        views, wrong = list[_View](), set[str]()
        try:
            for answer in asyncio.as_completed(asked):
                view = await answer
                if isinstance(view, str):
                    wrong.add(view)
                else:
                    views.append(view)
                if 2 * len(views) > len(asked):
                    break
        finally:
            for task in asked:
                task.cancel()
        best = max(views, default=None)
        if best is not None and best.is_up:
            return best.host, best.port
        found = "it is down" if best else "; ".join(sorted(wrong))
        return MasterNotFoundError(f"{len(asked)} Sentinels name no master {name}: {found}")


class _View(NamedTuple):
    """What a Sentinel knows of a master; of two the greater one counts."""

    epoch: int
    is_up: bool
    host: str
    port: int


async def _view(sentinel: Redis, name: str) -> _View | str:
    """Return what a Sentinel knows, or what is wrong."""
    try:
        state: Any = await sentinel.sentinel_master(name)
        is_up = state["is_master"] and not (state["is_sdown"] or state["is_odown"])
        return _View(state["config-epoch"], is_up, state["ip"], state["port"])
    except Exception as error:  # noqa: BLE001 - likewise
        return brief(error)


class MasterPool(SentinelConnectionPool, _Pool):
    """Connections to the master; none is kept to one that is it no more."""

    async def get_master_address(self) -> tuple[str, int]:
        """Ask where the master is; if it is another than before, give up what is connected to that."""
        address: tuple[str, int] = await self.sentinel_manager.discover_master(self.service_name)
        if address != self.master_address:
            if self.master_address is not None:
                log.warning("Redis has another master", host=address[0], port=address[1])
            self.master_address = address
            # redis-py leaves those in use where they are.
            await self.update_active_connections_for_reconnect()  # type: ignore[no-untyped-call]
            await self.disconnect(inuse_connections=False)
        return address


@asynccontextmanager
async def connected(url: SecretStr) -> AsyncIterator[Client]:
    """Make a client; nothing connects before the first use."""
    pool = make_pool(url.get_secret_value())
    client = Client(connection_pool=pool)
    try:
        yield client
    finally:
        await pool.aclose()
        if isinstance(pool, MasterPool):
            await pool.sentinel_manager.aclose()


def make_pool(url: str) -> BlockingConnectionPool:
    """Make the pool of a URL's connections.

    Raises:
        ValueError: It is no URL of Redis, or has an option that is none.
        OSError: A file that it names can't be read.
    """
    options: dict[str, Any] = {"socket_timeout": _ANSWER_SECONDS, "socket_connect_timeout": _CONNECT_SECONDS, **_QUIET}
    options |= {"health_check_interval": 30, "max_connections": _CONNECTIONS, "timeout": 10}
    try:
        pool = _pool_of_master(url, options) if "+sentinel:" in url else _Pool.from_url(url, **options)
        pool.make_connection()  # which connects nowhere: it shows what the options are worth
    except (TypeError, RedisError) as error:
        raise ValueError(str(error)) from None
    if pool.tls is not None:
        pool.tls.get()
    for sentinel in pool.sentinel_manager.sentinels if isinstance(pool, MasterPool) else []:
        sentinel.connection_pool.tls = pool.tls
    return pool


def _pool_of_master(url: str, options: dict[str, Any]) -> MasterPool:
    parts = _SENTINELS.fullmatch(url)
    if parts is None:
        raise ValueError("no URL of Sentinels")
    tls, user, hosts, name, number, query = parts.groups("")
    given: dict[str, Any] = {**parse_url(f"redis{tls}://{user}host{number}{query}")}
    kind, _ = given.pop("connection_class", Connection), given.pop("host")
    own = {key: given.pop(f"sentinel_{key}", given.get(key)) for key in ("username", "password")}
    own |= {key: value for key, value in given.items() if key.startswith("ssl_")}
    own |= {"socket_timeout": _SENTINEL_SECONDS, "socket_connect_timeout": _SENTINEL_SECONDS, **_QUIET}
    sentinels = _Sentinels([])  # type: ignore[no-untyped-call]
    for host, port in map(_address, hosts.split(",")):
        sentinels.sentinels.append(Client.from_pool(_Pool(connection_class=kind, host=host, port=port, **own)))
    return MasterPool(  # type: ignore[no-untyped-call]
        unquote(name), sentinels, ssl=bool(tls), **{**options, **given}
    )


def _address(host: str) -> tuple[str, int]:
    parts = _HOST.fullmatch(host)
    if parts is None:
        raise ValueError("no host of a Sentinel")
    bracketed, plain, port = parts.groups()
    return bracketed or plain, int(port or _SENTINEL_PORT)
