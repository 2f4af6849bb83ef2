"""A custody log for tests: files that were received, and what was done to them and to their archives."""

import random
from pathlib import Path

import pytest

from roadvault_common.custody import chainer, fault_store
from roadvault_common.custody.check import check_all
from roadvault_common.sql.custody_lines import Act, Line, record
from roadvault_common.sql.db import Database, Row

FILES, FILES_EACH = 100, 10
LINES = 600


async def fill_log(db: Database, lines: int, seed: int = 7) -> None:
    """Chain a log of that many lines: 100 files in archives of ten, and acts on any of them in any order."""
    dice = random.Random(seed)
    acts = [
        Line(Act.RECEIVED, {"from": f"192.0.2.{number}", "sha256": f"{number:064x}", "size": number}, number)
        for number in range(1, FILES + 1)
    ]
    acts += [
        Line(Act.PACKED, {"folder": number, "files": FILES_EACH, "from": "192"}, zip_id=number)
        for number in range(1, 1 + FILES // FILES_EACH)
    ]
    while len(acts) < lines:
        facts = {"by": f"192.0.2.{len(acts) % 250}", "for": "client.example:443", "request": len(acts)}
        if len(acts) == 300 or dice.random() < 0.8:
            acts.append(Line(Act.ASKED, facts, 1 + (len(acts) if len(acts) == 300 else dice.randrange(FILES)) % FILES))
        else:
            acts.append(Line(Act.PROVEN, {"by": "192.0.2.7"}, zip_id=1 + dice.randrange(FILES // FILES_EACH)))
    await db.transact(lambda tx: record(tx, *acts[: lines // 2]))
    await chainer.chain_some(db, 70)
    await db.transact(lambda tx: record(tx, *acts[lines // 2 : lines]))
    await chainer.chain(db)


async def at_position(db: Database, position: int) -> Row:
    """Return a line of the chain."""
    (row,) = await db.fetch_all("SELECT * FROM custody_info WHERE position = %s", (position,))
    return row


@pytest.fixture
async def log(db: Database) -> Database:
    """A log of LINES lines: the files 1 to 100, received, and all that was done to them and to the archives 1 to 10."""
    await fill_log(db, LINES)
    return db


async def faults(db: Database, root: Path | None = None) -> list[int]:
    """Return the positions at which a check of the whole log finds something wrong."""
    told = list[int]()
    found = [fault.position for fault in await check_all(db, root, told.append)]
    assert [row["position"] for row in await fault_store.faults(db, 1000)] == sorted(set(found[:100]))
    return sorted(set(found))
