"""Ingest's SQL: files into open folders, requests, and where a file stands."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from roadvault_common.files import copy_store, facts
from roadvault_common.files.span import Span
from roadvault_common.files.tags import file_type
from roadvault_common.retention.ends import HELD
from roadvault_common.sql.custody_lines import Act, Line, record
from roadvault_common.sql.db import Database, Row, Transaction, marks, transacted
from roadvault_common.sql.folders import CLOSE, Closed, close_folder
from roadvault_common.sql.mirror import named_paths
from roadvault_common.sql.server_errors import duplicate_key
from roadvault_common.sql.states import FolderStatus, StoreState
from roadvault_common.stores import MAIN
from roadvault_common.tracing import store as traces
from roadvault_common.web.callback_url import CallbackUrl
from roadvault_ingest import found
from roadvault_ingest.problems import Draining
from roadvault_ingest.requests.asking import Asked, Asker, Most, ask
from roadvault_ingest.uploads import same, upload_store
from roadvault_ingest.uploads.placed import Placed
from roadvault_ingest.uploads.receive import Received

_SLOT_TRIES = 5
_SHOWN_REQUESTS = 20
_LATER_SECONDS = 60
"""After so long a client of a store that takes nothing may ask again."""


@dataclass(frozen=True)
class Limits:
    """What a folder never passes, and the age (seconds) at which it closes."""

    files: int
    bytes: int
    age_seconds: float


@dataclass
class _Folder:
    """An open folder as a transaction sees it: what it holds, and what is to be added to it."""

    folder_id: int
    files: int
    bytes: int
    added: list[tuple[Received, int | None]] = field(default_factory=list)
    """With the folder that closed for it, if one did."""

    def takes(self, received: Received, limits: Limits) -> bool:
        """Tell whether an upload still fits."""
        return self.bytes + received.size <= limits.bytes and self.files + 1 <= limits.files

    def add(self, received: Received, closed: int | None) -> None:
        """Count an upload in."""
        self.added.append((received, closed))
        self.files += 1
        self.bytes += received.size


class IngestStore:
    """Files, folders and download requests as ingest sees them."""

    def __init__(self, db: Database, store: str = MAIN) -> None:
        self._db = db
        self._name = store

    async def add_files(self, slot: str, batch: Sequence[Received], limits: Limits) -> list[Placed]:
        """Record uploads in the worker's open folder, all or none; open and close folders as the limits ask.

        Those that came before are where they went then.

        Raises:
            CommitUnknown: Whether it took place is for `find_file` to tell.
        """
        for _ in range(_SLOT_TRIES):
            try:
                return await self._db.transact(lambda tx: self._place(tx, slot, batch, limits))
            except Exception as error:
                # Two uploads opened the slot's folder at once: the second finds the first's.
                if not duplicate_key(error):
                    raise
        return await self._db.transact(lambda tx: self._place(tx, slot, batch, limits))

    async def _place(self, tx: Transaction, slot: str, batch: Sequence[Received], limits: Limits) -> list[Placed]:
        row = await tx.fetch_one(
            "SELECT folder_id, files, bytes FROM folder_info WHERE open_slot = %s FOR UPDATE", (slot,)
        )
        folder = _Folder(**row) if row else None
        claims = await same.claim(tx, batch)
        placed: list[Placed] = []
        for received in claims.fresh:
            closed: int | None = None
            if folder is not None and not folder.takes(received, limits):
                placed += await self._write(tx, folder, close=True)
                closed, folder = folder.folder_id, None
            if folder is None:
                folder = _Folder(await self._open(tx, slot, limits), 0, 0)
            folder.add(received, closed)
            if folder.files >= limits.files or folder.bytes >= limits.bytes:
                placed += await self._write(tx, folder, close=True)
                folder = None
        if folder is not None:
            placed += await self._write(tx, folder, close=False)
        results = await claims.settle(tx, placed)
        await upload_store.became_files(
            tx,
            {
                received.upload: (where.file_id, received.size)
                for received, where in zip(batch, results, strict=True)
                if received.upload is not None and not where.differs
            },
        )
        return results

    async def _open(self, tx: Transaction, slot: str, limits: Limits) -> int:
        """Open a folder; who drains or writes off the store waits for this transaction, or this finds that it is so.

        Raises:
            Draining: Nothing is taken here any more.
        """
        row = await tx.fetch_one("SELECT state FROM store_info WHERE name = %s LOCK IN SHARE MODE", (self._name,))
        if row is not None and row["state"] in {StoreState.DRAINED, StoreState.LOST}:
            raise Draining(f"the store {self._name} takes no uploads any more: send it to another", _LATER_SECONDS)
        return await tx.insert(
            "INSERT INTO folder_info (open_slot, store, close_at)"
            " VALUES (%s, %s, UTC_TIMESTAMP(6) + INTERVAL %s SECOND)",
            (slot, self._name, limits.age_seconds),
        )

    async def _write(self, tx: Transaction, folder: _Folder, *, close: bool) -> list[Placed]:
        """Write the files that a folder got, and what it holds now; return where they went."""
        placed = await self._insert_files(tx, folder)
        await tx.execute(
            f"UPDATE folder_info SET files = %s, bytes = %s {', ' + CLOSE if close else ''} WHERE folder_id = %s",  # noqa: S608
            (folder.files, folder.bytes, folder.folder_id),
        )
        if close and placed and placed[-1].closed_folder_id is None:
            placed[-1] = replace(placed[-1], closed_folder_id=folder.folder_id)
        return placed

    async def _insert_files(self, tx: Transaction, folder: _Folder) -> list[Placed]:
        if not folder.added:
            return []
        rows = ", ".join([f"(%s, %s, %s, %s, %s, %s, {marks(facts.COLUMNS)})"] * len(folder.added))
        values: list[object] = []
        for received, _ in folder.added:
            kind = file_type(received.name)
            values += [received.name, kind, received.size, received.sha256, received.path, folder.folder_id]
            values += facts.values(received.facts)
        await tx.execute(
            "INSERT INTO file_upload_info (file_name, file_type, size, sha256, path, folder_id,"  # noqa: S608
            f" {', '.join(facts.COLUMNS)}) VALUES {rows}",
            values,
        )
        # Ids of one INSERT are not always consecutive (auto_increment_increment), so they are read.
        found = await tx.fetch_all(
            "SELECT path, file_id, create_time FROM file_upload_info"  # noqa: S608 - placeholders
            f" WHERE path IN ({marks(folder.added)})",
            [received.path for received, _ in folder.added],
        )
        at = {row["path"]: (row["file_id"], folder.folder_id, row["create_time"]) for row in found}
        copies = {at[received.path][0]: received.copy for received, _ in folder.added if received.copy}
        await copy_store.note(tx, copies)
        await facts.insert_tags(tx, ((at[received.path][0], received.facts) for received, _ in folder.added))
        came = {at[received.path][0]: received.trace for received, _ in folder.added if received.trace}
        await traces.keep_all(tx, "file_upload_info", came)
        await record(tx, *(_received(received, at[received.path][0]) for received, _ in folder.added))
        return [Placed(*at[received.path], closed) for received, closed in folder.added]

    async def find_file(self, path: str) -> Placed | None:
        """Return where the upload at `path` was recorded, once an answer to COMMIT was lost; None if it never will be.

        The COMMIT may still be under way, on this server or on one that was left for it. So the path is written, and
        taken back: once that is committed the other can't be any more. Here it waits for the lock on the path, or has
        it wait; at another node of a cluster it is refused, as the same unique key was written.

        Raises:
            DatabaseUnavailable: It is not known yet.
        """

        async def forestall(tx: Transaction) -> None:
            await tx.execute(
                "INSERT INTO file_upload_info (file_name, file_type, size, sha256, path, folder_id)"
                " VALUES ('', '', 0, '', %s, 0)",
                (path,),
            )
            await tx.execute("DELETE FROM file_upload_info WHERE path = %s", (path,))

        try:
            await self._db.transact(forestall)
        except Exception as error:
            if not duplicate_key(error):
                raise
        row = await self._db.fetch_one(
            "SELECT file_id, folder_id, create_time FROM file_upload_info WHERE path = %s", (path,)
        )
        return Placed(**row) if row else None

    async def close_aged_folders(self) -> list[Closed]:
        """Close open folders past their age; return them."""
        rows = await self._db.fetch_all(
            f"SELECT folder_id FROM folder_info WHERE status = {FolderStatus.OPEN} AND close_at <= UTC_TIMESTAMP(6)"  # noqa: S608 - our own numbers
            " ORDER BY close_at LIMIT 1000"
        )
        return [closed for row in rows if (closed := await close_folder(self._db, row["folder_id"]))]

    @transacted
    async def request_download(
        self,
        tx: Transaction,
        file_id: int,
        url: CallbackUrl | None,
        peer: str | None,
        most: Most,
        span: Span | None = None,
        store: str = MAIN,
    ) -> Asked | None:
        """Record a request, or join the open one for the same file, clip and URL; None if there is no such file.

        The file's own store brings it back while it has it on its disk, else `store`.

        Raises:
            TooMany: As many as may be are open; nothing was written.
            Gone: The file has ended.
            BadClip: It has no such clip.
        """
        return await ask(tx, file_id, url, Asker(peer, most, span=span, store=store))

    async def file(self, file_id: int) -> Row | None:
        """Return a file with its folder's and its archive's state."""
        return await self._db.fetch_one(
            "SELECT file.file_id, file.file_name, file.size, file.sha256, file.path, file.zip_id, file.zip_offset,"  # noqa: S608
            f" {facts.SELECT.format(file='file')}, {found.SELECT},"
            " file.create_time, folder.folder_id, folder.status AS folder_status, folder.closed_at, folder.pack_reason,"
            " zip.pin_failed_at, zip.format AS zip_format,"
            " zip.cid, zip.size AS zip_size, zip.dag_size, zip.status AS zip_status, zip.replicas, zip.expired_on,"
            " zip.expires_at, zip.path AS zip_path, zip.create_time AS packed_at, zip.pinned_at, zip.dropped_at,"
            " evidence.create_time AS enough_since, evidence.proven_at,"
            " evidence.proven_at IS NOT NULL AS proven, evidence.proven_by, evidence.counted_at,"
            " evidence.block AS counted_block, audit.audited_at, audit.bytes AS audited_bytes,"
            " audit.reason AS audit_problem,"
            " COALESCE(zip.pin_reason, zip.order_reason, zip.watch_reason, zip.prove_reason, zip.drop_reason)"
            " AS zip_reason,"
            f" ends.ends_at, ends.shredded_at, {HELD.format(zip='zip')} AS held,"
            " EXISTS (SELECT 1 FROM hold_info WHERE hold_info.file_id = file.file_id AND active = 1) AS file_held,"
            " purchase.price, purchase.block AS order_block, purchase.settled_at AS ordered_at,"
            " aside.file_id IS NOT NULL AS set_aside, aside.lost_at IS NOT NULL AS lost, aside.reason AS aside_reason"
            " FROM file_upload_info AS file JOIN folder_info AS folder USING (folder_id)"
            " LEFT JOIN zip_ipfs_info AS zip ON zip.zip_id = file.zip_id"
            " LEFT JOIN evidence_info AS evidence ON evidence.zip_id = file.zip_id AND evidence.valid = 1"
            " LEFT JOIN audit_info AS audit ON audit.zip_id = file.zip_id AND audit.place = 'network'"
            " LEFT JOIN order_info AS purchase ON purchase.zip_id = file.zip_id AND purchase.term = 1"
            " LEFT JOIN retention_info AS ends ON ends.zip_id = file.zip_id"
            " LEFT JOIN set_aside_info AS aside ON aside.file_id = file.file_id"
            f" {found.JOIN} WHERE file.file_id = %s",
            (file_id,),
        )

    async def camera(self, file_id: int) -> str | None:
        """Return which camera a file is of; None if that is not known, or there is no such file."""
        row = await self._db.fetch_one("SELECT camera FROM file_upload_info WHERE file_id = %s", (file_id,))
        return None if row is None else row["camera"]

    async def requests(self, file_id: int) -> list[Row]:
        """Return a file's latest download requests, newest first."""
        return await self._db.fetch_all(
            "SELECT download_id, cb_url, status, source, create_time, extracted_at, called_back_at, link_expires_at,"
            " clip_from, clip_to, clip_clock, clip_size, clip_sha256, clip_note,"
            " path IS NOT NULL AND link_expires_at > UTC_TIMESTAMP(6) AS linked,"
            " COALESCE(fetch_reason, callback_reason) AS reason"
            " FROM download_info WHERE file_id = %s ORDER BY download_id DESC LIMIT %s",
            (file_id, _SHOWN_REQUESTS),
        )

    async def named(self, paths: list[str]) -> set[str]:
        """Return those of `paths` that are the upload of a file."""
        return await named_paths(self._db, "file_upload_info", paths)

    async def uploads(self, paths: list[str]) -> list[Row]:
        """Return what the tags of uploads at `paths` say, with their `path`; at most 100 are looked for at a time."""
        rows = await self._db.fetch_all(
            "SELECT path, file_id, file_name, size, sha256, folder_id, create_time,"  # noqa: S608
            f" {facts.SELECT.format(file='file')} FROM file_upload_info AS file WHERE path IN ({marks(paths)})",
            paths,
        )
        return [{**row, "facts": facts.of(row)} for row in rows]


def _received(received: Received, file_id: int) -> Line:
    """Return what the custody log says of an upload."""
    told = {"from": received.peer, "sha256": received.sha256, "size": received.size, **received.who}
    return Line(Act.RECEIVED, told, file_id)
