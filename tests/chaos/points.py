"""The points at which a process can die: every call that changes something that outlives it.

`install` wraps the calls themselves, wherever they are made, so that a new one is a new point by itself. A point is
`name#number:before` or `:after`: the numbered call of that name since the process began.
"""

import os
import signal
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import asyncmy
from redis.asyncio import Redis

_BLOCKING = {
    "fsync": (os, "fsync"),
    "unlink": (os, "unlink"),
    "rename": (os, "rename"),
    "replace": (os, "replace"),
    "rmdir": (os, "rmdir"),
    "mkdir": (os, "mkdir"),
}
_AWAITED = {
    "commit": (asyncmy.Connection, "commit"),
    "rollback": (asyncmy.Connection, "rollback"),
    "xadd": (Redis, "xadd"),
    "xack": (Redis, "xack"),
}
_SESSIONS = "request"
"""What leaves over HTTP, to Kubo or to a client: each request that an aiohttp session makes."""


class Points:
    """Counts the calls; dies at one of them."""

    def __init__(self, deadly: str | None) -> None:
        self._deadly = deadly
        self._calls: Counter[str] = Counter()
        self.seen: list[str] = []

    def pass_(self, name: str, number: int, when: str) -> None:
        point = f"{name}#{number}:{when}"
        self.seen.append(point)
        if point == self._deadly:
            sys.stdout.flush()
            os.kill(os.getpid(), signal.SIGKILL)

    def next(self, name: str) -> int:
        self._calls[name] += 1
        return self._calls[name]


def install(deadly: str | None) -> Points:
    """Wrap the calls of this process; it kills itself at the point `deadly`."""
    points = Points(deadly)
    for name, (owner, attribute) in _BLOCKING.items():
        setattr(owner, attribute, _blocking(points, name, getattr(owner, attribute)))
    for name, (cls, attribute) in _AWAITED.items():
        setattr(cls, attribute, _awaited(points, name, getattr(cls, attribute)))
    real = aiohttp.ClientSession._request

    async def request(session: aiohttp.ClientSession, method: str, url: Any, **more: Any) -> Any:  # noqa: ANN401
        number = points.next(_SESSIONS)
        points.pass_(_SESSIONS, number, "before")
        response = await real(session, method, url, **more)
        points.pass_(_SESSIONS, number, "after")
        return response

    aiohttp.ClientSession._request = request  # type: ignore[assignment, method-assign]
    _wrap_creations(points)
    return points


def _blocking(points: Points, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
    def wrapped(*args: object, **kwargs: object) -> object:
        number = points.next(name)
        points.pass_(name, number, "before")
        result = real(*args, **kwargs)
        points.pass_(name, number, "after")
        return result

    return wrapped


def _awaited(points: Points, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
    async def wrapped(*args: object, **kwargs: object) -> object:
        number = points.next(name)
        points.pass_(name, number, "before")
        result = await real(*args, **kwargs)
        points.pass_(name, number, "after")
        return result

    return wrapped


def _wrap_creations(points: Points) -> None:
    """A file created exclusively, and the first write to it, are points, too."""
    real = Path.open

    def opened(path: Path, mode: str = "r", *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - as Path.open
        if "x" not in mode and "w" not in mode and "a" not in mode:
            return real(path, mode, *args, **kwargs)
        number = points.next("create")
        points.pass_("create", number, "before")
        file = real(path, mode, *args, **kwargs)
        points.pass_("create", number, "after")
        return file

    Path.open = opened  # type: ignore[method-assign, assignment]
