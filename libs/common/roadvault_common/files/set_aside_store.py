"""SQL of the uploads that the packer has set aside, because they are not what their rows say: a person decides."""

from collections.abc import Mapping, Sequence

import orjson

from roadvault_common.errors import PermanentError
from roadvault_common.sql.custody_lines import Act, Line, record
from roadvault_common.sql.db import Database, Row, Transaction
from roadvault_common.sql.folders import Closed
from roadvault_common.sql.states import FolderStatus
from roadvault_common.stores import MAIN

_AT_ONCE = 1000
"""Files named in one statement: with their reasons half a megabyte."""
_REASON_LENGTH = 500
"""Characters of `set_aside_info.reason`."""
MOST = 10_000
"""What is counted no further, as for the stages (`roadvault_common.work.backlog`)."""


async def add(tx: Transaction, reasons: Mapping[int, str], store: str = MAIN) -> None:
    """Set files of a store aside, each for its reason, in the transaction in which their folder is given back.

    The custody log gets the words of it alone.
    """
    found = [{"f": file_id, "r": str(reason)[:_REASON_LENGTH]} for file_id, reason in reasons.items()]
    for start in range(0, len(found), _AT_ONCE):
        await tx.execute(
            "INSERT INTO set_aside_info (file_id, reason, at_store) SELECT member.file_id, member.reason, %s"
            " FROM JSON_TABLE(%s, '$[*]' COLUMNS"
            " (file_id BIGINT PATH '$.f', reason VARCHAR(500) PATH '$.r')) AS member",
            (store, orjson.dumps(found[start : start + _AT_ONCE]).decode()),
        )
    await record(tx, *(Line(Act.SET_ASIDE, {"reason": reason}, file_id) for file_id, reason in reasons.items()))


async def waiting(db: Database, limit: int, after: int = 0) -> list[Row]:
    """Return the files that a person has to decide about, behind a file id.

    Each has `file_id`, `file_name`, `size`, `sha256`, `path`, `folder_id`, `reason`, `found_at`, and at which store
    its bytes are: `at_store`.
    """
    return await db.fetch_all(
        "SELECT file_id, file_name, size, sha256, path, folder_id, reason, found_at, at_store"
        " FROM set_aside_info JOIN file_upload_info USING (file_id)"
        " WHERE lost_at IS NULL AND file_id > %s ORDER BY file_id LIMIT %s",
        (after, limit),
    )


async def count(db: Database) -> int:
    """Return how many files a person has to decide about, counted up to `MOST`."""
    return int(
        await db.fetch_value(
            "SELECT COUNT(*) FROM (SELECT 1 FROM set_aside_info WHERE lost_at IS NULL LIMIT %s) AS some", (MOST,)
        )
    )


async def pack_after_all(db: Database, files: Sequence[Row]) -> Closed:
    """Give files that are whole again (rows of `waiting`) to the packer, in a folder of their own; return that.

    They are all of one store: that whose data directory was looked at.

    Raises:
        PermanentError: One was decided about meanwhile, or its folder still has to be packed; nothing was changed.
    """
    wanted = [row["file_id"] for row in files]

    async def write(tx: Transaction) -> Closed:
        for row in files:
            await _take_out(tx, row)
        (first,) = await tx.fetch_all("SELECT store FROM folder_info WHERE folder_id = %s", (files[0]["folder_id"],))
        store = first["store"]
        folder_id = await tx.insert(
            "INSERT INTO folder_info (store, status, files, bytes, close_at, closed_at, pack_due)"  # noqa: S608 - our own numbers
            f" VALUES (%s, {FolderStatus.CLOSED}, %s, %s, UTC_TIMESTAMP(6), UTC_TIMESTAMP(6), UTC_TIMESTAMP(6))",
            (store, len(files), sum(row["size"] for row in files)),
        )
        for file_id in wanted:
            await tx.execute("UPDATE file_upload_info SET folder_id = %s WHERE file_id = %s", (folder_id, file_id))
        await record(tx, *(Line(Act.MENDED, {"folder": folder_id}, file_id) for file_id in wanted))
        return Closed(folder_id, max(wanted), store)

    return await db.transact(write)


async def _take_out(tx: Transaction, row: Row) -> None:
    """Take a file out of the folder that it was set aside from, which the packer must be done with."""
    file_id, folder_id = row["file_id"], row["folder_id"]
    taken = await tx.execute(
        "UPDATE folder_info SET files = files - 1, bytes = bytes - %s WHERE folder_id = %s AND pack_due IS NULL",
        (row["size"], folder_id),
    )
    if not taken:
        raise PermanentError(f"folder {folder_id} of file {file_id} still has to be packed; nothing was changed")
    if not await tx.execute("DELETE FROM set_aside_info WHERE file_id = %s AND lost_at IS NULL", (file_id,)):
        raise PermanentError(f"file {file_id} does not wait for a decision any more; nothing was changed")


async def give_up(db: Database, file_id: int) -> str | None:
    """Close a file that was set aside as lost; return the path of its bytes, which no row names from now on.

    Raises:
        PermanentError: It does not wait for a decision; nothing was changed.
    """

    async def write(tx: Transaction) -> str | None:
        if not await tx.execute(
            "UPDATE set_aside_info SET lost_at = UTC_TIMESTAMP(6) WHERE file_id = %s AND lost_at IS NULL", (file_id,)
        ):
            raise PermanentError(f"file {file_id} does not wait for a decision; nothing was changed")
        row = await tx.fetch_one("SELECT path FROM file_upload_info WHERE file_id = %s FOR UPDATE", (file_id,))
        await tx.execute("UPDATE file_upload_info SET path = NULL WHERE file_id = %s", (file_id,))
        await record(tx, Line(Act.GIVEN_UP, {"reason": "lost: it had been set aside"}, file_id))
        return None if row is None else row["path"]

    return await db.transact(write)
