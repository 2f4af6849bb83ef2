"""What a person decides about uploads that the packer has set aside: by the command line, or on a page."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence

from roadvault_common.errors import PermanentError
from roadvault_common.files import set_aside_store as store
from roadvault_common.files.vault import Vault
from roadvault_common.sql.db import Database, Row
from roadvault_common.sql.folders import Closed

_AT_ONCE = 500
_FOLDER_BYTES, _FOLDER_FILES = 5_000_000_000, 20_000
"""What goes into one folder, as ingest's limits are unless they are set: more make another."""


async def wanted(db: Database, file_ids: Sequence[int]) -> AsyncGenerator[Row, None]:
    """Yield the files that wait for a decision: those, or all if none is named.

    Raises:
        PermanentError: One of them does not.
    """
    for file_id in sorted(set(file_ids)):
        rows = await store.waiting(db, 1, file_id - 1)
        if not rows or rows[0]["file_id"] != file_id:
            raise PermanentError(f"file {file_id} was not set aside, or was decided about; nothing was changed")
        yield rows[0]
    last = 0
    while not file_ids and (rows := await store.waiting(db, _AT_ONCE, last)):
        for row in rows:
            yield row
        last = rows[-1]["file_id"]


async def pack_whole(
    db: Database, file_ids: Sequence[int], is_whole: Callable[[Row], Awaitable[bool]]
) -> tuple[int, list[Closed]]:
    """Have those packed after all that are whole again; return how many, and the folders that they are in now.

    Raises:
        PermanentError: One does not wait for a decision.
    """
    whole = [row async for row in wanted(db, file_ids) if await is_whole(row)]
    return len(whole), [await store.pack_after_all(db, some) for some in folders(whole)]


async def give_up(db: Database, vault: Vault, file_id: int) -> None:
    """Close a file as lost; what is left of its bytes goes to quarantine.

    Raises:
        PermanentError: It does not wait for a decision.
    """
    path = await store.give_up(db, file_id)
    if path is not None:
        vault.set_aside([path])


def folders(rows: list[Row]) -> list[list[Row]]:
    """Divide files into folders."""
    folders: list[list[Row]] = []
    room = 0
    for row in rows:
        if not folders or len(folders[-1]) == _FOLDER_FILES or row["size"] > room:
            folders.append([])
            room = _FOLDER_BYTES
        folders[-1].append(row)
        room -= row["size"]
    return folders
