"""What was lost with a store: a file of commas, one line for each file and each upload that was not whole."""

import base64
import csv
import os
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

from roadvault_common.plain import plain
from roadvault_common.sql.db import Database, Row
from roadvault_common.work import reasons
from roadvault_operator.stores import lost_store as store

COLUMNS = ("fileID", "name", "size", "SHA-256", "camera", "recordedAt", "received", "why")


@dataclass
class Lost:
    """How much was lost."""

    files: int = 0
    bytes: int = 0
    uploads: int = 0
    perhaps: int = 0
    """Files of archives that were ordered: somebody may have them, though the market counted none."""


async def files(db: Database, name: str) -> AsyncGenerator[Row, None]:
    """Yield the files that were lost with a store."""
    last = 0
    while rows := await store.lost_files(db, name, last):
        for row in rows:
            yield row
        last = rows[-1]["file_id"]


async def uploads(db: Database, name: str) -> AsyncGenerator[Row, None]:
    """Yield the uploads that were not whole."""
    last = ""
    while rows := await store.lost_uploads(db, name, last):
        for row in rows:
            yield row
        last = rows[-1]["upload_id"]


async def write(db: Database, name: str, path: Path | None) -> Lost:
    """Count what was lost with a store, and write it into a file, if one is named: whole, or as it was before."""
    if path is None:
        return await _write(db, name, None)
    beside = path.with_name(f".{path.name}.new")
    with beside.open("w", newline="", encoding="utf-8") as file:
        lost = await _write(db, name, file)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
    return lost


async def _write(db: Database, name: str, file: TextIO | None) -> Lost:
    lost = Lost()
    table = None if file is None else csv.writer(file)
    if table is not None:
        table.writerow(COLUMNS)
    async for row in files(db, name):
        why = reasons.words(row["reason"]) or ""
        lost.files += 1
        lost.bytes += row["size"]
        lost.perhaps += why.endswith(store.ORDERED)
        known = (row["file_id"], plain(row["file_name"]), row["size"], row["sha256"], plain(row["camera"] or ""))
        if table is not None:
            table.writerow([*known, _time(row["recorded_at"]), _time(row["create_time"]), plain(why)])
    async for row in uploads(db, name):
        lost.uploads += 1
        if table is not None:
            why = f"it was not whole: {row['came']} bytes had come"
            known = ("", plain(filename(row["metadata"])), row["size"], "", plain(row["camera"] or ""))
            table.writerow([*known, "", _time(row["begun_at"]), why])
    return lost


def filename(metadata: str) -> str:
    """Return the name that an Upload-Metadata says; empty if it says none that can be read."""
    for pair in metadata.split(","):
        name, _, value = pair.strip().partition(" ")
        if name == "filename":
            try:
                return base64.b64decode(value.strip(), validate=True).decode("utf-8", "replace")
            except ValueError:
                return ""
    return ""


def _time(value: datetime | None) -> str:
    return "" if value is None else value.replace(tzinfo=UTC).isoformat(timespec="milliseconds")
