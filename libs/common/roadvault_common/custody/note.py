"""The head of the custody log as the data directory's `custody.json` has it: a tail that is cut off is missed by it."""

import asyncio
from pathlib import Path

from pydantic import BaseModel, Field, ValidationError

from roadvault_common.custody import store
from roadvault_common.custody.chain import NONE, Head
from roadvault_common.errors import IntegrityError
from roadvault_common.files.new_file import replace
from roadvault_common.sql.db import Database, Transaction

FILE = "custody.json"
"""Its name in the data directory."""


class Note(BaseModel):
    """What the file says."""

    size: int = Field(ge=0)
    hash: str = Field(pattern="^[0-9a-f]{64}$")


def read(root: Path) -> Head | None:
    """Return the head that was noted in a data directory, or None. Blocks.

    Raises:
        IntegrityError: The file can't be understood.
    """
    try:
        note = Note.model_validate_json((root / FILE).read_bytes())
    except FileNotFoundError:
        return None
    except ValidationError:
        raise IntegrityError(f"{root / FILE} can't be understood: bring it back, or remove it") from None
    return Head(note.size, bytes.fromhex(note.hash))


def write(root: Path, head: Head) -> None:
    """Note a head, durably; whoever does holds the lock on the database's. Blocks."""
    note = Note(size=head.size, hash=head.hash.hex())
    replace(root / FILE, note.model_dump_json().encode() + b"\n")


async def trouble(db: Database, noted: Head) -> tuple[int, str] | None:
    """Return the position of what is wrong, and why, if a head that was noted is not one of this chain's."""
    if not noted.size:
        return None
    await db.catch_up()  # another process, at another node of a cluster, may have noted it
    head = await store.head(db)
    size = 0 if head is None else head.size
    if size < noted.size:
        return size, f"the lines from {size} up to {noted.size - 1} are gone: the head was noted when they were there"
    found = (await store.hashes_at(db, [noted.size - 1])).get(noted.size - 1, NONE)
    if found != noted.hash:
        return noted.size - 1, f"the first {noted.size} lines are not those whose head was noted: one has been changed"
    return None


async def move_on(db: Database, root: Path) -> bool:
    """Note the head as it is now, unless what is noted is none of this chain's; False then."""

    async def work(tx: Transaction) -> bool:
        head = await store.lock_head(tx)
        try:
            noted = await asyncio.to_thread(read, root)
        except IntegrityError:
            return False
        if head is None or (noted is not None and await _differs(tx, noted, head)):
            return False
        if noted is None or noted.size < head.size:
            await asyncio.to_thread(write, root, head)
        return True

    return await db.transact(work)


async def _differs(tx: Transaction, noted: Head, head: Head) -> bool:
    if noted.size > head.size:
        return True
    found = await store.hashes_at(tx, [noted.size - 1])
    return noted.size > 0 and found.get(noted.size - 1) != noted.hash
