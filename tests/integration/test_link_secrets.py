"""A new secret for links, while clients hold links that the old one signed: doors first, then the notifier."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
from aiohttp import web
from chaos.crowd import left_by_itself
from pydantic import SecretStr
from servers_door import extracted
from servers_services import Service, Services
from sites import site

from roadvault_common.sql.db import Database
from roadvault_common.web.links import Links

OLD, NEW = "the secret of last year", "the secret of this year"
BYTES = b"as uploaded"


@asynccontextmanager
async def client() -> AsyncIterator[tuple[str, asyncio.Queue[str]]]:
    """Take callbacks; give their address, and the links that they bring."""
    links = asyncio.Queue[str]()

    async def take(request: web.Request) -> web.Response:
        links.put_nowait((await request.json())["fileUrl"].partition("/d/")[2])
        return web.Response()

    async with site([web.post("/cb", take)]) as url:
        yield f"{url}/cb", links


async def test_a_secret_is_changed_service_by_service_and_no_live_link_breaks(
    services: Services, db: Database, data_dir: Path
) -> None:
    doors = [services("door", link_secret=OLD) for _ in range(2)]
    notifier = services("notifier", link_secret=OLD, sweep_seconds=0.2)
    live: list[str] = []
    async with client() as (cb_url, links), aiohttp.ClientSession() as http:

        async def new_link() -> None:
            await db.execute(
                "UPDATE download_info SET cb_url = %s, open_key = UUID(), callback_due = UTC_TIMESTAMP(6)"
                " WHERE download_id = %s",
                (cb_url, await extracted(db, data_dir, BYTES)),
            )
            live.append(await asyncio.wait_for(links.get(), 20))

        async def opened() -> list[tuple[int, int]]:
            """Return the number of a door and of a link wherever the one does not open the other."""
            wrong = []
            for number, door in enumerate(doors):
                for which, link in enumerate(live):
                    async with http.get(f"{door.public_url}/d/{link}") as response:
                        if (response.status, await response.read()) != (200, BYTES):
                            wrong.append((number, which))
            return wrong

        for service in (*doors, notifier):
            await service.start()
        await new_link()
        for each in doors:
            await restart(each, f"{NEW},{OLD}")
            await new_link()  # still by the old one, wherever it is followed
            assert await opened() == []
        await restart(notifier, f"{NEW}, {OLD}")
        await new_link()
        assert Links(SecretStr(NEW)).read(live[-1])
        assert await opened() == []
        for each in doors:  # after the time of a link
            await restart(each, NEW)
        assert await opened() == [(door, link) for door in (0, 1) for link in (0, 1, 2)]


async def restart(service: Service, secrets: str) -> None:
    service.terminate()
    await left_by_itself(service)
    service.environment["ROADVAULT_LINK_SECRET"] = secrets
    await service.start()
