"""Applies the migrations in `schema/`, in order, each once (yoyo keeps the list in the database)."""

import warnings
from pathlib import Path

from roadvault_common.errors import DatabaseUnavailable


def schema_dir() -> Path:
    """Return the directory of the migrations: inside the installed package, or the checkout's `schema/`."""
    packaged = Path(__file__).parent / "schema"
    return packaged if packaged.is_dir() else Path(__file__).parents[3] / "schema"


def migrate(url: str) -> list[str]:
    """Bring the database at `url` (mysql://…) up to date; return the ids of the migrations applied.

    Blocks; several callers at once are safe, they wait for each other's lock.

    Raises:
        DatabaseUnavailable: The database can't be reached.
    """
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
