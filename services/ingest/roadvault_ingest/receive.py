"""Takes an upload's body: streamed to disk in constant memory, hashed on the way, durable at the end."""

import asyncio
import re
import secrets
import unicodedata
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import TypeVar

from aiohttp import BodyPartReader, MultipartReader

from roadvault_common.vault import RECEIVED, NewFile, Vault
from roadvault_ingest.problems import Problem, TooLarge, TooSlow, WrongHash

T = TypeVar("T")

CHUNK_BYTES = 1 << 18
_FIELD_BYTES = 4096
"""Longest text field that is read."""
_NAME_BYTES = 255
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Received:
    """An upload that is durable on the disk; `path` is relative to the data directory, `size` bytes."""

    name: str
    path: str
    size: int
    sha256: str


class Incoming(NewFile):
    """One upload on its way to disk, under a random name; `relative` is its path below the data directory."""

    def __init__(self, vault: Vault) -> None:
        token = secrets.token_hex(16)
        self.relative = f"{RECEIVED}/{token[:2]}/{token}"
        super().__init__(vault.path(self.relative))


async def receive(reader: MultipartReader, incoming: Incoming, largest: int, stall_seconds: float) -> Received:
    """Read the parts `file`, `filename` and, if the client likes, `sha256`, in any order.

    Raises:
        Problem: The body is not what it should be. The caller discards `incoming`.
        DiskFull: There is no room for the file.
    """
    fields: dict[str, str] = {}
    while (part := await _timely(reader.next(), stall_seconds)) is not None:
        if not isinstance(part, BodyPartReader):
            raise Problem("a part of the form is itself multipart")
        if part.name == "file":
            if incoming.size:
                raise Problem("the form has more than one file; send one in each request")
            await _stream(part, incoming, largest, stall_seconds)
        elif part.name is not None:
            fields[part.name] = await _text(part, stall_seconds)
    if not incoming.size:
        raise Problem("the form has no file, or the file is empty")
    name = checked_name(fields.get("filename", ""))
    await asyncio.to_thread(incoming.finish)
    sha256 = incoming.sha256
    expected = fields.get("sha256", "").strip().lower()
    if expected and not _SHA256.fullmatch(expected):
        raise Problem("sha256 must be 64 hex digits")
    if expected and expected != sha256:
        raise WrongHash(f"the file that arrived has SHA-256 {sha256}, not the one that was announced")
    return Received(name, incoming.relative, incoming.size, sha256)


def checked_name(name: str) -> str:
    """Return a file name that is a plain name: no path, no control characters, at most 255 bytes.

    Raises:
        Problem: It is not.
    """
    if not name.strip():
        raise Problem("filename is missing")
    if "/" in name or "\\" in name or name in {".", ".."}:
        raise Problem("filename must be a plain name, without a path")
    if any(unicodedata.category(character) in {"Cc", "Cs", "Zl", "Zp"} for character in name):
        raise Problem("filename must not contain control characters")
    if len(name.encode()) > _NAME_BYTES:
        raise Problem(f"filename must not be longer than {_NAME_BYTES} bytes")
    return name


async def _stream(part: BodyPartReader, incoming: Incoming, largest: int, stall_seconds: float) -> None:
    writing: asyncio.Future[None] | None = None
    taken = 0
    try:
        while chunk := await _timely(part.read_chunk(CHUNK_BYTES), stall_seconds):
            taken += len(chunk)
            if taken > largest:
                raise TooLarge(f"the file is longer than {largest} bytes, the largest that is taken")
            # One piece is written and hashed while the next one comes in.
            if writing is not None:
                await writing
            writing = asyncio.ensure_future(asyncio.to_thread(incoming.write, chunk))
    finally:
        if writing is not None:
            await asyncio.shield(writing)


async def _text(part: BodyPartReader, stall_seconds: float) -> str:
    text = b""
    while chunk := await _timely(part.read_chunk(_FIELD_BYTES), stall_seconds):
        text += chunk
        if len(text) > _FIELD_BYTES:
            raise Problem(f"the field {part.name!r} is longer than {_FIELD_BYTES} bytes")
    try:
        return text.decode()
    except UnicodeDecodeError:
        raise Problem(f"the field {part.name!r} is not UTF-8") from None


async def _timely(awaitable: Awaitable[T], seconds: float) -> T:
    try:
        async with asyncio.timeout(seconds):
            return await awaitable
    except TimeoutError:
        raise TooSlow(f"nothing arrived for {seconds:.0f} s") from None
    except ValueError as error:
        raise Problem(f"the multipart body is malformed or ends early: {error}") from None
