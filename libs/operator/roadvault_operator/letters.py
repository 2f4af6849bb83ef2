"""`roadvault dead-letters`: what could not be handled, and what becomes of it."""

import re
from typing import Annotated, Any

import orjson
import typer
from pydantic import ValidationError
from redis.asyncio import Redis
from redis.exceptions import RedisError

from roadvault_common.errors import PermanentError, RedisUnavailable, SettingsError, brief
from roadvault_common.events.kinds import DEAD_LETTERS, EVENTS
from roadvault_common.redis_pool import connected
from roadvault_common.sql.db import Database
from roadvault_common.work import repair
from roadvault_common.work.stages import STAGES
from roadvault_operator.config import OperatorSettings
from roadvault_operator.shell import blocking, say, show

Letter = dict[str, Any]

_ENTRY = re.compile(r"\d+-\d+")
"""An entry's id in full: Redis takes shorter ones for a range."""


@blocking
async def dead_letters(
    limit: Annotated[int, typer.Option(min=1, help="letters shown, the latest first")] = 20,
    again: Annotated[
        str | None, typer.Option("--retry", help="an entry: its row starts anew, or its event is sent again")
    ] = None,
    discard: Annotated[str | None, typer.Option(help="an entry: removed for good")] = None,
) -> None:
    """Show dead letters, or retry or discard one."""
    if again is not None and discard is not None:
        raise SettingsError("either --retry or --discard, not both")
    url = OperatorSettings().redis_url
    if url is None:
        raise SettingsError("ROADVAULT_REDIS_URL is not set")
    try:
        async with connected(url) as redis:
            if again is not None:
                say(await _retry(redis, again))
            elif discard is not None:
                await _letter(redis, discard)
                await redis.xdel(DEAD_LETTERS, discard)
                say(f"{discard} was discarded")
            else:
                await _show(redis, limit)
    except (RedisError, OSError) as error:
        raise RedisUnavailable(f"Redis can't be reached: {brief(error)}") from error


async def _show(redis: Redis, limit: int) -> None:
    entries = await redis.xrevrange(DEAD_LETTERS, count=limit) or []
    letters = [(_text(entry), _parsed(fields)) for entry, fields in entries]
    rows = [(entry, letter["source"], letter.get("row", ""), letter["reason"]) for entry, letter in letters]
    show("dead_letters", "Dead letters", ("entry", "from", "row", "reason"), rows)
    count = await redis.xlen(DEAD_LETTERS)
    say(f"{count} dead letters", dead_letters=count)


async def _retry(redis: Redis, entry: str) -> str:
    letter = await _letter(redis, entry)
    for stage in STAGES:
        if letter["source"] == stage.name:
            row_id = letter.get("row")
            if not isinstance(row_id, int):
                raise PermanentError(f"{entry} names no row of {stage.name}; discard the letter")
            async with Database.open(OperatorSettings().database_url, size=1) as db:
                if not await repair.retry(db, stage, row_id):
                    raise PermanentError(f"{stage.name} {row_id} has not failed any more; discard the letter")
            await redis.xdel(DEAD_LETTERS, entry)
            return f"{stage.name} {row_id} is due again"
    if letter["source"] == "set-aside":
        raise PermanentError(f"{entry} tells of uploads: `roadvault set-aside` decides about them; discard the letter")
    return await _send_again(redis, entry, letter)


async def _send_again(redis: Redis, entry: str, letter: Letter) -> str:
    event = next((event for event in EVENTS if event.stream == letter["source"]), None)
    if event is None:
        raise PermanentError(f"{entry}: nobody knows the stream {letter['source']!r}; discard the letter")
    try:
        parsed = event.model_validate_json(str(letter.get("body", "")))
    except ValidationError:
        raise PermanentError(f"{entry} still does not parse as {event.stream}; discard the letter") from None
    await redis.xadd(event.stream, {b"event": parsed.model_dump_json()})
    await redis.xdel(DEAD_LETTERS, entry)
    return f"{entry} was put back on {event.stream}"


async def _letter(redis: Redis, entry: str) -> Letter:
    found = await redis.xrange(DEAD_LETTERS, entry, entry) if _ENTRY.fullmatch(entry) else None
    if not found:
        raise PermanentError(f"there is no dead letter {entry}")
    return _parsed(found[0][1])


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
