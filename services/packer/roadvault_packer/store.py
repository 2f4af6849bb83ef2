"""The packer's SQL.

Whatever is given a lease raises LeaseLost if another worker has the row, and has then written nothing.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import orjson

from roadvault_common.archive import local, merkle
from roadvault_common.files import facts, set_aside_store
from roadvault_common.retention import periods
from roadvault_common.sql.custody_lines import Act, Line, record
from roadvault_common.sql.db import Database, Row, Transaction, transacted
from roadvault_common.sql.states import FileStatus, FolderStatus
from roadvault_common.stores import MAIN
from roadvault_common.tracing import store as traces
from roadvault_common.work import lease as leases
from roadvault_common.work.lease import Lease
from roadvault_common.work.outcome import Done, Outcome
from roadvault_packer.archive import Packed
from roadvault_packer.uploads import Upload

_UPLOAD = ("file_id", "file_name", "size", "sha256", "path", "create_time")


@dataclass(frozen=True)
class Sealed:
    """A finished archive, as its closing write records it. `path` is relative to the data directory."""

    path: str
    name: str
    wrapped_key: str
    master_key: str
    """Id of the master key, or the period key, that wraps it."""
    packed: Packed
    ends_at: datetime | None = None
    """When it ends (UTC); None: never, and a master key wraps it."""


class PackerStore:
    """Reads closed folders, writes archives."""

    def __init__(self, db: Database, store: str = MAIN) -> None:
        self._db = db
        self._name = store

    async def folder(self, folder_id: int) -> Row | None:
        """Return how many `files` the folder has, and how many of them were `set_aside`."""
        return await self._db.fetch_one(
            "SELECT files, (SELECT COUNT(*) FROM file_upload_info JOIN set_aside_info USING (file_id)"
            " WHERE folder_id = folder.folder_id) AS set_aside FROM folder_info AS folder WHERE folder_id = %s",
            (folder_id,),
        )

    async def uploads(self, folder_id: int) -> list[Upload]:
        """Return the folder's files in the order of their ids, but for those that were set aside."""
        rows = await self._db.fetch_all(
            "SELECT file_id, file_name, size, sha256, path, create_time,"  # noqa: S608 - our own names
            f" {facts.SELECT.format(file='file_upload_info')} FROM file_upload_info WHERE folder_id = %s"
            " AND NOT EXISTS (SELECT 1 FROM set_aside_info WHERE file_id = file_upload_info.file_id) ORDER BY file_id",
            (folder_id,),
        )
        return [Upload(**{name: row[name] for name in _UPLOAD}, facts=facts.of(row)) for row in rows]

    @transacted
    async def set_aside(self, tx: Transaction, lease: Lease, reasons: Mapping[int, str], outcome: Outcome) -> None:
        """Close the lease with `outcome`, and set files of the folder aside, each for its reason."""
        await leases.close(tx, lease, outcome)
        await set_aside_store.add(tx, reasons, self._name)

    async def count_set_aside(self) -> int:
        """Return how many files wait for a person, counted up to 10 000."""
        return await set_aside_store.count(self._db)

    @transacted
    async def close_without_archive(self, tx: Transaction, lease: Lease) -> None:
        """Close the lease of a folder whose files were all set aside: there is nothing to pack."""
        await leases.close(tx, lease, Done())
        await tx.execute(
            f"UPDATE folder_info SET status = {FolderStatus.PACKED} WHERE folder_id = %s",  # noqa: S608 - our own numbers
            (lease.row_id,),
        )

    @transacted
    async def seal(self, tx: Transaction, lease: Lease, sealed: Sealed) -> int:
        """Close the lease: the folder is packed, its archive is due for the pinner. Return the archive's id."""
        await leases.close(tx, lease, Done())
        if sealed.ends_at is not None:
            await periods.hold(tx, sealed.master_key)
        zip_id = await self._insert_archive(tx, lease.row_id, sealed)
        offsets = [{"f": member, "o": offset} for member, offset in sealed.packed.offsets.items()]
        await tx.execute(
            "UPDATE file_upload_info AS file JOIN JSON_TABLE(%s, '$[*]' COLUMNS"  # noqa: S608 - our own numbers
            " (file_id BIGINT PATH '$.f', zip_offset BIGINT PATH '$.o')) AS member USING (file_id)"
            " SET file.zip_id = %s, file.zip_offset = member.zip_offset,"
            f" file.status = IF(file.status = {FileStatus.NOT_PACKED}, {FileStatus.PACKED}, file.status)",
            (orjson.dumps(offsets).decode(), zip_id),
        )
        await tx.execute(
            f"UPDATE folder_info SET status = {FolderStatus.PACKED}, zip_id = %s WHERE folder_id = %s",  # noqa: S608 - our own numbers
            (zip_id, lease.row_id),
        )
        told = {"folder": lease.row_id, "files": len(sealed.packed.offsets), "size": sealed.packed.size}
        label = {"label": hashlib.sha256(sealed.packed.label).hexdigest()}
        await record(tx, Line(Act.PACKED, {**told, **label}, zip_id=zip_id))
        await tx.execute(
            "UPDATE hold_info JOIN file_upload_info AS file USING (file_id) SET hold_info.zip_id = %s"
            " WHERE file.zip_id = %s AND active = 1",
            (zip_id, zip_id),
        )
        return zip_id

    async def _insert_archive(self, tx: Transaction, folder_id: int, sealed: Sealed) -> int:
        packed = sealed.packed
        key = sealed.wrapped_key, sealed.master_key, packed.key.iv.hex()
        zip_id = await tx.insert(
            "INSERT INTO zip_ipfs_info (folder_id, store, zip_name, path, `key`, master_key, iv, size, files, pin_due)"
            " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, UTC_TIMESTAMP(6))",
            (folder_id, self._name, sealed.name, sealed.path, *key, packed.size, len(packed.offsets)),
        )
        await traces.keep(tx, "zip_ipfs_info", zip_id)
        await tx.execute(
            "INSERT INTO label_info (zip_id, label, salt_key) VALUES (%s, %s, %s)",
            (zip_id, packed.label, merkle.salt_key(packed.key.key)),
        )
        if sealed.ends_at is not None:
            await tx.execute(
                "INSERT INTO retention_info (zip_id, store, period_key, ends_at, shred_due)"
                " VALUES (%s, %s, %s, %s, %s)",
                (zip_id, self._name, sealed.master_key, sealed.ends_at, sealed.ends_at),
            )
        return zip_id

    async def named_under(self, lease: Lease, paths: list[str]) -> set[str]:
        """As `named`, while nobody but `lease` can seal the folder."""
        await self._db.transact(lambda tx: leases.hold(tx, lease))
        return await self.named(paths)

    async def named(self, paths: list[str]) -> set[str]:
        """Return those of `paths` that are the local copy of an archive, or its label."""
        return await local.named(self._db, paths)
