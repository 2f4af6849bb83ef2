"""SQL of recovering archives: each comes back with its folder, its files and its purchase together, or not at all."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import orjson

from roadvault_common.archive import merkle
from roadvault_common.archive.crypto import MasterKeys
from roadvault_common.catalogue.records import ArchiveRecord, Purchase
from roadvault_common.errors import IntegrityError
from roadvault_common.files import facts
from roadvault_common.files.tags import file_type
from roadvault_common.retention import periods
from roadvault_common.sql.custody_lines import Act, Line
from roadvault_common.sql.custody_lines import record as record_lines
from roadvault_common.sql.db import Database, Row, Transaction, marks
from roadvault_common.sql.server_errors import duplicate_key
from roadvault_common.sql.states import ArchiveStatus, FileStatus, FolderStatus, OrderStatus
from roadvault_common.videos.enrolling import enrol
from roadvault_operator.recover import hold_store, waiting_store
from roadvault_operator.recover.manifest import File
from roadvault_operator.recover.reading import Archive

_AT_ONCE = 500
"""Rows that are written in one statement."""


async def add(db: Database, archive: Archive, keys: MasterKeys, record: ArchiveRecord | None, *, pinned: bool) -> None:
    """Write the rows of an archive, with the number, and the purchase, that its record in the catalogue has.

    It is due to be looked at on the market; `pinned` says whether our own IPFS node holds it. Files of it that wait to
    be packed are in it from now on.

    Raises:
        IntegrityError: Its number, its folder or a file of it is taken by something else, or a file is being packed;
            nothing was written.
    """
    made = utc(archive.made if record is None else record.created)

    async def write(tx: Transaction) -> None:
        waiting = await waiting_store.find(tx, archive.manifest)
        kept = any(row["path"] is not None for row in waiting.values())
        zip_id = await _insert_archive(tx, archive, keys, record, made, pinned=pinned, kept=kept)
        await _insert_folder(tx, archive, zip_id, made, waiting)
        if record is not None:
            await insert_purchases(tx, zip_id, record)

    try:
        await db.transact(write)
    except Exception as error:
        if not duplicate_key(error):
            raise
        raise IntegrityError(await _taken(db, archive, record)) from None


async def _insert_archive(
    tx: Transaction,
    archive: Archive,
    keys: MasterKeys,
    record: ArchiveRecord | None,
    made: datetime,
    *,
    pinned: bool,
    kept: bool,
) -> int:
    """Write an archive's row, and its label; return its number. `kept`: uploads of it have their rows."""
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
        "uploads_dropped_at": not kept,
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
    told = {"cid": place.cid, "files": files, "size": archive.size, "found": "on the disk" if local else "on IPFS"}
    await record_lines(tx, Line(Act.ADOPTED, told, zip_id=zip_id))
    return zip_id


async def _insert_end(
    tx: Transaction, archive: Archive, keys: MasterKeys, record: ArchiveRecord | None, zip_id: int
) -> None:
    """Write when an archive ends, and the period key that opens it; where nobody knows when, it is kept."""
    ends = None if record is None or record.ends is None else utc(record.ends)
    if archive.period is not None:
        await periods.add(tx, keys, archive.period)
    if archive.period is not None or ends is not None:
        await tx.execute(
            "INSERT INTO retention_info (zip_id, period_key, ends_at, shred_due) VALUES (%s, %s, %s, %s)",
            (zip_id, None if archive.period is None else archive.period.ids[0], ends, ends),
        )


async def _insert_folder(
    tx: Transaction, archive: Archive, zip_id: int, made: datetime, waiting: Mapping[int, Row]
) -> None:
    """Write the rows of an archive's folder and files, but for those files that were `waiting` to be packed."""
    folder_id, files, size = (
        archive.manifest.folder,
        archive.manifest.files,
        sum(file.size for file in archive.manifest.files),
    )
    if waiting:
        await waiting_store.take(tx, waiting, archive.manifest, zip_id)
    if waiting and await waiting_store.make_way(tx, folder_id):
        await tx.execute(
            f"UPDATE folder_info SET status = {FolderStatus.PACKED}, files = %s, bytes = %s, zip_id = %s,"  # noqa: S608 - our own numbers
            " open_slot = NULL, closed_at = COALESCE(closed_at, %s) WHERE folder_id = %s",
            (len(files), size, zip_id, made, folder_id),
        )
    else:
        await tx.execute(
            "INSERT INTO folder_info (folder_id, status, files, bytes, zip_id, close_at, closed_at, create_time)"  # noqa: S608 - our own numbers
            f" VALUES (%s, {FolderStatus.PACKED}, %s, %s, %s, %s, %s, %s)",
            (folder_id, len(files), size, zip_id, made, made, made),
        )
    files = [file for file in files if file.fileID not in waiting]
    for begin in range(0, len(files), _AT_ONCE):
        await _insert_files(tx, folder_id, zip_id, files[begin : begin + _AT_ONCE], made)
    await tx.execute(
        "UPDATE hold_info JOIN file_upload_info AS file USING (file_id) SET hold_info.zip_id = %s"
        " WHERE file.zip_id = %s AND active = 1",
        (zip_id, zip_id),
    )


async def insert_purchases(tx: Transaction, zip_id: int, record: ArchiveRecord) -> bool:
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
    made = utc(purchase.made)
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


def utc(when: datetime) -> datetime:
    """Return a time as the database takes it."""
    return when.astimezone(UTC).replace(tzinfo=None)


async def _insert_files(tx: Transaction, folder_id: int, zip_id: int, files: Sequence[File], made: datetime) -> None:
    values: list[object] = []
    for file in files:
        received = made if file.received is None else utc(file.received)
        values += [file.fileID, file.name, file_type(file.name), file.size, file.sha256, folder_id, zip_id]
        values += [file.offset, received, *facts.values(file)]
    row = f"(%s, %s, %s, %s, %s, %s, %s, %s, {FileStatus.PACKED}, %s, {marks(facts.COLUMNS)})"
    await tx.execute(
        "INSERT INTO file_upload_info (file_id, file_name, file_type, size, sha256, folder_id, zip_id, zip_offset,"  # noqa: S608
        f" status, create_time, {', '.join(facts.COLUMNS)}) VALUES {', '.join([row] * len(files))}",
        values,
    )
    await facts.insert_tags(tx, ((file.fileID, file) for file in files))
    await enrol(tx, [file.fileID for file in files])


async def _taken(db: Database, archive: Archive, record: ArchiveRecord | None) -> str:
    """Return what of an archive something else has already."""
    files = archive.manifest.files
    for begin in range(0, len(files), _AT_ONCE):
        some = [file.fileID for file in files[begin : begin + _AT_ONCE]]
        row = await db.fetch_one(
            "SELECT file_id, file.zip_id, cid FROM file_upload_info AS file LEFT JOIN zip_ipfs_info USING (zip_id)"  # noqa: S608
            f" WHERE file_id IN ({marks(some)}) AND file.zip_id IS NOT NULL LIMIT 1",
            some,
        )
        if row is not None:
            return f"file {row['file_id']} is in archive {row['zip_id']} ({row['cid']}) already"
    number = None if record is None else record.zip_id
    row = await db.fetch_one(
        "SELECT zip_id, folder_id, cid FROM zip_ipfs_info WHERE zip_id = %s OR folder_id = %s LIMIT 1",
        (number, archive.manifest.folder),
    )
    if row is not None:
        return f"archive {row['zip_id']} ({row['cid']}), of folder {row['folder_id']}, has its number or its folder"
    return f"its folder {archive.manifest.folder}, or its purchase, is there already, of something else"
