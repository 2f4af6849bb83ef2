"""One port for everything: JSON-RPC over WebSocket and over POST, the control door, and health."""

import asyncio
from collections.abc import Callable

import structlog
from aiohttp import WSMsgType, web
from pydantic import ValidationError

from roadvault_common.web.guards import own_sites_only
from roadvault_devnet.connection import Connection
from roadvault_devnet.control import Control, Turn
from roadvault_devnet.errors import AnswerLost, ControlRefused
from roadvault_devnet.rpc import Dispatcher
from roadvault_devnet.rules import Rules

_log = structlog.get_logger()

_MESSAGE_BYTES = 16 * 2**20
"""The largest request; a node's limit is 15 MB."""


class Server:
    """The HTTP side of the network."""

    def __init__(self, dispatcher: Dispatcher, control: Control, rules: Rules) -> None:
        self._dispatcher = dispatcher
        self._control = control
        self._rules = rules
        self._connections: set[Connection] = set()

    def application(self) -> web.Application:
        """Return the application with all its routes."""
        # A page that somebody on this machine has open is to turn nothing here; clients of chains are programs.
        application = web.Application(client_max_size=_MESSAGE_BYTES, middlewares=[own_sites_only(())])
        application.router.add_get("/", self._websocket)
        application.router.add_post("/", self._post)
        application.router.add_get("/control", self._show)
        application.router.add_post("/control", self._turn)
        application.router.add_get("/healthz", _well)
        application.router.add_get("/readyz", _well)
        application.on_shutdown.append(self._drop_all)
        return application

    async def _drop_all(self, _application: web.Application | None = None) -> None:
        for connection in list(self._connections):
            connection.drop()

    async def _websocket(self, request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse(max_msg_size=_MESSAGE_BYTES, compress=False)
        if not socket.can_prepare(request).ok:
            return web.Response(text="RoadVault Devnet: JSON-RPC by WebSocket or POST; see also /control\n")
        await socket.prepare(request)
        connection = Connection(_dropping(request))
        self._connections.add(connection)
        writer = asyncio.create_task(_write(socket, connection))
        try:
            async for message in socket:
                if message.type is WSMsgType.TEXT:
                    await asyncio.sleep(self._rules.answer_seconds)
                    self._answer(message.data, connection)
        finally:
            self._connections.discard(connection)
            connection.close()
            writer.cancel()
            await asyncio.wait([writer])
        return socket

    def _answer(self, text: str, connection: Connection) -> None:
        connection.begin_answer()
        try:
            connection.end_answer(self._dispatcher.answer(text, connection))
        except AnswerLost:
            _log.info("answer lost on purpose")
            connection.drop()

    async def _post(self, request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(self._rules.answer_seconds)
        try:
            answer = self._dispatcher.answer(await request.text(), None)
        except AnswerLost:
            _log.info("answer lost on purpose")
            _dropping(request)()
            return web.Response()
        return web.Response(text=answer or "", content_type="application/json")

    async def _show(self, _request: web.Request) -> web.StreamResponse:
        return web.json_response(self._control.state())

    async def _turn(self, request: web.Request) -> web.StreamResponse:
        try:
            turn = Turn.model_validate_json(await request.text())
            await self._control.apply(turn)
        except ValidationError as error:
            return web.json_response({"error": error.errors(include_url=False, include_context=False)}, status=400)
        except ControlRefused as error:
            return web.json_response({"error": str(error)}, status=409)
        if turn.drop_connections:
            await self._drop_all()
        return web.json_response(self._control.state())


def _dropping(request: web.Request) -> Callable[[], None]:
    def drop() -> None:
        # None when the client was faster.
        if request.transport is not None:
            request.transport.abort()

    return drop


async def _write(socket: web.WebSocketResponse, connection: Connection) -> None:
    while True:
        message = await connection.next()
        try:
            await socket.send_str(message)
        except ConnectionError:
            return


async def _well(_request: web.Request) -> web.StreamResponse:
    return web.Response(text="ok\n")
