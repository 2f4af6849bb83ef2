"""The SQL of playing a file: where its bytes are, and who watched."""

from roadvault_common.sql.custody_lines import Act, Line, record
from roadvault_common.sql.db import Database, Transaction, transacted
from roadvault_common.stores import MAIN
from roadvault_common.web.links import View
from roadvault_retriever.located import COLUMNS, JOINS, Located, seen_from


class StreamStore:
    """Reads where files are; writes who watched."""

    def __init__(self, db: Database, store: str = MAIN) -> None:
        self._db = db
        self._name = store

    async def located(self, file_id: int) -> Located | None:
        """Return where a file is; None if there is no such file."""
        row = await self._db.fetch_one(
            f"SELECT {COLUMNS} FROM file_upload_info AS file {JOINS} WHERE file.file_id = %s",  # noqa: S608 - two constants
            (file_id,),
        )
        return None if row is None else Located(**seen_from(row, self._name))

    async def stream_url(self, store: str) -> str | None:
        """Return where a store's retriever gives videos to doors, if it said so."""
        url: str | None = await self._db.fetch_value("SELECT stream_url FROM store_info WHERE name = %s", (store,))
        return url

    @transacted
    async def note_watched(self, tx: Transaction, view: View) -> None:
        """Write that somebody watches, once for each token, whichever processes find it."""
        new = await tx.execute(
            "INSERT IGNORE INTO watched_info (view_id, over_at) VALUES (%s, %s)", (view.view_id, view.expires_at)
        )
        if new:
            await record(tx, Line(Act.WATCHED, view.made_for, view.file_id))
        # The day is for who comes late, after an outage.
        await tx.execute("DELETE FROM watched_info WHERE over_at < UTC_TIMESTAMP(6) - INTERVAL 1 DAY LIMIT 100")
