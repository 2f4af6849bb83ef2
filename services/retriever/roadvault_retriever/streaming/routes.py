"""What the door asks for, on a listener that nobody else reaches: parts of files, for whoever shows a good token."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from functools import partial
from http import HTTPStatus

import structlog
from aiohttp import web
from prometheus_client import Counter

from roadvault_common.errors import RoadVaultError, brief
from roadvault_common.web.flow import bound_buffer, unless_gone
from roadvault_common.web.links import BadLink, View, Views
from roadvault_retriever.streaming.blocks import Blocks, Shared
from roadvault_retriever.streaming.register import Register
from roadvault_retriever.streaming.source import Refused, Source, Sources
from roadvault_retriever.streaming.watching import Watch

log = structlog.get_logger()

SENT = Counter("roadvault_stream_sent_bytes", "Bytes of videos that were sent to the door")
_FIRST_SECONDS = 20.0
"""For the first block, whatever hangs."""
_BUFFER_BYTES = 1 << 16
_RANGE = re.compile(r"bytes=(\d{1,18})-(\d{1,18})", re.ASCII)


class Streaming:
    """Plays files."""

    def __init__(
        self, views: Views, sources: Sources, blocks: Blocks, stall_seconds: float, register: Register
    ) -> None:
        self._views = views
        self._register = register
        self._sources = sources
        self._blocks = blocks
        self._stall_seconds = stall_seconds
        self._under_way = set[asyncio.Task[object]]()

    def routes(self) -> list[web.RouteDef]:
        """Return the routes of the door's listener."""
        return [
            web.get("/v/{token}", partial(self._answer, self._play), allow_head=False),
            web.get("/v/{token}/facts", partial(self._answer, self._facts), allow_head=False),
        ]

    async def end(self, closing: asyncio.Event) -> None:
        """Cut what is under way once the service is to stop: the door asks the next one for the rest."""
        await closing.wait()
        for task in self._under_way:
            task.cancel()

    async def _answer(
        self, handler: Callable[[web.Request], Awaitable[web.StreamResponse]], request: web.Request
    ) -> web.StreamResponse:
        """Answer, or say why not."""
        try:
            return await handler(request)
        except Refused as refused:
            status, text = refused.status, str(refused)
            if refused.there is not None:
                return web.Response(status=status, headers={"Location": f"{refused.there.rstrip('/')}{request.path}"})
        except (RoadVaultError, TimeoutError) as error:  # some a person has to mend, as a key's damaged row
            log.warning("a video can't be played now", error=brief(error))
            status, text = HTTPStatus.SERVICE_UNAVAILABLE, "the video can't be had right now; try again"
        return web.Response(status=status, text=text)

    async def _facts(self, request: web.Request) -> web.StreamResponse:
        """Tell what the door has to know of a file that can be played."""
        _, source = await self._source(request)
        return web.json_response(source.facts)

    async def _play(self, request: web.Request) -> web.StreamResponse:
        """Answer with the one range that is asked for, which lies within the file."""
        view, source = await self._source(request)
        begin, end = _asked(request, source.size)
        async with Watch(Shared(source, self._blocks), self._blocks, begin, end, self._stall_seconds) as watch:
            async with asyncio.timeout(_FIRST_SECONDS):
                await unless_gone(request, watch.first())
            self._register.note(view)
            response = web.StreamResponse(status=HTTPStatus.PARTIAL_CONTENT)
            response.content_length = end - begin
            bound_buffer(request, _BUFFER_BYTES)
            await response.prepare(request)
            task = asyncio.current_task()
            assert task is not None  # noqa: S101 - a handler is run by one
            self._under_way.add(task)
            try:
                await _send(request, response, watch)
            except RoadVaultError as error:
                log.warning("a video broke off", file_id=source.file_id, error=brief(error))
                if request.transport is not None:
                    request.transport.abort()
                raise ConnectionResetError("not sent whole") from error
            finally:
                self._under_way.discard(task)
        return response

    async def _source(self, request: web.Request) -> tuple[View, Source]:
        """Return what a token says, and the file that it opens.

        Raises:
            Refused: It is not ours, or over, or its file can't be played.
        """
        try:
            view = self._views.read(request.match_info["token"])
        except BadLink as error:
            raise Refused(HTTPStatus.FORBIDDEN, str(error)) from None
        if await self._sources.db.now() >= view.expires_at:
            raise Refused(HTTPStatus.FORBIDDEN, "this link has expired; open the file's page again")
        return view, await self._sources.open(view.file_id)


async def _send(request: web.Request, response: web.StreamResponse, watch: Watch) -> None:
    pieces = watch.pieces()
    try:
        while (piece := await unless_gone(request, anext(pieces, None))) is not None:
            await response.write(piece)
            SENT.inc(len(piece))
    finally:
        await pieces.aclose()
    await response.write_eof()


def _asked(request: web.Request, size: int) -> tuple[int, int]:
    """Return where what is asked for begins and ends: the door has worked that out.

    Raises:
        Refused: It has not.
    """
    found = _RANGE.fullmatch(request.headers.get("Range", ""))
    begin, end = (int(found[1]), int(found[2]) + 1) if found else (0, 0)
    if not begin < end <= size:
        raise Refused(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, "the file has no such bytes")
    return begin, end
