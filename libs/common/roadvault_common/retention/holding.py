"""The SQL of ends and holds. Each change writes the archive's row first, as who ends an archive does."""

from datetime import datetime
from enum import StrEnum

from roadvault_common.catalogue import left_out
from roadvault_common.errors import PermanentError
from roadvault_common.sql.binding import bind
from roadvault_common.sql.custody_lines import Act, Line, record
from roadvault_common.sql.db import Database, Row, Transaction
from roadvault_common.work import lease as leases
from roadvault_common.work.stages import ORDER, SHRED, WATCH


async def set_end(db: Database, zip_id: int, ends_at: datetime | None) -> Row:
    """Move an archive's end (UTC; None: it is kept for ever); return its `period_key`, and the `period` of that.

    Raises:
        PermanentError: There is no such archive, it has ended, or that is in the past; nothing was changed.
    """

    async def write(tx: Transaction) -> Row:
        await _lock(tx, zip_id)
        await tx.execute(
            "INSERT INTO retention_info (zip_id, store, ends_at, shred_due)"
            " SELECT zip_id, store, %s, %s FROM zip_ipfs_info WHERE zip_id = %s"
            " ON DUPLICATE KEY UPDATE ends_at = VALUES(ends_at)",
            (ends_at, ends_at, zip_id),
        )
        await leases.put_off(tx, SHRED, zip_id, ends_at)
        await look_again(tx, zip_id)
        row = await tx.fetch_one(
            "SELECT period_key, period, ends_at <= UTC_TIMESTAMP(6) AS past FROM retention_info"
            " LEFT JOIN period_key_info USING (period_key) WHERE zip_id = %s",
            (zip_id,),
        )
        assert row is not None  # noqa: S101 - it was written above
        if row["past"]:
            raise PermanentError(f"{ends_at:%Y-%m-%d %H:%M} UTC is over: name a time to come; nothing was changed")
        ends = "never" if ends_at is None else f"{ends_at:%Y-%m-%dT%H:%M:%SZ}"
        await record(tx, Line(Act.END_MOVED, {"ends": ends}, zip_id=zip_id))
        return row

    return await db.transact(write)


class KeyLives(StrEnum):
    """What a moved end means for the key that wraps an archive's, and so for its label on the network."""

    NO_PERIOD = "no_period"
    """It was packed without an end: its label opens with the master key, and stays readable out there."""
    LONGER = "longer"
    """Its period's key lives as long as the archive, and opens labels of others of that month, too."""
    SOONER = "sooner"
    """Its period's key lives until that month is over."""
    AS_LONG = "as_long"


def key_lives(row: Row, ends_at: datetime | None) -> KeyLives:
    """Return what an end means that was moved there; `row` is what `set_end` returned."""
    if row["period_key"] is None:
        return KeyLives.NO_PERIOD
    if ends_at is None or f"{ends_at:%Y-%m}" > row["period"]:
        return KeyLives.LONGER
    return KeyLives.SOONER if f"{ends_at:%Y-%m}" < row["period"] else KeyLives.AS_LONG


async def hold(
    db: Database, reason: str, *, zip_id: int | None = None, file_id: int | None = None
) -> tuple[int, int | None]:
    """Put an archive on hold, or a file, packed or not; return the hold's id, and the archive that it keeps.

    What a recovery left out, or may have, is on hold as well: once it comes back it does not end.

    Raises:
        PermanentError: There is no such archive or file, or it has ended; nothing was changed.
    """

    async def write(tx: Transaction) -> tuple[int, int | None]:
        kept = zip_id if file_id is None else await _archive_of(tx, file_id)
        if kept is not None:
            await _lock(tx, kept, or_left_out=True)
        number = await tx.insert(
            "INSERT INTO hold_info (zip_id, file_id, reason) VALUES (%s, %s, %s)", (kept, file_id, reason)
        )
        if file_id is not None and kept is None and (kept := await _archive_of(tx, file_id)) is not None:
            await place(tx, number, kept)  # it came back meanwhile
        if kept is not None:
            await look_again(tx, kept)
        await record(tx, _line(Act.HOLD, number, reason, file_id, kept))
        return number, kept

    return await db.transact(write)


async def release(db: Database, hold_id: int, reason: str) -> int | None:
    """Release a hold; return the archive that it kept.

    Raises:
        PermanentError: There is no such hold, or it was released.
    """

    async def write(tx: Transaction) -> int | None:
        row = await tx.fetch_one(
            "SELECT zip_id, file_id FROM hold_info WHERE hold_id = %s AND active = 1 FOR UPDATE", (hold_id,)
        )
        if row is None:
            raise PermanentError(f"there is no hold {hold_id} that could be released; nothing was changed")
        await tx.execute(
            "UPDATE hold_info SET active = NULL, released_at = UTC_TIMESTAMP(6), released_why = %s WHERE hold_id = %s",
            (reason, hold_id),
        )
        kept: int | None = row["zip_id"]
        await record(tx, _line(Act.RELEASED, hold_id, reason, row["file_id"], kept))
        if kept is not None:
            await leases.make_due(tx, SHRED, kept)
            await look_again(tx, kept)
        return kept

    return await db.transact(write)


async def holds(db: Database, limit: int) -> list[Row]:
    """Return the holds in force, the latest first."""
    return await db.fetch_all(
        "SELECT hold_id, zip_id, file_id, reason, create_time FROM hold_info WHERE active = 1"
        " ORDER BY hold_id DESC LIMIT %s",
        (limit,),
    )


async def period_keys(db: Database) -> list[Row]:
    """Return all periods, with what became of their keys."""
    return await db.fetch_all(
        "SELECT period, period_key, kept_at, destroyed_at FROM period_key_info ORDER BY period, period_key"
    )


def _line(act: Act, hold_id: int, reason: str, file_id: int | None, zip_id: int | None) -> Line:
    """Return the line of a hold: on a file, though it keeps the whole archive, or on an archive."""
    facts = {"hold": hold_id, "reason": reason}
    return Line(act, facts, zip_id=zip_id) if file_id is None else Line(act, facts, file_id=file_id)


async def place(tx: Transaction, hold_id: int, zip_id: int) -> None:
    """Note which archive a hold on a file keeps."""
    await tx.execute("UPDATE hold_info SET zip_id = %s WHERE hold_id = %s", (zip_id, hold_id))


async def is_here(db: Database, *, zip_id: int | None, file_id: int | None) -> bool:
    """Tell whether an archive, or a file, has its rows."""
    if file_id is None:
        return await db.fetch_one("SELECT 1 FROM zip_ipfs_info WHERE zip_id = %s", (zip_id,)) is not None
    return await db.fetch_one("SELECT 1 FROM file_upload_info WHERE file_id = %s", (file_id,)) is not None


async def _lock(tx: Transaction, zip_id: int, *, or_left_out: bool = False) -> None:
    await bind(tx, "zip_ipfs_info", zip_id)
    row = await tx.fetch_one("SELECT zip_id FROM zip_ipfs_info WHERE zip_id = %s AND kind = 'archive'", (zip_id,))
    if row is None and or_left_out and await left_out.may_have(tx, zip_id):
        return
    if row is None:
        raise PermanentError(f"there is no archive {zip_id}; nothing was changed")
    ended = await tx.fetch_one("SELECT shredded_at FROM retention_info WHERE zip_id = %s FOR UPDATE", (zip_id,))
    if ended is not None and ended["shredded_at"] is not None:
        raise PermanentError(f"archive {zip_id} ended on {ended['shredded_at']:%Y-%m-%d %H:%M} UTC: it is too late")


async def _archive_of(tx: Transaction, file_id: int) -> int | None:
    await bind(tx, "file_upload_info", file_id)  # who packs it takes what is on hold by now along
    row = await tx.fetch_one("SELECT zip_id FROM file_upload_info WHERE file_id = %s", (file_id,))
    if row is None and not await left_out.any_left(tx):
        raise PermanentError(f"there is no file {file_id}; nothing was changed")
    return None if row is None else row["zip_id"]


async def look_again(tx: Transaction, zip_id: int) -> None:
    """Have the orderer look at an archive whose end was moved or stopped: it may have to be renewed after all.

    And the catalogue says when it ends, and what is on hold.
    """
    await tx.execute("UPDATE zip_ipfs_info SET catalogued = NULL WHERE zip_id = %s", (zip_id,))
    await left_out.name_anew(tx, zip_id)
    bought = await tx.fetch_one("SELECT 1 FROM zip_ipfs_info WHERE zip_id = %s AND cid IS NOT NULL", (zip_id,))
    if bought is not None:
        for stage in (WATCH, ORDER):
            await leases.make_due(tx, stage, zip_id, hurry=False)
