"""A running ingest, as a client sees it: what its tests stand on."""

import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from pydantic import SecretStr

from roadvault_common import app
from roadvault_common.bus import Bus
from roadvault_common.db import Database
from roadvault_common.links import Links
from roadvault_common.vault import Vault
from roadvault_ingest.config import IngestSettings
from roadvault_ingest.handlers import answer_problems, api_routes, link_routes
from roadvault_ingest.service import Ingest

SECRET = "a secret for signing links"


@dataclass
class Door:
    """A running ingest, as a client sees it, and what lies behind it."""

    url: str
    public_url: str
    http: aiohttp.ClientSession
    db: Database
    vault: Vault
    ingest: Ingest

    async def upload(
        self, content: bytes, name: str | None = "a.mp4", *, late_name: bool = False, **fields: str
    ) -> tuple[int, dict[str, Any]]:
        form = aiohttp.FormData()
        if name is not None and not late_name:
            form.add_field("filename", name)
        form.add_field("file", BytesIO(content), filename="ignored.bin", content_type="application/octet-stream")
        if name is not None and late_name:
            form.add_field("filename", name)
        for field, value in fields.items():
            form.add_field(field, value)
        async with self.http.post(f"{self.url}/api/open/upload", data=form) as response:
            return response.status, await response.json()

    async def file(self, file_id: int) -> dict[str, Any]:
        async with self.http.get(f"{self.url}/api/open/file/{file_id}") as response:
            body: dict[str, Any] = await response.json()
            return body

    def files_on_disk(self) -> list[Path]:
        return [path for path in (self.vault.root / "received").rglob("*") if path.is_file()]

    async def count(self, table: str) -> int:
        row = await self.db.fetch_one(f"SELECT COUNT(*) AS n FROM {table}")  # noqa: S608 - names in this file
        assert row is not None
        return int(row["n"])


Open = Callable[..., Any]


@pytest.fixture
def open_door(database_url: str, redis_url: str, data_dir: Path) -> Open:
    @asynccontextmanager
    async def opened(**overrides: Any) -> AsyncIterator[Door]:  # noqa: ANN401 - any setting
        values: dict[str, Any] = {
            "database_url": SecretStr(database_url),
            "redis_url": SecretStr(redis_url),
            "data_dir": data_dir,
            "link_secret": SecretStr(SECRET),
            "folder_bytes": 1_000_000,
            "disk_margin_bytes": 0,
            "ingest_worker": secrets.token_hex(4),
        }
        settings = IngestSettings(**{**values, **overrides})
        vault = Vault(data_dir)
        vault.prepare()
        async with (
            Database.open(settings.database_url, size=32) as db,
            Bus.open(settings.redis_url, "ingest") as bus,
            aiohttp.ClientSession() as http,
        ):
            ingest = Ingest(settings, db, bus, vault)
            public = link_routes(ingest, Links(settings.link_secret), vault)
            async with (
                app.site(api_routes(ingest), "127.0.0.1", 0, [answer_problems], drain_seconds=0.1) as url,
                app.site(public, "127.0.0.1", 0, [answer_problems], drain_seconds=0.1) as public_url,
            ):
                yield Door(url, public_url, http, db, vault, ingest)

    return opened


@pytest.fixture
async def door(open_door: Open) -> AsyncIterator[Door]:
    async with open_door() as opened:
        yield opened
