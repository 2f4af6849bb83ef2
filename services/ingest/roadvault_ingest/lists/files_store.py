"""SQL of lists of files. What a page costs does not grow with the archive, whatever it is filtered by.

The filter that narrows most leads: its index gives the numbers of a window of files, at most `WINDOW`, in its order.
The other filters are applied to these. So a page may be short, or empty, and the list goes on all the same.

Camera and time of a recording are the client's, or else what was found in the file. Where both are the client's, or
nobody knows, `file_upload_info` finds it, else `video_info`: such an index has a twin, and what both find is merged.
"""

from dataclasses import dataclass
from datetime import datetime
from math import prod
from typing import Any, NamedTuple

from roadvault_common.files import facts
from roadvault_common.sql.db import Database, Row, marks
from roadvault_ingest import found
from roadvault_ingest.access.who import current
from roadvault_ingest.lists.filters import Filters, Mark, Order
from roadvault_ingest.problems import Problem
from roadvault_ingest.states import ASIDE, NOT_PACKED

WINDOW = 1000
"""Files that are looked at for a page."""
_AT_ONCE = 100
"""Of them, what is read by one statement."""


@dataclass(frozen=True)
class Lead:
    """An index that can lead: its table, what it finds, and the column that it is in order of before files' numbers."""

    table: str
    where: str
    filters: tuple[str, ...] = ()
    """What it does the work of."""
    column: str | None = None
    twin: "Lead | None" = None
    """Finds the files that it does not, in the same order."""

    @property
    def all(self) -> list["Lead"]:
        """Itself, and its twin if it has one."""
        return [self] if self.twin is None else [self, self.twin]


class Key(NamedTuple):
    """What an index has of a file: what it is in order of besides numbers, and the file's number."""

    value: int | str | datetime | None
    file_id: int


_RECORDED = ("recorded_from", "recorded_to")
_FILES = "file_upload_info FORCE INDEX ({index})"
_VIDEOS = "video_info FORCE INDEX ({index})"
_LIKE = "file_name LIKE %s ESCAPE '|'"
_LEADS = {
    "archive": Lead(_FILES.format(index="file_zip"), "zip_id = %s", ("archive",)),
    "ended": Lead(
        "retention_info AS ends FORCE INDEX (retention_ended)"
        " STRAIGHT_JOIN file_upload_info AS file FORCE INDEX (file_zip) ON file.zip_id = ends.zip_id",
        "ended = 1",
        column="zip_id",
    ),
    "aside": Lead("set_aside_info FORCE INDEX (PRIMARY)", "file_id > 0"),
    "camera": Lead(
        _FILES.format(index="file_camera"), "camera = %s", ("camera", *_RECORDED), "recorded_at",
        Lead(_VIDEOS.format(index="video_known_camera"), "known_camera = %s", ("camera", *_RECORDED), "known_at"),
    ),
    "tag": Lead("file_tag_info FORCE INDEX (PRIMARY)", "tag = %s", ("tag",)),
    "recorded": Lead(
        _FILES.format(index="file_recorded"), "", _RECORDED, "recorded_at",
        Lead(_VIDEOS.format(index="video_known_at"), "", _RECORDED, "known_at"),
    ),
    "received": Lead(_FILES.format(index="file_received"), "", ("received_from", "received_to"), "create_time"),
    "name": Lead(_FILES.format(index="file_called"), _LIKE, ("name",), "file_name"),
    "waiting": Lead(_FILES.format(index="file_zip"), "zip_id IS NULL"),
    "number": Lead(_FILES.format(index="PRIMARY"), "file_id > 0"),
}  # fmt: skip
"""By the name in a mark; of two that narrow as much the first leads."""
_BOUNDS = {"from": "{column} >= %s", "to": "{column} < %s"}
_AND = " AND "
_BEHIND_NUMBER = "file_id {beyond} %s"
_BESIDE, _BEYOND = "{column} = %s AND file_id {beyond} %s", "{column} {beyond} %s"
_BESIDE_NOTHING, _NOTHING, _SOMETHING = (
    "{column} IS NULL AND file_id {beyond} %s",
    "{column} IS NULL",
    "{column} IS NOT NULL",
)
_HOW_MANY = "EXPLAIN SELECT file_id FROM {table} WHERE {where}"
_ENDED = "SELECT zip_id FROM retention_info WHERE ended = 1{behind} ORDER BY zip_id {direction} LIMIT %s"
_OF_THESE = (
    "SELECT zip_id, file_id FROM file_upload_info FORCE INDEX (file_zip) WHERE zip_id IN ({archives}){behind}"
    " ORDER BY zip_id {direction}, file_id {direction} LIMIT %s"
)
_KEYS = "SELECT {columns} FROM {table} WHERE {where} ORDER BY {order} LIMIT %s"
_ROWS = (
    "SELECT file.file_id, file.file_name, file.size, file.sha256, file.create_time, file.zip_id,"  # noqa: S608 - our own names
    f" folder.status AS folder_status, ends.shredded_at, {facts.SELECT.format(file='file')}, {found.SELECT},"
    " aside.file_id IS NOT NULL AS set_aside, aside.lost_at IS NOT NULL AS lost"
    " FROM file_upload_info AS file FORCE INDEX (PRIMARY)"
    " STRAIGHT_JOIN folder_info AS folder ON folder.folder_id = file.folder_id"
    " LEFT JOIN retention_info AS ends ON ends.zip_id = file.zip_id"
    f" LEFT JOIN set_aside_info AS aside ON aside.file_id = file.file_id {found.JOIN}"
)

Condition = tuple[str, tuple[object, ...]]
"""Of a WHERE, with its arguments."""


class FilesStore:
    """Reads lists of files."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def page(self, filters: Filters, order: Order) -> tuple[list[Row], str | None]:
        """Return a page of a list, and the mark behind which the next one begins; None behind the last.

        Raises:
            Problem: The mark of the page before is none.
        """
        place = None if order.after is None else Mark.decode(order.after, filters, order)
        if place is not None and place.lead not in _fitting(filters):
            raise Problem("after must be the next of an earlier answer")
        lead = await self._lead(filters) if place is None else place.lead
        narrowed = filters.given <= {*_LEADS[lead].filters} and not current().grant.cameras
        window = order.limit if narrowed else WINDOW
        keys = await self._keys(lead, filters, order, place, window + 1)
        rows, last = await self._matching(_LEADS[lead], keys[:window], filters, order.limit)
        if last + 1 >= len(keys):
            return rows, None
        value, file_id = keys[last]
        return rows, Mark(lead, None if value is None else str(value), file_id).encode(filters, order)

    async def _matching(self, lead: Lead, keys: list[Key], filters: Filters, limit: int) -> tuple[list[Row], int]:
        """Return up to `limit` rows of a window that all filters let through, and how far in it one has come."""
        matching: list[Row] = []
        for start in range(0, len(keys), _AT_ONCE):
            some = keys[start : start + _AT_ONCE]
            ids = [key.file_id for key in some]
            read = await self._db.fetch_all(f"{_ROWS} WHERE file.file_id IN ({marks(ids)})", ids)
            rows = {row["file_id"]: row for row in read}
            for number, key in enumerate(some, start):
                row = rows.get(key.file_id)
                # What the client did not say when it was recorded has its place where the twin has it.
                if row and filters.take(row) and (lead.twin is None or key.value == row["known_at"]):
                    matching.append(row)
                if len(matching) == limit:
                    return matching, number
        return matching, len(keys) - 1

    async def _lead(self, filters: Filters) -> str:
        """Return which index leads: the server says how much each of them narrows, which costs a look at each."""
        fitting = _fitting(filters)
        counts = dict.fromkeys(fitting, 0)
        for name in fitting if len(fitting) > 1 else ():
            for lead in _LEADS[name].all:
                where, args = _conditions(lead, filters)
                steps = await self._db.fetch_all(_HOW_MANY.format(table=lead.table, where=where), args)
                counts[name] += prod(int(step["rows"] or 0) for step in steps)
        return min(counts, key=counts.__getitem__)

    async def _keys(self, name: str, filters: Filters, order: Order, place: Mark | None, most: int) -> list[Key]:
        """Return what the leading index has behind a place, in order."""
        if name == "ended":
            return await self._ended(order, place, most)
        keys = [await self._along(lead, filters, order, place, most) for lead in _LEADS[name].all]
        if len(keys) == 1:
            return keys[0]
        met = sorted({*keys[0], *keys[1]}, key=_by_time, reverse=order.newest_first)
        return met[:most]

    async def _along(self, lead: Lead, filters: Filters, order: Order, place: Mark | None, most: int) -> list[Key]:
        where, args = _conditions(lead, filters)
        columns = ["file_id"] if lead.column is None else [lead.column, "file_id"]
        direction = "DESC" if order.newest_first else "ASC"
        keys: list[Key] = []
        for more, behind in _behind(lead, filters, order, place):
            sql = _KEYS.format(
                columns=", ".join(columns),
                table=lead.table,
                where=f"{where} AND {more}" if more else where,
                order=", ".join(f"{column} {direction}" for column in columns),
            )
            rows = await self._db.fetch_all(sql, (*args, *behind, most - len(keys)))
            keys += [Key(row[lead.column] if lead.column else None, row["file_id"]) for row in rows]
            if len(keys) == most:
                break
        return keys

    async def _ended(self, order: Order, place: Mark | None, most: int) -> list[Key]:
        """Return what `_keys` does of archives that have ended, one after the other: no index has both in order."""
        beyond, direction = ("<", "DESC") if order.newest_first else (">", "ASC")
        zip_id, keys = None if place is None else _zip_id(place.value), list[Key]()
        archives = [] if zip_id is None else [zip_id]
        while len(keys) < most:
            if not archives:
                sql = _ENDED.format(behind="" if zip_id is None else f" AND zip_id {beyond} %s", direction=direction)
                rows = await self._db.fetch_all(sql, (*([] if zip_id is None else [zip_id]), _AT_ONCE))
                archives = [row["zip_id"] for row in rows]
            if not archives:
                break
            behind, after = ("", []) if place is None else (f" AND file_id {beyond} %s", [place.file_id])
            sql = _OF_THESE.format(archives=marks(archives), behind=behind, direction=direction)
            rows = await self._db.fetch_all(sql, (*archives, *after, most - len(keys)))
            keys += [Key(row["zip_id"], row["file_id"]) for row in rows]
            zip_id, archives, place = archives[-1], [], None
        return keys


def _fitting(filters: Filters) -> list[str]:
    """Return the names of the indexes that can lead."""
    fitting = {name for name, lead in _LEADS.items() if filters.given & {*lead.filters}}
    fitting -= set() if filters.camera is not None else {"camera"}
    fitting |= {"ended"} if filters.state == "ended" else set()
    fitting |= {"aside"} if filters.state in ASIDE else {"waiting"} if filters.state in NOT_PACKED else set()
    return [name for name in _LEADS if name in fitting] or ["number"]


def _by_time(key: Key) -> tuple[bool, Any, int]:
    """Return where a file stands in the order of times: none comes before all."""
    return key.value is not None, key.value, key.file_id


def _conditions(lead: Lead, filters: Filters) -> Condition:
    """Return what a leading index finds."""
    where, args = [lead.where] if lead.where else [], list[object]()
    for one in lead.filters:
        value = getattr(filters, one)
        bound = one.rpartition("_")[2]
        if bound not in _BOUNDS:
            args.append(_prefix(value) if one == "name" else value)
        elif value is not None:
            where.append(_BOUNDS[bound].format(column=lead.column))
            args.append(value)
    return _AND.join(where), tuple(args)


def _prefix(name: str) -> str:
    for character in "|%_":
        name = name.replace(character, f"|{character}")
    return f"{name}%"


def _behind(lead: Lead, filters: Filters, order: Order, place: Mark | None) -> list[Condition]:
    """Return conditions that lead, one by one, from a place to the end of an index; each is one range of it."""
    if place is None:
        return [("", ())]
    column, beyond = lead.column, "<" if order.newest_first else ">"
    if column is None:
        return [(_BEHIND_NUMBER.format(beyond=beyond), (place.file_id,))]
    whole = "camera" in lead.filters and filters.recorded_from is None and filters.recorded_to is None
    if place.value is None:
        rest = [] if order.newest_first else [(_SOMETHING, ())]
        parts: list[Condition] = [(_BESIDE_NOTHING, (place.file_id,)), *rest]
    else:
        value = place.value if column == "file_name" else _time(place.value)
        last: list[Condition] = [(_NOTHING, ())] if whole and order.newest_first else []
        parts = [(_BESIDE, (value, place.file_id)), (_BEYOND, (value,)), *last]
    return [(part.format(column=column, beyond=beyond), args) for part, args in parts]


def _zip_id(text: str | None) -> int:
    if text is None or not (text.isascii() and text.isdigit()):
        raise Problem("after must be the next of an earlier answer")
    return int(text)


def _time(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise Problem("after must be the next of an earlier answer") from None
