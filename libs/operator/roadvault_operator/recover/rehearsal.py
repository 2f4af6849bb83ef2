"""A rehearsal: recovery into a scratch database beside the real one, which is compared with that, and dropped."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from urllib.parse import urlsplit

import pymysql

from roadvault_common.errors import DatabaseUnavailable, SettingsError
from roadvault_common.retention import holding
from roadvault_common.sql.db import Database, Row
from roadvault_common.sql.migrate import migrate
from roadvault_common.sql.servers import connect, database_of
from roadvault_operator.recover import hold_store
from roadvault_operator.recover import rehearsal_store as store
from roadvault_operator.recover.alone import alone

_SUFFIX = "_rehearsal"
_MARK = "rehearsal_info"
"""A table that only scratch databases have: no other is ever dropped."""
_TOLD = 50
"""Differences that are told one by one."""
_PURCHASE = {"order_id", "term", "account", "market", "block", "extrinsic_hash", "extrinsic", "price", "bought"}


@dataclass
class Comparison:
    """What came of a rehearsal. Files are counted."""

    same: int = 0
    newer: int = 0
    """Of archives that came to IPFS after the catalogue was made."""
    ended: int = 0
    """Of archives whose key was destroyed: nothing brings them back."""
    sealed: int = 0
    """Of archives that have an end, whose period key was not given."""
    archives: int = 0
    """That have their times, ends and purchases."""
    holds: int = 0
    since: int = 0
    """Purchases, ends and holds that have changed since the catalogue was made."""
    differences: int = 0
    told: list[str] = field(default_factory=list)
    """The first of them."""

    def differs(self, what: str) -> None:
        """Note a difference."""
        self.differences += 1
        if len(self.told) < _TOLD:
            self.told.append(what)

    def compared(self, what: str, expected: Row, recovered: Row, ignored: set[str]) -> bool:
        """Note a difference of two rows, but for what is ignored; tell whether there is none."""
        wrong = [name for name in expected.keys() - ignored if expected[name] != recovered[name]]
        if wrong:
            told = ", ".join(f"{name} is {recovered[name]}, not {expected[name]}" for name in sorted(wrong))
            self.differs(f"{what}: {told}")
        return not wrong


@asynccontextmanager
async def scratch(url: str) -> AsyncIterator[Database]:
    """Make the scratch database beside that of `url`, with its tables; drop it in the end.

    Raises:
        SettingsError: There is one of its name that is something else, or of a rehearsal that runs.
        DatabaseUnavailable: It can't be made.
    """
    parts = urlsplit(url)
    name = database_of(url) + _SUFFIX
    async with alone(url, "rehearsal"), _made(url, name, parts._replace(path=f"/{name}").geturl()) as db:
        yield db


@asynccontextmanager
async def _made(url: str, name: str, beside: str) -> AsyncIterator[Database]:
    await asyncio.to_thread(_on_server, url, name, make=True)
    try:
        await asyncio.to_thread(migrate, beside, lambda _: None)
        async with Database.open(beside, size=4) as db:
            yield db
    finally:
        await asyncio.to_thread(_on_server, url, name, make=False)


def _on_server(url: str, name: str, *, make: bool) -> None:
    """Drop a scratch database, if there is one; make it anew, or not."""
    try:
        with connect(url) as connection, connection.cursor() as cursor:
            there = (name,) in _shown(cursor, "SHOW DATABASES")
            tables = _shown(cursor, f"SHOW TABLES FROM `{name}`") if there else []
            if tables and (_MARK,) not in tables:
                raise SettingsError(f"there is a database {name}, which is no rehearsal's: rename it, then try again")
            cursor.execute(f"DROP DATABASE IF EXISTS `{name}`")
            if make:
                cursor.execute(f"CREATE DATABASE `{name}` CHARACTER SET utf8mb4")
                cursor.execute(f"CREATE TABLE `{name}`.{_MARK} (one TINYINT PRIMARY KEY) ENGINE = InnoDB")
    except pymysql.err.MySQLError as error:
        raise DatabaseUnavailable(
            f"the scratch database {name} can't be made: {error}; the database's user needs all rights on it"
        ) from error


def _shown(cursor: pymysql.cursors.Cursor, statement: str) -> list[tuple[str]]:
    cursor.execute(statement)
    return list(cursor.fetchall())


async def compare(
    real: Database, rehearsed: Database, made: datetime | None, shredded: Collection[str] = ()
) -> Comparison:
    """Compare what was recovered with what there is.

    `made` says when the catalogue was made, if one was a source: then archives have to have their numbers, too, their
    times, ends and purchases, and holds have to be there. `shredded` are CIDs of archives that don't come back, as they
    had ended by it.
    """
    found = Comparison()
    opened = {row["period_key"] for row in await holding.period_keys(rehearsed)}
    files = partial(_pages, ask=store.archived_after, key="file_id")
    async for expected, recovered in _side_by_side(files(real), files(rehearsed), "file_id"):
        if expected is None:
            found.differs(f"file {(recovered or {})['file_id']} was recovered, and is in no archive of the database")
        elif recovered is None:
            _count_missing(found, expected | {"ended": expected["ended"] or expected["cid"] in shredded}, opened, made)
        else:
            _compare_file(found, expected, recovered, made)
    if made is not None:
        await _compare_archives(found, real, rehearsed, made)
        await _compare_holds(found, real, rehearsed, made)
    return found


def _count_missing(found: Comparison, expected: Row, opened: set[str], made: datetime | None) -> None:
    if expected["ended"]:
        found.ended += 1
    elif made is not None and expected["pinned_at"] is not None and expected["pinned_at"] > made:
        found.newer += 1
    elif expected["period_key"] is not None and expected["period_key"] not in opened:
        found.sealed += 1
    else:
        found.differs(f"file {expected['file_id']}, of archive {expected['zip_id']}, is missing")


def _compare_file(found: Comparison, expected: Row, recovered: Row, made: datetime | None) -> None:
    ignored = {"pinned_at", "ended", "period_key", "recorded"} | ({"zip_id"} if made is None else set())
    if recovered["received"] == recovered["recorded"]:  # its archive does not say when: it is from before they did
        ignored.add("received")
    if found.compared(f"file {expected['file_id']}", expected, recovered, ignored):
        found.same += 1


async def _compare_archives(found: Comparison, real: Database, rehearsed: Database, made: datetime) -> None:
    """Compare times, ends and latest purchases of the archives that are in both."""
    archives = partial(_pages, ask=store.recovered_after, key="zip_id")
    async for expected, recovered in _side_by_side(archives(real), archives(rehearsed), "zip_id"):
        if expected is None or recovered is None or expected["ended"]:
            continue  # its files were told
        ignored = {"ended", "settled_at"}
        if expected["settled_at"] is not None and expected["settled_at"] > made:
            ignored |= _PURCHASE
        if expected["ends"] != recovered["ends"] and await store.end_moved_since(real, expected["zip_id"], made):
            ignored.add("ends")
        found.since += len(ignored) > 2  # noqa: PLR2004 - those that are never compared
        if found.compared(f"archive {expected['zip_id']}", expected, recovered, ignored):
            found.archives += 1


async def _compare_holds(found: Comparison, real: Database, rehearsed: Database, made: datetime) -> None:
    """Compare holds in force; one that was set or released since the catalogue was made is newer."""
    holds = partial(_pages, ask=hold_store.after, key="hold_id")
    async for expected, recovered in _side_by_side(holds(real), holds(rehearsed), "hold_id"):
        if expected is None:
            reason = str((recovered or {})["reason"])
            if not reason.endswith(hold_store.COUNTED):  # the log had each
                found.differs(f"hold {(recovered or {})['hold_id']}, {reason!r}, is not in the database")
        elif recovered is not None or expected["active"] is not None:
            _compare_hold(found, expected, recovered, made)


def _compare_hold(found: Comparison, expected: Row, recovered: Row | None, made: datetime) -> None:
    what = f"hold {expected['hold_id']}, {expected['reason']!r},"
    if (expected["released_at"] or expected["create_time"]) > made:
        found.since += 1
    elif recovered is None:
        found.differs(f"{what} is missing")
    elif expected["active"] is None:
        found.differs(f"{what} was released, and comes back")
    else:
        ignored = {"active", "released_at", "create_time"} | ({"zip_id"} if expected["file_id"] else set())
        found.holds += found.compared(f"hold {expected['hold_id']}", expected, recovered, ignored)


async def _pages(
    db: Database, *, ask: Callable[[Database, int], Awaitable[list[Row]]], key: str
) -> AsyncGenerator[Row]:
    last = 0
    while rows := await ask(db, last):
        for row in rows:
            yield row
        last = rows[-1][key]


async def _side_by_side(
    left: AsyncGenerator[Row, None], right: AsyncGenerator[Row, None], key: str
) -> AsyncGenerator[tuple[Row | None, Row | None], None]:
    """Yield the rows of two lists by their numbers: those of both, and those of one."""
    one, other = await anext(left, None), await anext(right, None)
    while one is not None or other is not None:
        ids = [row[key] for row in (one, other) if row is not None]
        here = one if one is not None and one[key] == min(ids) else None
        there = other if other is not None and other[key] == min(ids) else None
        yield here, there
        one = one if here is None else await anext(left, None)
        other = other if there is None else await anext(right, None)
