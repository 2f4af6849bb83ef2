"""Reads files here again, and tells whether an upload is still what its row says."""

import asyncio
import hashlib
from collections.abc import AsyncGenerator, Callable
from pathlib import Path

from roadvault_common.errors import RoadVaultError, brief
from roadvault_common.files.vault import Vault
from roadvault_common.sql.db import Row

_READ_BYTES = 4 << 20


async def pieces(path: Path) -> AsyncGenerator[bytes, None]:
    """Yield a file's bytes, without holding up others."""
    with await asyncio.to_thread(path.open, "rb", buffering=0) as file:
        while piece := await asyncio.to_thread(file.read, _READ_BYTES):
            yield piece


async def fault(vault: Vault, file: Row, advance: Callable[[int], object] = lambda _: None) -> str | None:
    """Return what is wrong with an upload (`path` and `sha256`), or None; `advance` is told of bytes that were read."""
    if file["path"] is None:
        return "no row names its bytes any more"
    digest = hashlib.sha256()
    try:
        async for piece in pieces(vault.path(file["path"])):
            await asyncio.to_thread(digest.update, piece)
            advance(len(piece))
    except (RoadVaultError, OSError) as error:
        return brief(error)
    return None if digest.hexdigest() == file["sha256"] else "it does not have its SHA-256"
