"""One client's WebSocket: what is on its way out, and what the client subscribed to."""

import asyncio
import itertools
import json
from collections.abc import Callable

from roadvault_devnet import errors
from roadvault_devnet.errors import RpcError

Notify = Callable[[object], None]
Cancel = Callable[[], None]

_OUTGOING = 4096
"""Messages; a client that lets more pile up is dropped, as by a node."""
_numbers = itertools.count(1)


class Connection:
    """The way back to one client. Everything goes out in the order in which it was sent here."""

    def __init__(self, drop: Callable[[], None]) -> None:
        """Take what ends the connection at once."""
        self.drop = drop
        self._outgoing: asyncio.Queue[str] = asyncio.Queue(_OUTGOING)
        self._early: list[str] | None = None
        self._subscriptions: dict[str, Cancel] = {}

    def begin_answer(self) -> None:
        """Hold notices back: a client must learn a subscription's number before its first notice."""
        self._early = []

    def end_answer(self, answer: str | None) -> None:
        """Send the answer, then the notices that came up meanwhile."""
        early, self._early = self._early or [], None
        for message in ([answer] if answer is not None else []) + early:
            self._send(message)

    async def next(self) -> str:
        """Wait for the next message to go out."""
        return await self._outgoing.get()

    def subscribe(self, method: str, begin: Callable[[Notify], Cancel]) -> str:
        """Begin a subscription; its notices carry the method's name. Returns its number."""
        number = f"devnet{next(_numbers)}"

        def notify(result: object) -> None:
            body = {"jsonrpc": "2.0", "method": method, "params": {"subscription": number, "result": result}}
            self._send(json.dumps(body))

        self._subscriptions[number] = begin(notify)
        return number

    def unsubscribe(self, number: str) -> bool:
        """End a subscription; tell whether there was one."""
        cancel = self._subscriptions.pop(number, None)
        if cancel is not None:
            cancel()
        return cancel is not None

    def close(self) -> None:
        """End all subscriptions."""
        for number in list(self._subscriptions):
            self.unsubscribe(number)

    def _send(self, message: str) -> None:
        if self._early is not None:
            self._early.append(message)
            return
        try:
            self._outgoing.put_nowait(message)
        except asyncio.QueueFull:
            self.drop()


def needed(connection: Connection | None) -> Connection:
    """Return the connection that a subscription needs.

    Raises:
        RpcError: The request came over HTTP.
    """
    if connection is None:
        raise RpcError(errors.METHOD_NOT_FOUND, "Method not found: subscriptions need a WebSocket")
    return connection
