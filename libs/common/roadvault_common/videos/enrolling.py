"""Files get their rows in `video_info`: of the retriever as they come, of a recovery as it brings them back."""

from collections.abc import Sequence

from roadvault_common.sql.db import Transaction, marks


async def enrol(tx: Transaction, file_ids: Sequence[int]) -> None:
    """Give files their rows, if they have none; those whose upload is here are to be looked at."""
    await tx.execute(
        "INSERT IGNORE INTO video_info (file_id, store, look_due)"  # noqa: S608 - placeholders
        " SELECT file_id, COALESCE(store, 'main'), IF(path IS NULL, NULL, UTC_TIMESTAMP(6))"
        " FROM file_upload_info LEFT JOIN folder_info USING (folder_id)"
        f" WHERE file_id IN ({marks(file_ids)})",
        [*file_ids],
    )
