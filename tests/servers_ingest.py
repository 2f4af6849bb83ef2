"""A running ingest, as a client sees it: what its tests stand on."""

import asyncio
import json
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
from servers_openapi import Watcher
from sites import site

from roadvault_common.events.bus import Bus
from roadvault_common.files.identity import Identity
from roadvault_common.files.vault import Vault
from roadvault_common.sql.db import Database
from roadvault_common.web.guards import own_sites_only
from roadvault_ingest.access.wiring import Access
from roadvault_ingest.answers import answer_problems
from roadvault_ingest.config import IngestSettings
from roadvault_ingest.elsewhere import uploading_pages
from roadvault_ingest.handlers import api_routes
from roadvault_ingest.service import Ingest


@dataclass
class Door:
    """A running ingest, as a client sees it, and what lies behind it."""

    url: str
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

    async def send(self, body: bytes | AsyncIterator[bytes], boundary: str = "b") -> tuple[int, dict[str, Any]]:
        """Upload a multipart body as it is; one in pieces goes without a length."""
        headers = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
        async with self.http.post(f"{self.url}/api/open/upload", data=body, headers=headers) as response:
            return response.status, await response.json()

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        """Connect as a client that speaks HTTP by itself."""
        host, port = self.url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        try:
            yield reader, writer
        finally:
            writer.close()

    async def nothing_is_left(self) -> bool:
        """Tell whether neither the disk nor the database knows of any upload."""
        rows = await self.count("file_upload_info") + await self.count("folder_info")
        return rows == 0 and self.files_on_disk() == []

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


def multipart(*parts: tuple[str, bytes], end: bytes = b"--b--\r\n") -> bytes:
    """Return a body of parts, each with the parameters of its Content-Disposition, and boundary `b`."""
    return (
        b"".join(
            b"--b\r\nContent-Disposition: form-data; " + parameters.encode() + b"\r\n\r\n" + content + b"\r\n"
            for parameters, content in parts
        )
        + end
    )


async def answer_of(reader: asyncio.StreamReader) -> tuple[bytes, dict[str, Any]]:
    """Read one answer from a connection: its head, and its body."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
    body: dict[str, Any] = json.loads(await reader.readexactly(length))
    return head, body


Open = Callable[..., Any]


@pytest.fixture
def open_door(database_url: str, redis_url: str, data_dir: Path) -> Open:
    @asynccontextmanager
    async def opened(**overrides: Any) -> AsyncIterator[Door]:  # noqa: ANN401 - any setting
        values: dict[str, Any] = {
            "database_url": SecretStr(database_url),
            "redis_url": SecretStr(redis_url),
            "data_dir": data_dir,
            "callback_allow_private": "127.0.0.0/8,::1/128",
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
            await Identity(db, vault.root).settle()
            ingest = Ingest(settings, db, bus, vault)
            watcher, outer = Watcher(), own_sites_only(settings.host_names, uploading_pages(settings))
            intranet = [watcher.middleware, outer, answer_problems]
            async with site(Access(settings, db).routes(api_routes(ingest)), intranet) as url:
                yield Door(url, http, db, vault, ingest)
            assert watcher.wrong == []

    return opened


@pytest.fixture
async def door(open_door: Open) -> AsyncIterator[Door]:
    async with open_door() as opened:
        yield opened
