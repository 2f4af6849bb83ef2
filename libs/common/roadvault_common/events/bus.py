"""The bus: events over Redis Streams.

An event is a doorbell. Sending one happens after the commit, under a short time limit, and never fails its caller;
hearing one means working on the row it names, and it is acknowledged when that has ended. While Redis is away, or
when all of it was lost, the sweeps do the same work a little later.
"""

import asyncio
import math
import os
import secrets
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, NamedTuple

import orjson
import structlog
from pydantic import SecretStr, ValidationError
from redis.exceptions import RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeout

from roadvault_common import metrics
from roadvault_common.errors import RedisUnavailable, TransientError, brief
from roadvault_common.events.kinds import DEAD_LETTERS, Event
from roadvault_common.loops import pause
from roadvault_common.redis_pool import Client, MasterPool, connected
from roadvault_common.stores import MAIN
from roadvault_common.tracing import spans

log = structlog.get_logger()

Handler = Callable[[Any], Awaitable[object]]
"""Takes an event of the type it is registered for."""
HandlerTable = Mapping[type[Event], Callable[[Any, Any], Awaitable[object]]]
"""What each `handlers.py` ends with: who handles what; a handler takes the service and the event."""

_EMIT_SECONDS = 1.0
"""An emit that takes longer is given up: the row is committed, a sweep will find it."""
_STREAM_LENGTH = 100_000
"""Entries kept in each stream (approximately); an entry is about 100 bytes."""
_DEAD_LETTERS_LENGTH = 10_000
_BLOCK_MS = 1000
_GONE_IDLE_MS = 3_600_000
"""A consumer that holds nothing and was not heard of for this long is forgotten."""
_AWAY_SECONDS = 2.0
_RECLAIMS = 4
"""Looks for what dead consumers left, in the time after which they count as dead."""
_BATCH = 16
_PARENT = b"traceparent"
"""The field of an entry that says where a trace goes on."""


class StreamState(NamedTuple):
    """A stream: its entries, the most that a group has not read of them, what groups have in hand, and their names."""

    name: str
    length: int
    lag: int
    pending: int
    heard_by: str


class Bus:
    """Sends events, and hears those of one consumer group. Use `Bus.open`."""

    def __init__(self, redis: Client, group: str, reclaim_seconds: float, store: str = MAIN) -> None:
        self._redis = redis
        self.group = group
        self._store = store
        self._reclaim_ms = int(reclaim_seconds * 1000)
        self._hangs_until = 0.0
        """By the monotonic clock: an event was just given up, and no other waits in vain until then."""
        self._consumer = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"

    @classmethod
    @asynccontextmanager
    async def open(
        cls, url: SecretStr, group: str, reclaim_seconds: float = 60, store: str = MAIN
    ) -> AsyncIterator["Bus"]:
        """Make a bus for the service named `group`, of a store; nothing connects before the first use.

        Entries that a consumer has held for `reclaim_seconds` are taken over from it.
        """
        async with connected(url) as redis:
            yield cls(redis, group, reclaim_seconds, store)

    async def emit(self, event: Event, store: str = MAIN) -> bool:
        """Send an event after its commit, a local one to the services of a store.

        Return False if it could not be sent, which costs time, not data.
        """
        fields: dict[Any, Any] = {b"event": event.model_dump_json()}
        if (parent := spans.current()) is not None:
            fields[_PARENT] = parent
        return await self._add(event.stream_at(store), fields, _STREAM_LENGTH)

    async def dead_letter(self, source: str, reason: str, **details: object) -> bool:
        """Put what could not be handled where a person looks: a stage's row, or a stream's entry."""
        log.error("dead letter", source=source, reason=reason, **details)
        body = orjson.dumps({"source": source, "group": self.group, "reason": reason, **details})
        return await self._add(DEAD_LETTERS, {b"letter": body}, _DEAD_LETTERS_LENGTH)

    async def _add(self, stream: str, fields: dict[Any, Any], length: int) -> bool:
        try:
            if time.monotonic() < self._hangs_until:
                raise RedisTimeout("Redis does not answer")
            async with asyncio.timeout(_EMIT_SECONDS):
                await self._redis.xadd(stream, fields, maxlen=length, approximate=True)
        except (RedisError, OSError) as error:
            if isinstance(error, TimeoutError):
                self._hangs_until = time.monotonic() + _AWAY_SECONDS
            metrics.EMIT_FAILURES.labels(stream).inc()
            log.warning("event not sent; a sweep will make up", stream=stream, error=brief(error))
            return False
        return True

    async def listen(self, handlers: Mapping[type[Event], Handler], closing: asyncio.Event, concurrency: int) -> None:
        """Handle events until `closing` is set, at most `concurrency` at once; then wait for those in hand.

        What was read and not begun by then stays pending: another process takes it over.
        """
        streams = {event.stream_at(self._store): event for event in handlers}
        metrics.show_events(list(streams))
        slots, in_hand = asyncio.Semaphore(concurrency), set[tuple[str, bytes]]()
        async with asyncio.TaskGroup() as group:
            ready, reclaim_at = False, 0.0
            while not closing.is_set():
                try:
                    if not ready:
                        await self._create_groups(list(streams))
                        ready = True
                    entries = await self._read(list(streams))
                    if time.monotonic() >= reclaim_at:
                        entries += (taken := await self._reclaim(list(streams)))
                        if not taken:  # else there may be more
                            reclaim_at = time.monotonic() + self._reclaim_ms / 1000 / _RECLAIMS
                except (RedisError, OSError, TimeoutError) as error:
                    ready = False  # Redis may come back without its groups
                    log.warning("no events for now; sweeps go on", error=brief(error))
                    await pause(closing, _AWAY_SECONDS)
                    continue
                for stream, entry, fields in entries:
                    if (stream, entry) in in_hand:  # its work takes longer than that of a dead consumer may
                        continue
                    await slots.acquire()
                    if closing.is_set():
                        break
                    event = streams[stream]
                    task = group.create_task(self._handle(stream, event, handlers[event], entry, fields))
                    in_hand.add((stream, entry))
                    task.add_done_callback(partial(_done, slots, in_hand, (stream, entry)))

    async def _create_groups(self, streams: list[str]) -> None:
        for stream in streams:
            try:
                await self._redis.xgroup_create(stream, self.group, id="0", mkstream=True)
            except ResponseError as error:
                if "BUSYGROUP" not in str(error):
                    raise
            for consumer in await self._redis.xinfo_consumers(stream, self.group):
                if consumer["pending"] == 0 and consumer["idle"] > _GONE_IDLE_MS:
                    await self._redis.xgroup_delconsumer(stream, self.group, consumer["name"])

    async def _read(self, streams: list[str]) -> list[tuple[str, bytes, dict[bytes, bytes]]]:
        answer = await self._redis.xreadgroup(
            self.group, self._consumer, dict.fromkeys(streams, ">"), count=_BATCH, block=_BLOCK_MS
        )
        pairs: Any = answer.items() if isinstance(answer, dict) else answer or []
        return [(bytes(name).decode(), entry, fields) for name, entries in pairs for entry, fields in _flat(entries)]

    async def _reclaim(self, streams: list[str]) -> list[tuple[str, bytes, dict[bytes, bytes]]]:
        """Take over what dead consumers left unacknowledged; a row's lease tells whether somebody still works on it."""
        taken = []
        for stream in streams:
            answer = await self._redis.xautoclaim(
                stream, self.group, self._consumer, min_idle_time=self._reclaim_ms, count=_BATCH
            )
            taken += [(stream, entry, fields) for entry, fields in answer[1]]
        return taken

    async def _handle(
        self, stream: str, event: type[Event], handler: Handler, entry: bytes, fields: dict[bytes, bytes]
    ) -> None:
        try:
            parsed = event.model_validate_json(fields.get(b"event", b""))
        except ValidationError as error:
            reason = f"does not parse: {error.error_count()} errors"
            body = fields.get(b"event", b"").decode(errors="replace")[:1000]
            if await self.dead_letter(stream, reason, entry=entry.decode(), body=body):
                await self._acknowledge(stream, entry)
            metrics.EVENTS.labels(stream, "dead_lettered").inc()
            return
        try:
            with (
                metrics.EVENT_SECONDS.labels(stream).time(),
                spans.under(spans.read(filter(None, [fields.get(_PARENT)]))),
            ):
                await handler(parsed)
        except TransientError as error:
            # Not acknowledged: it is taken up again, and the row it names is due for the sweep in any case.
            metrics.EVENTS.labels(stream, "retried").inc()
            log.warning("event will be taken up again", stream=stream, error=brief(error))
            return
        metrics.EVENTS.labels(stream, "handled").inc()
        await self._acknowledge(stream, entry)

    async def _acknowledge(self, stream: str, entry: bytes) -> None:
        try:
            async with asyncio.timeout(_EMIT_SECONDS):
                await self._redis.xack(stream, self.group, entry)
        except (RedisError, OSError, TimeoutError) as error:
            log.warning("event not acknowledged; it will come again", stream=stream, error=brief(error))

    async def ping(self) -> None:
        """Raise RedisUnavailable unless the master of the moment takes a write, here one that changes nothing."""
        try:
            if isinstance(pool := self._redis.connection_pool, MasterPool):
                await pool.get_master_address()
            await self._redis.xtrim(DEAD_LETTERS, maxlen=_DEAD_LETTERS_LENGTH, approximate=True)
        except (RedisError, OSError) as error:
            raise RedisUnavailable(f"Redis can't be reached: {brief(error)}") from error

    async def streams(self, streams: Sequence[str]) -> list[StreamState]:
        """Return how long streams are, and how far behind whoever hears them is.

        Raises:
            RedisUnavailable: Redis does not say so soon.
        """
        found: list[StreamState] = []
        try:
            async with asyncio.timeout(_EMIT_SECONDS):
                for name in streams:
                    length = int(await self._redis.xlen(name))
                    groups = await self._redis.xinfo_groups(name) if length else []
                    lags = [group["lag"] for group in groups if group["lag"] is not None]
                    pending, names = sum(g["pending"] for g in groups), sorted(g["name"].decode() for g in groups)
                    found.append(StreamState(name, length, max(lags, default=0), pending, ", ".join(names)))
        except (RedisError, OSError, TimeoutError) as error:
            raise RedisUnavailable(f"Redis can't be reached: {brief(error)}") from error
        return found

    def lag(self, handlers: Mapping[type[Event], Handler]) -> metrics.Sample:
        """Return a sample of how far this group is behind on the streams it handles."""

        async def sample() -> None:
            for event in handlers:
                stream = event.stream_at(self._store)
                try:
                    groups = await self._redis.xinfo_groups(stream)
                except (RedisError, OSError) as error:
                    raise RedisUnavailable(f"Redis can't be reached: {brief(error)}") from error
                for group in groups:
                    if group["name"] == self.group.encode():
                        # Redis does not know how far behind a group is after some kinds of trimming: then says none.
                        lag = math.nan if group["lag"] is None else group["lag"]
                        metrics.STREAM_LAG.labels(stream).set(lag)
                        metrics.STREAM_PENDING.labels(stream).set(group["pending"])

        return sample


def _done(slots: asyncio.Semaphore, in_hand: set[tuple[str, bytes]], one: tuple[str, bytes], _: object) -> None:
    slots.release()
    in_hand.discard(one)


def _flat(entries: Any) -> list[tuple[bytes, dict[bytes, bytes]]]:  # noqa: ANN401 - redis-py's shape differs by protocol
    """Return (id, fields) pairs; an entry that was trimmed meanwhile has no fields."""
    pairs = entries[0] if entries and isinstance(entries[0], list) else entries
    return [(entry, fields or {}) for entry, fields in pairs]
