"""SQL of recovering archives: each comes back with its folder, its files and its purchase together, or not at all."""

import hashlib
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import NamedTuple, TypeVar

import orjson

from roadvault_common.archive import merkle
from roadvault_common.archive.crypto import MasterKeys
from roadvault_common.catalogue.records import ArchiveRecord, Purchase
from roadvault_common.errors import IntegrityError
from roadvault_common.files.tags import file_type
from roadvault_common.retention import periods
from roadvault_common.sql.custody_lines import Act, Line
from roadvault_common.sql.custody_lines import record as record_lines
from roadvault_common.sql.db import Database, Row, Transaction, marks
from roadvault_common.sql.server_errors import duplicate_key
from roadvault_common.sql.states import ArchiveStatus, FileStatus, FolderStatus, OrderStatus
from roadvault_common.work import lease as leases
from roadvault_common.work.stages import PIN
from roadvault_operator.recover import hold_store
from roadvault_operator.recover.manifest import File
from roadvault_operator.recover.reading import Archive, Place

T = TypeVar("T")

_AT_ONCE = 500
"""Rows that are read, or written, in one statement."""
_KNOWN_AT_ONCE = 200
"""Likewise, of archives with what belongs to them."""


class There(NamedTuple):
    """An archive that has its rows already."""

    zip_id: int
    cid: str | None
    path: str | None
    ended: bool
    term: int = 0
    """The latest that was bought, or is to be."""
    ends: bool = False
    """Whether it says when it ends."""


class Known:
    """The archives that have their rows already."""

    def __init__(self) -> None:
        self._found: dict[str | bytes, There] = {}

    def note(self, row: Row) -> None:
        """Note an archive by its `cid`, `path` and `label`; one without a CID by its `iv`, too."""
        ended = row["status"] == ArchiveStatus.ENDED
        there = There(row["zip_id"], row["cid"], row["path"], ended, row["term"], bool(row["ends"]))
        for one in (row["cid"] or row["iv"], row["path"], _hashed(row["label"])):
            if one:
                self._found[one] = there

    def at(self, place: Place) -> There | None:
        """Return an archive that is among them: by its CID, its local copy, or the label of that."""
        ones = (place.cid,) if place.cid is not None else (place.path, _hashed(place.label))
        return next((self._found[one] for one in ones if one in self._found), None)

    def same(self, archive: Archive) -> There | None:
        """Return one without a CID that was opened by now, by where its key stream begins: no other begins there."""
        return self._found.get(archive.key.iv.hex())


def _hashed(label: bytes | None) -> bytes | None:
    return None if label is None else hashlib.sha256(label).digest()


async def known(db: Database) -> Known:
    """Return the archives that have rows, page by page."""
    found, last = Known(), 0
    while rows := await db.fetch_all(
        "SELECT zip_id, cid, path, status, iv, label, ends_at IS NOT NULL AS ends,"
        " COALESCE((SELECT term FROM order_info WHERE order_info.zip_id = zip_ipfs_info.zip_id"
        " ORDER BY term DESC LIMIT 1), 0) AS term FROM zip_ipfs_info"
        " LEFT JOIN label_info USING (zip_id) LEFT JOIN retention_info USING (zip_id)"
        " WHERE zip_id > %s ORDER BY zip_id LIMIT %s",
        (last, _KNOWN_AT_ONCE),
    ):
        for row in rows:
            found.note(row)
        last = rows[-1]["zip_id"]
    return found


async def archived_after(db: Database, file_id: int) -> list[Row]:
    """Return files behind a number that are in archives on IPFS, with what recovery brings back of them."""
    return await db.fetch_all(
        "SELECT file_id, file_name, file_type, file.size, sha256, zip_offset, file.folder_id, zip_id, cid, format,"
        " file.create_time AS received, zip.create_time AS recorded,"
        " zip.size AS archive_size, files, iv, pinned_at, period_key, shredded_at IS NOT NULL AS ended"
        " FROM file_upload_info AS file JOIN zip_ipfs_info AS zip USING (zip_id)"
        " LEFT JOIN retention_info USING (zip_id) WHERE file_id > %s AND cid IS NOT NULL ORDER BY file_id LIMIT %s",
        (file_id, _AT_ONCE),
    )


async def recovered_after(db: Database, zip_id: int) -> list[Row]:
    """Return archives on IPFS behind a number, with what the catalogue brings back of them besides their files."""
    return await db.fetch_all(
        "SELECT zip.zip_id, zip.create_time AS recorded, ends_at AS ends, shredded_at IS NOT NULL AS ended, order_id,"  # noqa: S608
        " bought.term, bought.account, bought.market, bought.block, bought.extrinsic_hash, bought.extrinsic,"
        " bought.price, bought.create_time AS bought, bought.settled_at FROM zip_ipfs_info AS zip"
        " LEFT JOIN retention_info AS ends USING (zip_id) LEFT JOIN order_info AS bought ON bought.zip_id = zip.zip_id"
        " AND bought.term = (SELECT term FROM order_info WHERE zip_id = zip.zip_id AND term > 0"
        f" AND status = {OrderStatus.BOUGHT} ORDER BY term DESC LIMIT 1)"
        " WHERE zip.zip_id > %s AND zip.cid IS NOT NULL AND kind = 'archive' ORDER BY zip.zip_id LIMIT %s",
        (zip_id, _KNOWN_AT_ONCE),
    )


async def end_moved_since(db: Database, zip_id: int, since: datetime) -> bool:
    """Return whether a person has moved an archive's end since a time (UTC)."""
    return bool(
        await db.fetch_value(
            "SELECT COUNT(*) FROM custody_info WHERE zip_id = %s AND file_id IS NULL AND act = %s AND done_at > %s",
            (zip_id, Act.END_MOVED.value, since),
        )
    )


async def add(db: Database, archive: Archive, keys: MasterKeys, record: ArchiveRecord | None, *, pinned: bool) -> None:
    """Write the rows of an archive, with the number, and the purchase, that its record in the catalogue has.

    It is due to be looked at on the market; `pinned` says whether our own IPFS node holds it.

    Raises:
        IntegrityError: Its number, its folder or a file of it is taken by something else; nothing was written.
    """
    made = _time(archive.made if record is None else record.created)

    async def write(tx: Transaction) -> None:
        zip_id = await _insert_archive(tx, archive, keys, record, made, pinned=pinned)
        await _insert_folder(tx, archive, zip_id, made)
        if record is not None:
            await _insert_purchases(tx, zip_id, record)

    try:
        await db.transact(write)
    except Exception as error:
        if not duplicate_key(error):
            raise
        raise IntegrityError(await _taken(db, archive, record)) from None


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
    """Write the end, and the purchase, that the catalogue knows and the rows of an archive lack; False if none is.

    Raises:
        IntegrityError: Its purchase is there already, of something else; nothing was written.
    """
    bought = record.purchase is not None and record.purchase.term > there.term
    if there.ended or not (bought or (record.ends is not None and not there.ends)):
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
    """Write what the catalogue says of an archive that was taken up without it: end, holds and purchases.

    False if it was there, or a person has said otherwise since.
    """
    ended = False
    said = await tx.fetch_one(
        "SELECT 1 FROM custody_info WHERE zip_id = %s AND file_id IS NULL AND act = %s LIMIT 1", (zip_id, Act.END_MOVED)
    )
    if record.ends is not None and said is None:  # what a person has said since goes before
        changed = await tx.execute(
            "INSERT INTO retention_info (zip_id, ends_at, shred_due) VALUES (%s, %s, %s) ON DUPLICATE KEY UPDATE"
            " ends_at = COALESCE(ends_at, VALUES(ends_at)), shred_due = COALESCE(shred_due, VALUES(shred_due))",
            (zip_id, _time(record.ends), _time(record.ends)),
        )
        ended = changed > 0
    await hold_store.bring_back(tx, zip_id, record)
    if not await _insert_purchases(tx, zip_id, record):
        return ended
    await tx.execute(
        "UPDATE zip_ipfs_info SET status = %s WHERE zip_id = %s AND status = %s",
        (ArchiveStatus.ORDERED.value, zip_id, ArchiveStatus.NOT_ORDERED.value),
    )
    return True


async def _insert_archive(
    tx: Transaction, archive: Archive, keys: MasterKeys, record: ArchiveRecord | None, made: datetime, *, pinned: bool
) -> int:
    """Write an archive's row, and its label; return its number."""
    place, local, on_ipfs = archive.place, archive.place.path is not None, archive.place.cid is not None
    wraps = archive.period or keys
    bought = record is not None and record.purchase is not None
    values: dict[str, object] = {
        "zip_id": None if record is None else record.zip_id,
        "folder_id": archive.manifest.folder,
        "zip_name": f"{archive.manifest.folder}-{archive.key.iv.hex()}.7z.enc" if record is None else record.zip_name,
        "path": place.path,
        "`key`": wraps.wrap(archive.key.key),
        "master_key": wraps.ids[0],
        "iv": archive.key.iv.hex(),
        "size": archive.size,
        "files": len(archive.manifest.files),
        "cid": place.cid,
        "format": archive.format if on_ipfs else 1,  # whoever adds it to IPFS writes it with the CID
        "dag_size": archive.dag_size if on_ipfs else None,
        "status": (ArchiveStatus.ORDERED if bought else ArchiveStatus.NOT_ORDERED).value,
        "create_time": made,
    }
    now = {
        "pinned_at": on_ipfs,
        "uploads_dropped_at": True,
        "dropped_at": not local,
        "restored_at": pinned and not local,
        "pin_due": local,  # which reads all of it, and has our node hold it
        "watch_due": on_ipfs,
        "inspect_due": pinned and not local,
    }
    written = await tx.insert(
        f"INSERT INTO zip_ipfs_info ({', '.join([*values, *now])}) VALUES"  # noqa: S608 - our own names
        f" ({marks(values)}, {', '.join('UTC_TIMESTAMP(6)' if it_is else 'NULL' for it_is in now.values())})",
        [*values.values()],
    )
    zip_id = written if record is None else record.zip_id
    if place.label is not None:
        await tx.execute(
            "INSERT INTO label_info (zip_id, label, node, salt_key) VALUES (%s, %s, %s, %s)",
            (zip_id, place.label, place.node, merkle.salt_key(archive.key.key)),
        )
    await _insert_end(tx, archive, keys, record, zip_id)
    if record is not None:
        await hold_store.bring_back(tx, zip_id, record)
    files = len(archive.manifest.files)
    facts = {"cid": place.cid, "files": files, "size": archive.size, "found": "on the disk" if local else "on IPFS"}
    await record_lines(tx, Line(Act.ADOPTED, facts, zip_id=zip_id))
    return zip_id


async def _insert_end(
    tx: Transaction, archive: Archive, keys: MasterKeys, record: ArchiveRecord | None, zip_id: int
) -> None:
    """Write when an archive ends, and the period key that opens it; where nobody knows when, it is kept."""
    ends = None if record is None or record.ends is None else _time(record.ends)
    if archive.period is not None:
        await periods.add(tx, keys, archive.period)
    if archive.period is not None or ends is not None:
        await tx.execute(
            "INSERT INTO retention_info (zip_id, period_key, ends_at, shred_due) VALUES (%s, %s, %s, %s)",
            (zip_id, None if archive.period is None else archive.period.ids[0], ends, ends),
        )


async def _insert_folder(tx: Transaction, archive: Archive, zip_id: int, made: datetime) -> None:
    """Write the rows of an archive's folder and files."""
    folder_id, files = archive.manifest.folder, archive.manifest.files
    await tx.execute(
        "INSERT INTO folder_info (folder_id, status, files, bytes, zip_id, close_at, closed_at, create_time)"  # noqa: S608 - our own numbers
        f" VALUES (%s, {FolderStatus.PACKED}, %s, %s, %s, %s, %s, %s)",
        (folder_id, len(files), sum(file.size for file in files), zip_id, made, made, made),
    )
    for begin in range(0, len(files), _AT_ONCE):
        await _insert_files(tx, folder_id, zip_id, files[begin : begin + _AT_ONCE], made)
    await tx.execute(
        "UPDATE hold_info JOIN file_upload_info AS file USING (file_id) SET hold_info.zip_id = %s"
        " WHERE file.zip_id = %s AND active = 1",
        (zip_id, zip_id),
    )


async def _insert_purchases(tx: Transaction, zip_id: int, record: ArchiveRecord) -> bool:
    """Write the rows of an archive's first and latest purchases, but for those that are there; False if all are."""
    wanted = [one for one in (record.first, record.purchase) if one is not None]
    rows = await tx.fetch_all("SELECT term FROM order_info WHERE zip_id = %s", (zip_id,)) if wanted else []
    lines = await tx.fetch_all(
        "SELECT facts FROM custody_info WHERE zip_id = %s AND file_id IS NULL AND act = %s",
        (record.zip_id, Act.BOUGHT.value),
    )
    told = {facts["extrinsic"]: facts for line in lines if "extrinsic" in (facts := orjson.loads(line["facts"]))}
    for one in (missing := [one for one in wanted if one.term not in {row["term"] for row in rows}]):
        await _insert_purchase(tx, zip_id, record, one, told.get(one.extrinsic_hash, {}).get("blockHash"))
    return bool(missing)


async def _insert_purchase(
    tx: Transaction, zip_id: int, record: ArchiveRecord, purchase: Purchase, block_hash: str | None
) -> None:
    """Write the row of a purchase, of which the market knows what became.

    What only matters while it is under way, its nonce and its era, is not known any more.
    """
    made = _time(purchase.made)
    await tx.execute(
        "INSERT INTO order_info (order_id, zip_id, term, account, market, in_flight, status, cid, declared_size, nonce,"  # noqa: S608 - our own numbers
        " era_birth, era_death, extrinsic_hash, extrinsic, price, block, block_hash, settled_at, create_time)"
        f" VALUES (%s, %s, %s, %s, %s, NULL, {OrderStatus.BOUGHT}, %s, %s, 0, 0, 0, %s, %s, %s, %s, %s, %s, %s)",
        (
            purchase.order_id, zip_id, purchase.term, purchase.account, purchase.market, record.cid,
            record.dag_size, purchase.extrinsic_hash, purchase.extrinsic or "", purchase.price, purchase.block,
            block_hash, made, made,
        ),
    )  # fmt: skip


def _time(when: datetime) -> datetime:
    """Return a time as the database takes it."""
    return when.astimezone(UTC).replace(tzinfo=None)


async def _insert_files(tx: Transaction, folder_id: int, zip_id: int, files: Sequence[File], made: datetime) -> None:
    values: list[object] = []
    for file in files:
        received = made if file.received is None else _time(file.received)
        values += [file.fileID, file.name, file_type(file.name), file.size, file.sha256, folder_id, zip_id]
        values += [file.offset, received]
    row = f"(%s, %s, %s, %s, %s, %s, %s, %s, {FileStatus.PACKED}, %s)"
    await tx.execute(
        "INSERT INTO file_upload_info (file_id, file_name, file_type, size, sha256, folder_id, zip_id, zip_offset,"  # noqa: S608
        f" status, create_time) VALUES {', '.join([row] * len(files))}",
        values,
    )


async def _taken(db: Database, archive: Archive, record: ArchiveRecord | None) -> str:
    """Return what of an archive something else has already."""
    files = archive.manifest.files
    for begin in range(0, len(files), _AT_ONCE):
        some = [file.fileID for file in files[begin : begin + _AT_ONCE]]
        row = await db.fetch_one(
            "SELECT file_id, file.zip_id, cid FROM file_upload_info AS file LEFT JOIN zip_ipfs_info USING (zip_id)"  # noqa: S608
            f" WHERE file_id IN ({marks(some)}) LIMIT 1",
            some,
        )
        if row is not None:
            where = "waits to be packed" if row["zip_id"] is None else f"is in archive {row['zip_id']} ({row['cid']})"
            return f"file {row['file_id']} {where} already"
    number = None if record is None else record.zip_id
    row = await db.fetch_one(
        "SELECT zip_id, folder_id, cid FROM zip_ipfs_info WHERE zip_id = %s OR folder_id = %s LIMIT 1",
        (number, archive.manifest.folder),
    )
    if row is not None:
        return f"archive {row['zip_id']} ({row['cid']}), of folder {row['folder_id']}, has its number or its folder"
    return f"its folder {archive.manifest.folder}, or its purchase, is there already, of something else"
