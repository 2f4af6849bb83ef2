"""Applies the migrations in `schema/`, in order, each once (yoyo keeps the list in the database).

A new schema is applied while old services run: a migration only adds (expand), and old code goes on beside it. What
takes away has `_contract_` in its name, and is applied once no service needs it any more.
"""

import warnings
from pathlib import Path

from roadvault_common.db import Database, parse_url
from roadvault_common.errors import DatabaseUnavailable, SettingsError

_CONTRACT = "_contract_"


def schema_dir() -> Path:
    """Return the directory of the migrations: inside the installed package, or the checkout's `schema/`."""
    packaged = Path(__file__).parent / "schema"
    return packaged if packaged.is_dir() else Path(__file__).parents[3] / "schema"


async def check_schema(db: Database) -> None:
    """See that the database's schema is one that this code can work with.

    Raises:
        SettingsError: A migration that the code needs is missing, or a later one took away what it may need.
        DatabaseUnavailable: It can't be told now.
    """
    listed = await db.fetch_one(
        "SELECT 1 FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name = '_yoyo_migration'"
    )
    rows = await db.fetch_all("SELECT migration_id FROM _yoyo_migration") if listed else []
    known, applied = {path.stem for path in schema_dir().glob("*.sql")}, {row["migration_id"] for row in rows}
    missing = sorted(known - applied)
    if missing:
        raise SettingsError(f"the database lacks the migration {missing[0]}: run `roadvault migrate`, then start again")
    contracted = sorted(name for name in applied - known if _CONTRACT in name)
    if contracted:
        raise SettingsError(f"the database has the migration {contracted[0]}, which is newer: upgrade this service")


def migrate(url: str) -> list[str]:
    """Bring the database at `url` (mysql://…) up to date; return the ids of the migrations applied.

    Blocks; several callers at once are safe, they wait for each other's lock.

    Raises:
        DatabaseUnavailable: The database can't be reached.
        SettingsError: The URL is not one of a database.
    """
    parse_url(url)  # yoyo's own error would show a piece of the password
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # yoyo uses parts of setuptools and sqlparse that warn
        import pymysql  # noqa: PLC0415 - only this function needs the blocking driver
        from yoyo import get_backend, read_migrations  # noqa: PLC0415

        try:
            backend = get_backend(url)
        except pymysql.err.OperationalError as error:
            raise DatabaseUnavailable(f"the database can't be reached: {error}") from error
        with backend, backend.lock():
            waiting = backend.to_apply(read_migrations(str(schema_dir())))
            backend.apply_migrations(waiting)
        return [migration.id for migration in waiting]
