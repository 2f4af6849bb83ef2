"""Nodes of a chain, of which blocks are asked for, many at once: JSON-RPC over WebSocket.

They stand in for each other: what one does not answer, or not as nodes do, the next is asked for.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeVar

import aiohttp
import orjson

from roadvault_common.errors import ChainUnavailable, SettingsError, brief
from roadvault_common.urls import has_host, host_of, without_secrets

_UNDER_WAY = 64
"""Questions that one connection has under way: the way to a node takes longer than its answer."""
_SECONDS = 60
"""A node may be silent for so long."""
_MOST_ANSWER = 32 << 20
"""Bytes of an answer: nodes send 15 MiB at most, and blocks of Crust stay under 5 MB, twice that in hex."""
_PAUSES = (1.0, 5.0, 15.0)
"""Seconds before all nodes are asked anew, where none has answered."""

T = TypeVar("T")
Read = Callable[[int, Any], T]
"""Makes something of the answer to a question, by its place among them; ChainUnavailable if it can't be used."""


@dataclass(frozen=True)
class Head:
    """The finalized head of the chain: its height, and how many extrinsics an account has sent by then."""

    height: int
    sent: int


class NotKept(ChainUnavailable):
    """A node does not have a block's body any more, or not yet."""


class Nodes:
    """One or several nodes of one chain. Use `Nodes.open`."""

    def __init__(self, urls: Sequence[str], session: aiohttp.ClientSession, genesis: str | None) -> None:
        self.urls = urls
        self.session = session
        self.genesis = genesis
        """Hash of the chain's first block, which all nodes have to have; None until the first was reached."""

    @classmethod
    @asynccontextmanager
    async def open(cls, urls: str, genesis: str | None) -> AsyncIterator["Nodes"]:
        """Take `urls` as the setting has them, separated by commas; none is asked yet.

        Raises:
            SettingsError: There is none, or one is no URL.
        """
        # Nodes of Substrate answer both ways at one address.
        named = [url.strip().replace("http", "ws", 1) for url in urls.split(",") if url.strip()]
        if not named or not all(url.startswith(("ws://", "wss://")) and has_host(url) for url in named):
            raise SettingsError("ROADVAULT_CRUST_URL must be one or several URLs of nodes, as ws://host:port")
        async with aiohttp.ClientSession() as session:
            yield cls(named, session, genesis)

    async def head(self, account: str) -> Head:
        """Return the highest finalized head that any node tells of, for an account (SS58).

        Raises:
            ChainUnavailable: None tells.
        """
        heads, troubles = list[Head](), list[str]()
        for url in self.urls:
            link = Link(self, [url])
            try:
                heads.append(await link.head(account))
            except ChainUnavailable as error:
                troubles.append(brief(error))
            finally:
                await link.close()
        if not heads:
            raise ChainUnavailable("; ".join(troubles))
        return max(heads, key=lambda head: head.height)


class Link:
    """A connection to one of the nodes at a time."""

    def __init__(self, nodes: Nodes, urls: Sequence[str]) -> None:
        """Begin with the first of `urls`."""
        self._nodes = nodes
        self._urls = urls
        self._turn = 0
        self._socket: aiohttp.ClientWebSocketResponse | None = None

    @property
    def _url(self) -> str:
        return self._urls[self._turn % len(self._urls)]

    async def insist(self, method: str, questions: Sequence[Sequence[object]], read: Read[T]) -> list[T]:
        """Ask one node all of it, after a failure the next, and all of them again after a while.

        Raises:
            ChainUnavailable: None of them answers, or not so that it can be used.
        """
        failures: dict[str, ChainUnavailable] = {}
        for pause in (*_PAUSES, None):
            for _ in self._urls:
                try:
                    return await self.ask(method, questions, read)
                except ChainUnavailable as error:
                    failures[self._url] = error
                    await self.close()
                    self._turn += 1
            if pause is None or all(isinstance(error, NotKept) for error in failures.values()):
                break
            await asyncio.sleep(pause)
        raise ChainUnavailable("; ".join(map(brief, failures.values())))

    async def ask(self, method: str, questions: Sequence[Sequence[object]], read: Read[T]) -> list[T]:
        """Ask the node whose turn it is; return what its answers come to, in the order of the questions.

        A question is the parameters of the method.

        Raises:
            ChainUnavailable: It does not answer each, or not so that it can be used.
        """
        try:
            return await self._ask(await self._connected(), method, questions, read)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            # aiohttp quotes the URL, in which a key may be.
            name = type(error).__name__
            raise ChainUnavailable(f"the Crust node {self._host} can't be reached: {name}") from None
        except (LookupError, TypeError, ValueError) as error:
            kind = type(error).__name__
            raise ChainUnavailable(f"the Crust node {self._host} does not answer as nodes do ({kind})") from None

    @property
    def _host(self) -> str:
        return host_of(self._url)

    async def _connected(self) -> aiohttp.ClientWebSocketResponse:
        if self._socket is None or self._socket.closed:
            async with asyncio.timeout(_SECONDS):
                self._socket = await self._nodes.session.ws_connect(self._url, max_msg_size=_MOST_ANSWER)
            (genesis,) = await self._ask(self._socket, "chain_getBlockHash", [[0]], lambda _, found: str(found))
            self._nodes.genesis = self._nodes.genesis or genesis
            if genesis != self._nodes.genesis:
                await self.close()
                raise ChainUnavailable(
                    f"the Crust node {self._host} is of another chain: its genesis is {genesis[:66]}, not"
                    f" {self._nodes.genesis}"
                )
        return self._socket

    async def _ask(
        self, socket: aiohttp.ClientWebSocketResponse, method: str, questions: Sequence[Sequence[object]], read: Read[T]
    ) -> list[T]:
        waiting = iter(enumerate(questions))
        asked, answers = set[int](), dict[int, T]()
        for count in (_UNDER_WAY, *(1 for _ in questions)):
            for number, question in islice(waiting, count):
                asked.add(number)
                request = {"jsonrpc": "2.0", "id": number, "method": method, "params": question}
                await socket.send_str(orjson.dumps(request).decode())
            if not asked:
                break
            number, result = await self._answer(socket)
            asked.remove(number)
            answers[number] = read(number, result)
        return [answers[number] for number in range(len(questions))]

    async def _answer(self, socket: aiohttp.ClientWebSocketResponse) -> tuple[int, Any]:
        async with asyncio.timeout(_SECONDS):
            message = await socket.receive()
        if message.type is not aiohttp.WSMsgType.TEXT:
            raise ChainUnavailable(f"the Crust node {self._host} dropped the connection")
        answer = orjson.loads(message.data)
        if "error" in answer:
            told = without_secrets(f"{answer['error']}", self._url)[:200]
            raise ChainUnavailable(f"the Crust node {self._host} answers with an error: {told}")
        return answer["id"], answer["result"]

    async def head(self, account: str) -> Head:
        """Return the finalized head of the node whose turn it is.

        Raises:
            ChainUnavailable: It does not tell, or has not come to the chain's end itself.
        """
        (syncing,) = await self.ask("system_health", [[]], lambda _, found: bool(found["isSyncing"]))
        if syncing:
            raise ChainUnavailable(f"the Crust node {self._host} is still syncing")
        (final,) = await self.ask("chain_getFinalizedHead", [[]], lambda _, found: str(found))
        (height,) = await self.ask("chain_getHeader", [[final]], lambda _, found: int(found["number"], 16))
        (sent,) = await self.ask("system_accountNextIndex", [[account]], lambda _, found: int(found))
        return Head(height, sent)

    async def close(self) -> None:
        """Drop the connection; the next question makes a new one."""
        socket, self._socket = self._socket, None
        if socket is not None:
            await socket.close()
