"""SQL of passwords that were tried: counted in the database, for all processes, over restarts."""

from collections.abc import Sequence

from roadvault_common.sql.db import Database, Transaction, marks

WINDOW_SECONDS = 900
"""For so long a try counts; the count begins anew after that."""
_AT_ONCE = 1000


async def count(tx: Transaction, whose: Sequence[str]) -> dict[str, int]:
    """Count one more try of each; return how many they have now."""
    rows = ", ".join(["(%s, 1, UTC_TIMESTAMP(6))"] * len(whose))
    over = "since < UTC_TIMESTAMP(6) - INTERVAL %s SECOND"
    await tx.execute(
        f"INSERT INTO guess_info (whose, guesses, since) VALUES {rows} ON DUPLICATE KEY UPDATE"  # noqa: S608 - marks
        f" guesses = IF({over}, 1, guesses + 1), since = IF({over}, UTC_TIMESTAMP(6), since)",
        (*whose, WINDOW_SECONDS, WINDOW_SECONDS),
    )
    found = await tx.fetch_all(
        f"SELECT whose, guesses FROM guess_info WHERE whose IN ({marks(whose)})",  # noqa: S608 - marks
        whose,
    )
    return {row["whose"]: row["guesses"] for row in found}


async def forgive(db: Database, whose: Sequence[str]) -> None:
    """Take one try of each back: it was none."""
    await db.execute(
        f"UPDATE guess_info SET guesses = guesses - 1 WHERE whose IN ({marks(whose)}) AND guesses > 0",  # noqa: S608 - marks
        whose,
    )


async def remove_old(db: Database) -> None:
    """Remove counts that are over."""
    while (
        await db.execute(
            "DELETE FROM guess_info WHERE since < UTC_TIMESTAMP(6) - INTERVAL %s SECOND ORDER BY since LIMIT %s",
            (WINDOW_SECONDS, _AT_ONCE),
        )
        == _AT_ONCE
    ):
        pass
