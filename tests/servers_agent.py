"""The agent as a process, at an ingest that is one, too."""

import asyncio
import json
import os
import sqlite3
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path

import pytest

from roadvault_agent import state


class AgentProcess:
    """An agent that watches `cam`."""

    def __init__(self, directory: Path, url: str, settings: str) -> None:
        self.cam = directory / "cam"
        self.cam.mkdir(exist_ok=True)
        self.state = directory / "state"
        self.log = directory / "agent.log"
        self._config = directory / "agent.toml"
        self.url = url
        self.set(settings)
        self._process: asyncio.subprocess.Process | None = None

    def set(self, settings: str) -> None:
        """Write settings: before a `|` the agent's, behind it the folder's."""
        self._config.write_text(
            f'url = "{self.url}"\nstate = {json.dumps(str(self.state))}\npoll_seconds = 0.3\n'
            f"{settings.partition('|')[0]}\n[[folder]]\npath = {json.dumps(str(self.cam))}\nsettle_seconds = 0.2\n"
            f"{settings.partition('|')[2]}"
        )

    async def start(self, command: str = "run") -> None:
        await self.kill()
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "roadvault_agent", "-c", str(self._config), command, stdout=log, stderr=log
            )

    async def ended(self, seconds: float = 60) -> int:
        assert self._process is not None
        return await asyncio.wait_for(self._process.wait(), seconds)

    async def kill(self) -> None:
        if self._process is not None:
            with suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()

    async def stop(self) -> int:
        assert self._process is not None
        self._process.terminate()
        return await self.ended(30)

    async def once(self) -> int:
        await self.start("once")
        return await self.ended()

    async def command(self, command: str) -> str:
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "roadvault_agent", "-c", str(self._config), command,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        return (await child.communicate())[0].decode()

    def counts(self) -> dict[str, int]:
        try:
            return state.counts(self.state)
        except sqlite3.OperationalError:  # it has just begun
            return {}

    async def until(self, wanted: Callable[["AgentProcess"], bool], seconds: float = 30) -> None:
        try:
            async with asyncio.timeout(seconds):
                while not await asyncio.to_thread(wanted, self):
                    await asyncio.sleep(0.1)
        except TimeoutError:
            tail = "\n".join(self.log.read_text(errors="replace").splitlines()[-30:])
            raise AssertionError(f"not so within {seconds} s: {self.counts()}\n{tail}") from None

    def put(self, name: str, content: bytes) -> Path:
        """Lay a file as a recorder does: it appears and grows."""
        path = self.cam / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path

    def lying(self) -> list[str]:
        """Return what lies in the folder."""
        return sorted(os.fsdecode(path.relative_to(self.cam)) for path in self.cam.rglob("*") if path.is_file())


MakeAgent = Callable[..., AgentProcess]


@pytest.fixture
async def make_agent(tmp_path: Path) -> AsyncIterator[MakeAgent]:
    """Make agents; settings before a `|` are the agent's, behind it the folder's."""
    made: list[AgentProcess] = []

    def make(url: str, settings: str = "|") -> AgentProcess:
        agent = AgentProcess(tmp_path, url, settings)
        made.append(agent)
        return agent

    yield make
    for agent in made:
        await agent.kill()
