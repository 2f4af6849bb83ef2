"""Odd events on the streams, and a callback receiver in a bad mood."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import pymysql
from chaos.arena import STREAMS
from chaos.throws import Findings, Throw
from redis import Redis
from redis.exceptions import RedisError

_JUNK = (
    b"",
    b"not json",
    b'{"folder_id": "many"}',
    b'{"file_id": 1}',
    b'{"zip_id": -1}',
    b'{"zip_id": 99999999999999999999999}',
    b'{"download_id": null}',
    b"\xff\xfe\x00",
    b'{"zip_id": 999999999, "file_id": 999999999, "folder_id": 999999999, "download_id": 999999999}',
    b'{"zip_id": 1, "file_id": 1, "folder_id": 1, "download_id": 1, "new_field": [1, 2]}',
)
_HOUR_STEPS = 30
_MET_SECONDS = 15
"""How long a mood waits at its end for a callback to meet it."""

Fields = dict[Any, Any]


async def odd_events(throw: Throw) -> str:
    """Put duplicated, reordered, corrupt and unknown events on every stream."""

    def put() -> None:
        with suppress(RedisError), throw.arena.redis() as redis:
            for stream in STREAMS:
                entries: Any = redis.xrevrange(stream, count=40)
                old: list[Fields] = [fields for _, fields in entries]
                throw.dice.shuffle(old)
                number = throw.dice.randint(1, 50)
                made: list[tuple[str, Fields]] = [("duplicated and reordered", fields) for fields in old[:20]]
                made += [("corrupt or unknown", {b"event": throw.dice.choice(_JUNK)}) for _ in range(3)]
                made += [("corrupt or unknown", {b"who": b"knows"})]
                made += [("of some row", {b"event": json.dumps(dict.fromkeys(STREAMS[stream], number)).encode()})]
                for kind, fields in made:
                    _put(redis, stream, fields, kind, throw.findings)

    await asyncio.to_thread(put)
    return ", ".join(f"{count} {kind}" for kind, count in throw.findings.injected.items()) + " so far"


def _put(redis: "Redis", stream: str, fields: Fields, kind: str, findings: Findings) -> None:
    entry: Any = redis.xadd(stream, fields)
    findings.injected[kind] += 1
    if is_corrupt(stream, fields):
        findings.letters[stream, entry.decode()] = str(fields)


def is_corrupt(stream: str, fields: Fields) -> bool:
    """Tell whether an entry is no event of its stream: no JSON object with the whole numbers that it has to name."""
    try:
        body = json.loads(fields.get(b"event", b""))
    except ValueError:
        return True
    return not isinstance(body, dict) or any(not isinstance(body.get(name), int) for name in STREAMS[stream])


def bad_receiver(mood: str) -> Callable[[Throw], Awaitable[str]]:
    """Return the fault that the receiver is in this mood for a while."""

    async def turn(throw: Throw) -> str:
        return await throw.standing.begin("the receiver", _mood(throw, mood), throw.dice.randint(1, 3))

    return turn


async def errs_for_an_hour(throw: Throw) -> str:
    """Have the receiver answer 500 for an hour of the callbacks' clock, which is moved on by hand."""
    return await throw.standing.begin("the receiver", _hour(throw), throw.dice.randint(2, 3))


@asynccontextmanager
async def _mood(throw: Throw, mood: str) -> AsyncIterator[str]:
    receiver = throw.load.receiver
    receiver.mood, before = mood, receiver.calls[mood]
    try:
        yield f"the receiver {mood}"
        with suppress(TimeoutError):
            async with asyncio.timeout(_MET_SECONDS):
                while receiver.calls[mood] == before:
                    await asyncio.sleep(0.1)
    finally:
        receiver.mood = "takes"


@asynccontextmanager
async def _hour(throw: Throw) -> AsyncIterator[str]:
    async def pass_an_hour() -> None:
        for _ in range(_HOUR_STEPS):
            await asyncio.sleep(0.2)
            with suppress(OSError, pymysql.Error):  # a deadlock, or a database that is not back yet
                await asyncio.to_thread(throw.arena.pass_time, ("callback",), 3600 / _HOUR_STEPS)

    async with _mood(throw, "errs"):
        task = asyncio.create_task(pass_an_hour())
        try:
            yield "the receiver errs for an hour"
        finally:
            await task  # the hour is not cut short
