"""The SQL of looking at videos.

Whatever is given a lease raises LeaseLost if another worker has the row, and has then written nothing.
"""

from dataclasses import dataclass
from itertools import takewhile
from typing import NamedTuple

from roadvault_common.sql.binding import bind
from roadvault_common.sql.db import Database, Transaction, transacted
from roadvault_common.sql.mirror import named_paths
from roadvault_common.stores import MAIN
from roadvault_common.videos import pictures
from roadvault_common.videos.enrolling import enrol
from roadvault_common.work import backlog
from roadvault_common.work import lease as leases
from roadvault_common.work.lease import Lease
from roadvault_common.work.stages import LOOK, PACK
from roadvault_video.looking import Look

_AT_ONCE = 500
"""New files that get their rows at once, and pictures that go at once."""
_WORDS = 200


@dataclass(frozen=True)
class Subject:
    """A file that is to be looked at."""

    file_id: int
    name: str
    asked: bool
    """Somebody wants its pictures, and it was looked at before."""


@dataclass(frozen=True)
class Kept:
    """Where a file's pictures were put."""

    path: str
    sizes: list[int]
    places: list[float]


class Packing(NamedTuple):
    """Whether folders wait to be packed, and whether one is being packed."""

    waits: bool
    goes_on: bool


class LookStore:
    """Finds files to be looked at, writes what was found in them."""

    def __init__(self, db: Database, store: str = MAIN) -> None:
        self._db = db
        self._name = store

    async def enrol(self, margin_seconds: float) -> int:
        """Give files that came since the last time their rows; those whose upload is here are due. Return how many.

        They are found by their numbers, and only once they are `margin_seconds` old: by then what has a lower number
        is committed, too. What a recovery brings back under lower numbers it gives their rows itself.
        """
        rows = await self._db.fetch_all(
            "SELECT file_id, create_time < UTC_TIMESTAMP(6) - INTERVAL %s SECOND AS old FROM file_upload_info"
            " WHERE file_id > (SELECT enrolled FROM picture_info WHERE one = 1) ORDER BY file_id LIMIT %s",
            (margin_seconds, _AT_ONCE),
        )
        # One that a recovery brought back may be old, and have a higher number than what comes now.
        ids = [row["file_id"] for row in takewhile(lambda row: row["old"], rows)]
        if ids:
            await self._db.transact(lambda tx: self._enrol(tx, ids))
        return len(ids)

    async def _enrol(self, tx: Transaction, ids: list[int]) -> None:
        await enrol(tx, ids)
        await tx.execute("UPDATE picture_info SET enrolled = GREATEST(enrolled, %s) WHERE one = 1", (ids[-1],))

    async def packing(self) -> Packing:
        """Tell whether folders wait to be packed, and whether one is."""
        return Packing(
            waits=await backlog.count_due(self._db, PACK) > 0, goes_on=await backlog.count_at_work(self._db, PACK) > 0
        )

    async def subject(self, file_id: int) -> Subject:
        """Return a file that is to be looked at."""
        row = await self._db.fetch_one(
            "SELECT file_name, looked_at FROM video_info JOIN file_upload_info USING (file_id) WHERE file_id = %s",
            (file_id,),
        )
        return Subject(file_id, row["file_name"] if row else "", asked=row is not None and row["looked_at"] is not None)

    @transacted
    async def close_looked(self, tx: Transaction, lease: Lease, look: Look, kept: Kept | None) -> str | None:
        """Write what was found, and end the lease; return the path of pictures that so are no row's any more.

        Of a file that has ended meanwhile no pictures are kept.
        """
        file_id = lease.row_id
        await leases.hold(tx, lease)
        ended = await tx.fetch_one(
            "SELECT ends.zip_id, shredded_at FROM file_upload_info AS file JOIN retention_info AS ends USING (zip_id)"
            " WHERE file_id = %s FOR UPDATE",
            (file_id,),
        )
        if ended is not None:
            await bind(tx, "retention_info", ended["zip_id"])
        kept, dropped = (None, kept) if ended and ended["shredded_at"] is not None else (kept, None)
        before = await tx.fetch_one(
            "SELECT video.path, video.bytes, file.camera, file.recorded_at FROM video_info AS video"
            " LEFT JOIN file_upload_info AS file USING (file_id) WHERE file_id = %s",
            (file_id,),
        )
        found, size = look.found, sum(kept.sizes) if kept else 0
        recorded_at = None if look.recorded_at is None else look.recorded_at.replace(tzinfo=None)
        said = (before["camera"], before["recorded_at"]) if before else (None, None)
        known = said[0] or look.camera, said[1] or recorded_at
        await tx.execute(
            "UPDATE video_info SET looked_at = UTC_TIMESTAMP(6), unreadable = %s, container = %s, video_codec = %s,"
            " audio_codec = %s, width = %s, height = %s, rotation = %s, frame_rate = %s, duration = %s, camera = %s,"
            " recorded_at = %s, known_camera = %s, known_at = %s, recorded_by = %s, lat = %s, lon = %s, path = %s,"
            " picture_bytes = %s, picture_places = %s, bytes = %s, seen_at = IF(%s, UTC_TIMESTAMP(6), NULL)"
            " WHERE file_id = %s",
            (
                None if look.unreadable is None else look.unreadable[:_WORDS],
                *(found.container, found.video_codec, found.audio_codec),
                *(found.width, found.height, found.rotation, found.frame_rate, found.duration, look.camera),
                *(recorded_at, *((None, None) if known == said else known)),
                *(look.recorded_by, found.lat, found.lon),
                kept.path if kept else None,
                ",".join(map(str, kept.sizes)) if kept else None,
                ",".join(f"{place:.3f}" for place in kept.places) if kept else None,
                *(size, kept is not None, file_id),
            ),
        )
        if before is not None and size != before["bytes"]:
            await pictures.count(tx, self._name, size - before["bytes"])
        await leases.end(tx, LOOK, file_id)  # what nobody misses writes no event
        lease.closed = True
        gone = dropped.path if dropped else None
        return gone or (before["path"] if before is not None else None)

    @transacted
    async def close_unlooked(self, tx: Transaction, lease: Lease, unreadable: str | None) -> None:
        """End the lease of a file that can't be looked at now; or never, for what `unreadable` says."""
        await leases.hold(tx, lease)
        await tx.execute(
            "UPDATE video_info SET looked_at = UTC_TIMESTAMP(6), unreadable = %s WHERE file_id = %s",
            (None if unreadable is None else unreadable[:_WORDS], lease.row_id),
        )
        await leases.end(tx, LOOK, lease.row_id)
        lease.closed = True

    async def picture_bytes(self) -> int:
        """Return how many bytes of pictures there are at this store."""
        return int(
            await self._db.fetch_value(
                "SELECT bytes FROM picture_info JOIN store_info ON number = one WHERE name = %s", (self._name,)
            )
            or 0
        )

    @transacted
    async def forget_unseen(self, tx: Transaction, too_many: int) -> list[str]:
        """Forget the pictures that were not seen for the longest time, of `too_many` bytes; return their paths."""
        rows = await tx.fetch_all(
            "SELECT file_id, path, bytes FROM video_info WHERE store = %s AND seen_at IS NOT NULL"
            " ORDER BY seen_at LIMIT %s",
            (self._name, _AT_ONCE),
        )
        going: dict[int, str] = {}
        for row in rows:
            if too_many <= 0:
                break
            too_many -= row["bytes"]
            going[row["file_id"]] = row["path"]
        return await pictures.forget(tx, going) if going else []

    async def named(self, paths: list[str]) -> set[str]:
        """Return those of `paths` that are some file's pictures."""
        return await named_paths(self._db, "video_info", paths)
