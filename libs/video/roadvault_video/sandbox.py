"""Parses videos where that can do no harm: in a child of its own for each, of which nothing is believed.

The child (`child.py`) has two pipes, no environment, and limits on memory and processor time; before it reads the first
byte it gives up all system calls but those to compute, read and write. It asks for parts of the video, which come from
a `Source`, and so never sees a path or a key. Whatever it does wrong, its video is unreadable and it is gone.
"""

import asyncio
import ctypes
import json
import math
import os
import platform
import signal
import sys
import time
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncGenerator, Awaitable, Mapping
from contextlib import aclosing, suppress
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TypeVar

from roadvault_common.errors import PermanentError, SettingsError, TransientError
from roadvault_common.plain import plain
from roadvault_video.child import ASK, FRAME, LENGTH, MOST, NOTE_MOST, UNCONFINED
from roadvault_video.source import Source

_COMMAND = (sys.executable, "-I", "-m", "roadvault_video.child")
_BUFFER_BYTES = 1 << 16
_PATIENCE = 4
"""How many times as long it may take if others keep the processor from it."""
_START_SECONDS = 60
"""For a child to load what it needs, on a machine that has much to do."""

_LEAST = 19
_IOPRIO_SET = {"x86_64": 251, "aarch64": 30}
_IDLE = 3 << 13

T = TypeVar("T")


class UnreadableVideo(PermanentError):
    """The file is no video that we can read, or one that was made to do harm."""


class NoMemory(TransientError):
    """The kernel killed the child: what it took was within its limit, but the machine had no more."""

    code = "no_memory"


class Kind(Enum):
    """What a message is."""

    NOTE = b"N"
    """JSON, as the child says: not parsed, and at most 64 KiB."""
    DATA = b"D"
    """Bytes, at most 1 MiB of them."""


Message = tuple[Kind, bytes]


@dataclass(frozen=True)
class Limits:
    """What one job may use."""

    seconds: float
    """Of processor time. While answers to it are waited for, or what it says is used, none passes."""
    memory_bytes: int
    """Besides the program itself."""
    asked_bytes: int
    """Of the video, each byte as often as it is asked for, besides as many as are said."""
    told_bytes: int
    """Of data and notes."""
    frames: int = 1_000_000
    """Asked and said, together."""


async def run(
    job: str, source: Source, limits: Limits, args: Mapping[str, object] | None = None, *, idle: bool = False
) -> AsyncGenerator[Message, None]:
    """Do a job on a video, and yield what it says; to be closed (`aclosing`), which ends the child at once.

    `job` is the module that has `run(video, out, **args)`; an `idle` one gets what processor and disk nobody else
    wants. No more is read from the child than its user has taken.

    Raises:
        UnreadableVideo: The job failed, or went beyond its limits. What it said before may be of no use.
        SettingsError: This machine can't confine it; nothing of the video was parsed.
        TransientError: The child did not start, or was given no time, or killed (NoMemory); whatever `source` raises
            comes through, too.
    """
    told = {
        "job": job,
        "size": source.size,
        "seconds": math.ceil(limits.seconds),
        "memory_bytes": limits.memory_bytes,
        "args": dict(args or {}),
    }
    process = await asyncio.create_subprocess_exec(
        *_COMMAND, json.dumps(told), stdin=PIPE, stdout=PIPE, stderr=DEVNULL, env={}, cwd="/", start_new_session=True,
        limit=_BUFFER_BYTES,
    )  # fmt: skip
    try:
        if idle:
            _give_way(process.pid)  # loading, too, is work
        talk = _Talk(process, source, limits)
        await talk.begin()
        async with aclosing(talk.messages()) as messages:
            async for message in messages:
                yield message
    finally:
        await asyncio.shield(_end(process))


def _give_way(pid: int) -> None:
    """Have a process take what processor and disk nobody else wants, as far as this machine has such a thing."""
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, pid, _LEAST)
    with suppress(OSError):  # of a session of its own; else niceness counts within that alone
        Path(f"/proc/{pid}/autogroup").write_text(str(_LEAST))
    with suppress(OSError):
        os.sched_setscheduler(pid, os.SCHED_IDLE, os.sched_param(0))
    ctypes.CDLL(None).syscall(_IOPRIO_SET.get(platform.machine(), -1), 1, pid, _IDLE)


class _Talk:
    """What is asked and answered, within the limits."""

    def __init__(self, process: Process, source: Source, limits: Limits) -> None:
        assert process.stdin is not None  # noqa: S101 - they are pipes
        assert process.stdout is not None  # noqa: S101 - likewise
        self._process, self._in, self._out = process, process.stdin, process.stdout
        self._source, self._frames = source, limits.frames
        self._seconds, self._left = limits.seconds, limits.seconds * _PATIENCE
        self._asked, self._told = limits.asked_bytes, limits.told_bytes

    async def begin(self) -> None:
        """See it begin: until then nothing is the video's fault."""
        with suppress(TimeoutError, asyncio.IncompleteReadError):
            async with asyncio.timeout(_START_SECONDS):
                await self._out.readexactly(FRAME.size)
                return
        if self._out.at_eof() and await self._process.wait() == UNCONFINED:
            raise SettingsError(
                "videos can't be parsed safely here: the kernel refuses limits or a filter on system calls (seccomp)"
            )
        raise TransientError("the process that parses videos did not start")

    async def messages(self) -> AsyncGenerator[Message, None]:
        for _ in range(self._frames):
            kind, data = await self._in_its_time(self._frame())
            if kind == b"E":
                return
            if kind == b"R":
                await self._answer(data)
                continue
            self._told -= len(data)
            self._asked += len(data)
            if self._told < 0:
                raise UnreadableVideo("it says too much")
            if kind == b"F":
                raise UnreadableVideo(plain(data.decode(errors="replace")))
            yield Kind(kind), data
        raise UnreadableVideo("it asks too often")

    async def _frame(self) -> tuple[bytes, bytes]:
        try:
            kind, length = FRAME.unpack(await self._out.readexactly(FRAME.size))
            most = {b"R": ASK.size, b"N": NOTE_MOST, b"D": MOST, b"E": 0, b"F": NOTE_MOST}.get(kind)
            if most is None or length > most or (kind == b"R" and length != most):
                raise UnreadableVideo("its child speaks nonsense")
            return kind, await self._out.readexactly(length)
        except asyncio.IncompleteReadError as error:
            status = await self._process.wait()
            if status == -signal.SIGXCPU:
                raise UnreadableVideo("it takes more time than it may") from error
            if status == -signal.SIGKILL:  # it can't do that to itself
                raise NoMemory("the process that parses videos was killed, as where memory is short") from error
            raise UnreadableVideo(f"its child broke down ({status})") from error

    async def _answer(self, data: bytes) -> None:
        offset, size = ASK.unpack(data)
        self._asked -= size
        if self._asked < 0:
            raise UnreadableVideo("it asks for too much")
        if size > MOST or offset + size > self._source.size:
            raise UnreadableVideo("it asks for what is not there")
        found = await self._source.read(offset, size)
        self._in.write(LENGTH.pack(len(found)) + found)
        with suppress(ConnectionError):  # it has died, which its next frame says
            await self._in_its_time(self._in.drain())

    async def _in_its_time(self, answer: Awaitable[T]) -> T:
        begun = time.monotonic()
        try:
            async with asyncio.timeout(max(self._left, 0)):
                return await answer
        except TimeoutError as error:
            if _used(self._process.pid) < self._seconds / 2:
                raise TransientError("the process that parses videos gets no processor time") from error
            raise UnreadableVideo("it takes more time than it may") from error
        finally:
            self._left -= time.monotonic() - begun


def _used(pid: int) -> float:
    """Return the processor time that a process has had, in seconds."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def _end(process: Process) -> None:
    """See the child's end, whatever it does; it can have started no other."""
    if process.returncode is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    assert process.stdin is not None  # noqa: S101 - they are pipes
    assert process.stdout is not None  # noqa: S101 - likewise
    process.stdin.close()
    while await process.stdout.read(_BUFFER_BYTES):  # what it had said by then; a pipe is let go of at its end
        pass
    await process.wait()


class _Nothing:
    size = 0

    async def read(self, offset: int, size: int) -> bytes:
        del offset, size
        return b""


async def check() -> None:
    """See that a child really is confined here.

    Raises:
        SettingsError: It is not.
    """
    limits = Limits(seconds=10, memory_bytes=64 << 20, asked_bytes=0, told_bytes=NOTE_MOST)
    try:
        async with aclosing(run("roadvault_video.confined", _Nothing(), limits)) as messages:
            notes = [json.loads(data) async for _, data in messages]
    except UnreadableVideo as error:
        raise SettingsError(f"videos can't be parsed safely here: {error}") from error
    if notes != [{"could": []}]:
        raise SettingsError(f"videos can't be parsed safely here: a child can {', '.join(notes[0]['could'])}")
