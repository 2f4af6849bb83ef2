"""A running ingest that asks who somebody is: its API and its pages, as programs and browsers see them."""

import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from multidict import CIMultiDictProxy
from pydantic import SecretStr
from sites import site

from roadvault_common.access import token_store
from roadvault_common.access.tokens import Grant, checked_grant, hash_of, new_token
from roadvault_common.events.bus import Bus
from roadvault_common.files.identity import Identity
from roadvault_common.files.vault import Vault
from roadvault_common.sql.db import Database, Row
from roadvault_common.web.guards import own_sites_only
from roadvault_ingest.access.wiring import Access
from roadvault_ingest.answers import answer_problems
from roadvault_ingest.config import IngestSettings
from roadvault_ingest.elsewhere import uploading_pages
from roadvault_ingest.handlers import api_routes
from roadvault_ingest.pages.views import page_routes
from roadvault_ingest.service import Ingest

FILE = "/api/open/file/{}"
HEALTH = {"/metrics", "/healthz", "/readyz"}


@dataclass
class Guarded:
    """A running ingest, one of its clients, and what lies behind it."""

    url: str
    http: aiohttp.ClientSession
    db: Database
    ingest: Ingest
    access: Access
    routes: list[web.RouteDef]

    async def count(self, table: str) -> int:
        return int(await self.db.fetch_value(f"SELECT COUNT(*) FROM {table}"))  # noqa: S608 - names in tests

    async def token(
        self,
        name: str,
        scopes: str = "upload,request,read,operate",
        *,
        cameras: tuple[str, ...] = (),
        hosts: tuple[str, ...] = (),
        days: float | None = None,
    ) -> dict[str, str]:
        """Make a token; return the headers of who shows it."""
        token, grant = new_token(), checked_grant(scopes, cameras, hosts)
        await self.make(name, token, grant, days)
        return {"Authorization": f"Bearer {token}"}

    async def make(self, name: str, token: str, grant: Grant, days: float | None = None) -> int:
        hashed = hash_of(token)
        assert hashed is not None
        return await self.db.transact(lambda tx: token_store.create(tx, name, hashed, grant, days))

    async def ask(
        self,
        method: str,
        path: str,
        headers: dict[str, str] | None = None,
        **more: Any,  # noqa: ANN401 - any of aiohttp's
    ) -> tuple[int, dict[str, Any], CIMultiDictProxy[str]]:
        """Ask for something; return the status, the body, if it is JSON, and the headers."""
        async with self.http.request(
            method, self.url + path, headers=headers, allow_redirects=False, **more
        ) as response:
            body = await response.json() if response.content_type == "application/json" else {}
            return response.status, body, response.headers

    async def upload(self, headers: dict[str, str] | None, **fields: str) -> tuple[int, dict[str, Any]]:
        form = aiohttp.FormData()
        form.add_field("file", b"frames", filename="a.mp4")
        for name, value in fields.items():
            form.add_field(name, value)
        status, body, _ = await self.ask("POST", "/api/open/upload", headers, data=form)
        return status, body

    async def file_id(self) -> int:
        """Upload a file; return its number."""
        status, body = await self.upload(await self.token(f"uploader-{secrets.token_hex(4)}", "upload"))
        assert status == 200, body
        return int(body["result"]["fileID"])

    async def acts(self) -> list[Row]:
        """Return the lines of the log of acts, the first first, all of them written down."""
        await self.access.log.write_refused()
        return await self.db.fetch_all(
            "SELECT kind, name, peer, act, subject, outcome, times FROM act_info ORDER BY act_id"
        )


OpenGuarded = Callable[..., Any]


@pytest.fixture
def open_guarded(database_url: str, redis_url: str, data_dir: Path) -> OpenGuarded:
    @asynccontextmanager
    async def opened(port: int = 0, **overrides: Any) -> AsyncIterator[Guarded]:  # noqa: ANN401 - any setting
        values: dict[str, Any] = {
            "database_url": SecretStr(database_url),
            "redis_url": SecretStr(redis_url),
            "data_dir": data_dir,
            "callback_allow_private": "127.0.0.0/8,::1/128",
            "disk_margin_bytes": 0,
            "auth": True,
        }
        settings = IngestSettings(**{**values, **overrides})
        vault = Vault(data_dir)
        vault.prepare()
        async with (
            Database.open(settings.database_url, size=32) as db,
            Bus.open(settings.redis_url, "ingest") as bus,
            aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as http,
        ):
            await Identity(db, vault.root).settle()
            ingest, access = Ingest(settings, db, bus, vault), Access(settings, db)
            routes = access.routes([*api_routes(ingest), *page_routes(ingest, db)])
            outer = own_sites_only(settings.host_names, uploading_pages(settings))
            async with site(routes, [outer, answer_problems], port=port) as url:
                yield Guarded(url, http, db, ingest, access, routes)

    return opened


@pytest.fixture
async def guarded(open_guarded: OpenGuarded) -> AsyncIterator[Guarded]:
    async with open_guarded() as opened:
        yield opened


def path_of(pattern: str, number: int = 1) -> str:
    """Return a path that a route's pattern fits."""
    return pattern.format(
        file_id=number, batch_id=1, zip_id=1, download_id=1, number=0, upload_id="0" * 32, name="style.css"
    )
