"""Clients whose uploads outlast what breaks: sent again under a key, or gone on with where they stopped (tus)."""

import asyncio
import hashlib
import json
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from urllib.parse import quote

import aiohttp
from chaos.wiring import UPLOAD_EXPIRES_SECONDS, UPLOAD_HOLD_SECONDS
from tus_requests import TYPE, Answered, Client, metadata

_FILES = "/api/open/files"
_PATIENCE_SECONDS = 40
"""For so long a client goes on with an upload; then it leaves it."""
_PAUSE_SECONDS = 0.5
_LEAVES, _BREAKS, _ONCE_MORE = 0.05, 0.25, 0.3
"""How often a client never comes back, breaks off what it sends, or sends again what it has an answer to."""
_GONE = {404, 410}
_OTHER = 422
"""The key came before, with something else."""


class _Refused(OSError):
    """Not now."""


class _Left(Exception):
    """There is nothing to be gone on with, or the client does not want to."""


@dataclass
class Place:
    """An upload as the server has it: its path there, up to where it has come; not to expire before `until`."""

    content: bytes
    path: str | None = None
    offset: int = 0
    until: float = 0.0


@dataclass
class Transfer:
    """A file that a client hands over in more than one request; `places` are what it has begun for it."""

    number: int
    way: str
    name: str
    content: bytes
    sha256: str
    size: int
    places: list[Place] = field(default_factory=list)
    eras: set[int] = field(default_factory=set)
    """Between which losses something of it was sent."""
    file_ids: set[int] = field(default_factory=set)
    """What the server said that it is."""
    again: int = 0
    """Times that something was sent again, or gone on with."""
    left: bool = False
    """Its client never comes back."""

    @property
    def key(self) -> str:
        return f"key {self.number}"

    def __str__(self) -> str:
        return f"upload {self.number} ({self.way})"


class Transfers:
    """Sends such uploads to one door of ingest after another; `accept` is told what has become which file."""

    def __init__(
        self, http: aiohttp.ClientSession, doors: Sequence[str], accept: Callable[[str, "Transfer", int], None]
    ) -> None:
        self._clients = [Client(http, door) for door in doors]
        self._accept = accept
        self.all: list[Transfer] = []
        self.refused: Counter[str] = Counter()
        self.wrong: list[str] = []
        """What no server may say."""
        self.era = 0
        """How often something was lost: what was begun before is not known any more."""

    def unfinished(self) -> list[Transfer]:
        """Return what nobody knows to be a file, and its client has not left; but for what was lost."""
        return [one for one in self.all if not one.file_ids and not one.left and self.era in one.eras]

    def begin(self, dice: random.Random, name: str, content: bytes) -> Transfer:
        """Return a new one, which nothing was sent of."""
        way = dice.choice(("key", "pieces", "pieces", "parts") if len(content) > 1 else ("key", "pieces"))
        made = Transfer(len(self.all), way, name, content, hashlib.sha256(content).hexdigest(), len(content))
        half = len(content) // 2
        if way != "key":
            made.places = [Place(content)] if way == "pieces" else [Place(content[:half]), Place(content[half:])]
        self.all.append(made)
        return made

    async def go_on(self, transfer: Transfer, dice: random.Random, ended: asyncio.Event) -> None:
        """Go on with one until it is known to be a file, its client is out of patience, or all has ended."""
        until = time.monotonic() + _PATIENCE_SECONDS
        begun = bool(transfer.eras)
        while not (transfer.left or ended.is_set() or time.monotonic() > until):
            transfer.again += begun
            begun = True
            try:
                await (self._send(transfer, dice) if transfer.way == "key" else self._bring(transfer, dice))
            except _Refused as refused:
                self.refused[str(refused)] += 1
            except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
                self.refused[type(error).__name__] += 1
            except _Left:
                transfer.left = True
            if transfer.file_ids and (transfer.way != "key" or dice.random() > _ONCE_MORE):
                transfer.content = b""
                transfer.places.clear()
                return
            await asyncio.sleep(dice.uniform(0, 2 * _PAUSE_SECONDS))

    async def look(self, transfer: Transfer, dice: random.Random) -> None:
        """Ask where an upload stands that nobody goes on with."""
        for place in transfer.places:
            if place.path is not None and not transfer.file_ids:
                with suppress(aiohttp.ClientError, TimeoutError, OSError, _Left):
                    await self._ask_where(transfer, place, dice)

    # --- one body, under a key ---------------------------------------------------------------------------------------

    async def _send(self, transfer: Transfer, dice: random.Random) -> None:
        path = f"/api/open/upload/{quote(transfer.name, safe='')}"
        data = transfer.content
        headers = {"Idempotency-Key": transfer.key}
        door, answered = await self._ask(transfer, dice, "PUT", path, headers, lambda: _broken(data, dice))
        self._is_file(door, transfer, json.loads(answered.text)["result"]["fileID"])

    # --- tus ---------------------------------------------------------------------------------------------------------

    async def _bring(self, transfer: Transfer, dice: random.Random) -> None:
        for number, place in enumerate(transfer.places):
            while not transfer.file_ids and (place.path is None or place.offset < len(place.content)):
                if place.path is None:
                    await self._begin(transfer, place, dice, f"{transfer.key}, {number}")
                else:
                    await self._ask_where(transfer, place, dice)
                    await self._pieces(transfer, place, dice)
        if transfer.way == "parts" and not transfer.file_ids:
            await self._join(transfer, dice)

    async def _begin(self, transfer: Transfer, place: Place, dice: random.Random, key: str) -> None:
        headers = {"Upload-Length": str(len(place.content)), "Idempotency-Key": key}
        if transfer.way == "parts":
            headers["Upload-Concat"] = "partial"
        else:
            headers["Upload-Metadata"] = metadata(filename=transfer.name)
        until = time.monotonic() + UPLOAD_EXPIRES_SECONDS
        door, answered = await self._ask(transfer, dice, "POST", _FILES, headers)
        place.path, place.until, place.offset = answered.headers["Location"], until, 0
        self._note(door, transfer, place, answered)

    async def _pieces(self, transfer: Transfer, place: Place, dice: random.Random) -> None:
        while place.path is not None and place.offset < len(place.content) and not transfer.file_ids:
            if dice.random() < _LEAVES / 2:
                raise _Left
            piece = place.content[place.offset : place.offset + dice.randrange(1, len(place.content) + 1)]
            until = time.monotonic() + UPLOAD_EXPIRES_SECONDS
            headers = {"Content-Type": TYPE, "Upload-Offset": str(place.offset)}
            body = partial(_broken, piece, dice)
            door, answered = await self._ask(transfer, dice, "PATCH", place.path, headers, body)
            if answered.status in _GONE:
                return
            place.until = until
            self._note(door, transfer, place, answered)

    async def _join(self, transfer: Transfer, dice: random.Random) -> None:
        for place in transfer.places:  # they are kept no longer once they were used
            place.until = min(place.until, time.monotonic() + UPLOAD_HOLD_SECONDS)
        concat = "final;" + " ".join(place.path or "" for place in transfer.places)
        headers = {"Upload-Concat": concat, "Upload-Metadata": metadata(filename=transfer.name)}
        door, answered = await self._ask(transfer, dice, "POST", _FILES, {**headers, "Idempotency-Key": transfer.key})
        if answered.status in _GONE:
            for place in transfer.places:
                await self._ask_where(transfer, place, dice)
        else:
            self._is_file(door, transfer, answered.file_id)

    async def _ask_where(self, transfer: Transfer, place: Place, dice: random.Random) -> None:
        """Ask where an upload goes on; begin it anew if it was lost with what the server knew, leave it if it expired.

        Raises:
            _Left: It has expired.
        """
        door, answered = await self._ask(transfer, dice, "HEAD", place.path or "", {})
        if answered.status not in _GONE:
            self._note(door, transfer, place, answered)
        elif len(transfer.eras) > 1:
            place.path, place.offset = None, 0
        else:
            if time.monotonic() < place.until:
                self.wrong.append(f"{transfer}: {place.path} is gone before its time")
            raise _Left

    def _note(self, door: str, transfer: Transfer, place: Place, answered: Answered) -> None:
        if answered.offset < place.offset:
            self.wrong.append(f"{transfer}: it had come up to {place.offset}, and {answered.offset} was told")
        place.offset = answered.offset
        if "RoadVault-File-ID" in answered.headers:
            self._is_file(door, transfer, answered.file_id)

    # --- both --------------------------------------------------------------------------------------------------------

    def _is_file(self, door: str, transfer: Transfer, file_id: int) -> None:
        transfer.file_ids.add(file_id)
        self._accept(door, transfer, file_id)

    async def _ask(
        self,
        transfer: Transfer,
        dice: random.Random,
        method: str,
        path: str,
        headers: dict[str, str],
        body: Callable[[], bytes | AsyncIterator[bytes]] | None = None,
    ) -> tuple[str, Answered]:
        """Ask a door that listens; return which, and what it said: that it was done, or that there is nothing.

        Raises:
            _Refused: It said something else.
        """
        for client in dice.sample(self._clients, len(self._clients)):
            data = None if body is None else body()
            whole = data is None or isinstance(data, bytes)
            transfer.eras.add(self.era)
            with suppress(aiohttp.ClientConnectorError):
                async with asyncio.timeout(None if whole else _PAUSE_SECONDS):
                    answered = await client.ask(method, client.url + path, headers, data)
                if answered.status == _OTHER:
                    self.wrong.append(f"{transfer}: {answered.text}")
                if answered.status < 400 or answered.status in _GONE:
                    return client.url, answered
                raise _Refused(f"{answered.status} {method}")
        raise _Refused("no ingest listens")


def _broken(data: bytes, dice: random.Random) -> bytes | AsyncIterator[bytes]:
    """Return a body, now and then one that comes to no end."""
    return _half(data) if dice.random() < _BREAKS else data


async def _half(data: bytes) -> AsyncIterator[bytes]:
    yield data[: len(data) // 2 + 1]
    await asyncio.sleep(60)
