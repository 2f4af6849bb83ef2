"""Ingest's SQL: files into open folders, requests, and where a file stands."""

import hashlib
from dataclasses import dataclass

from roadvault_common.db import Database, Row, Transaction, duplicate_key
from roadvault_common.folders import CLOSE, Closed, close_folder
from roadvault_common.mirror import named_paths
from roadvault_ingest.receive import Received

UNPACKED = (0, 1, 3)
"""Folder states whose files still have to be packed: open, closed, packing failed."""
_SLOT_TRIES = 5


@dataclass(frozen=True)
class Limits:
    """What a folder never passes, and the age (seconds) at which it closes."""

    files: int
    bytes: int
    age_seconds: float


@dataclass(frozen=True)
class Placed:
    """Where a file went, and the folder that closed before or with it, if any."""

    file_id: int
    folder_id: int
    closed_folder_id: int | None = None


class IngestStore:
    """Files, folders and download requests as ingest sees them."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def add_file(self, slot: str, received: Received, limits: Limits) -> Placed:
        """Record an upload in the worker's open folder; open or close one as the limits ask.

        Raises:
            CommitUnknown: Whether it took place is for `find_file` to tell.
        """
        for _ in range(_SLOT_TRIES):
            try:
                return await self._db.transact(lambda tx: self._place(tx, slot, received, limits))
            except Exception as error:
                # Two uploads opened the slot's folder at once: the second finds the first's.
                if not duplicate_key(error):
                    raise
        return await self._db.transact(lambda tx: self._place(tx, slot, received, limits))

    async def _place(self, tx: Transaction, slot: str, received: Received, limits: Limits) -> Placed:
        folder = await tx.fetch_one(
            "SELECT folder_id, files, bytes FROM folder_info WHERE open_slot = %s FOR UPDATE", (slot,)
        )
        closed: int | None = None
        if folder is not None and (
            folder["bytes"] + received.size > limits.bytes or folder["files"] + 1 > limits.files
        ):
            closed = folder["folder_id"]
            await tx.execute(f"UPDATE folder_info SET {CLOSE} WHERE folder_id = %s", (closed,))  # noqa: S608
            folder = None
        if folder is None:
            folder_id = await self._open(tx, slot, limits)
            files, filled = 1, received.size
        else:
            folder_id, files, filled = folder["folder_id"], folder["files"] + 1, folder["bytes"] + received.size
        file_id = await self._insert_file(tx, folder_id, received)
        full = files >= limits.files or filled >= limits.bytes
        await tx.execute(
            f"UPDATE folder_info SET files = %s, bytes = %s {', ' + CLOSE if full else ''} WHERE folder_id = %s",  # noqa: S608
            (files, filled, folder_id),
        )
        return Placed(file_id, folder_id, folder_id if full and closed is None else closed)

    async def _open(self, tx: Transaction, slot: str, limits: Limits) -> int:
        return await tx.insert(
            "INSERT INTO folder_info (open_slot, close_at) VALUES (%s, UTC_TIMESTAMP(6) + INTERVAL %s SECOND)",
            (slot, limits.age_seconds),
        )

    async def _insert_file(self, tx: Transaction, folder_id: int, received: Received) -> int:
        extension = received.name.rpartition(".")[2].lower() if "." in received.name else ""
        return await tx.insert(
            "INSERT INTO file_upload_info (file_name, file_type, size, sha256, path, folder_id)"
            " VALUES (%s, %s, %s, %s, %s, %s)",
            (received.name, extension[:32], received.size, received.sha256, received.path, folder_id),
        )

    async def find_file(self, path: str) -> Placed | None:
        """Return where the upload at `path` was recorded, after the answer to a COMMIT was lost.

        The COMMIT may still be under way on the server, so this waits for whoever holds a lock on the row.

        Raises:
            DatabaseUnavailable: It is not known yet.
        """
        select = "SELECT file_id, folder_id FROM file_upload_info WHERE path = %s FOR UPDATE"
        row = await self._db.transact(lambda tx: tx.fetch_one(select, (path,)))
        return Placed(**row) if row else None

    async def close_aged_folders(self) -> list[Closed]:
        """Close open folders past their age; return them."""
        rows = await self._db.fetch_all(
            "SELECT folder_id FROM folder_info WHERE status = 0 AND close_at <= UTC_TIMESTAMP(6)"
            " ORDER BY close_at LIMIT 1000"
        )
        return [closed for row in rows if (closed := await close_folder(self._db, row["folder_id"]))]

    async def unpacked_bytes(self) -> int:
        """Return the bytes of all files that still have to be packed."""
        row = await self._db.fetch_one(
            "SELECT COALESCE(SUM(bytes), 0) AS bytes FROM folder_info WHERE status IN (%s, %s, %s)", UNPACKED
        )
        return int(row["bytes"]) if row else 0

    async def request_download(self, file_id: int, cb_url: str) -> int | None:
        """Record a request, or join the open one for the same file and URL; None if there is no such file."""
        key = hashlib.sha256(f"{file_id}\n{cb_url}".encode()).hexdigest()

        async def write(tx: Transaction) -> int | None:
            # The mirror's row comes first, so that requests for one file wait here and not in each other's way.
            known = await tx.fetch_one("SELECT file_id FROM file_upload_info WHERE file_id = %s FOR UPDATE", (file_id,))
            if known is None:
                return None
            joined = await tx.fetch_one("SELECT download_id FROM download_info WHERE open_key = %s", (key,))
            if joined is not None:
                return int(joined["download_id"])
            await tx.execute(
                "UPDATE file_upload_info SET cb_url = %s, status = 2 WHERE file_id = %s", (cb_url, file_id)
            )
            return await tx.insert(
                "INSERT INTO download_info (file_id, cb_url, open_key, fetch_due)"
                " VALUES (%s, %s, %s, UTC_TIMESTAMP(6))",
                (file_id, cb_url, key),
            )

        return await self._db.transact(write)

    async def file(self, file_id: int) -> Row | None:
        """Return a file with its folder's and its archive's state."""
        return await self._db.fetch_one(
            "SELECT file.file_id, file.file_name, file.size, file.sha256, file.path, file.zip_id, file.zip_offset,"
            " file.create_time, folder.folder_id, folder.status AS folder_status, folder.closed_at, folder.pack_reason,"
            " zip.pin_failed_at,"
            " zip.cid, zip.size AS zip_size, zip.dag_size, zip.status AS zip_status, zip.replicas, zip.expired_on,"
            " zip.expires_at, zip.path AS zip_path, zip.create_time AS packed_at, zip.pinned_at, zip.enough_at,"
            " zip.replicated_at, zip.dropped_at,"
            " COALESCE(zip.pin_reason, zip.order_reason, zip.prove_reason, zip.drop_reason) AS zip_reason,"
            " purchase.price, purchase.block AS order_block, purchase.settled_at AS ordered_at"
            " FROM file_upload_info AS file JOIN folder_info AS folder USING (folder_id)"
            " LEFT JOIN zip_ipfs_info AS zip ON zip.zip_id = file.zip_id"
            " LEFT JOIN order_info AS purchase ON purchase.zip_id = file.zip_id AND purchase.term = 1"
            " WHERE file.file_id = %s",
            (file_id,),
        )

    async def requests(self, file_id: int, limit: int = 20) -> list[Row]:
        """Return a file's latest download requests, newest first."""
        return await self._db.fetch_all(
            "SELECT download_id, cb_url, status, source, create_time, extracted_at, called_back_at, link_expires_at,"
            " COALESCE(fetch_reason, callback_reason) AS reason"
            " FROM download_info WHERE file_id = %s ORDER BY download_id DESC LIMIT %s",
            (file_id, limit),
        )

    async def extraction(self, download_id: int) -> Row | None:
        """Return `path`, `file_name` and `size` of a request's extracted file, and what time it is `now`."""
        return await self._db.fetch_one(
            "SELECT download.path, file.file_name, file.size, UTC_TIMESTAMP(6) AS now FROM download_info AS download"
            " JOIN file_upload_info AS file USING (file_id) WHERE download.download_id = %s",
            (download_id,),
        )

    async def named(self, paths: list[str]) -> set[str]:
        """Return those of `paths` that are the upload of a file."""
        return await named_paths(self._db, "file_upload_info", paths)
