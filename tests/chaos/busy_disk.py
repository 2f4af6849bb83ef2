"""A small disk on which all are busy at once: two ingests, two packers, a retriever, a pinner; some are killed.

Run in a mount namespace of its own (`unshare --mount`), with the services' settings in the environment: mounts a small
file system at ROADVAULT_DATA_DIR and runs real services on it. Prints what came of it, as JSON.
"""

import asyncio
import json
import os
import random
import shutil
import sys
from collections import Counter
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp
from chaos.mounts import mount
from evidence_rows import prove
from free_ports import pick_free
from servers_services import Service

from roadvault_common.files.ledger_book import Book
from roadvault_common.settings.config import DatabaseSettings
from roadvault_common.sql.db import Database

DISK_BYTES, FOLDER_BYTES, MARGIN_BYTES = 64_000_000, 8_000_000, 4_000_000
UPLOAD_BYTES = (1_000, 100_000, 700_000, 3_000_000)
CLIENTS = 4
"""Of each ingest."""
TAKEN_BYTES, REFUSED, FETCHED = 2 * DISK_BYTES, 10, 3
"""What has to have happened before it ends."""
KILLS = 4
RECENT = 10
"""Files back that are asked for: there is no network, and no copy is left when an archive is dropped."""
REQUESTS = 4
"""Under way at a time."""


class Busy:
    """What goes on, and what came of it."""

    def __init__(self, db: Database, http: aiohttp.ClientSession, services: dict[str, Service]) -> None:
        self.db = db
        self.http = http
        self.services = services
        self.answers: Counter[str] = Counter()
        self.taken: list[int] = []
        self.bytes = self.fetched = 0
        self.over = asyncio.Event()

    def enough(self) -> bool:
        return self.bytes >= TAKEN_BYTES and self.answers["507"] >= REFUSED and self.fetched >= FETCHED

    async def client(self, ingest: Service, dice: random.Random) -> None:
        """Upload, and ask for some of it."""
        while not self.over.is_set():
            content = os.urandom(dice.choice(UPLOAD_BYTES))
            form = aiohttp.FormData({"filename": "a.mp4"})
            form.add_field("file", content, filename="a.mp4")
            try:
                async with self.http.post(f"{ingest.url}/api/open/upload", data=form) as response:
                    body = await response.json()
            except aiohttp.ClientError:  # it was killed
                await asyncio.sleep(0.05)
                continue
            self.answers[f"{response.status}"] += 1
            if response.status == 507:  # more patient than a camera, less than it is told to be
                await asyncio.sleep(0.3)
            if response.status == 200:
                self.bytes += len(content)
                self.taken.append(body["result"]["fileID"])
            elif "is full" in body["message"]:  # no room was kept for it
                self.answers["full"] += 1

    async def ask(self, ingest: Service, dice: random.Random) -> None:
        """Ask for files, a few at a time."""
        while not self.over.is_set():
            await asyncio.sleep(0.1)
            open_ones = await self.db.fetch_one(
                "SELECT COUNT(*) AS n FROM download_info WHERE path IS NULL AND status = 0"
            )
            if self.taken and open_ones is not None and open_ones["n"] < 4:
                body = {"fileID": dice.choice(self.taken[-RECENT:]), "cbUrl": "http://127.0.0.1:9/"}
                try:
                    async with self.http.post(f"{ingest.url}/api/open/downFile", json=body) as response:
                        await response.read()
                except aiohttp.ClientError:
                    continue

    async def network(self) -> None:
        """Be the network that comes to hold archives, and the clients that take files."""
        while not self.over.is_set():
            await asyncio.sleep(0.3)
            await prove(self.db)
            self.fetched += await self.db.execute(
                "UPDATE download_info SET callback_due = NULL, expire_due = UTC_TIMESTAMP(6)"
                " WHERE path IS NOT NULL AND callback_due IS NOT NULL"
            )

    async def kill(self, names: list[str]) -> None:
        """Kill one service after the other, in the middle of what it does."""
        for name in names:
            before = self.bytes
            while self.bytes < before + TAKEN_BYTES // (2 * KILLS):
                await asyncio.sleep(0.02)
            service = self.services[name]
            assert service.process is not None
            service.process.kill()
            await service.process.wait()
            await service.start()


async def scenario(data_dir: Path, logs: Path) -> dict[str, object]:
    """Have all at work until enough has come of it, then let it come to rest."""
    environment = {name: value for name, value in os.environ.items() if name.startswith("ROADVAULT_")}
    ports = iter(pick_free(6))

    def service(name: str, label: str, **settings: object) -> Service:
        own = {f"ROADVAULT_{key.upper()}": str(value) for key, value in settings.items()}
        own["ROADVAULT_HTTP_PORT"] = str(next(ports))
        return Service(name, {**environment, **own}, logs / f"{label}.log")

    limits = {"folder_bytes": FOLDER_BYTES, "folder_age_seconds": 2, "disk_margin_bytes": MARGIN_BYTES}
    services = {
        "ingest-1": service("ingest", "ingest-1", **limits, ingest_worker="1"),
        "ingest-2": service("ingest", "ingest-2", **limits, ingest_worker="2"),
        "packer-1": service("packer", "packer-1", lease_seconds=5),
        "packer-2": service("packer", "packer-2", lease_seconds=5, concurrency=2),
        "pinner": service("pinner", "pinner", ipfs_filestore="false", disk_margin_bytes=MARGIN_BYTES),
        "retriever": service("retriever", "retriever", lease_seconds=10, disk_margin_bytes=MARGIN_BYTES),
    }
    async with AsyncExitStack() as stack:
        db = await stack.enter_async_context(Database.open(DatabaseSettings().database_url))
        http = await stack.enter_async_context(aiohttp.ClientSession())
        for one in services.values():
            await one.start()
            assert one.process is not None
            stack.push_async_callback(ended, one)
        busy = Busy(db, http, services)
        ingests = [services["ingest-1"], services["ingest-2"]]
        async with asyncio.TaskGroup() as group:
            for number in range(2 * CLIENTS):
                group.create_task(busy.client(ingests[number % 2], random.Random(number)))
            group.create_task(busy.ask(ingests[0], random.Random(0)))
            group.create_task(busy.network())
            kills = group.create_task(busy.kill(["ingest-2", "packer-1", "retriever", "packer-2"]))
            while not (busy.enough() and kills.done()):
                await asyncio.sleep(0.05)
            busy.over.set()
        return await rest(busy, data_dir)


async def ended(service: Service) -> None:
    """End a service, however it is."""
    if service.process is not None and service.process.returncode is None:
        service.process.kill()
        await service.process.wait()


async def rest(busy: Busy, data_dir: Path) -> dict[str, object]:
    """Wait until all is packed, dropped and given back, and tell how it stands."""
    book = Book(data_dir)

    def reserved() -> int:
        with book.locked():
            return sum(sum(note.reserved.values()) for note in book.others().values())

    async with asyncio.timeout(60):
        while await busy.db.fetch_one("SELECT 1 FROM folder_info WHERE status <> 2"):
            await asyncio.sleep(0.1)
        while await busy.db.fetch_one("SELECT 1 FROM zip_ipfs_info WHERE path IS NOT NULL"):
            await prove(busy.db)
            await asyncio.sleep(0.2)
        await ended(busy.services["retriever"])  # it may wait for the network; what it has reserved goes with it
        while await asyncio.to_thread(reserved):
            await asyncio.sleep(0.1)
    failed = await busy.db.fetch_all(
        "SELECT pack_reason AS reason FROM folder_info WHERE pack_failed_at IS NOT NULL UNION ALL"
        " SELECT fetch_reason FROM download_info WHERE fetch_failed_at IS NOT NULL"
    )
    return {
        "answers": busy.answers,
        "bytes": busy.bytes,
        "fetched": busy.fetched,
        "failed": [row["reason"] for row in failed],
        "processes": len([path for path in (data_dir / "ledger").iterdir() if path.name.startswith("process-")]),
        "free": shutil.disk_usage(data_dir).free,
    }


if __name__ == "__main__":
    directory = Path(os.environ["ROADVAULT_DATA_DIR"])
    mount(directory, DISK_BYTES)
    sys.stdout.write(json.dumps(asyncio.run(scenario(directory, Path(sys.argv[1])))) + "\n")
