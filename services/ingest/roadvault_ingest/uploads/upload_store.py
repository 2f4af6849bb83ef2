"""SQL of uploads that come in several requests, and of what leads an upload that came twice to its file."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from roadvault_common.sql.db import Database, Row, Transaction, transacted
from roadvault_common.sql.mirror import named_paths
from roadvault_common.sql.server_errors import duplicate_key
from roadvault_common.stores import MAIN
from roadvault_common.web.connections import counts_for
from roadvault_ingest.problems import TooMany, Unavailable

PARTIAL = "partial"
"""What `concat` says of an upload that is to be a part of a file."""
_LATER_SECONDS = 60
"""After so long a client that has too many open uploads may begin another."""
_STEP = 500
"""Rows that a statement of a sweep looks at."""


@dataclass(frozen=True)
class Upload:
    """An upload as its row has it; times are UTC. `sha256` is that of the file that it became, `file_id`."""

    upload_id: str
    path: str
    size: int | None
    came: int
    metadata: str
    concat: str | None
    upload_key: str | None
    file_id: int | None
    held: bool
    """Whether the disk's room for all of it is kept."""
    expired: bool
    expires_at: datetime
    owner: str | None = None
    """Who began it; None if nobody was asked who they are."""
    camera: str | None = None
    """What its file is of, if its metadata names no camera."""
    sha256: str | None = None
    store: str = MAIN
    """Where its bytes are."""
    upload_url: str | None = None
    """Where clients reach that store's ingest, if it says so."""

    @property
    def partial(self) -> bool:
        """Whether it never becomes a file, but a part of one."""
        return self.concat == PARTIAL

    @property
    def offset(self) -> int:
        """Bytes of it that need not be sent again."""
        return self.came if self.file_id is None or self.size is None else self.size


@dataclass(frozen=True)
class Begin:
    """An upload that is to begin; `key` is the hash of the client's Idempotency-Key, if it sent one."""

    upload_id: str
    path: str
    size: int | None
    metadata: str
    concat: str | None
    peer: str
    key: str | None
    owner: str | None = None
    camera: str | None = None


@dataclass(frozen=True)
class Times:
    """How long an upload is kept after its client was last seen, and room for all of it, in seconds."""

    expires: float
    held: float


@dataclass(frozen=True)
class MostOpen:
    """Uploads that may be open: in all, and from one address."""

    in_all: int
    per_peer: int


class UploadStore:
    """The uploads that are open, and for a while those that are whole."""

    def __init__(self, db: Database, times: Times, store: str = MAIN) -> None:
        self._db = db
        self._name = store
        self._times = times

    async def begin(self, upload: Begin, most: MostOpen) -> Upload:
        """Write a new upload's row, or return the one that was begun with the same key.

        Raises:
            TooMany: Too many of its address are open.
            Unavailable: Too many are open in all.
            CommitUnknown: Whether it was written is not known.
        """
        try:
            await self._insert(upload, most)
        except Exception as error:
            if not duplicate_key(error):
                raise
        found = await self.find(upload.upload_id) or await self.of_key(upload.key)
        if found is None or (found.expired and found.file_id is None):
            raise Unavailable("the upload with this Idempotency-Key has just expired; begin it again", _LATER_SECONDS)
        return found

    @transacted
    async def _insert(self, tx: Transaction, upload: Begin, most: MostOpen) -> None:
        if await _reach(tx, "file_id IS NULL", (), most.in_all):
            raise Unavailable(f"{most.in_all} uploads are open; begin this one later", _LATER_SECONDS)
        if await _reach(tx, "peer = %s AND file_id IS NULL", (counts_for(upload.peer),), most.per_peer):
            raise TooMany(f"{most.per_peer} uploads of your address are open; end some of them first", _LATER_SECONDS)
        await tx.execute(
            "INSERT INTO upload_info"
            " (upload_id, store, path, size, metadata, concat, peer, upload_key, owner, camera, held_until, expires_at)"
            " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, UTC_TIMESTAMP(6) + INTERVAL %s SECOND,"
            " UTC_TIMESTAMP(6) + INTERVAL %s SECOND)",
            (upload.upload_id, self._name, upload.path, upload.size, upload.metadata, upload.concat,
             counts_for(upload.peer), upload.key, upload.owner, upload.camera, self._times.held, self._times.expires),
        )  # fmt: skip

    async def find(self, upload_id: str) -> Upload | None:
        """Return an upload."""
        return await self._find("upload_id", upload_id)

    async def of_key(self, key: str | None) -> Upload | None:
        """Return the upload that was begun with a key."""
        return None if key is None else await self._find("upload_key", key)

    async def _find(self, column: str, value: str) -> Upload | None:
        row = await self._db.fetch_one(
            "SELECT upload_id, upload.path, upload.size, came, metadata, concat, upload_key, upload.file_id, owner,"  # noqa: S608
            " upload.camera, expires_at, held_until > UTC_TIMESTAMP(6) AS held,"
            " expires_at <= UTC_TIMESTAMP(6) AS expired, sha256, upload.store, upload_url"
            " FROM upload_info AS upload LEFT JOIN file_upload_info AS file ON file.file_id = upload.file_id"
            " LEFT JOIN store_info ON store_info.name = upload.store"
            f" WHERE upload.{column} = %s",
            (value,),
        )
        return None if row is None else Upload(**row)

    async def go_on(self, upload_id: str, came: int, size: int | None) -> None:
        """Note how many bytes are durable, and how long it will be if that is known; it is kept for longer now."""
        await self._db.execute(
            "UPDATE upload_info SET came = %s, size = COALESCE(size, %s),"
            " held_until = UTC_TIMESTAMP(6) + INTERVAL %s SECOND,"
            " expires_at = UTC_TIMESTAMP(6) + INTERVAL %s SECOND WHERE upload_id = %s AND file_id IS NULL",
            (came, size, self._times.held, self._times.expires, upload_id),
        )

    async def end_soon(self, upload_id: str) -> None:
        """Keep an upload that was used no longer than its room would be kept."""
        await self._db.execute(
            "UPDATE upload_info SET expires_at = LEAST(expires_at, UTC_TIMESTAMP(6) + INTERVAL %s SECOND)"
            " WHERE upload_id = %s AND file_id IS NULL",
            (self._times.held, upload_id),
        )

    async def remove(self, upload_id: str) -> None:
        """Forget an upload that has become no file."""
        await self._db.execute("DELETE FROM upload_info WHERE upload_id = %s AND file_id IS NULL", (upload_id,))

    async def named(self, paths: list[str]) -> set[str]:
        """Return those of `paths` that are the bytes of an open upload."""
        return await named_paths(self._db, "upload_info", paths)

    async def expired(self) -> list[Row]:
        """Return uploads at this store that have expired and become no file, the longest first."""
        return await self._db.fetch_all(
            "SELECT upload_id, path FROM upload_info WHERE store = %s AND expires_at <= UTC_TIMESTAMP(6)"
            " AND file_id IS NULL ORDER BY expires_at LIMIT %s",
            (self._name, _STEP),
        )

    async def expire(self, upload_id: str) -> bool:
        """Forget an upload that has expired and become no file; tell whether it was still so."""
        gone = await self._db.execute(
            "DELETE FROM upload_info WHERE upload_id = %s AND file_id IS NULL AND expires_at <= UTC_TIMESTAMP(6)",
            (upload_id,),
        )
        return gone > 0

    async def put_off(self, upload_id: str) -> None:
        """Let an upload that somebody has in hand expire later."""
        await self._db.execute(
            "UPDATE upload_info SET expires_at = UTC_TIMESTAMP(6) + INTERVAL %s SECOND"
            " WHERE upload_id = %s AND file_id IS NULL",
            (self._times.expires, upload_id),
        )

    async def forget(self) -> int:
        """Forget some uploads that became files long ago, and keys whose time is over; return how many."""
        uploads = await self._db.execute(
            "DELETE FROM upload_info WHERE expires_at <= UTC_TIMESTAMP(6) AND file_id IS NOT NULL"
            " ORDER BY expires_at LIMIT %s",
            (_STEP,),
        )
        keys = await self._db.execute(
            "DELETE FROM upload_key_info WHERE expires_at <= UTC_TIMESTAMP(6) ORDER BY expires_at LIMIT %s", (_STEP,)
        )
        return uploads + keys

    async def open(self) -> tuple[int, float, float]:
        """Return how many uploads are open, for how many seconds the oldest has been, and the oldest that has room."""
        count = await self._db.fetch_value("SELECT COUNT(*) FROM upload_info WHERE file_id IS NULL")
        oldest, coming = [
            await self._db.fetch_value(
                "SELECT TIMESTAMPDIFF(SECOND, create_time, UTC_TIMESTAMP(6)) FROM upload_info WHERE file_id IS NULL"  # noqa: S608
                f"{more} ORDER BY create_time LIMIT 1"
            )
            for more in ("", " AND held_until > UTC_TIMESTAMP(6)")
        ]
        return int(count), float(oldest or 0), float(coming or 0)


async def _reach(tx: Transaction, which: str, values: Sequence[object], most: int) -> bool:
    row = await tx.fetch_one(
        f"SELECT COUNT(*) AS n FROM (SELECT 1 FROM upload_info WHERE {which} LIMIT %s) AS some",  # noqa: S608
        (*values, most),
    )
    return row is not None and int(row["n"]) >= most


async def became_files(tx: Transaction, files: Mapping[str, tuple[int, int]]) -> None:
    """Note, in the transaction of their files, what uploads became, by their ids: a file's number and its length."""
    for upload_id, (file_id, size) in files.items():
        await tx.execute(
            "UPDATE upload_info SET file_id = %s, size = %s, came = %s WHERE upload_id = %s",
            (file_id, size, size, upload_id),
        )
