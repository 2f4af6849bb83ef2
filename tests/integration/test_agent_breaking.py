"""The agent over a link that breaks every few seconds, while agent and ingest are killed: each file once, none lost.

`ROADVAULT_AGENT_FILES` sets how many files; 10 000 take some minutes.
"""

import asyncio
import hashlib
import os
import random
from contextlib import suppress
from pathlib import Path

import pytest
from servers_agent import AgentProcess, MakeAgent
from servers_line import cut_again_and_again, line
from servers_services import Service, Services

from roadvault_common.sql.db import Database

FILES = int(os.environ.get("ROADVAULT_AGENT_FILES", "1000"))
SECONDS = 90 + FILES / 5
LONG_BYTES = 6_000_000
CUT_SECONDS, KILL_SECONDS = 2.0, 3.0


def lay(cam: Path) -> dict[str, str]:
    """Lay small files, and a few that are sent resumably; return the SHA-256 of each, by name."""
    sums = {}
    for number in range(FILES):
        content = os.urandom(LONG_BYTES if number % 250 == 7 else random.randint(500, 5000))
        path = cam / f"camera-{number % 10}" / f"{number:05d}.mp4"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
        sums[path.name] = hashlib.sha256(content).hexdigest()
    return sums


async def kill_in_turn(agent: AgentProcess, ingest: Service) -> None:
    """Kill now one, now the other, at any moment, for ever."""
    while True:
        await asyncio.sleep(KILL_SECONDS * random.uniform(0.5, 1.5))
        await agent.kill()
        await agent.start()
        await asyncio.sleep(KILL_SECONDS * random.uniform(0.5, 1.5))
        assert ingest.process is not None
        ingest.process.kill()
        await ingest.process.wait()
        await ingest.start()


@pytest.mark.timeout(SECONDS + 60)
async def test_each_file_is_there_once(services: Services, make_agent: MakeAgent, database_url: str) -> None:
    ingest = services("ingest")
    await ingest.start()
    async with line(ingest.url) as link:
        agent = make_agent(link.url, 'uploads_at_once = 8|then = "delete"')
        sums = await asyncio.to_thread(lay, agent.cam)
        await agent.start()
        async with cut_again_and_again(link, CUT_SECONDS):
            killing = asyncio.create_task(kill_in_turn(agent, ingest))
            done = asyncio.create_task(agent.until(lambda one: not any(one.cam.rglob("*.mp4")), SECONDS))
            try:
                await asyncio.wait({killing, done}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                killing.cancel()
                with suppress(asyncio.CancelledError):
                    await killing
            await done
        if await ingest.readiness() != 200:
            await ingest.start()
        await agent.start()
        await agent.until(lambda one: one.counts() == {"done": FILES})
    assert agent.lying() == []
    async with Database.open(database_url, size=1) as db:
        rows = await db.fetch_all("SELECT file_name, sha256 FROM file_upload_info")
    assert len(rows) == FILES
    assert {row["file_name"]: row["sha256"] for row in rows} == sums
