"""The points at which a process can die: every call that changes something that outlives it.

`install` listens to what the interpreter itself reports of files (audit events), whoever calls what, and wraps the
calls that it does not report, and those to database, Redis and other servers; so a new one is a new point by itself.
What is in `ledger/` counts for nothing once its process is gone, and is no point. A point is `name#number:before` or
`:after`: the numbered call of that name since the process began.
"""

import builtins
import io
import os
import signal
import sys
import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import aiohttp
import asyncmy
from redis.asyncio import Redis

from roadvault_common.files.ledger_book import LEDGER
from roadvault_notifier.webhook import Callbacks

_HARMLESS = frozenset(
    f"os.{name}"
    for name in (
        "listdir", "scandir", "walk", "fwalk", "getxattr", "listxattr", "putenv", "unsetenv", "chdir", "fork",
        "register_at_fork", "kill",
    )
)  # fmt: skip
"""Audit events of `os` that change nothing which outlives the process; all others are points."""
_PROCESSES = ("subprocess.Popen", "sqlite3.connect")
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_OPENERS = ((io, "open"), (builtins, "open"), (os, "open"))
_UNREPORTED = ("fsync", "fdatasync", "posix_fallocate", "copy_file_range", "sendfile", "pwrite", "pwritev", "writev")
"""Functions of `os` that change files and that the interpreter does not report."""
_READING = frozenset({"XINFO", "XRANGE", "XREVRANGE", "XPENDING", "XLEN", "PING", "EXISTS"})
POLLS = frozenset({"xreadgroup", "xautoclaim"})
"""Commands to Redis that are sent again and again, however often."""
_WRITES = ("INSERT", "UPDATE", "DELETE", "REPLACE")


class Points:
    """Counts the calls; dies at one of them."""

    def __init__(self, deadly: str | None) -> None:
        self._deadly = deadly
        self._calls: Counter[str] = Counter()
        self._latest = threading.local()
        """Where the point that this thread has come to last is kept, for what comes after the call."""
        self.seen: list[str] = []

    def before(self, name: str) -> int:
        """Come to a call; return its number."""
        self._calls[name] += 1
        self._latest.point = name, self._calls[name]
        self._pass(f"{name}#{self._calls[name]}:before")
        return self._calls[name]

    def after(self, name: str, number: int) -> None:
        """Come back from a call."""
        self._pass(f"{name}#{number}:after")

    def audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Take what the interpreter reports."""
        path = arguments[0] if arguments else None
        name = os.fsdecode(path) if isinstance(path, str | bytes) else ""
        if Path(name).parent.name == LEDGER:
            return
        if event == "open":
            flags = arguments[2]
            if isinstance(flags, int) and flags & _WRITING and name and not name.startswith("/dev/"):
                self.before("open")
        elif (event.startswith("os.") and event not in _HARMLESS) or event in _PROCESSES:
            self.before(event)

    def opener(self, real: Callable[..., Any]) -> Callable[..., Any]:
        """Wrap a function that opens files: the interpreter reports it before, this tells when it is done."""

        def opened(*args: object, **kwargs: object) -> object:
            self._latest.point = None
            result = real(*args, **kwargs)
            if self._latest.point is not None:
                self.after(*self._latest.point)
            return result

        return opened

    def _pass(self, point: str) -> None:
        self.seen.append(point)
        if point == self._deadly:
            sys.stdout.flush()
            os.kill(os.getpid(), signal.SIGKILL)


def gaps(points: Sequence[str]) -> list[str]:
    """Return one point for each stretch between two calls: after one and before the next are the same to the world.

    But not after a file was opened: what is written to it then is no call of its own.
    """
    following = [*points[1:], ""]
    return [
        point
        for point, after in zip(points, following, strict=True)
        if point.startswith("open#") or not (point.endswith(":after") and after.endswith(":before"))
    ]


def install(deadly: str | None) -> Points:
    """Watch the calls of this process; it kills itself at the point `deadly`."""
    points = Points(deadly)
    for owner, name in _OPENERS:
        setattr(owner, name, points.opener(getattr(owner, name)))
    for name in _UNREPORTED:
        setattr(os, name, _blocking(points, name, getattr(os, name)))
    named: list[tuple[type, str, Callable[..., str | None]]] = [
        (asyncmy.Connection, "commit", lambda *_: "commit"),
        (asyncmy.Connection, "rollback", lambda *_: "rollback"),
        (asyncmy.Connection, "query", _autocommitted),
        (Redis, "execute_command", _command),
        # What leaves over HTTP: each request that an aiohttp session makes, and each callback.
        (aiohttp.ClientSession, "_request", lambda *_: "request"),
        (Callbacks, "post", lambda *_: "request"),
    ]
    for cls, method, name_of in named:
        setattr(cls, method, _awaited(points, name_of, getattr(cls, method)))
    sys.addaudithook(points.audit)
    return points


def _autocommitted(connection: Any, statement: str | bytes, *_: object) -> str | None:  # noqa: ANN401 - no types
    text = statement.decode(errors="replace") if isinstance(statement, bytes) else statement
    writes = text.lstrip().upper().startswith(_WRITES)
    return "autocommit" if writes and not connection.get_transaction_status() else None


def _command(_redis: object, command: str, *_: object) -> str | None:
    name = command.split(maxsplit=1)[0].upper()
    return None if name in _READING else command.lower().replace(" ", "-")


def _blocking(points: Points, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
    def wrapped(*args: object, **kwargs: object) -> object:
        number = points.before(name)
        result = real(*args, **kwargs)
        points.after(name, number)
        return result

    return wrapped


def _awaited(
    points: Points, named: Callable[..., str | None], real: Callable[..., Awaitable[Any]]
) -> Callable[..., Awaitable[Any]]:
    async def wrapped(*args: object, **kwargs: object) -> object:
        name = named(*args)
        if name is None:
            return await real(*args, **kwargs)
        number = points.before(name)
        result = await real(*args, **kwargs)
        points.after(name, number)
        return result

    return wrapped
