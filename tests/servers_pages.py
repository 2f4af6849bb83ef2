"""The pages, as a browser asks for them, on a real database: what their tests stand on."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest
from multidict import CIMultiDictProxy
from pydantic import SecretStr
from sites import site

from roadvault_common.events.bus import Bus
from roadvault_common.files.vault import Vault
from roadvault_common.sql.db import Database
from roadvault_common.web.guards import own_sites_only
from roadvault_ingest.access.wiring import Access
from roadvault_ingest.answers import answer_problems
from roadvault_ingest.config import IngestSettings
from roadvault_ingest.pages.views import page_routes
from roadvault_ingest.service import Ingest

HOSTILE = "<script>alert(1)</script>\u202egpj.exe\u061c"
FILES = 130


@dataclass
class Office:
    """The pages, as a browser asks for them."""

    url: str
    http: aiohttp.ClientSession
    db: Database
    ingest: Ingest

    async def get(self, path: str, language: str = "en") -> str:
        async with self.http.get(self.url + path, headers={"Accept-Language": language}) as response:
            assert response.status == 200, await response.text()
            assert "default-src 'self'" in response.headers["Content-Security-Policy"]
            return await response.text()

    async def ask(self, path: str, **headers: str) -> tuple[int, str, CIMultiDictProxy[str]]:
        """Ask as a browser that wants a page; headers' names have `_` for `-`."""
        named = {"Accept": "text/html", **{name.replace("_", "-"): value for name, value in headers.items()}}
        async with self.http.get(self.url + path, headers=named, allow_redirects=False) as response:
            return response.status, await response.text(), response.headers

    async def post(self, path: str, site: str = "same-origin", **fields: str) -> tuple[int, str]:
        headers = {"Sec-Fetch-Site": site}
        async with self.http.post(self.url + path, data=fields, headers=headers) as response:
            return response.status, await response.text()


@pytest.fixture
async def pages(database_url: str, redis_url: str, tmp_path: Path) -> AsyncIterator[Office]:
    values = {"database_url": database_url, "redis_url": redis_url, "data_dir": tmp_path}
    settings = IngestSettings.model_validate(values)
    async with (
        Database.open(database_url) as db,
        Bus.open(SecretStr(redis_url), "ingest") as bus,
        aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as http,
    ):
        ingest = Ingest(settings, db, bus, Vault(tmp_path))
        routes = Access(settings, db).routes(page_routes(ingest, db))
        async with site(routes, [own_sites_only(()), answer_problems]) as url:
            yield Office(url, http, db, ingest)


async def fill(db: Database) -> None:
    """Write folders, files and archives in every state."""
    async with db.transaction() as tx:
        for folder in range(1, FILES + 1):
            status = 2 if folder <= 100 else folder % 3 if folder % 3 != 2 else 3
            await tx.execute(
                "INSERT INTO folder_info (folder_id, status, files, bytes, close_at, pack_failed_at, pack_reason)"
                " VALUES (%s, %s, 1, 1500000, UTC_TIMESTAMP(6), IF(%s = 3, UTC_TIMESTAMP(6), NULL), %s)",
                (folder, status, status, f"reason {folder}" if status == 3 else None),
            )
            await tx.execute(
                "INSERT INTO file_upload_info (file_id, file_name, file_type, size, sha256, folder_id, zip_id)"
                " VALUES (%s, %s, 'mp4', 1500000, 'hash', %s, %s)",
                (folder, HOSTILE if folder == FILES else f"{folder}.mp4", folder, folder if status == 2 else None),
            )
            if status == 2:
                await tx.execute(
                    "INSERT INTO zip_ipfs_info (zip_id, folder_id, zip_name, path, `key`, iv, size, files, cid, status,"
                    " replicas, expired_on, expires_at) VALUES (%s, %s, 'a', %s, 'k', 'i', 1500000, 1, %s, %s, 60,"
                    " 2592000, UTC_TIMESTAMP(6))",
                    (folder, folder, "p" if folder % 2 else None, f"bafy{folder}" if folder % 7 else None, folder % 5),
                )
