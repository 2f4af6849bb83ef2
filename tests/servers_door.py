"""The door, as whoever follows a link sees it: what its tests stand on."""

import hashlib
import secrets
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from pydantic import SecretStr
from sites import site

from roadvault_common.files.vault import Vault
from roadvault_common.sql.db import Database
from roadvault_common.web.links import Links
from roadvault_door.__main__ import limits
from roadvault_door.config import DoorSettings
from roadvault_door.handlers import answer_plainly, link_routes
from roadvault_door.service import Door
from roadvault_door.watching import Player

SECRET = "a secret for signing links"


async def extracted(db: Database, data_dir: Path, content: bytes, name: str = "play.mp4") -> int:
    """Lay an extraction where the retriever would; return its request's id."""
    path = f"downloads/{secrets.token_hex(8)}/{secrets.token_hex(8)}"
    (data_dir / path).parent.mkdir(parents=True)
    (data_dir / path).write_bytes(content)
    file_id = await db.transact(
        lambda tx: tx.insert(
            "INSERT INTO file_upload_info (file_name, file_type, size, sha256, path, folder_id)"
            " VALUES (%s, '', %s, %s, NULL, 1)",
            (name, len(content), hashlib.sha256(content).hexdigest()),
        )
    )
    return await db.transact(
        lambda tx: tx.insert(
            "INSERT INTO download_info (file_id, cb_url, status, path) VALUES (%s, 'http://c/', 1, %s)", (file_id, path)
        )
    )


def token(download_id: int, secret: str = SECRET, seconds: float = 3600) -> str:
    """Return a link's token that is good for so long."""
    return Links(SecretStr(secret)).token(download_id, datetime.now(UTC) + timedelta(seconds=seconds))


@dataclass
class Answer:
    """What a link was answered with."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass
class LinkDoor:
    """A running door, and what lies behind it."""

    url: str
    http: aiohttp.ClientSession
    db: Database
    vault: Vault

    async def link(self, content: bytes, name: str = "play.mp4") -> str:
        """Return a link to a file."""
        return f"{self.url}/d/{token(await extracted(self.db, self.vault.root, content, name))}"

    async def ask(self, url: str, method: str = "GET", **headers: str) -> Answer:
        """Ask for a link; names of headers are written with _ for -."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        async with self.http.request(method, url, headers=sent) as response:
            return Answer(response.status, response.headers, await response.read())


OpenLinks = Callable[..., Any]


@pytest.fixture
def open_link_door(database_url: str, data_dir: Path) -> OpenLinks:
    @asynccontextmanager
    async def opened(**overrides: Any) -> AsyncIterator[LinkDoor]:  # noqa: ANN401 - any setting
        values: dict[str, Any] = {
            "database_url": SecretStr(database_url),
            "data_dir": data_dir,
            "link_secret": SecretStr(SECRET),
        }
        settings = DoorSettings(**{**values, **overrides})
        vault = Vault(data_dir)
        async with (
            AsyncExitStack() as stack,
            Database.open(settings.database_url) as db,
            aiohttp.ClientSession(auto_decompress=False) as http,
        ):
            player = await stack.enter_async_context(Player.open(settings)) if settings.stream_url else None
            routes = link_routes(settings, Door(db, vault, Links(settings.link_secret)), player)
            async with site(routes, [answer_plainly(settings)], limits=limits(settings)) as url:
                yield LinkDoor(url, http, db, vault)

    return opened


@pytest.fixture
async def link_door(open_link_door: OpenLinks) -> AsyncIterator[LinkDoor]:
    async with open_link_door() as opened:
        yield opened
