"""A copy of the custody log in a directory of the operator's: files that don't change, each behind the one before."""

import asyncio
import re
from collections.abc import Callable
from pathlib import Path

from roadvault_common.custody import slices, store
from roadvault_common.custody.chain import Head
from roadvault_common.errors import PermanentError, SettingsError
from roadvault_common.files.new_file import create, write_all
from roadvault_common.sql.db import Database

_NAME = "{first:015}-{last:015}.gz"
_SLICE = re.compile(r"([0-9]{15})-([0-9]{15})\.gz")

Progress = Callable[[int], None]
"""Told of lines."""


async def save(db: Database, directory: Path, progress: Progress) -> int:
    """Add files of all lines that the copy lacks; return how many lines it has then.

    Raises:
        SettingsError: There is no such directory.
        PermanentError: The copy is longer than the log, or the log is not whole.
        DiskFull: There is no room.
    """
    there = await asyncio.to_thread(_slices, directory)
    first = there[-1][1] if there else 0
    head = await store.head(db)
    size = 0 if head is None else head.size
    if first > size:
        raise PermanentError(f"the copy has {first} lines, the log {size}: check the log, or take another directory")
    progress(first)
    while first < size:
        last = min(first + slices.MOST_LINES, size)
        content = await slices.export(db, first, last)
        await asyncio.to_thread(_write, directory / _NAME.format(first=first, last=last), content)
        progress(last - first)
        first = last
    return size


async def bring_back(db: Database, directory: Path) -> Head:
    """Write all lines of a copy that the log lacks; return its head then. No service may run that chains lines.

    Raises:
        SettingsError: There is no such directory, or nothing in it.
        IntegrityError: A file is none of a copy, or a line is not what was chained; files before it were brought back.
        PermanentError: A file is missing, or the log has come further than the copy.
    """
    there = await asyncio.to_thread(_slices, directory)
    if not there:
        raise SettingsError(f"{directory} has no copy of a custody log")
    for path, _ in there:
        head = await slices.bring_back(db, await asyncio.to_thread(path.read_bytes))
    return head


def _slices(directory: Path) -> list[tuple[Path, int]]:
    """Return a copy's files in their order, each with the position behind its last line."""
    if not directory.is_dir():
        raise SettingsError(f"{directory} is no directory")
    found = [(path, match) for path in sorted(directory.iterdir()) if (match := _SLICE.fullmatch(path.name))]
    return [(path, int(match[2])) for path, match in found]


def _write(path: Path, content: bytes) -> None:
    with create(path) as file:
        write_all(file, content)
