"""Takes copies of other stores' uploads, and removes them once the network has these."""

import asyncio
import hmac
import re

import structlog
from aiohttp import web
from pydantic import SecretStr

from roadvault_common.errors import DiskFull, Outage, brief
from roadvault_common.files import copy_store
from roadvault_common.files.copy_store import RESERVE
from roadvault_common.files.identity import Identity
from roadvault_common.files.ledger import Ledger
from roadvault_common.files.new_file import NewFile
from roadvault_common.files.quarantine import QUARANTINE
from roadvault_common.files.room import Purpose
from roadvault_common.files.sweep import Sweeper
from roadvault_common.files.vault import Vault
from roadvault_common.sql.db import Database
from roadvault_common.stores import NAME
from roadvault_ingest.config import IngestSettings

log = structlog.get_logger()

_PART, _TOKEN = re.compile(r"[0-9a-f]{2}", re.ASCII), re.compile(r"[0-9a-f]{32}", re.ASCII)
_ROOM_BYTES = 8 << 20
"""Room is reserved in steps: nobody says how long an upload will be that has just begun."""


class Taker:
    """Takes copies, and tidies them away."""

    def __init__(self, settings: IngestSettings, db: Database, vault: Vault, ledger: Ledger, secret: SecretStr) -> None:
        self._db = db
        self._vault = vault
        self._ledger = ledger
        self._secret = f"Bearer {secret.get_secret_value()}".encode()
        self._url = settings.store_copy_url
        self._identity = Identity(db, vault.root, vault.store, only_looks=True)
        for directory in (RESERVE, f"{QUARANTINE}/{RESERVE}"):
            vault.make_directory(directory)
        self.sweep_orphans = Sweeper(settings, db, vault, RESERVE, self._named).sweep

    def routes(self) -> list[web.RouteDef]:
        """Return the one route, of a listener of its own."""
        return [web.put("/copies/{home}/{part}/{token}", self._take)]

    async def _take(self, request: web.Request) -> web.Response:
        if not hmac.compare_digest(request.headers.get("Authorization", "").encode(), self._secret):
            raise web.HTTPUnauthorized
        home, part, token = (request.match_info[name] for name in ("home", "part", "token"))
        if not (NAME.fullmatch(home) and _PART.fullmatch(part) and _TOKEN.fullmatch(token)):
            raise web.HTTPNotFound
        directory = f"{RESERVE}/{home}/{part}"
        for above in (f"{RESERVE}/{home}", directory):
            await asyncio.to_thread(self._vault.make_directory, above)
        await asyncio.to_thread(self._vault.remove, f"{directory}/{token}")  # of a try that was cut short
        file = NewFile(self._vault.path(f"{directory}/{token}"))
        try:
            await self._write(request, file, f"{directory}/{token}")
        except (DiskFull, Outage) as error:
            log.warning("no copy was taken", error=brief(error))
            raise web.HTTPInsufficientStorage from error
        return web.json_response({"sha256": file.sha256, "size": file.size})

    async def _write(self, request: web.Request, file: NewFile, path: str) -> None:
        try:
            async with self._ledger.keep(Purpose.COPIES, _ROOM_BYTES, file=path) as room:
                async for piece in request.content.iter_any():
                    if file.size + len(piece) > room.size:
                        await self._ledger.grow(room, max(len(piece), _ROOM_BYTES))
                    await asyncio.to_thread(file.write, piece)
                await asyncio.to_thread(file.finish)
        except BaseException:
            await asyncio.shield(asyncio.to_thread(file.discard))
            raise

    async def say(self) -> None:
        """Say that copies are taken here."""
        if self._url is not None:
            await copy_store.say(self._db, self._vault.store, self._url)

    async def tidy(self) -> None:
        """Remove copies whose uploads the network has, or that were given up.

        Raises:
            IdentityMismatch: The database is not the directory's.
        """
        after: int | None = 0
        while after is not None:
            rows, after = await copy_store.over(self._db, self._vault.store, after)
            if not rows:
                continue
            await self._identity.look()
            for row in rows:
                await asyncio.to_thread(self._vault.remove, row["path"])
            await copy_store.forget(self._db, [row["file_id"] for row in rows])

    async def _named(self, paths: list[str]) -> set[str]:
        return await copy_store.named(self._db, paths)
