"""Has another store take a copy of each upload, while it comes in."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import aiohttp
import structlog
from pydantic import SecretStr

from roadvault_common.errors import brief
from roadvault_common.files import copy_store
from roadvault_common.files.copy_store import Copied
from roadvault_common.files.new_file import NewFile
from roadvault_common.files.vault import Vault
from roadvault_common.sql.db import Database
from roadvault_ingest.config import IngestSettings
from roadvault_ingest.problems import Unavailable

log = structlog.get_logger()

_PIECE_BYTES = 1 << 20
_LOOK_SECONDS = 0.02
"""Between two looks whether more of an upload has come."""
_SILENCE_SECONDS = 20.0
"""Another store has so long to take a piece, and to answer."""
_LATER_SECONDS = 5


class Copies:
    """Makes copies, where ROADVAULT_UPLOAD_COPIES asks for them."""

    def __init__(self, settings: IngestSettings, db: Database, vault: Vault) -> None:
        self._db = db
        self._vault = vault
        self._on = settings.upload_copies > 1
        self._secret = settings.copy_secret or SecretStr("")

    @asynccontextmanager
    async def of(self, file: NewFile) -> AsyncIterator["Copy"]:
        """Begin to copy a file that is about to come, or has come."""
        copy = Copy(file, self._vault, self._secret, await self._takers() if self._on else None)
        copy.begin()
        try:
            yield copy
        finally:
            await copy.end()

    async def _takers(self) -> list[tuple[str, str]]:
        takers = [(row["name"], row["copy_url"]) for row in await copy_store.takers(self._db, self._vault.store)]
        random.shuffle(takers)
        return takers


class Copy:
    """A copy of one file on its way to another store. Use `Copies.of`."""

    def __init__(self, file: NewFile, vault: Vault, secret: SecretStr, takers: list[tuple[str, str]] | None) -> None:
        """`takers` are the stores that may take it, with their URLs; None: no copy is to be made."""
        self._file, self._vault, self._secret, self._takers = file, vault, secret, takers
        self._path = str(file.path.relative_to(vault.root))
        self._total: int | None = None
        self._task: asyncio.Task[tuple[str, int]] | None = None

    def begin(self) -> None:
        """Send what comes to the first store, as it comes; what has come before goes once all of it is there."""
        if self._takers and not self._file.began:
            self._task = asyncio.create_task(self._send(self._takers[0][1]))

    async def done(self, sha256: str, size: int) -> Copied | None:
        """Wait until another store has all of it, durably; None if that is not asked for.

        Raises:
            Unavailable: None has.
        """
        if self._takers is None:
            return None
        self._total = size
        for name, url in self._takers:
            if self._task is None:
                self._task = asyncio.create_task(self._send(url))
            try:
                if await self._task == (sha256, size):
                    return Copied(name, copy_store.place(self._vault.store, self._path))
                log.error("a copy has other bytes than the upload", store=name)
            except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
                log.warning("a store took no copy", store=name, error=brief(error))
            self._task = None
        raise Unavailable("no other store has taken a copy of the file; send it again", _LATER_SECONDS)

    async def end(self) -> None:
        """Send no more."""
        if self._task is not None and not self._task.done():
            self._task.cancel()
        if self._task is not None:
            with suppress(asyncio.CancelledError, aiohttp.ClientError, OSError, TimeoutError, ValueError):
                await self._task

    async def _send(self, url: str) -> tuple[str, int]:
        place = copy_store.place(self._vault.store, self._path).partition("/")[2]
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=_SILENCE_SECONDS)
        headers = {"Authorization": f"Bearer {self._secret.get_secret_value()}"}
        async with (
            aiohttp.ClientSession(timeout=timeout, trust_env=False) as http,
            http.put(f"{url.rstrip('/')}/copies/{place}", data=self._pieces(), headers=headers) as answer,
        ):
            if answer.status != 200:  # noqa: PLR2004 - OK
                raise ValueError(f"it answers {answer.status}")
            told = await answer.json()
            return str(told["sha256"]), int(told["size"])

    async def _pieces(self) -> AsyncIterator[bytes]:
        at = 0
        while (total := self._total) is None or at < total:
            there = self._file.size if total is None else total
            piece = await asyncio.to_thread(_read, self._file.path, at, min(there - at, _PIECE_BYTES))
            if piece:
                at += len(piece)
                yield piece
            elif total is not None:
                raise OSError(f"{self._path} is shorter than it was")
            else:
                await asyncio.sleep(_LOOK_SECONDS)


def _read(path: Path, at: int, size: int) -> bytes:
    if size <= 0:
        return b""
    try:
        with path.open("rb", buffering=0) as file:
            file.seek(at)
            return file.read(size)
    except FileNotFoundError:  # not a byte has come
        return b""
