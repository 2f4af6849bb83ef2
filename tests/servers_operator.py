"""The operator's command line as a process, and the system that it looks at."""

import json
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet
from forked import completed
from pydantic import SecretStr

from roadvault_common.archive.crypto import MasterKeys
from roadvault_common.events.bus import Bus
from roadvault_common.files.facts import NOTHING, Facts
from roadvault_common.files.identity import Identity
from roadvault_common.files.vault import Vault
from roadvault_common.ipfs.rpc import Ipfs
from roadvault_common.sql.db import Database
from roadvault_common.work.outcome import Done
from roadvault_ingest.store import IngestStore, Limits
from roadvault_ingest.uploads.receive import Incoming, Received
from roadvault_packer.config import PackerSettings
from roadvault_packer.service import Packer
from roadvault_pinner.config import PinnerSettings
from roadvault_pinner.service import Pinner
from roadvault_stack.kubo import Kubo

LIMITS = Limits(files=2, bytes=1 << 40, age_seconds=3600)

KNOWN = Facts(
    camera="gate 7 北",
    recordedAt=datetime(2026, 11, 28, 0, 30, 0, 500, tzinfo=UTC),
    lat=30.1,
    lon=-0.1,
    tags=("a", "b"),
)


@dataclass
class Console:
    """The command line, and the system it looks at."""

    db: Database
    bus: Bus
    vault: Vault
    packer: Packer
    pinner: Pinner
    environment: dict[str, str]
    settings: dict[str, object]
    """What all services have in common."""

    async def run(self, *arguments: object) -> tuple[int, str, str]:
        environment = {"PATH": os.environ["PATH"], "COLUMNS": "200", **self.environment}
        code, out, errors = await completed("roadvault_operator.__main__", [*map(str, arguments)], environment)
        assert "Traceback" not in errors
        return code, out, errors

    async def says(self, *arguments: object) -> str:
        code, out, errors = await self.run(*arguments)
        assert code == 0, errors
        return out

    async def refuses(self, *arguments: object, code: int = 1) -> str:
        ended, out, errors = await self.run(*arguments)
        assert ended == code, out
        assert len(errors.splitlines()) == 1
        return errors

    async def tells(self, *arguments: object, code: int = 0) -> dict[str, Any]:
        """Return what a command answers a program."""
        ended, out, _ = await self.run(*arguments, "--json")
        told: dict[str, Any] = json.loads(out)
        assert (ended, told["exit"]) == (code, code), told
        assert list(told) == ["command", "exit", "error", "facts", "tables", "lines"]
        assert out.isascii()
        return told

    async def file(self, size: int = 100_000, facts: Facts = NOTHING) -> int:
        incoming = Incoming(self.vault)
        incoming.write(os.urandom(size))
        incoming.finish()
        received = Received("a.mp4", incoming.relative, size, incoming.sha256, facts=facts)
        (placed,) = await IngestStore(self.db).add_files("console", [received], LIMITS)
        return placed.folder_id

    async def archive(self) -> int:
        await self.file(facts=KNOWN)
        folder_id = await self.file()
        assert await self.packer.packing.work(folder_id) == Done()
        row = await self.db.fetch_one("SELECT zip_id FROM zip_ipfs_info WHERE folder_id = %s", (folder_id,))
        assert row is not None
        return int(row["zip_id"])


@pytest.fixture
async def console(database_url: str, redis_url: str, data_dir: Path, kubo: Kubo) -> AsyncIterator[Console]:
    keys = SecretStr(Fernet.generate_key().decode())
    common = {"database_url": database_url, "redis_url": redis_url, "data_dir": data_dir, "master_keys": keys}
    vault = Vault(data_dir)
    vault.prepare()
    environment = {
        "ROADVAULT_DATABASE_URL": database_url,
        "ROADVAULT_REDIS_URL": redis_url,
        "ROADVAULT_DATA_DIR": str(data_dir),
        "ROADVAULT_MASTER_KEYS": keys.get_secret_value(),
        "ROADVAULT_IPFS_GATEWAY_URL": kubo.gateway_url,
    }
    async with (
        Database.open(database_url) as db,
        Bus.open(SecretStr(redis_url), "test") as bus,
        Ipfs.open(kubo.rpc_url, 30) as ipfs,
    ):
        await Identity(db, vault.root).settle()
        packer = Packer(PackerSettings.model_validate(common), db, bus, vault, MasterKeys(keys))
        pinner = Pinner(PinnerSettings.model_validate(common), db, bus, vault, MasterKeys(keys), ipfs)
        yield Console(db, bus, vault, packer, pinner, environment, dict(common))
