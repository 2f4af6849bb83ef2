"""Dead letters: what could not be handled, until a person has decided about it."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import orjson
from pydantic import SecretStr, ValidationError
from redis.asyncio import Redis
from redis.exceptions import RedisError

from roadvault_common.errors import PermanentError, RedisUnavailable, brief
from roadvault_common.events.kinds import DEAD_LETTERS, EVENTS
from roadvault_common.redis_pool import connected

Letter = dict[str, Any]
"""It has `source` and `reason`, and what else whoever wrote it had to say."""
_ENTRY = re.compile(r"\d+-\d+", re.ASCII)
"""An entry's id in full: Redis takes shorter ones for a range."""


class DeadLetters:
    """Reads and removes dead letters, and sends events again."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    @classmethod
    @asynccontextmanager
    async def open(cls, url: SecretStr) -> AsyncIterator["DeadLetters"]:
        """Connect for a while.

        Raises:
            RedisUnavailable: What is done meanwhile can't be.
        """
        try:
            async with connected(url) as redis:
                yield cls(redis)
        except (RedisError, OSError) as error:
            raise RedisUnavailable(f"Redis can't be reached: {brief(error)}") from error

    async def latest(self, limit: int) -> list[tuple[str, Letter]]:
        """Return letters with their entries, the latest first."""
        entries = await self._redis.xrevrange(DEAD_LETTERS, count=limit) or []
        return [(_text(entry), _parsed(fields)) for entry, fields in entries]

    async def count(self) -> int:
        """Return how many there are."""
        return int(await self._redis.xlen(DEAD_LETTERS))

    async def letter(self, entry: str) -> Letter:
        """Return the letter of an entry.

        Raises:
            PermanentError: There is none.
        """
        found = await self._redis.xrange(DEAD_LETTERS, entry, entry) if _ENTRY.fullmatch(entry) else None
        if not found:
            raise PermanentError(f"there is no dead letter {entry}")
        return _parsed(found[0][1])

    async def discard(self, entry: str) -> None:
        """Remove a letter for good."""
        await self._redis.xdel(DEAD_LETTERS, entry)

    async def send_again(self, entry: str, letter: Letter) -> str:
        """Put the event of a letter back on its stream, and return that.

        Raises:
            PermanentError: It is no event, or one that still does not parse.
        """
        stream, _, store = str(letter["source"]).partition("@")
        event = next((event for event in EVENTS if event.stream == stream and (event.local or not store)), None)
        if event is None:
            raise PermanentError(f"{entry}: nobody knows the stream {letter['source']!r}; discard the letter")
        try:
            parsed = event.model_validate_json(str(letter.get("body", "")))
        except ValidationError:
            raise PermanentError(f"{entry} still does not parse as {event.stream}; discard the letter") from None
        await self._redis.xadd(str(letter["source"]), {b"event": parsed.model_dump_json()})
        await self.discard(entry)
        return str(letter["source"])


def _parsed(fields: Any) -> Letter:  # noqa: ANN401 - redis-py's answer
    try:
        letter = orjson.loads(fields.get(b"letter", b""))
    except orjson.JSONDecodeError:
        letter = None
    if not isinstance(letter, dict) or not {"source", "reason"} <= letter.keys():
        return {"source": "?", "reason": "the letter itself does not parse"}
    return letter


def _text(entry: Any) -> str:  # noqa: ANN401 - likewise
    return entry.decode() if isinstance(entry, bytes) else str(entry)
