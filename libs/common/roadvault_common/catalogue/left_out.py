"""What a recovery knows of and did not bring back: the catalogue goes on naming it (`architecture/recovery.md`)."""

from collections.abc import Iterable, Mapping, Sequence

from roadvault_common.catalogue.records import ArchiveRecord, SegmentLink
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


async def note_catalogue(db: Database, cid: str, archives: int) -> None:
    """Note a catalogue that nobody has recovered from: the newest under our name, in place of any before."""
    await db.execute("DELETE FROM left_out_info WHERE kind = 'catalogue' AND cid <> %s", (cid,))
    await db.execute(
        "INSERT IGNORE INTO left_out_info (cid, kind, archives, reason) VALUES (%s, 'catalogue', %s, %s)",
        (cid, archives, "our name leads to it, and this database knows nothing of it: `roadvault recover`"),
    )


async def follow(source: Database | Transaction, cid: str) -> None:
    """Note that our catalogue may take the name of this one, which was read, or given up."""
    await source.execute("DELETE FROM left_out_info WHERE cid = %s", (cid,))
    await source.execute("UPDATE catalogue_info SET follows = %s WHERE one = 1", (cid,))


async def end(
    db: Database, read: Sequence[str], unread: Mapping[str, str], left: Sequence[tuple[ArchiveRecord, str]]
) -> None:
    """Forget parts that were read, and archives that are back; note why others were not, and which archives are not."""

    async def work(tx: Transaction) -> None:
        await _forget(tx, read)
        for cid, reason in unread.items():
            await tx.execute("UPDATE left_out_info SET reason = %s WHERE cid = %s", (reason[:_REASON_LENGTH], cid))
        for one, reason in left:
            await tx.execute(
                "REPLACE INTO left_out_info (cid, kind, zip_id, archives, record, reason)"
                " VALUES (%s, 'archive', %s, 1, %s, %s)",
                (one.cid, one.zip_id, one.model_dump_json(exclude_none=True), reason[:_REASON_LENGTH]),
            )

    await db.transact(work)
    await forget_recovered(db)


async def forget_recovered(db: Database) -> None:
    """Forget the archives that have their rows by now."""
    await db.execute("DELETE left_out_info FROM left_out_info JOIN zip_ipfs_info USING (cid)")


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


async def records(db: Database, first: int, last: int) -> list[ArchiveRecord]:
    """Return what the catalogue said of archives that are not back, from one number up to another."""
    rows = await db.fetch_all(
        "SELECT record FROM left_out_info WHERE zip_id >= %s AND zip_id < %s ORDER BY zip_id", (first, last)
    )
    return [ArchiveRecord.model_validate_json(row["record"]) for row in rows]


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
