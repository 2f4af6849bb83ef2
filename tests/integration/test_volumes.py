"""What docker-compose.yml mounts for ingest and the door is enough for them, and no more: both run with such mounts."""

import asyncio
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml
from chaos.crowd import upload
from chaos.mounts import NoMounts, with_own_mounts
from servers_door import extracted, token
from servers_services import Service, Services

from roadvault_common.sql.db import Database

ROOT = Path(__file__).parents[2]
BYTES = bytes(range(256)) * 40


@pytest.fixture
def volume(data_dir: Path) -> dict[str, Any]:
    """The services of docker-compose.yml; on the volume are the directories that its first container makes."""
    services: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    for made in services["vault"]["command"]:
        if made.startswith("/vault/data"):
            (data_dir / made.removeprefix("/vault/data").lstrip("/")).mkdir(exist_ok=True)
    return services


def as_mounted(service: Service, volumes: list[dict[str, Any]], data_dir: Path, at: Path, first: str) -> None:
    """Have a service see the volume as docker shows it; `first` runs there before it, and has to succeed."""
    try:
        own = with_own_mounts()
    except NoMounts as error:
        raise pytest.fail.Exception(str(error), pytrace=False) from None
    at.mkdir()
    lines = ["set -e"]
    for one in volumes:
        target, ro = f"{at}{one['target'].removeprefix('/vault/data')}", "ro" if one.get("read_only") else "rw"
        if one["type"] == "tmpfs":
            lines.append(f"mount -t tmpfs -o {ro} nothing '{target}'")
        else:
            part = one["volume"]["subpath"].removeprefix("data").lstrip("/")
            lines.append(f"mount --bind -o {ro} '{data_dir / part}' '{target}'")
    service.environment["ROADVAULT_DATA_DIR"] = str(at)
    service.under = [*own, "sh", "-c", "\n".join([*lines, f"cd '{at}'", first, 'exec "$0"'])]


async def test_ingest_takes_uploads_and_sets_aside_and_can_change_no_archive(
    services: Services, volume: dict[str, Any], data_dir: Path, tmp_path: Path
) -> None:
    archive, unnamed = data_dir / "archives" / "1-x.7z.enc", data_dir / "received" / "00" / ("0" * 32)
    unnamed.parent.mkdir(exist_ok=True)
    for path in (archive, unnamed):
        path.write_bytes(BYTES)
    ingest = services("ingest", orphan_hours=0.0001)
    cant = "for one in archives downloads; do if touch $one/x || rm -f archives/1-x.7z.enc; then exit 1; fi; done"
    as_mounted(ingest, volume["ingest"]["volumes"], data_dir, tmp_path / "seen", cant)
    await ingest.start()
    async with aiohttp.ClientSession() as http, asyncio.timeout(30):
        await upload(http, ingest.url, BYTES)
        while not list((data_dir / "quarantine" / "received").iterdir()):
            await asyncio.sleep(0.1)
    assert archive.read_bytes() == BYTES
    assert not unnamed.exists()


async def test_the_door_serves_links_and_sees_no_upload(
    services: Services, volume: dict[str, Any], db: Database, data_dir: Path, tmp_path: Path
) -> None:
    link = f"/d/{token(await extracted(db, data_dir, BYTES))}"
    for name in ("received", "archives", "quarantine", "ledger"):
        (data_dir / name / "somebodys").write_bytes(BYTES)
    door = services("door")
    empty = 'for one in received archives quarantine ledger; do test -z "$(ls -A $one)"; done'
    seen = f"{empty}; if touch x || touch downloads/x; then exit 1; fi"
    as_mounted(door, volume["door"]["volumes"], data_dir, tmp_path / "seen", seen)
    await door.start()
    async with aiohttp.ClientSession() as http, http.get(door.public_url + link) as response:
        assert (response.status, await response.read()) == (200, BYTES)
