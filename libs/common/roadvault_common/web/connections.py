"""The connections of a listener, and the limits that keep strangers from holding it.

A connection that waits for its client, for a request or the rest of its header, costs the client nothing and us a
descriptor. So it has its time, and where there are too many connections the oldest that waits gives way to a new one:
an honest client's request is here within milliseconds, and from then on its connection is not touched. So does one that
still sends a body after its answer, and one whose short body does not come.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv6Address, ip_address, ip_network
from typing import NamedTuple, cast

import structlog
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from roadvault_common import metrics

log = structlog.get_logger()

_READ_BYTES = 1 << 17
"""Of a body, twice: then the client waits. Double what aiohttp takes: longer pieces, and fewer."""
_HEADER_BYTES = 1 << 16
"""Of a request's whole header; aiohttp bounds its lines (8190 bytes) and their number (128), which is a megabyte."""
_STALL_SECONDS = 60
"""A client that takes nothing of what waits for it (256 KiB at the most) for so long is given up."""
_NETWORK_BITS = 64
"""An IPv6 client has a network of this prefix, and may take any of its addresses."""
_FULL = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class Limits(NamedTuple):
    """What a listener takes; `connections` at once, of those `peer_connections` from one address (0: no bound)."""

    header_seconds: float = 30
    idle_seconds: float = 75
    connections: int = 500
    peer_connections: int = 0


class Crowd:
    """The connections of a listener, in the order in which they came."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._all: dict[Connection, None] = {}
        self._peers: dict[str, dict[Connection, None]] = {}

    def enter(self, connection: "Connection") -> bool:
        """Count a new connection; where it is one too many, another gives way. False if none could."""
        most = self.limits.peer_connections
        peers = self._peers.get(connection.peer, {})
        if (most and not _has_room(peers, most)) or not _has_room(self._all, self.limits.connections):
            return False
        self._peers.setdefault(connection.peer, {})[connection] = None
        self._all[connection] = None
        return True

    def leave(self, connection: "Connection") -> None:
        """Count a connection no more."""
        self._all.pop(connection, None)
        peers = self._peers.get(connection.peer, {})
        peers.pop(connection, None)
        if not peers:
            self._peers.pop(connection.peer, None)


def _has_room(connections: "dict[Connection, None]", most: int) -> bool:
    if len(connections) < most:
        return True
    oldest = next((one for one in connections if one.gives_way), None)
    if oldest is not None:
        oldest.cut("crowd")
    return oldest is not None


class Connection(web.RequestHandler):
    """aiohttp's protocol, with a time for a request's header, a bound for its size, and a place in a crowd."""

    __slots__ = ("_crowd", "_header", "_late", "_stalled", "_wire", "peer", "waits_for_body")

    def __init__(self, server: web.Server, crowd: Crowd) -> None:
        loop = asyncio.get_running_loop()
        idle = crowd.limits.idle_seconds
        super().__init__(
            server,
            loop=loop,
            access_log=None,  # type: ignore[arg-type]
            keepalive_timeout=idle,
            read_bufsize=_READ_BYTES,
            auto_decompress=False,
        )
        self._crowd = crowd
        self._header = 0
        self._late: asyncio.TimerHandle | None = None
        self._stalled: asyncio.TimerHandle | None = None
        self._wire: asyncio.Transport | None = None
        """The transport, also once aiohttp has closed it and it still has something to send."""
        self.peer = ""
        self.waits_for_body = False
        """Whether a handler waits for a body that an honest client sends at once."""

    @property
    def gives_way(self) -> bool:
        """Whether it may be cut for a new one: it waits for its client, or only takes what comes behind its answer."""
        answered = not self._messages and not self._request_in_progress
        return self.waits or answered or self.waits_for_body

    @property
    def waits(self) -> bool:
        """Whether it waits for its client: no request has come whole, or the last one is answered."""
        return self._request_count == 0 or (self._waiter is not None and not self._waiter.done())

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take a place, or say that there is none."""
        self._wire = wire = cast("asyncio.Transport", transport)  # uvloop's is none by its class
        self.peer = peer_of(wire.get_extra_info("peername"))
        has_place = self._crowd.enter(self)
        super().connection_made(transport)
        # With any byte unsent the writer waits: so an answer has ended once all of it has left.
        wire.set_write_buffer_limits(high=0)
        if has_place:
            self._wait_for_header()
        else:
            metrics.CONNECTIONS_CUT.labels("full").inc()
            wire.write(_FULL)
            self.force_close()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Give the place free."""
        self._crowd.leave(self)
        for timer in (self._late, self._stalled):
            _stop(timer)
        self._wire = None
        super().connection_lost(exc)

    def cut(self, why: str) -> None:
        """End it at once, whatever is still to be sent."""
        metrics.CONNECTIONS_CUT.labels(why).inc()
        self._crowd.leave(self)
        if self._wire is not None:
            self._wire.abort()

    def data_received(self, data: bytes) -> None:
        """Let aiohttp read; then see whether the header is whole, and how long it has become."""
        super().data_received(data)
        if not self.waits:
            _stop(self._late)
            self._header, self._late = 0, None
            return
        self._header += len(data)
        if self._header > _HEADER_BYTES:
            self.cut("header")
        elif data and self._late is None:  # aiohttp itself calls this with none
            self._wait_for_header()

    def _wait_for_header(self) -> None:
        self._late = self._loop.call_later(self._crowd.limits.header_seconds, self.cut, "header")

    def pause_writing(self) -> None:
        """Give the client its time to take what waits for it."""
        super().pause_writing()
        self._stalled = self._loop.call_later(_STALL_SECONDS, self.cut, "stalled")

    def resume_writing(self) -> None:
        """Note that the client has taken it."""
        super().resume_writing()
        _stop(self._stalled)

    def handle_error(
        self, request: web.BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> web.StreamResponse:
        """Answer what is no HTTP without repeating it, as aiohttp does in answer and log: a link's token may be in it.

        Raises:
            ConnectionError: The client has hung up; nobody is to be told.
        """
        if isinstance(exc, ConnectionError):
            raise exc
        if not isinstance(exc, HttpProcessingError):
            return super().handle_error(request, status, exc, message)
        log.info("request is no HTTP", error=type(exc).__name__)
        response = web.Response(status=status, text="this is not HTTP as it is spoken here\n")
        response.force_close()
        return response


@contextmanager
def giving_way(request: web.BaseRequest) -> Iterator[None]:
    """Let a request's connection give way while its body is awaited: one so short that it is here with its header."""
    connection = request.protocol
    if not isinstance(connection, Connection):
        yield
        return
    connection.waits_for_body = True
    try:
        yield
    finally:
        connection.waits_for_body = False


def _stop(timer: asyncio.TimerHandle | None) -> None:
    if timer is not None:
        timer.cancel()


def peer_of(address: object) -> str:
    """Return whom a connection counts for, by its address as a transport tells it; '' if it tells none."""
    return counts_for(str(address[0])) if isinstance(address, tuple) else ""


def counts_for(address: str) -> str:
    """Return whom a client at this address counts for: of IPv6 its network, any of whose addresses it may take."""
    ip = ip_address(address.partition("%")[0])
    if isinstance(ip, IPv6Address):
        return str(ip.ipv4_mapped or ip_network((ip, _NETWORK_BITS), strict=False))
    return str(ip)
