"""A disk that is filled to the last upload that ingest admits, and how the system digs itself out.

Run in a mount namespace of its own (`unshare --mount`), with the services' settings in the environment: mounts a small
file system at ROADVAULT_DATA_DIR and runs real services on it.
"""

import asyncio
import json
import os
import shutil
import sys
from collections import Counter
from pathlib import Path

import aiohttp
from chaos.mounts import mount
from evidence_rows import prove
from free_ports import pick_free
from servers_services import Service

from roadvault_common.settings.config import DatabaseSettings
from roadvault_common.sql.db import Database

DISK_BYTES, FOLDER_BYTES, UPLOAD_BYTES, MARGIN_BYTES = 80_000_000, 8_000_000, 700_000, 2_000_000
AT_ONCE = 8


async def fill(http: aiohttp.ClientSession, url: str) -> Counter[int]:
    """Upload until every answer is 507; return how often each status came."""
    statuses: Counter[int] = Counter()
    full = asyncio.Event()

    async def client() -> None:
        while not full.is_set():
            form = aiohttp.FormData()
            form.add_field("filename", "a.mp4")
            form.add_field("file", os.urandom(UPLOAD_BYTES), filename="a.mp4")
            async with http.post(f"{url}/api/open/upload", data=form) as response:
                statuses[response.status] += 1
                if response.status == 507:
                    assert int(response.headers["Retry-After"]) > 0
                    full.set()
                else:
                    assert response.status == 200, await response.text()

    await asyncio.gather(*(client() for _ in range(AT_ONCE)))
    return statuses


async def until(db: Database, none: str, seconds: float = 60) -> None:
    """Wait until a query finds nothing."""
    async with asyncio.timeout(seconds):
        while await db.fetch_one(none):
            await asyncio.sleep(0.1)


async def scenario(data_dir: Path, logs: Path) -> dict[str, object]:
    """Fill, dig out, drop, and fill again."""
    environment = {name: value for name, value in os.environ.items() if name.startswith("ROADVAULT_")}

    def service(name: str, **settings: object) -> Service:
        own = {f"ROADVAULT_{key.upper()}": str(value) for key, value in settings.items()}
        own["ROADVAULT_HTTP_PORT"] = str(pick_free(1)[0])
        return Service(name, {**environment, **own}, logs / f"{name}.log")

    limits = {"folder_bytes": FOLDER_BYTES, "folder_age_seconds": 3, "disk_margin_bytes": MARGIN_BYTES}
    ingest, packer, pinner = service("ingest", **limits), service("packer"), service("pinner", ipfs_filestore="false")
    report: dict[str, object] = {}
    running: list[Service] = []
    try:
        async with Database.open(DatabaseSettings().database_url) as db, aiohttp.ClientSession() as http:
            await ingest.start()
            running.append(ingest)
            # Nothing is packed meanwhile: all that was admitted waits, and must find room to be packed.
            report["first"] = await fill(http, ingest.url)
            report["free when full"] = shutil.disk_usage(data_dir).free
            for worker in (packer, pinner):
                await worker.start()
                running.append(worker)
            await until(db, "SELECT 1 FROM folder_info WHERE status <> 2")
            await until(db, "SELECT 1 FROM zip_ipfs_info WHERE uploads_dropped_at IS NULL")
            report["failed"] = len(await db.fetch_all("SELECT 1 FROM folder_info WHERE pack_failed_at IS NOT NULL"))
            report["second"] = await fill(http, ingest.url)
            await until(db, "SELECT 1 FROM folder_info WHERE status <> 2")
            await until(db, "SELECT 1 FROM zip_ipfs_info WHERE uploads_dropped_at IS NULL")
            # As when the network has them: the archives go, and all the room comes back.
            await prove(db)
            await until(db, "SELECT 1 FROM zip_ipfs_info WHERE path IS NOT NULL")
            report["free in the end"] = shutil.disk_usage(data_dir).free
            # Nothing is packed meanwhile, as the first time: archives under way would take room, too.
            for worker in (packer, pinner):
                worker.terminate()
                await worker.ended(30)
            report["third"] = await fill(http, ingest.url)
    finally:
        for one in running:
            if one.process is not None and one.process.returncode is None:
                one.process.kill()
                await one.process.wait()
    return report


if __name__ == "__main__":
    directory = Path(os.environ["ROADVAULT_DATA_DIR"])
    mount(directory, DISK_BYTES)
    sys.stdout.write(json.dumps(asyncio.run(scenario(directory, Path(sys.argv[1])))) + "\n")
