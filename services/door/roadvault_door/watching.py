"""Plays a video: the retriever has the keys and is asked for the bytes; what comes is passed on as it is taken.

It checks the token, too, and tells what there is to know of the file: the door could not make a token, nor read one.
"""

import asyncio
import math
import re
import socket
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from contextlib import aclosing, asynccontextmanager, contextmanager
from datetime import UTC, datetime
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
from roadvault_door.service import Refused

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
_TOKEN = re.compile(r"\.?[\w-]{1,2000}\.[\w-]{1,100}", re.ASCII)
"""What may be a token: the door can't read it, but nothing else becomes a part of what the retriever is asked for."""
_ABOUT_SECONDS = 20.0
_KNOWN_SECONDS, _KNOWN_MOST = 10.0, 1000
"""What was told of a file counts for so long, for so many tokens; whether it may be played is asked for each range."""


class Player:
    """Asks the retriever for parts of files, for as many who watch as there may be. Use `Player.open`."""

    def __init__(self, session: aiohttp.ClientSession, settings: DoorSettings) -> None:
        self._session = session
        self._settings = settings
        self._watchers = Counter[str]()
        self._told: dict[str, tuple[float, str, File]] = {}
        """When the retriever told of the file of a token, its name, and the rest."""

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

    async def play(self, request: web.Request, token: str, headers: Mapping[str, str]) -> web.StreamResponse:
        """Answer a GET or HEAD with a file, or the part of it that was asked for.

        Raises:
            Refused: It can't be played.
            TransientError: Not now: the retriever or what it needs is away, or too many watch.
            ConnectionError: It was not sent whole; there is nobody left to be told.
        """
        if not _TOKEN.fullmatch(token):
            raise Refused(HTTPStatus.FORBIDDEN, "this link is not valid")
        name, file = await self._about(request, token)
        part = part_of(request, file)
        response = response_to(part, file, name, headers, inline=True)
        if request.method != "GET" or not part.length:
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

    async def _about(self, request: web.Request, token: str) -> tuple[str, File]:
        """Return the name of a token's file, and what else there is to know of it: the retriever tells that, too.

        Raises:
            Refused, Outage: It does not.
        """
        now = asyncio.get_running_loop().time
        told = self._told.get(token)
        if told is None or request.method != "GET" or now() - told[0] > _KNOWN_SECONDS:
            try:
                async with asyncio.timeout(_ABOUT_SECONDS), self._asked(request, f"{token}/facts", {}) as answer:
                    facts = await unless_gone(request, answer.json())
            except (aiohttp.ClientError, TimeoutError) as error:
                raise Outage(f"the retriever does not tell of a file: {brief(error)}") from error
            created = datetime.fromtimestamp(facts["created"], UTC)
            self._told.pop(token, None)
            told = self._told[token] = now(), facts["name"], File(facts["size"], facts["sha256"], created)
            if len(self._told) > _KNOWN_MOST:
                del self._told[next(iter(self._told))]
        return told[1:]

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
        self, request: web.Request, path: str, headers: Mapping[str, str]
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Ask the retriever, or that of the store that alone has the file, to which ours leads."""
        asking = self._session.get(f"v/{path}", headers=headers, max_redirects=2)
        try:
            answer = await unless_gone(request, asking)
        except (aiohttp.ClientError, TimeoutError) as error:
            raise Outage(f"the retriever does not answer: {brief(error)}") from error
        try:
            if answer.status in _TELLS:
                text = (await answer.content.read(_TOLD_BYTES)).decode(errors="replace")
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
                async with self._asked(request, token, asked) as answer:
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
