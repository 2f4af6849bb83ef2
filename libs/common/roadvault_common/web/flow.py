"""What a long answer needs to know of its client: whether it is still there, and how far behind it may be."""

import asyncio
import socket
from collections.abc import Awaitable
from typing import TypeVar

from aiohttp import web

_LOOK_SECONDS = 0.5
T = TypeVar("T")


async def unless_gone(request: web.BaseRequest, work: Awaitable[T]) -> T:
    """Do some work for a client, as long as that is there: aiohttp itself tells of a client that left only at a write.

    Raises:
        ConnectionResetError: It is gone; the work was cancelled.
    """
    task = asyncio.ensure_future(work)
    try:
        while not task.done():
            await asyncio.wait({task}, timeout=_LOOK_SECONDS)
            if not task.done() and (request.transport is None or request.transport.is_closing()):
                raise ConnectionResetError("the client is gone")
        return task.result()
    finally:
        if not task.done():
            task.cancel()
            await asyncio.wait({task})


def bound_buffer(request: web.BaseRequest, size: int) -> None:
    """Have the kernel keep little more than so many bytes of an answer for a client that is slow to take them.

    Left to itself it takes megabytes, which may never be wanted.
    """
    transport = request.transport
    wire = None if transport is None else transport.get_extra_info("socket")
    if wire is not None:
        wire.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, size)
