"""What the client does, as steps that something else carries out: so that the sync and the async client share it all.

An operation is a generator of steps. `run` carries them out one after the other and blocks, `arun` awaits them; what
blocks by itself (files, hashing) it hands to a thread.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Generator, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

import httpx

from roadvault_client.errors import ConnectionFailed

T = TypeVar("T")

Sink = Callable[[bytes], object]


class Body(Protocol):
    """A body that is sent in pieces."""

    @property
    def again(self) -> bool:
        """Whether it can be sent once more."""

    def __iter__(self) -> Iterator[bytes]:
        """Begin it."""


@dataclass(frozen=True)
class Call:
    """A request. `into` gets the bytes of an answer with 200 or 206, once it was shown the answer's head."""

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    params: Mapping[str, str] = field(default_factory=dict)
    body: "bytes | Body | None" = None
    into: "Callable[[Answer], Sink] | None" = None


@dataclass(frozen=True)
class Answer:
    """What came; `content` is empty if it went into a sink."""

    status: int
    headers: httpx.Headers
    content: bytes = b""


@dataclass(frozen=True)
class Sleep:
    """A pause."""

    seconds: float


@dataclass(frozen=True)
class Work:
    """Something that blocks."""

    act: Callable[[], object]


Step = Call | Sleep | Work
Steps = Generator[Step, Any, T]


def work(act: Callable[[], T]) -> Steps[T]:
    """Have something done that blocks."""
    result: T = yield Work(act)
    return result


def run(steps: Steps[T], http: httpx.Client) -> T:
    """Carry out an operation."""
    with closing(steps):
        try:
            step = next(steps)
            while True:
                try:
                    result = _carry_out(step, http)
                except Exception as error:  # noqa: BLE001 - the operation decides about it
                    step = steps.throw(error)
                else:
                    step = steps.send(result)
        except StopIteration as end:
            value: T = end.value
            return value


async def arun(steps: Steps[T], http: httpx.AsyncClient) -> T:
    """Carry out an operation."""
    with closing(steps):
        try:
            step = next(steps)
            while True:
                try:
                    result = await _await(step, http)
                except Exception as error:  # noqa: BLE001 - likewise
                    step = steps.throw(error)
                else:
                    step = steps.send(result)
        except StopIteration as end:
            value: T = end.value
            return value


def _carry_out(step: Step, http: httpx.Client) -> object:
    match step:
        case Sleep():
            time.sleep(step.seconds)
            return None
        case Work():
            return step.act()
        case Call():
            try:
                with http.stream(**_request(step, step.body)) as response:
                    sink = _sink(step, response)
                    if sink is None:
                        return Answer(response.status_code, response.headers, response.read())
                    for piece in response.iter_raw():
                        sink(piece)
                    return Answer(response.status_code, response.headers)
            except httpx.TransportError as error:
                raise _failed(error) from error


async def _await(step: Step, http: httpx.AsyncClient) -> object:
    match step:
        case Sleep():
            await asyncio.sleep(step.seconds)
            return None
        case Work():
            return await asyncio.to_thread(step.act)
        case Call():
            body = step.body if step.body is None or isinstance(step.body, bytes) else _pieces(step.body)
            try:
                async with http.stream(**_request(step, body)) as response:
                    sink = _sink(step, response)
                    if sink is None:
                        return Answer(response.status_code, response.headers, await response.aread())
                    async for piece in response.aiter_raw():
                        await asyncio.to_thread(sink, piece)
                    return Answer(response.status_code, response.headers)
            except httpx.TransportError as error:
                raise _failed(error) from error


def _request(call: Call, body: "bytes | Body | AsyncIterator[bytes] | None") -> dict[str, Any]:
    return {
        "method": call.method,
        "url": call.url,
        "headers": call.headers,
        "params": call.params or None,  # httpx takes the URL's own query away for an empty one
        "content": body,
    }


def _sink(call: Call, response: httpx.Response) -> Sink | None:
    if call.into is None or response.status_code not in {200, 206}:
        return None
    return call.into(Answer(response.status_code, response.headers))


async def _pieces(body: Body) -> AsyncIterator[bytes]:
    pieces = iter(body)
    while piece := await asyncio.to_thread(next, pieces, b""):
        yield piece


def _failed(error: httpx.TransportError) -> ConnectionFailed:
    never = isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout | httpx.UnsupportedProtocol)
    return ConnectionFailed(str(error) or type(error).__name__, sent=not never)
