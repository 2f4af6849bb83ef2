"""Archives as the catalogue says of them: its records, from their rows."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from roadvault_common.catalogue import left_out
from roadvault_common.catalogue.records import MOST_HOLDS, SEGMENT_ARCHIVES, ArchiveRecord, Hold, Purchase
from roadvault_common.errors import Waiting
from roadvault_common.sql.db import Database, Row, marks
from roadvault_common.sql.states import OrderStatus

_AT_ONCE = 200
"""Archives that are read in one statement."""
_RENEWED_AT_ONCE = 50
"""Likewise, where all purchases of one may be looked at."""
MOST_EXTRINSIC = 2048
"""Characters of an extrinsic that go into the catalogue: one of ours has some 500."""
_ARCHIVES = (
    "SELECT zip.zip_id, zip.folder_id, zip.zip_name, zip.cid, zip.format, zip.size,"  # noqa: S608 - our own numbers
    " COALESCE(zip.dag_size, 0) AS dag_size, zip.files, zip.create_time AS created, zip.pinned_at AS pinned,"
    " zip.`key`, zip.iv, zip.master_key, zip.expired_on AS expires,"
    " ends.period_key, ends.ends_at AS ends, ends.shredded_at AS ended,"
    " IF(zip.catalogue_stale, zip.catalogue_mark, NULL) AS mark,"
    " bought.order_id, bought.market, bought.account, bought.term, bought.block, bought.extrinsic_hash,"
    " bought.extrinsic, bought.price, bought.create_time AS made FROM zip_ipfs_info AS zip"
    " LEFT JOIN order_info AS bought ON bought.zip_id = zip.zip_id AND bought.term = (SELECT term FROM order_info"
    f" WHERE zip_id = zip.zip_id AND term > 0 AND status = {OrderStatus.BOUGHT} ORDER BY term DESC LIMIT 1)"
    " LEFT JOIN retention_info AS ends ON ends.zip_id = zip.zip_id"
    " WHERE zip.zip_id >= %s AND zip.zip_id < %s AND zip.cid IS NOT NULL AND zip.kind = 'archive' ORDER BY zip.zip_id"
)
_FIRST = (
    "SELECT zip.zip_id, first.order_id, first.market, first.account, first.term, first.block, first.extrinsic_hash,"  # noqa: S608 - our own numbers
    " first.extrinsic, first.price, first.create_time AS made FROM zip_ipfs_info AS zip"
    " JOIN order_info AS first ON first.zip_id = zip.zip_id AND first.term = (SELECT term FROM order_info"
    " WHERE zip_id = zip.zip_id AND term > 0 AND cid = zip.cid AND extrinsic LIKE '0x%%'"
    f" AND status = {OrderStatus.BOUGHT} ORDER BY term LIMIT 1) WHERE zip.zip_id IN ({{some}})"
)
_RECORD = ("zip_id", "folder_id", "zip_name", "cid", "format", "size", "dag_size", "files", "period_key")
_PURCHASE = ("order_id", "market", "account", "term", "block", "extrinsic_hash", "expires")


async def records(db: Database, number: int) -> tuple[list[ArchiveRecord], dict[int, str], list[str]]:
    """Return what a segment is to say, and the marks of the archives of which it did not say that so far.

    These are noted as being read: who changes something of one meanwhile has it read again. Last come the CIDs of the
    archives in it that a recovery left out, of which it says what it said.

    Raises:
        Waiting: One that was left out can't be named: another archive has its number.
    """
    found: list[ArchiveRecord] = []
    fresh: dict[int, str] = {}
    first = number * SEGMENT_ARCHIVES
    await db.execute(
        "UPDATE zip_ipfs_info SET catalogued = '', update_time = update_time"
        " WHERE catalogue_stale = 1 AND zip_id >= %s AND zip_id < %s",
        (first, first + SEGMENT_ARCHIVES),
    )
    for begin in range(first, first + SEGMENT_ARCHIVES, _AT_ONCE):
        for row in await db.fetch_all(_ARCHIVES, (begin, begin + _AT_ONCE)):
            found.append(_record(row))
            if row["mark"] is not None:
                fresh[row["zip_id"]] = row["mark"]
    held = await _holds(db, first)
    begun = await _first_purchases(db, [one for one in found if one.purchase is not None and one.purchase.term > 1])
    more = {zip_id: {**held.get(zip_id, {}), **begun.get(zip_id, {})} for zip_id in held.keys() | begun.keys()}
    said = {one.zip_id: one.model_copy(update=more.get(one.zip_id, {})) for one in found}
    carried = await _held(db, await left_out.records(db, first, first + SEGMENT_ARCHIVES), held)
    for one in carried:
        if said.setdefault(one.zip_id, one).cid != one.cid:
            raise Waiting(
                f"a recovery left out archive {one.zip_id} ({one.cid}), whose number {said[one.zip_id].cid} has here:"
                " the catalogue has room for one of them; `roadvault recover --without` gives it up"
            )
    return [said[zip_id] for zip_id in sorted(said)], fresh, [one.cid for one in carried]


async def _first_purchases(db: Database, renewed: Sequence[ArchiveRecord]) -> dict[int, dict[str, object]]:
    """Return the first purchases of archives that receipts can show, if these are not the latest; as fields."""
    found: dict[int, dict[str, object]] = {}
    latest = {one.zip_id: one.purchase.term for one in renewed if one.purchase is not None}
    for begin in range(0, len(renewed), _RENEWED_AT_ONCE):
        some = [one.zip_id for one in renewed[begin : begin + _RENEWED_AT_ONCE]]
        for row in await db.fetch_all(_FIRST.format(some=marks(some)), some):
            if row["term"] < latest[row["zip_id"]]:
                found[row["zip_id"]] = {"first": _purchase({**row, "expires": None})}
    return found


async def _holds(db: Database, first: int) -> dict[int, dict[str, object]]:
    """Return the holds in force on archives of a segment, by their numbers, as fields of their records."""
    found = defaultdict[int, dict[str, Any]](lambda: {"holds": []})
    for row in await db.fetch_all(
        "SELECT zip_id, hold_id, file_id, reason, create_time, held FROM (SELECT zip_id, hold_id, file_id, reason,"
        " create_time, COUNT(*) OVER (PARTITION BY zip_id) AS held,"
        " ROW_NUMBER() OVER (PARTITION BY zip_id ORDER BY hold_id) AS nth FROM hold_info FORCE INDEX (hold_archive)"
        " WHERE zip_id >= %s AND zip_id < %s AND active = 1) AS some WHERE nth <= %s ORDER BY zip_id, hold_id",
        (first, first + SEGMENT_ARCHIVES, MOST_HOLDS),
    ):
        record = found[row["zip_id"]]
        record["holds"].append(_hold(row))
        record["more_holds"] = max(row["held"] - MOST_HOLDS, 0) or None
    return found


async def _held(
    db: Database, carried: Sequence[ArchiveRecord], held: Mapping[int, Mapping[str, Any]]
) -> list[ArchiveRecord]:
    """Return records of what is left out with the holds that are in force: some were set, or released, since."""
    some = [one.zip_id for one in carried]
    rows = await db.fetch_all(
        f"SELECT zip_id, file_id, reason FROM hold_info WHERE zip_id IN ({marks(some)})",  # noqa: S608
        some,
    ) if some else []  # fmt: skip
    known = {(row["zip_id"], row["file_id"], row["reason"]) for row in rows}
    found = list[ArchiveRecord]()
    for one in carried:
        here = held.get(one.zip_id, {})
        noted = [hold for hold in one.holds or () if (one.zip_id, hold.file_id, hold.reason) not in known]
        holds = sorted([*here.get("holds", ()), *noted], key=lambda hold: int(hold.hold_id))
        more = (here.get("more_holds") or 0) + (one.more_holds or 0) + max(len(holds) - MOST_HOLDS, 0)
        found.append(one.model_copy(update={"holds": holds[:MOST_HOLDS] or None, "more_holds": more or None}))
    return found


def _hold(row: Row) -> Hold:
    made = row["create_time"].replace(tzinfo=UTC)
    return Hold(hold_id=row["hold_id"], file_id=row["file_id"], reason=row["reason"], made=made)


def _record(row: Row) -> ArchiveRecord:
    fields = {name: row[name] for name in _RECORD}
    fields |= {name: _aware(row[name]) for name in ("created", "pinned", "ends", "ended")}
    if row["format"] == 1 and row["ended"] is None:
        fields |= {"key": row["key"], "iv": row["iv"]}
        fields["master_key"] = row["master_key"] if row["period_key"] is None else None
    return ArchiveRecord(**fields, purchase=None if row["order_id"] is None else _purchase(row))


def _purchase(row: Row) -> Purchase:
    fields = {name: row[name] for name in _PURCHASE}
    extrinsic = row["extrinsic"] if len(row["extrinsic"]) <= MOST_EXTRINSIC else None
    return Purchase(**fields, extrinsic=extrinsic, price=f"{row['price']:.0f}", made=row["made"].replace(tzinfo=UTC))


def _aware(time: datetime | None) -> datetime | None:
    return None if time is None else time.replace(tzinfo=UTC)
