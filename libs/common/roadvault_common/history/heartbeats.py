"""Which services live: each process says so every ten seconds, with its version and what it alone knows.

The door writes nothing, here neither: ingest looks at its /readyz, and writes down what that says.
"""

import asyncio
import json
import os
import shutil
import socket
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import structlog
from pydantic import BaseModel, Field

from roadvault_common.build import VERSION
from roadvault_common.errors import RoadVaultError, Value, brief
from roadvault_common.sql.db import Database
from roadvault_common.stores import MAIN

log = structlog.get_logger()

SECONDS = 10.0
SILENT_SECONDS = 45.0
"""After which a process that says nothing is missed: more than four beats."""
DEFAULT_THRESHOLD = 50
"""Of replicas, where no orderer has said another."""
_DAY_SECONDS = 86_400
_ASK_SECONDS = 5.0
_SHOWN = 2000
"""Processes: a hundred stores with a dozen each, and some that are no store's."""
_FACTS_LENGTH = 4000

Facts = Callable[[], Awaitable[Mapping[str, Value | None]]]
"""Returns what a service knows just now; None for what it does not."""


@dataclass(frozen=True)
class Beat:
    """What was last heard of a process. Times are UTC and naive."""

    service: str
    instance: str
    version: str
    started_at: datetime
    heard_at: datetime
    seconds_silent: float
    facts: dict[str, Value]

    @property
    def stopped(self) -> bool:
        """Whether it was told to stop."""
        return "stopped" in self.facts

    @property
    def lives(self) -> bool:
        """Whether it was heard just now, and was not told to stop."""
        return self.seconds_silent <= SILENT_SECONDS and not self.stopped


@dataclass
class Heart:
    """Says that a process lives; `asks` are asked each time for facts, and one that does not answer says nothing."""

    db: Database
    service: str
    asks: list[Facts] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._instance = f"{socket.gethostname()[:80]}-{os.getpid()}"
        self._began = time.monotonic()
        self._known = dict[str, Value]()

    async def beat(self, **more: Value) -> None:
        """Write that the process lives, and what it knows."""
        facts = dict[str, Value]()
        for found in await asyncio.gather(*(self._ask(ask) for ask in self.asks)):
            facts |= {name: value for name, value in found.items() if value is not None}
        self._known = facts
        await self._write({**facts, **more})

    async def end(self) -> None:
        """Write that the process stops, as it was told; what it knew last is still known of it."""
        await self._write({**self._known, "stopped": 1})

    async def _ask(self, ask: Facts) -> Mapping[str, Value | None]:
        try:
            async with asyncio.timeout(_ASK_SECONDS):
                return await ask()
        except (RoadVaultError, OSError, TimeoutError) as error:
            log.debug("a fact is not known", error=brief(error))
            return {}

    async def _write(self, facts: Mapping[str, Value]) -> None:
        await _note(self.db, self.service, self._instance, VERSION, time.monotonic() - self._began, facts)
        await self.db.execute(
            "DELETE FROM heartbeat_info WHERE heard_at < UTC_TIMESTAMP(6) - INTERVAL %s SECOND LIMIT 100",
            (_DAY_SECONDS,),
        )


async def look_at(db: Database, service: str, url: str) -> None:
    """Write down that a service lives that writes nothing, if its /readyz says so; and whether it is ready."""
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_ASK_SECONDS)) as session,
            session.get(f"{url.rstrip('/')}/readyz", allow_redirects=False) as answer,
        ):
            body = b""
            async for piece in answer.content.iter_any():
                body += piece
                if len(body) > _FACTS_LENGTH:
                    break  # what is so long makes no sense
            told = _Ready.model_validate_json(body)
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        log.debug("a service that was looked at said nothing", service=service, error=brief(error))
        return
    await _note(db, service, urlsplit(url).netloc, told.version, told.up_seconds, {"ready": int(told.ready)})


class _Ready(BaseModel):
    """What /readyz says."""

    ready: bool
    version: str = Field(max_length=40)
    up_seconds: float = Field(ge=0, le=10**9)


async def _note(
    db: Database, service: str, instance: str, number: str, seconds: float, facts: Mapping[str, Value]
) -> None:
    text = json.dumps(facts, ensure_ascii=False)
    await db.execute(
        "INSERT INTO heartbeat_info (service, instance, version, started_at, heard_at, facts)"
        " VALUES (%s, %s, %s, UTC_TIMESTAMP(6) - INTERVAL %s SECOND, UTC_TIMESTAMP(6), %s)"
        " ON DUPLICATE KEY UPDATE version = VALUES(version), started_at = VALUES(started_at),"
        " heard_at = VALUES(heard_at), facts = VALUES(facts)",
        (service, instance[:100], number, seconds, text if len(text) <= _FACTS_LENGTH else "{}"),
    )


async def all(db: Database) -> list[Beat]:  # noqa: A001 - all there are
    """Return what was heard of each process within a day, by service, of each the latest first."""
    rows = await db.fetch_all(
        "SELECT service, instance, version, started_at, heard_at, facts,"
        " TIMESTAMPDIFF(MICROSECOND, heard_at, UTC_TIMESTAMP(6)) / 1000000 AS seconds_silent FROM heartbeat_info"
        " WHERE heard_at > UTC_TIMESTAMP(6) - INTERVAL %s SECOND ORDER BY heard_at DESC LIMIT %s",
        (_DAY_SECONDS, _SHOWN),
    )
    beats = [
        Beat(**{**row, "seconds_silent": max(float(row["seconds_silent"]), 0.0), "facts": json.loads(row["facts"])})
        for row in rows
    ]
    return sorted(beats, key=lambda beat: beat.service)


async def replica_threshold(db: Database) -> int:
    """Return what an archive's replicas have to exceed, as the orderer says."""
    facts = await db.fetch_value(
        "SELECT facts FROM heartbeat_info WHERE service = %s ORDER BY heard_at DESC LIMIT 1", ("crust-orderer",)
    )
    told = json.loads(facts or "{}").get("replica_threshold")
    return told if isinstance(told, int) else DEFAULT_THRESHOLD


def disk(directory: Path, store: str = MAIN) -> Facts:
    """Return what tells the room on the disk of a store's data directory."""

    async def ask() -> Mapping[str, Value]:
        usage = await asyncio.to_thread(shutil.disk_usage, directory)
        return {"store": store, "disk_free_bytes": usage.free, "disk_total_bytes": usage.total}

    return ask
