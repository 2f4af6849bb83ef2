"""SQL of the sweeps that stopped because they would have moved too much: a person decides."""

from roadvault_common.sql.db import Database, Row


async def stopped(db: Database) -> list[Row]:
    """Return the sweeps that stopped: `directory`, `files`, `bytes`, `seen`, `allowed` and `stopped_at`."""
    return await db.fetch_all(
        "SELECT directory, files, bytes, seen, allowed, stopped_at FROM sweep_info ORDER BY directory LIMIT 10"
    )


async def allowed(db: Database, directory: str) -> int:
    """Return how many files a person lets the next sweep of a directory move, 0 if nobody has decided."""
    files: int | None = await db.fetch_value("SELECT allowed FROM sweep_info WHERE directory = %s", (directory,))
    return files or 0


async def stop(db: Database, directory: str, files: int, size: int, seen: int) -> None:
    """Note what the sweep of a directory would have moved, for a person to decide."""
    await db.execute(
        "INSERT INTO sweep_info (directory, files, bytes, seen) VALUES (%s, %s, %s, %s) ON DUPLICATE KEY UPDATE"
        " files = VALUES(files), bytes = VALUES(bytes), seen = VALUES(seen), allowed = NULL",
        (directory, files, size, seen),
    )


async def allow(db: Database, directory: str) -> int:
    """Let the next sweep of a directory move as many files as it was going to; return how many, 0 if none stopped."""
    await db.execute("UPDATE sweep_info SET allowed = files WHERE directory = %s", (directory,))
    return await allowed(db, directory)


async def went_on(db: Database, directory: str) -> None:
    """Note that the sweep of a directory was not stopped any more."""
    await db.execute("DELETE FROM sweep_info WHERE directory = %s", (directory,))
