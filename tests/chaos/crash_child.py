"""Single acts of the services, each in a process that kills itself at a point.

Reads lines of `ACT ROW POINT` (`-` for no point); settings come from the environment. Each act is done in a fork of
this process, which has everything imported already. It prints `ACK <result>` when the act has told its caller that it
is done, `POINT <point>` for each point passed if it gets to its end, and at last `EXIT <code>`, negative for a signal.
"""

import asyncio
import hashlib
import os
import sys
import traceback
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack

import aiohttp
from chaos.points import install

from roadvault_common import app
from roadvault_common.bus import Bus
from roadvault_common.config import DatabaseSettings, Settings
from roadvault_common.crypto import MasterKeys
from roadvault_common.db import Database
from roadvault_common.gateway import Gateway
from roadvault_common.ipfs import Ipfs
from roadvault_common.links import Links
from roadvault_common.vault import Vault
from roadvault_ingest.config import IngestSettings
from roadvault_ingest.handlers import answer_problems, api_routes
from roadvault_ingest.service import Ingest
from roadvault_notifier.config import NotifierSettings
from roadvault_notifier.service import Notifier
from roadvault_notifier.webhook import Callbacks
from roadvault_packer.config import PackerSettings
from roadvault_packer.service import Packer
from roadvault_pinner.config import PinnerSettings
from roadvault_pinner.service import Pinner
from roadvault_retriever.config import RetrieverSettings
from roadvault_retriever.service import Retriever

UPLOAD = b"an upload, as a client sends it" * 4000


class Servers:
    """The connections that an act works with."""

    def __init__(self, stack: AsyncExitStack, db: Database, bus: Bus) -> None:
        self.stack = stack
        self.db = db
        self.bus = bus


async def ingest(servers: Servers) -> Ingest:
    settings = IngestSettings()
    vault = Vault(settings.data_dir)
    return Ingest(settings, servers.db, servers.bus, vault)


async def upload(servers: Servers, _: int) -> None:
    routes = api_routes(await ingest(servers))
    url = await servers.stack.enter_async_context(app.site(routes, "127.0.0.1", 0, [answer_problems], 0))
    http = await servers.stack.enter_async_context(aiohttp.ClientSession())
    form = aiohttp.FormData()
    form.add_field("filename", "a.mp4")
    form.add_field("file", UPLOAD, filename="a.mp4")
    form.add_field("sha256", hashlib.sha256(UPLOAD).hexdigest())
    async with http.post(f"{url}/api/open/upload", data=form) as response:
        body = await response.json()
        say(f"ACK {body['result']['fileID']}")


async def request(servers: Servers, file_id: int) -> None:
    say(f"ACK {await (await ingest(servers)).request_download(file_id, 'http://127.0.0.1:9/cb')}")


async def close_folders(servers: Servers, _: int) -> None:
    await (await ingest(servers)).close_aged_folders()


async def pack(servers: Servers, folder_id: int) -> None:
    settings = PackerSettings()
    keys = MasterKeys(settings.master_keys)
    await Packer(settings, servers.db, servers.bus, Vault(settings.data_dir), keys).packing.work(folder_id)


async def pinner(servers: Servers) -> Pinner:
    settings = PinnerSettings()
    ipfs = await servers.stack.enter_async_context(Ipfs.open(settings.ipfs_rpc_url, 20))
    keys = MasterKeys(settings.master_keys)
    return Pinner(settings, servers.db, servers.bus, Vault(settings.data_dir), keys, ipfs)


async def pin(servers: Servers, zip_id: int) -> None:
    await (await pinner(servers)).pinning.work(zip_id)


async def drop(servers: Servers, zip_id: int) -> None:
    await (await pinner(servers)).dropping.work(zip_id)


async def restore(servers: Servers, zip_id: int) -> None:
    await (await pinner(servers)).restoring.work(zip_id)


async def retriever(servers: Servers) -> Retriever:
    settings = RetrieverSettings()
    gateway = await servers.stack.enter_async_context(Gateway.open(settings.ipfs_gateway_url, 20))
    keys = MasterKeys(settings.master_keys)
    return Retriever(settings, servers.db, servers.bus, Vault(settings.data_dir), keys, gateway)


async def fetch(servers: Servers, download_id: int) -> None:
    await (await retriever(servers)).fetching.work(download_id)


async def expire(servers: Servers, download_id: int) -> None:
    await (await retriever(servers)).expiring.work(download_id)


async def call_back(servers: Servers, download_id: int) -> None:
    settings = NotifierSettings()
    callbacks = await servers.stack.enter_async_context(Callbacks.open(5, None, allow_private=True))
    links = Links(settings.link_secret)
    await Notifier(settings, servers.db, servers.bus, links, callbacks).calling.work(download_id)


Act = Callable[[Servers, int], Awaitable[None]]
ACTS: dict[str, Act] = {
    act.__name__: act for act in (upload, request, close_folders, pack, pin, drop, restore, fetch, expire, call_back)
}


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


async def run(act: Act, row_id: int) -> None:
    async with AsyncExitStack() as stack:
        db = await stack.enter_async_context(Database.open(DatabaseSettings().database_url))
        bus = await stack.enter_async_context(Bus.open(Settings().redis_url, "crash"))
        await act(Servers(stack, db, bus), row_id)


def in_fork(act: str, row_id: int, deadly: str) -> int:
    """Do an act in a child; return how it ended."""
    pid = os.fork()
    if pid:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    code = 1
    try:
        points = install(deadly)
        asyncio.run(run(ACTS[act], row_id))
        say("\n".join(f"POINT {point}" for point in points.seen))
        code = 0
    except BaseException:  # noqa: BLE001 - whatever it is, this process ends here
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    for command in sys.stdin:
        name, number, point = command.split()
        say(f"EXIT {in_fork(name, int(number), point)}")
