"""Plays a video: the retriever has the keys and is asked for the bytes; what comes is passed on as it is taken."""

import asyncio
import math
import socket
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from contextlib import aclosing, asynccontextmanager, contextmanager
from http import HTTPStatus

import aiohttp
import structlog
from aiohttp import web

from roadvault_common.errors import Outage, RoadVaultError, TransientError, brief
from roadvault_common.metrics import STAGE_BYTES
from roadvault_common.web.flow import bound_buffer, unless_gone
from roadvault_door.config import DoorSettings
from roadvault_door.ranges import File, Part, part_of
from roadvault_door.sending import response_to
from roadvault_door.service import Refused, Viewed

log = structlog.get_logger()

_SENT = STAGE_BYTES.labels("watch")
_BYTES_PER_SECOND = 10_000
"""What a player takes at least on the average while it takes anything; no video needs less. One that takes nothing for
a minute, as when it is paused, loses its connection, and asks for the rest once it plays on."""
_BUFFER_BYTES, _UPSTREAM_BYTES = 1 << 18, 1 << 16
"""What the kernel keeps for the client, and of what the retriever sends: more would be moved, and perhaps in vain."""
_SILENCE_SECONDS = 130.0
"""Longer than the retriever waits for the network by default."""
_PATIENCE_SECONDS, _PAUSE_SECONDS = 60.0, 0.5
"""So long, after the last piece, a retriever that broke off is asked for the rest."""
_TELLS = {HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND, HTTPStatus.GONE}
"""Answers of the retriever that a client is told as they are."""
_TOLD_BYTES = 500


class Player:
    """Asks the retriever for parts of files, for as many who watch as there may be. Use `Player.open`."""

    def __init__(self, session: aiohttp.ClientSession, settings: DoorSettings) -> None:
        self._session = session
        self._settings = settings
        self._watchers = Counter[str]()

    @classmethod
    @asynccontextmanager
    async def open(cls, settings: DoorSettings) -> AsyncIterator["Player"]:
        """Make a client of the retriever."""
        # Idle connections go early: see `ipfs.answers.connector`.
        connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=15, socket_factory=_make_socket)
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=_SILENCE_SECONDS)
        async with aiohttp.ClientSession(
            settings.stream_url.rstrip("/") + "/",
            connector=connector,
            timeout=timeout,
            auto_decompress=False,
            read_bufsize=_UPSTREAM_BYTES,
        ) as session:
            yield cls(session, settings)

    async def play(
        self, request: web.Request, token: str, viewed: Viewed, headers: Mapping[str, str]
    ) -> web.StreamResponse:
        """Answer a GET or HEAD with a file, or the part of it that was asked for.

        Raises:
            Refused: It can't be played.
            TransientError: Not now: the retriever or what it needs is away, or too many watch.
            ConnectionError: It was not sent whole; there is nobody left to be told.
        """
        file = File(viewed.size, viewed.sha256, viewed.modified)
        part = part_of(request, file)
        response = response_to(part, file, viewed.name, headers, inline=True)
        if part.status not in {HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT}:
            return response
        if request.method != "GET" or not part.length:
            async with self._asked(request, "HEAD", token, {}):
                return response
        with self._place(request):
            async with aclosing(self._pieces(request, token, part)) as pieces:
                first = await anext(pieces)
                try:
                    await self._pass_on(request, response, first, pieces)
                except (OSError, RoadVaultError) as error:  # of the first ConnectionError and TimeoutError are kinds
                    if request.transport is not None:  # else the player has left, as at each jump
                        log.info("a video was not sent whole", reason=brief(error))
                        request.transport.abort()
                    raise ConnectionResetError("not sent whole") from error
        return response

    @contextmanager
    def _place(self, request: web.Request) -> Iterator[None]:
        """Count who watches.

        Raises:
            TransientError: There are too many, in all or from this address.
        """
        peer = str(getattr(request.protocol, "peer", ""))
        most = self._settings.peer_watchers
        if self._watchers.total() >= self._settings.watchers or (most and self._watchers[peer] >= most):
            raise TransientError("too many watch at once")
        self._watchers[peer] += 1
        try:
            yield
        finally:
            self._watchers[peer] -= 1
            self._watchers += Counter()  # who watches nothing is forgotten

    @asynccontextmanager
    async def _asked(
        self, request: web.Request, method: str, token: str, headers: Mapping[str, str]
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Ask the retriever."""
        asking = self._session.request(method, f"v/{token}", headers=headers, allow_redirects=False)
        try:
            answer = await unless_gone(request, asking)
        except (aiohttp.ClientError, TimeoutError) as error:
            raise Outage(f"the retriever does not answer: {brief(error)}") from error
        try:
            if answer.status in _TELLS:
                text = "" if method == "HEAD" else (await answer.content.read(_TOLD_BYTES)).decode(errors="replace")
                raise Refused(HTTPStatus(answer.status), text or "this file can't be played")
            if answer.status not in {HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT}:
                raise Outage(f"the retriever answers {answer.status}")
            yield answer
        finally:
            answer.release() if answer.content.at_eof() else answer.close()

    async def _pieces(self, request: web.Request, token: str, part: Part) -> AsyncGenerator[bytes, None]:
        """Yield a part of the file; where the retriever breaks off, as when it is started anew, it is asked again.

        Raises:
            Refused, Outage: At first, or of what it is asked again: for so long.
        """
        now = asyncio.get_running_loop().time
        position, end, heard = part.start, part.start + part.length, -math.inf
        while position < end:
            trouble: Exception | None = None
            try:
                asked = {"Range": f"bytes={position}-{end - 1}"}
                async with self._asked(request, "GET", token, asked) as answer:
                    while piece := await unless_gone(request, answer.content.readany()):
                        yield piece
                        position, heard = position + len(piece), now()
            except (Outage, aiohttp.ClientError, TimeoutError) as error:
                trouble = error
            if position < end:
                if now() - heard > _PATIENCE_SECONDS:
                    raise Outage(brief(trouble) if trouble else "the retriever broke off")
                await unless_gone(request, asyncio.sleep(_PAUSE_SECONDS))

    async def _pass_on(
        self, request: web.Request, response: web.StreamResponse, first: bytes, pieces: AsyncIterator[bytes]
    ) -> None:
        """Send on what comes. Only the time that the client takes counts against it."""
        now = asyncio.get_running_loop().time
        bound_buffer(request, _BUFFER_BYTES)
        await response.prepare(request)
        piece: bytes | None = first
        most = grace = self._settings.download_grace_seconds
        while piece is not None:
            before = now()
            async with asyncio.timeout(grace):
                await response.write(piece)
            _SENT.inc(len(piece))
            grace = min(grace - (now() - before) + len(piece) / _BYTES_PER_SECOND, most)
            piece = await anext(pieces, None)
        await response.write_eof()


def _make_socket(address: tuple[object, ...]) -> socket.socket:
    family, kind, protocol, *_ = address
    made = socket.socket(family, kind, protocol)  # type: ignore[arg-type]
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _UPSTREAM_BYTES)
    return made
