"""Pages while the database is away: said on a page, within seconds, and pages go on by themselves afterwards."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import pytest
from pydantic import SecretStr
from sites import site

from roadvault_common.events.bus import Bus
from roadvault_common.files.vault import Vault
from roadvault_common.sql.db import Database
from roadvault_ingest.answers import answer_problems
from roadvault_ingest.config import IngestSettings
from roadvault_ingest.pages import errors
from roadvault_ingest.pages.views import page_routes
from roadvault_ingest.pages.words import LANGUAGES
from roadvault_ingest.service import Ingest


@asynccontextmanager
async def deaf() -> AsyncIterator[int]:
    """A server that takes connections and says nothing."""
    held: list[asyncio.StreamWriter] = []
    server = await asyncio.start_server(lambda _, writer: held.append(writer), "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        for writer in held:
            writer.close()
        server.close()


@pytest.mark.parametrize("how", ["refuses", "hangs"])
async def test_it_is_said_on_the_page_within_seconds(
    database_url: str, redis_url: str, tmp_path: Path, how: str
) -> None:
    async with deaf() as port:
        where = urlsplit(database_url)
        url = where._replace(netloc=f"{where.username}:x@127.0.0.1:{port if how == 'hangs' else 1}").geturl()
        values = {"database_url": url, "redis_url": redis_url, "data_dir": tmp_path}
        settings = IngestSettings.model_validate(values)
        async with Database.open(url) as db, Bus.open(SecretStr(redis_url), "ingest") as bus:
            ingest = Ingest(settings, db, bus, Vault(tmp_path))
            async with site(page_routes(ingest, db), [answer_problems]) as base, aiohttp.ClientSession() as http:
                for path in ("/", "/file?name=a"):
                    began = time.monotonic()
                    headers = {"Accept": "text/html", "Accept-Language": "zh"}
                    async with http.get(base + path, headers=headers) as response:
                        page = await response.text()
                    assert time.monotonic() - began < errors.SECONDS + 3
                    assert (response.status, response.content_type) == (503, "text/html")
                    assert LANGUAGES["zh"]["away_page"] in page
                    assert '<meta http-equiv="refresh" content="10">' in page
                    assert f'href="{path}"' in page or 'href="?name=a"' in page
                async with http.get(base, headers={"HX-Request": "true"}) as response:  # what is there stays
                    assert (response.status, response.content_type) == (503, "application/json")
