"""SQL of archives that have their rows already: which there are, and what a later source adds to them."""

import hashlib
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import NamedTuple, TypeVar

from roadvault_common.catalogue.records import ArchiveRecord
from roadvault_common.errors import IntegrityError
from roadvault_common.sql.custody_lines import Act, Line
from roadvault_common.sql.custody_lines import record as record_lines
from roadvault_common.sql.db import Database, Row, Transaction
from roadvault_common.sql.server_errors import duplicate_key
from roadvault_common.sql.states import ArchiveStatus
from roadvault_common.work import lease as leases
from roadvault_common.work.stages import PIN
from roadvault_operator.recover import hold_store
from roadvault_operator.recover.archive_store import insert_purchases
from roadvault_operator.recover.reading import Archive, Place

T = TypeVar("T")

_AT_ONCE = 200
"""Archives that are read in one statement, with what belongs to them."""


class There(NamedTuple):
    """An archive that has its rows already."""

    zip_id: int
    cid: str | None
    path: str | None
    ended: bool
    term: int = 0
    """The latest that was bought, or is to be."""
    ends: datetime | None = None
    """When it ends (UTC), if it says so."""


class Known:
    """The archives that have their rows already."""

    def __init__(self) -> None:
        self._found: dict[str | bytes | int, There] = {}

    def note(self, row: Row) -> None:
        """Note an archive by its `folder_id`, `cid`, `path` and `label`; one without a CID by its `iv`, too."""
        ended = row["status"] == ArchiveStatus.ENDED
        there = There(row["zip_id"], row["cid"], row["path"], ended, row["term"], row["ends_at"])
        for one in (row["folder_id"], row["cid"] or row["iv"], row["path"], _hashed(row["label"])):
            if one:
                self._found[one] = there

    def at(self, place: Place) -> There | None:
        """Return an archive that is among them: by its CID, its local copy, or the label of that."""
        ones = (place.cid,) if place.cid is not None else (place.path, _hashed(place.label))
        return next((self._found[one] for one in ones if one in self._found), None)

    def of(self, record: ArchiveRecord) -> There | None:
        """Return the one that has a record's folder, whatever its CID."""
        return self._found.get(record.folder_id)

    def same(self, archive: Archive) -> There | None:
        """Return one without a CID that was opened by now, by where its key stream begins: no other begins there."""
        return self._found.get(archive.key.iv.hex())


def _hashed(label: bytes | None) -> bytes | None:
    return None if label is None else hashlib.sha256(label).digest()


async def known(db: Database) -> Known:
    """Return the archives that have rows, page by page."""
    found, last = Known(), 0
    while rows := await db.fetch_all(
        "SELECT zip_id, folder_id, cid, path, status, iv, label, ends_at,"
        " COALESCE((SELECT term FROM order_info WHERE order_info.zip_id = zip_ipfs_info.zip_id"
        " ORDER BY term DESC LIMIT 1), 0) AS term FROM zip_ipfs_info"
        " LEFT JOIN label_info USING (zip_id) LEFT JOIN retention_info USING (zip_id)"
        " WHERE zip_id > %s ORDER BY zip_id LIMIT %s",
        (last, _AT_ONCE),
    ):
        for row in rows:
            found.note(row)
        last = rows[-1]["zip_id"]
    return found


async def complete(
    db: Database, there: There, archive: Archive, record: ArchiveRecord | None, *, held: bool | None
) -> None:
    """Write what the rows of an archive lack: its CID, with all that follows from that, and its local copy.

    It keeps its number. Where the local copy that its row names is gone, `held` says whether our IPFS node holds it.

    Raises:
        IntegrityError: Its purchase is there already, of something else; nothing was written.
    """

    async def write(tx: Transaction) -> None:
        if there.path is None and archive.place.path is not None:
            await _take_up(tx, there.zip_id, archive.place.path)
        if there.cid is not None:
            return
        if archive.place.cid is not None:
            await _name(tx, there.zip_id, archive, held=held)
        if record is not None:
            await _follow(tx, there.zip_id, record)

    await _without_double(db, there, write)


async def follow(db: Database, there: There, record: ArchiveRecord) -> bool:
    """Write the purchase that the catalogue knows and the rows of an archive lack; False if none is.

    Raises:
        IntegrityError: Its purchase is there already, of something else; nothing was written.
    """
    bought = record.purchase is not None and record.purchase.term > there.term
    if there.ended or not bought:
        return False
    return await _without_double(db, there, lambda tx: _follow(tx, there.zip_id, record))


async def _without_double(db: Database, there: There, write: Callable[[Transaction], Awaitable[T]]) -> T:
    try:
        return await db.transact(write)
    except Exception as error:
        if not duplicate_key(error):
            raise
        raise IntegrityError(f"the purchase of archive {there.zip_id} is there already, of something else") from None


async def _take_up(tx: Transaction, zip_id: int, path: str) -> None:
    """Name a local copy of an archive that had none; to pin it reads all of it, and has our node hold it."""
    await tx.execute(
        "UPDATE zip_ipfs_info SET path = %s, dropped_at = NULL, restored_at = NULL, pin_due = UTC_TIMESTAMP(6),"
        " pin_failed_at = NULL WHERE zip_id = %s AND path IS NULL",
        (path, zip_id),
    )


async def _name(tx: Transaction, zip_id: int, archive: Archive, *, held: bool | None) -> None:
    """Write the CID of an archive that was taken up without one, unless the pinner has done so meanwhile.

    `held` says whether our own IPFS node holds it, where the local copy that the row names is gone.
    """
    place = archive.place
    named = await tx.execute(
        "UPDATE zip_ipfs_info SET cid = %s, format = %s, dag_size = %s, pinned_at = UTC_TIMESTAMP(6),"
        " watch_due = UTC_TIMESTAMP(6) WHERE zip_id = %s AND cid IS NULL",
        (place.cid, archive.format, archive.dag_size, zip_id),
    )
    if not named:
        return
    if held is None and not await leases.revive(tx, PIN, zip_id):
        await leases.make_due(tx, PIN, zip_id)
    elif held is not None:
        await tx.execute(
            "UPDATE zip_ipfs_info SET path = NULL, pin_due = NULL, dropped_at = UTC_TIMESTAMP(6),"
            " restored_at = IF(%s, UTC_TIMESTAMP(6), NULL), inspect_due = restored_at WHERE zip_id = %s",
            (held, zip_id),
        )
    if place.node is not None:
        await tx.execute("UPDATE label_info SET node = %s WHERE zip_id = %s", (place.node, zip_id))
    facts = {"cid": place.cid, "files": len(archive.manifest.files), "size": archive.size, "found": "on IPFS"}
    await record_lines(tx, Line(Act.ADOPTED, facts, zip_id=zip_id))


async def _follow(tx: Transaction, zip_id: int, record: ArchiveRecord) -> bool:
    """Write the holds and purchases that the catalogue knows of an archive; False if these were there."""
    await hold_store.bring_back(tx, zip_id, record)
    if not await insert_purchases(tx, zip_id, record):
        return False
    await tx.execute(
        "UPDATE zip_ipfs_info SET status = %s WHERE zip_id = %s AND status = %s",
        (ArchiveStatus.ORDERED.value, zip_id, ArchiveStatus.NOT_ORDERED.value),
    )
    return True
