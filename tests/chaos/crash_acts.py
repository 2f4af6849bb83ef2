"""Single acts of the services, as a process of its own does them; settings come from the environment."""

import asyncio
import hashlib
import sys
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from typing import cast

import aiohttp
import redis as blocking_redis
from sites import site
from tus_requests import Client, metadata

from roadvault_common.archive.crypto import MasterKeys
from roadvault_common.errors import PermanentError
from roadvault_common.events import bus
from roadvault_common.events.bus import Bus
from roadvault_common.events.kinds import FileReceived
from roadvault_common.files import set_aside
from roadvault_common.files.identity import Identity
from roadvault_common.files.vault import RECEIVED, Vault
from roadvault_common.ipfs.reading import Reader
from roadvault_common.ipfs.rpc import Ipfs
from roadvault_common.ipfs.witness import OthersGateway
from roadvault_common.sql.db import Database
from roadvault_common.web.links import Links
from roadvault_common.work import quarantined
from roadvault_crust_orderer.config import OrdererSettings
from roadvault_crust_orderer.markets.market import FileInfo, Head, Market
from roadvault_crust_orderer.proof.audit import Auditor
from roadvault_crust_orderer.proof.proof import Prover
from roadvault_ingest.answers import answer_problems
from roadvault_ingest.config import IngestSettings
from roadvault_ingest.handlers import api_routes
from roadvault_ingest.service import Ingest
from roadvault_notifier.config import NotifierSettings
from roadvault_notifier.service import Notifier
from roadvault_notifier.webhook import Callbacks
from roadvault_packer.config import PackerSettings
from roadvault_packer.service import Packer
from roadvault_pinner.config import PinnerSettings
from roadvault_pinner.copies.inspecting import Inspector
from roadvault_pinner.service import Pinner
from roadvault_retriever.config import RetrieverSettings
from roadvault_retriever.looking.looker import Looker
from roadvault_retriever.service import Retriever

UPLOAD = b"an upload, as a client sends it" * 4000
PACKER = "packer"
"""The group that hears."""
_RECLAIM_SECONDS = 0.05
_LOOK_SECONDS = 0.02


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
    url = await servers.stack.enter_async_context(site(routes, [answer_problems], 0))
    http = await servers.stack.enter_async_context(aiohttp.ClientSession())
    form = aiohttp.FormData()
    form.add_field("filename", "a.mp4")
    form.add_field("file", UPLOAD, filename="a.mp4")
    form.add_field("sha256", hashlib.sha256(UPLOAD).hexdigest())
    async with http.post(f"{url}/api/open/upload", data=form) as response:
        body = await response.json()
        say(f"ACK {body['result']['fileID']}")


async def go_on(servers: Servers, number: int) -> None:
    """Go on with a resumable upload, in two requests, until it is a file."""
    url = await servers.stack.enter_async_context(site(api_routes(await ingest(servers)), [answer_problems], 0))
    tus = Client(await servers.stack.enter_async_context(aiohttp.ClientSession()), url)
    at, half = f"{tus.files}/{number:032x}", len(UPLOAD) // 2
    answered = await tus.head(at)
    if answered.offset < half:
        answered = await tus.patch(at, answered.offset, UPLOAD[answered.offset : half])
    if answered.offset < len(UPLOAD):
        answered = await tus.patch(at, answered.offset, UPLOAD[answered.offset :])
    say(f"ACK {answered.file_id}")


async def join(servers: Servers, number: int) -> None:
    """Make a file of two parts, under a key."""
    uploads = (await ingest(servers)).resumable
    parts = [f"{number + turn:032x}" for turn in (1, 2)]
    upload = await uploads.join(f"final;{number}", parts, metadata(filename="a.mp4"), "192.0.2.1", f"{number:064x}")
    say(f"ACK {upload.file_id}")


async def expire_uploads(servers: Servers, _: int) -> None:
    await (await ingest(servers)).sweep_uploads()


async def request(servers: Servers, file_id: int) -> None:
    say(f"ACK {await (await ingest(servers)).request_download(file_id, 'http://127.0.0.1:9/cb', '127.0.0.1')}")


async def request_batch(servers: Servers, file_id: int) -> None:
    number, _ = await (await ingest(servers)).request_batch([file_id], "http://127.0.0.1:9/cb", "127.0.0.1")
    say(f"ACK {number}")


async def ask_batch(servers: Servers, batch_id: int) -> None:
    await (await ingest(servers)).batches.asking.work(batch_id)


async def cancel_batch(servers: Servers, batch_id: int) -> None:
    batches = (await ingest(servers)).batches
    await batches.cancel(batch_id)
    await batches.asking.work(batch_id)


async def give_up_file(servers: Servers, file_id: int) -> None:
    """Close a file that was set aside as lost, as a person does on its page; again if they were told nothing."""
    with suppress(PermanentError):  # it is
        await set_aside.give_up(servers.db, Vault(IngestSettings().data_dir), file_id)


async def bring_back(servers: Servers, file_id: int) -> None:
    """Bring a file back from quarantine, likewise."""
    row = await servers.db.fetch_one("SELECT path FROM file_upload_info WHERE file_id = %s", (file_id,))
    quarantine = Vault(IngestSettings().data_dir).quarantine
    entries = [entry for entry in quarantine.entries(RECEIVED) if row and entry.origin == row["path"]]
    assert quarantined.each(entries, quarantine.restore) == (len(entries), [])


async def close_folders(servers: Servers, _: int) -> None:
    await (await ingest(servers)).close_aged_folders()


async def packer(servers: Servers) -> Packer:
    settings = PackerSettings()
    return Packer(settings, servers.db, servers.bus, Vault(settings.data_dir), MasterKeys(settings.master_keys))


async def pack(servers: Servers, folder_id: int) -> None:
    await (await packer(servers)).packing.work(folder_id)


async def give_up(servers: Servers, folder_id: int) -> None:
    await pack(servers, folder_id)


async def hear(servers: Servers, _: int) -> None:
    """Work off what waits in the stream, and what a dead process has taken and not acknowledged."""
    settings = PackerSettings()
    packing = (await packer(servers)).packing
    client = blocking_redis.Redis.from_url(settings.redis_url.get_secret_value())
    # What is in hand is not to be taken over from ourselves, however slow the machine.
    seconds = _RECLAIM_SECONDS if _waiting(client, pending_only=True) else 60
    bus._BLOCK_MS = int(_LOOK_SECONDS * 1000)
    closing = asyncio.Event()

    async def pack_folder(event: FileReceived) -> None:
        await packing.work(event.folder_id)

    hearing = await servers.stack.enter_async_context(Bus.open(settings.redis_url, PACKER, seconds))
    async with asyncio.TaskGroup() as group:
        group.create_task(hearing.listen({FileReceived: pack_folder}, closing, 4))
        while await asyncio.to_thread(_waiting, client):
            await asyncio.sleep(_LOOK_SECONDS)
        closing.set()
    client.close()


async def hear_nonsense(servers: Servers, folder_id: int) -> None:
    await hear(servers, folder_id)


def _waiting(client: blocking_redis.Redis, *, pending_only: bool = False) -> bool:
    """Tell whether an event was not read or not acknowledged."""
    groups = client.xinfo_groups(FileReceived.stream) if client.exists(FileReceived.stream) else []
    assert isinstance(groups, list)
    if not groups:
        return not pending_only
    return bool(groups[0]["pending"]) or (not pending_only and bool(groups[0]["lag"]))


async def sweep_orphans(servers: Servers, _: int) -> None:
    for _ in range(3):  # the first time they are noted, then set aside and noted there, then removed
        await (await ingest(servers)).sweep_orphans()
        await (await packer(servers)).sweep_orphans()
        await (await retriever(servers)).sweep_orphans()


async def move_on(servers: Servers, _: int) -> None:
    """Move the mark on that database and data directory share."""
    await Identity(servers.db, IngestSettings().data_dir, moves_on=True).move_on()


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


async def inspect(servers: Servers, zip_id: int) -> None:
    settings = PinnerSettings()
    ipfs = await servers.stack.enter_async_context(Ipfs.open(settings.ipfs_rpc_url, 20))
    vault, keys = Vault(settings.data_dir), MasterKeys(settings.master_keys)
    inspector = Inspector(settings, servers.db, servers.bus, vault, keys, ipfs, [], lambda: None)
    await inspector.inspecting.work(zip_id)


async def shred(servers: Servers, zip_id: int) -> None:
    await (await pinner(servers)).shredding.work(zip_id)


async def make_period_key(servers: Servers, _: int) -> None:
    await (await packer(servers)).periods.end_in(400)


async def tend_keyring(servers: Servers, _: int) -> None:
    await (await packer(servers)).periods.tend()


class Plenty:
    """A market that counts enough replicas of anything: to ask it leaves nothing behind."""

    async def identity(self) -> str:
        return "here"

    async def ping(self) -> tuple[str, int]:
        return await self.identity(), (await self.head()).height

    async def head(self) -> Head:
        return Head(1, "")

    async def file(self, cid: str, at: Head) -> FileInfo:  # noqa: ARG002 - as a market's
        return FileInfo(1, 1, None, 60)


async def prove(servers: Servers, zip_id: int) -> None:
    settings = OrdererSettings()
    url = settings.proof_gateway_url or ""
    way = OthersGateway(await servers.stack.enter_async_context(Reader.open(url, 20)))
    keys = MasterKeys(settings.master_keys)
    prover = Prover(settings, servers.db, servers.bus, keys, way, cast("Market", Plenty()))
    await prover.proving.work(zip_id)


async def audit(servers: Servers, zip_id: int) -> None:
    settings = OrdererSettings()
    way = OthersGateway(await servers.stack.enter_async_context(Reader.open(settings.proof_gateway_url or "", 20)))
    keys = MasterKeys(settings.master_keys)
    auditor = Auditor(settings, servers.db, servers.bus, keys, way, [], lambda: None)
    await auditor.auditing.work(zip_id)


async def retriever(servers: Servers) -> Retriever:
    settings = RetrieverSettings()
    reader = await servers.stack.enter_async_context(Reader.open(settings.ipfs_gateway_url, 20))
    keys = MasterKeys(settings.master_keys)
    return Retriever(settings, servers.db, servers.bus, Vault(settings.data_dir), keys, reader)


async def fetch(servers: Servers, download_id: int) -> None:
    await (await retriever(servers)).fetching.work(download_id)


async def fetch_from_ipfs(servers: Servers, download_id: int) -> None:
    await fetch(servers, download_id)


async def clip(servers: Servers, download_id: int) -> None:
    await fetch(servers, download_id)


async def look(servers: Servers, file_id: int) -> None:
    own, settings = await retriever(servers), RetrieverSettings()
    vault = Vault(settings.data_dir)
    await Looker(settings, servers.db, servers.bus, vault, own.sources, own.local).looking.work(file_id)


async def expire(servers: Servers, download_id: int) -> None:
    await (await retriever(servers)).expiring.work(download_id)


async def keep_room(servers: Servers, _: int) -> None:
    retrieving = await retriever(servers)
    retrieving.ledger.margin_bytes = 1 << 60
    await retrieving.keep_room()


def notifier(servers: Servers) -> Notifier:
    settings = NotifierSettings()
    callbacks = Callbacks(settings.reach(), 5, None, None)
    return Notifier(settings, servers.db, servers.bus, Links(settings.link_secret), callbacks)


async def call_back(servers: Servers, download_id: int) -> None:
    await notifier(servers).calling.work(download_id)


async def report(servers: Servers, batch_id: int) -> None:
    await notifier(servers).reporting.work(batch_id)


Act = Callable[[Servers, int], Awaitable[None]]
ACTS: dict[str, Act] = {
    act.__name__: act
    for act in (
        upload, go_on, join, expire_uploads,
        request, close_folders, pack, give_up, hear, hear_nonsense, pin, drop, restore, prove, audit,
        inspect, fetch, fetch_from_ipfs, clip, look, expire, keep_room, call_back, sweep_orphans, move_on,
        shred, make_period_key, tend_keyring, request_batch, ask_batch, cancel_batch, report,
        give_up_file, bring_back,
    )
}  # fmt: skip


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
