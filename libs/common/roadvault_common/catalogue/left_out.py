"""What a recovery knows of and did not bring back: the catalogue goes on naming it (`architecture/recovery.md`)."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime

import orjson

from roadvault_common.catalogue.records import MOST_HOLDS, SEGMENT_ARCHIVES, ArchiveRecord, SegmentLink
from roadvault_common.errors import PermanentError
from roadvault_common.ipfs.dag import Cid
from roadvault_common.sql.custody_lines import Act, Line, record
from roadvault_common.sql.db import Database, Row, Transaction, marks

MOST = 10_000
"""Rows that are counted no further."""
_AT_ONCE = 200
"""Rows in one statement."""
_REASON_LENGTH = 500
_KINDS = {"segment": "the catalogue's segment", "log": "the catalogue's custody log", "catalogue": "the catalogue"}
_CUT_SHORT = "it was not read: the recovery was cut short"
_SAID = "said"
"""Key of what is noted with a record: when the catalogue was made that has it."""
_LONG_AGO = datetime.min.replace(tzinfo=UTC)
_PASSED_BY = (
    "our name leads to it, and this database knows nothing of it: it is new, or older than what was published (a"
    " restored dump); `roadvault recover --catalogue`"
)


async def begin(db: Database, segments: Sequence[SegmentLink], log: Cid | None) -> None:
    """Note all parts of a catalogue as not read yet, so that a recovery that is killed has nothing forgotten."""
    parts: list[tuple[object, ...]] = [(one.cid, "segment", one.number, one.archives, _CUT_SHORT) for one in segments]
    parts += [] if log is None else [(str(log), "log", None, 0, _CUT_SHORT)]
    for begin in range(0, len(parts), _AT_ONCE):
        some = parts[begin : begin + _AT_ONCE]
        await db.execute(
            "INSERT IGNORE INTO left_out_info (cid, kind, segment, archives, reason) VALUES "  # noqa: S608 - placeholders
            + ", ".join(["(%s, %s, %s, %s, %s)"] * len(some)),
            [value for part in some for value in part],
        )


async def note_catalogue(tx: Transaction, cid: str, archives: int) -> bool:
    """Note a catalogue that nobody has recovered from: the newest under our name, in place of any before.

    False: it is noted.
    """
    await tx.execute("DELETE FROM left_out_info WHERE kind = 'catalogue' AND cid <> %s", (cid,))
    noted = await tx.execute(
        "INSERT IGNORE INTO left_out_info (cid, kind, archives, reason) VALUES (%s, 'catalogue', %s, %s)",
        (cid, archives, _PASSED_BY),
    )
    return noted > 0


async def passed_by(db: Database) -> bool:
    """Tell whether there is a catalogue that nobody has recovered from: the name is its."""
    return await db.fetch_one("SELECT 1 FROM left_out_info WHERE kind = 'catalogue' LIMIT 1") is not None


async def follow(source: Database | Transaction, cid: str) -> None:
    """Note that our catalogue may take the name of this one, which was read, or given up."""
    await source.execute("DELETE FROM left_out_info WHERE cid = %s", (cid,))
    await source.execute("UPDATE catalogue_info SET follows = %s WHERE one = 1", (cid,))


async def end(
    db: Database,
    read: Sequence[str],
    unread: Mapping[str, str],
    left: Sequence[tuple[ArchiveRecord, str]],
    made: datetime | None = None,
) -> None:
    """Forget parts that were read, and archives that are back; note why others were not, and which archives are not.

    `made` is when the catalogue was made that has these records.
    """

    async def work(tx: Transaction) -> None:
        await _forget(tx, read)
        for cid, reason in unread.items():
            await tx.execute("UPDATE left_out_info SET reason = %s WHERE cid = %s", (reason[:_REASON_LENGTH], cid))
        for one, reason in left:
            there = await tx.fetch_one("SELECT record FROM left_out_info WHERE cid = %s FOR UPDATE", (one.cid,))
            record, said = (one, made) if there is None else _newer((one, made), _parsed(there["record"]))
            text = orjson.dumps({**orjson.loads(record.model_dump_json(exclude_none=True)), _SAID: said})
            await tx.execute(
                "REPLACE INTO left_out_info (cid, kind, zip_id, archives, record, reason)"
                " VALUES (%s, 'archive', %s, 1, %s, %s)",
                (record.cid, record.zip_id, text.decode(), reason[:_REASON_LENGTH]),
            )

    await db.transact(work)
    await forget_recovered(db)


def _parsed(text: str) -> tuple[ArchiveRecord, datetime | None]:
    """Return a record as it is noted, and when the catalogue was made that it is from, if that is noted."""
    fields = orjson.loads(text)
    said = fields.pop(_SAID, None)
    record = ArchiveRecord.model_validate_json(orjson.dumps(fields))
    return record, None if said is None else datetime.fromisoformat(said)


def _newer(
    one: tuple[ArchiveRecord, datetime | None], noted: tuple[ArchiveRecord, datetime | None]
) -> tuple[ArchiveRecord, datetime | None]:
    """Return the record of the newer catalogue, with the holds of both: nothing ends because one was forgotten."""
    (older, _), (newer, made) = sorted((noted, one), key=lambda both: both[1] or _LONG_AGO)
    found = {(hold.file_id, hold.reason): hold for hold in (*(older.holds or ()), *(newer.holds or ()))}
    holds = sorted(found.values(), key=lambda hold: hold.hold_id)
    more = max(older.more_holds or 0, newer.more_holds or 0) + max(len(holds) - MOST_HOLDS, 0)
    return newer.model_copy(update={"holds": holds[:MOST_HOLDS] or None, "more_holds": more or None}), made


async def forget_recovered(db: Database) -> None:
    """Forget the archives that have their rows by now, under their numbers."""
    await db.execute("DELETE left_out_info FROM left_out_info JOIN zip_ipfs_info USING (cid, zip_id)")


async def elsewhere(db: Database) -> list[tuple[int, ArchiveRecord]]:
    """Return the records of archives that have their rows by now under other numbers, after these numbers."""
    rows = await db.fetch_all(
        "SELECT zip.zip_id, record FROM left_out_info JOIN zip_ipfs_info AS zip USING (cid)"
        " WHERE zip.zip_id <> left_out_info.zip_id"
    )
    return [(row["zip_id"], _parsed(row["record"])[0]) for row in rows]


async def held(db: Database) -> list[ArchiveRecord]:
    """Return the records that have holds."""
    rows = await db.fetch_all("SELECT record FROM left_out_info WHERE record LIKE '%%holds\":%%'")
    return [_parsed(row["record"])[0] for row in rows]


async def noted(db: Database, cids: Sequence[str]) -> list[ArchiveRecord]:
    """Return the records of those of some CIDs that are of archives."""
    rows = await db.fetch_all(
        f"SELECT record FROM left_out_info WHERE cid IN ({marks(cids)}) AND record IS NOT NULL",  # noqa: S608
        cids,
    )
    return [_parsed(row["record"])[0] for row in rows]


async def forget(tx: Transaction, cid: str) -> None:
    """Forget an archive that is back, with its holds."""
    await _forget(tx, [cid])


async def give_up(db: Database, cids: Sequence[str]) -> None:
    """Forget what a person gives up; that is a line of the custody log.

    Raises:
        PermanentError: One is not noted; nothing was changed.
    """

    async def work(tx: Transaction) -> None:
        for cid in cids:
            row = await tx.fetch_one(
                "SELECT kind, zip_id, segment, archives FROM left_out_info WHERE cid = %s FOR UPDATE", (cid,)
            )
            if row is None:
                raise PermanentError(f"{cid} is not among what was left out: nothing was changed (`roadvault status`)")
            if row["kind"] == "catalogue":
                await follow(tx, cid)
            zip_id = row.pop("zip_id")
            await record(tx, Line(Act.GIVEN_UP, {"cid": cid, **row, "reason": "it was left out"}, zip_id=zip_id))
        await _forget(tx, cids)

    await db.transact(work)


async def _forget(tx: Transaction, cids: Iterable[str]) -> None:
    for cid in cids:
        await tx.execute("DELETE FROM left_out_info WHERE cid = %s", (cid,))


async def unread(db: Database) -> str | None:
    """Return which catalogue, or part of one, was not read, and why, if there is one."""
    row = await db.fetch_one(
        "SELECT kind, cid, archives, reason FROM left_out_info WHERE zip_id IS NULL AND kind <> 'copy' LIMIT 1"
    )
    if row is None:
        return None
    archives = f", {row['archives']} archives," if row["archives"] else ""
    return f"{_KINDS[row['kind']]} {row['cid']}{archives} was not read: {row['reason']}"


async def cut_short(db: Database) -> str | None:
    """Return what a recovery that was cut short has not come to, if there is such a thing."""
    row = await db.fetch_one(
        "SELECT COUNT(*) AS parts, CAST(COALESCE(SUM(archives), 0) AS SIGNED) AS archives, MIN(cid) AS first"
        " FROM left_out_info WHERE zip_id IS NULL AND reason = %s",
        (_CUT_SHORT,),
    )
    if row is None or not row["parts"]:
        return None
    return f"{row['parts']} parts of a catalogue, with {row['archives']} archives, {row['first']} first"


async def records(db: Database, first: int, last: int) -> list[ArchiveRecord]:
    """Return what the catalogue said of archives that are not back, from one number up to another."""
    rows = await db.fetch_all(
        "SELECT record FROM left_out_info WHERE zip_id >= %s AND zip_id < %s ORDER BY zip_id", (first, last)
    )
    return [_parsed(row["record"])[0] for row in rows]


async def may_have(tx: Transaction, zip_id: int) -> bool:
    """Tell whether an archive is left out, or may be, as what would name it was not read."""
    row = await tx.fetch_one(
        "SELECT 1 FROM left_out_info WHERE zip_id = %s"
        " OR (zip_id IS NULL AND (kind = 'catalogue' OR (kind = 'segment' AND segment = %s))) LIMIT 1 FOR UPDATE",
        (zip_id, zip_id // SEGMENT_ARCHIVES),
    )
    return row is not None


async def any_left(tx: Transaction) -> bool:
    """Tell whether anything is left out."""
    return await tx.fetch_one("SELECT 1 FROM left_out_info LIMIT 1") is not None


async def name_anew(tx: Transaction, zip_id: int) -> None:
    """Have the catalogue say of an archive that is left out what is on hold now."""
    await tx.execute("UPDATE left_out_info SET catalogued = 0 WHERE zip_id = %s", (zip_id,))


async def first_new(db: Database, behind: int) -> int | None:
    """Return the lowest number from `behind` on of an archive that our own catalogue does not name yet."""
    number: int | None = await db.fetch_value(
        "SELECT MIN(zip_id) FROM left_out_info WHERE catalogued = 0 AND zip_id >= %s", (behind,)
    )
    return number


async def note_catalogued(db: Database, cids: Sequence[str]) -> None:
    """Note that our own catalogue names archives."""
    for begin in range(0, len(cids), _AT_ONCE):
        some = cids[begin : begin + _AT_ONCE]
        await db.execute(f"UPDATE left_out_info SET catalogued = 1 WHERE cid IN ({marks(some)})", some)  # noqa: S608


async def listed(db: Database, limit: int) -> list[Row]:
    """Return `cid`, `kind`, `zip_id`, `archives`, `reason` and `create_time` of some, what is unread first."""
    return await db.fetch_all(
        "SELECT cid, kind, zip_id, archives, reason, create_time FROM left_out_info ORDER BY zip_id LIMIT %s",
        (limit,),
    )


async def count(db: Database) -> int:
    """Return how many archives are left out, and parts that may have some, of up to `MOST` rows."""
    return int(
        await db.fetch_value(
            "SELECT COALESCE(SUM(GREATEST(archives, 1)), 0) FROM (SELECT archives FROM left_out_info LIMIT %s) AS some",
            (MOST,),
        )
    )
