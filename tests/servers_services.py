"""Services as processes of their own, as an operator runs them."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import aiohttp
import pytest
from cryptography.fernet import Fernet
from forked import AwaitedFork
from free_ports import pick_free

from roadvault_common.files.identity import Identity
from roadvault_common.sql.db import Database
from roadvault_stack.kubo import Kubo
from roadvault_stack.ports import HOST


class Service:
    """A service's process; its settings are the environment's."""

    def __init__(self, name: str, environment: dict[str, str], log: Path) -> None:
        self.name = name
        self.environment = environment
        self.log = log
        self.url = f"http://{HOST}:{environment['ROADVAULT_HTTP_PORT']}"
        self.process: asyncio.subprocess.Process | AwaitedFork | None = None
        self.under: list[str] = []
        """A command that runs the service, such as a tracer."""

    @property
    def public_url(self) -> str:
        """Where a door serves links."""
        return f"http://{HOST}:{self.environment['ROADVAULT_PUBLIC_PORT']}"

    async def start(self) -> None:
        """Start it and wait until it is ready."""
        await self.launch()
        async with asyncio.timeout(30):
            while await self.readiness() != 200:
                assert self.process is not None
                assert self.process.returncode is None, self.log.read_text()
                await asyncio.sleep(0.05)

    async def launch(self) -> None:
        """Start it without waiting."""
        environment = {"PATH": os.environ["PATH"], **self.environment}
        if not self.under and "PYTHONPATH" not in environment:  # which counts when Python starts
            self.process = AwaitedFork(f"roadvault_{self.name.replace('-', '_')}.__main__", [], environment, self.log)
            return
        with self.log.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                *self.under,
                str(Path(sys.executable).with_name(f"roadvault-{self.name}")),
                env=environment,
                stdout=log,
                stderr=log,
            )

    async def readiness(self) -> int:
        """Return the status of /readyz, 0 if nobody answers."""
        try:
            async with aiohttp.ClientSession() as http, http.get(f"{self.url}/readyz") as response:
                return response.status
        except aiohttp.ClientError:
            return 0

    def terminate(self) -> None:
        """Tell it to stop."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)

    async def ended(self, seconds: float) -> tuple[int, float]:
        """Wait for its end; return its exit code and how long that took."""
        assert self.process is not None
        started = time.monotonic()
        code = await asyncio.wait_for(self.process.wait(), seconds)
        return code, time.monotonic() - started


Services = Callable[..., Service]


@pytest.fixture
async def services(
    database_url: str, redis_url: str, data_dir: Path, kubo: Kubo, tmp_path: Path
) -> AsyncIterator[Services]:
    """Make services, by their names; whatever still runs at the end is killed."""
    made: list[Service] = []
    common = {
        "ROADVAULT_DATABASE_URL": database_url,
        "ROADVAULT_REDIS_URL": redis_url,
        "ROADVAULT_DATA_DIR": str(data_dir),
        "ROADVAULT_MASTER_KEYS": Fernet.generate_key().decode(),
        "ROADVAULT_LINK_SECRET": "a secret for signing links",
        "ROADVAULT_PUBLIC_URL": "http://files.example",
        "ROADVAULT_IPFS_RPC_URL": kubo.rpc_url,
        "ROADVAULT_IPFS_GATEWAY_URL": kubo.gateway_url,
        "ROADVAULT_CALLBACK_ALLOW_PRIVATE": "127.0.0.0/8,::1/128",
        "ROADVAULT_DISK_MARGIN_BYTES": "0",
        "ROADVAULT_SWEEP_SECONDS": "1",
        "ROADVAULT_DRAIN_SECONDS": "5",
    }

    def make(name: str, **settings: object) -> Service:
        ports = dict(zip(("http_port", "public_port"), pick_free(2), strict=True))
        own = {f"ROADVAULT_{key.upper()}": str(value) for key, value in {**ports, **settings}.items()}
        service = Service(name, {**common, **own}, tmp_path / f"{name}-{len(made)}.log")
        made.append(service)
        return service

    async with Database.open(database_url, size=1) as db:
        await Identity(db, data_dir).settle()  # a door waits until another service has made it
    yield make
    for service in made:
        if service.process is not None and service.process.returncode is None:
            service.process.kill()
            await service.process.wait()
