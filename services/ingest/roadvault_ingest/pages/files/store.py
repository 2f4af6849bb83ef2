"""The SQL of the pages of files, read along the primary key; lists with filters are `FilesStore`'s."""

from collections.abc import Sequence

from roadvault_common.sql.db import Database, Row, marks
from roadvault_ingest.pages.office import Slice, sliced

# A straight join begins with the files: else the server may begin with the folders, which are few, and sort all files.
FILES = (
    "SELECT file.file_id, file.file_name, file.size, file.camera, file.recorded_at, file.create_time, file.zip_id,"
    " folder.status AS folder_status, aside.file_id IS NOT NULL AS set_aside, aside.lost_at IS NOT NULL AS lost"
    " FROM file_upload_info AS file STRAIGHT_JOIN folder_info AS folder ON folder.folder_id = file.folder_id"
    " LEFT JOIN set_aside_info AS aside ON aside.file_id = file.file_id"
)
_ARCHIVES = (
    "SELECT zip_id, cid, status AS zip_status, path AS zip_path, replicas, pin_failed_at, order_failed_at,"
    " watch_failed_at, prove_failed_at, restore_failed_at, audit_failed_at, inspect_failed_at, drop_failed_at,"
    " EXISTS (SELECT 1 FROM evidence_info WHERE zip_id = zip_ipfs_info.zip_id AND valid = 1 AND proven_at IS NOT NULL)"
    " AS proven FROM zip_ipfs_info"
)
_REQUESTS = (
    "SELECT download_id, file_id, status FROM download_info WHERE download_id IN"
    " (SELECT MAX(download_id) FROM download_info WHERE file_id IN ({files}) GROUP BY file_id)"
)


_PICTURED = (
    "SELECT file_id, path IS NOT NULL AS pictures, duration, camera AS found_camera,"
    " recorded_at AS found_recorded_at FROM video_info"
    " WHERE file_id IN ({files}) AND looked_at IS NOT NULL"
)
_NOT_PICTURED = ("pictures", "duration", "found_camera", "found_recorded_at")


class FilePagesStore:
    """Reads what the pages of files show."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def files(self, before: int | None, after: int | None) -> Slice:
        """Return files before or after a file's number."""
        return await sliced(self._db, FILES, "file.file_id", before, after)

    async def with_states(self, rows: Sequence[Row]) -> list[Row]:
        """Return files with what their archives' rows say of where they stand, and their latest requests."""
        zips = sorted({row["zip_id"] for row in rows if row["zip_id"] is not None})
        archives: dict[int, Row] = {}
        if zips:
            found = await self._db.fetch_all(f"{_ARCHIVES} WHERE zip_id IN ({marks(zips)})", zips)
            archives = {row["zip_id"]: row for row in found}
        files = [row["file_id"] for row in rows]
        asked = await self._db.fetch_all(_REQUESTS.format(files=marks(files)), files) if files else []
        pictured = await self._db.fetch_all(_PICTURED.format(files=marks(files)), files) if files else []
        videos = {row["file_id"]: row for row in pictured}
        latest = {row["file_id"]: {"request": row["status"], "download_id": row["download_id"]} for row in asked}
        return [
            {
                **row,
                **archives.get(row["zip_id"], {}),
                **latest.get(row["file_id"], {"request": None}),
                **videos.get(row["file_id"], dict.fromkeys(_NOT_PICTURED)),
            }
            for row in rows
        ]

    async def with_failures(self, row: Row) -> Row:
        """Return a file with what its archive's row says of stages that failed."""
        (found,) = await self.with_states([row])
        return {**row, **{name: value for name, value in found.items() if name.endswith("_failed_at")}}

    async def video(self, file_id: int) -> Row | None:
        """Return what was found in a video; None if it was not looked at."""
        return await self._db.fetch_one(
            "SELECT container, video_codec, audio_codec, width, height, frame_rate, duration, camera, recorded_at, lat,"
            " lon, unreadable, path IS NOT NULL AS pictures FROM video_info"
            " WHERE file_id = %s AND looked_at IS NOT NULL",
            (file_id,),
        )
