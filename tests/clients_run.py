"""Runs the programs of clients."""

import asyncio
from collections.abc import Sequence
from pathlib import Path


async def answer(command: Sequence[str], *arguments: str, cwd: Path | None = None) -> str:
    """Run a client to its end; return what it printed."""
    child = await asyncio.create_subprocess_exec(
        *command, *arguments, cwd=cwd, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(60):
        out, errors = await child.communicate()
    assert child.returncode == 0, errors.decode(errors="replace")
    return out.decode()
