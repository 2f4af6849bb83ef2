"""Dumps of a database and their return, with the server's own programs, as an operator does it."""

import asyncio
from urllib.parse import urlsplit

from roadvault_stack import programs


async def dump(url: str) -> bytes:
    """Return all tables, as SQL that puts them in the place of what is there."""
    return await _client("mariadb-dump", url, b"")


async def restore(url: str, dumped: bytes) -> None:
    """Bring the tables back to what they were."""
    await _client("mariadb", url, dumped)


async def _client(program: str, url: str, sql: bytes) -> bytes:
    parts = urlsplit(url)
    child = await asyncio.create_subprocess_exec(
        programs.find(program), "--no-defaults", f"--host={parts.hostname}", f"--port={parts.port}",
        f"--user={parts.username}", parts.path[1:], env={"MYSQL_PWD": parts.password or ""},
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, errors = await child.communicate(sql)
    assert child.returncode == 0, errors
    return out
