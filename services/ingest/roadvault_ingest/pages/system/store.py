"""The SQL of the page of the system."""

from roadvault_common.sql.db import Database, Row

_SHOWN = 5


class SystemPageStore:
    """Reads what the page of the system shows."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def server(self) -> str:
        """Return the database server's version."""
        return str(await self._db.fetch_value("SELECT VERSION()"))

    async def schema(self) -> list[Row]:
        """Return the latest migrations that were applied."""
        return await self._db.fetch_all(
            "SELECT migration_id AS name, applied_at_utc AS applied_at FROM _yoyo_migration"
            " ORDER BY migration_id DESC LIMIT %s",
            (_SHOWN,),
        )
