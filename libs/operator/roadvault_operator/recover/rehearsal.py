"""A rehearsal: recovery into a scratch database beside the real one, which is compared with that, and dropped."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from urllib.parse import urlsplit

import pymysql

from roadvault_common.errors import DatabaseUnavailable, SettingsError
from roadvault_common.sql.db import Database, Row, parse_url
from roadvault_common.sql.migrate import migrate
from roadvault_operator.recover import archive_store as store
from roadvault_operator.recover.alone import alone

_SUFFIX = "_rehearsal"
_MARK = "rehearsal_info"
"""A table that only scratch databases have: no other is ever dropped."""
_TOLD = 50
"""Differences that are told one by one."""


@dataclass
class Comparison:
    """What came of a rehearsal. Files are counted."""

    same: int = 0
    newer: int = 0
    """Of archives that came to IPFS after the catalogue was made."""
    ended: int = 0
    """Of archives whose key was destroyed: nothing brings them back."""
    differences: int = 0
    told: list[str] = field(default_factory=list)
    """The first of them."""

    def differs(self, what: str) -> None:
        """Note a difference."""
        self.differences += 1
        if len(self.told) < _TOLD:
            self.told.append(what)


@asynccontextmanager
async def scratch(url: str) -> AsyncIterator[Database]:
    """Make the scratch database beside that of `url`, with its tables; drop it in the end.

    Raises:
        SettingsError: There is one of its name that is something else, or of a rehearsal that runs.
        DatabaseUnavailable: It can't be made.
    """
    parts = urlsplit(url)
    name = parse_url(url)["database"] + _SUFFIX
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
        with pymysql.connect(**parse_url(url), autocommit=True) as connection, connection.cursor() as cursor:
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


async def compare(real: Database, rehearsed: Database, made: datetime | None) -> Comparison:
    """Compare what was recovered with what there is.

    `made` says when the catalogue was made, if one was a source: then archives have to have their numbers, too.
    """
    found = Comparison()
    async for expected, recovered in _side_by_side(_files(real), _files(rehearsed)):
        if expected is None:
            found.differs(f"file {(recovered or {})['file_id']} was recovered, and is in no archive of the database")
        elif recovered is None:
            if expected["ended"]:
                found.ended += 1
            elif made is not None and expected["pinned_at"] is not None and expected["pinned_at"] > made:
                found.newer += 1
            else:
                found.differs(f"file {expected['file_id']}, of archive {expected['zip_id']}, is missing")
        else:
            _compare_file(found, expected, recovered, {"pinned_at", "ended"} | ({"zip_id"} if made is None else set()))
    return found


def _compare_file(found: Comparison, expected: Row, recovered: Row, ignored: set[str]) -> None:
    wrong = [name for name in expected.keys() - ignored if expected[name] != recovered[name]]
    if wrong:
        told = ", ".join(f"{name} is {recovered[name]}, not {expected[name]}" for name in sorted(wrong))
        found.differs(f"file {expected['file_id']}: {told}")
    else:
        found.same += 1


async def _files(db: Database) -> AsyncGenerator[Row, None]:
    last = 0
    while rows := await store.archived_after(db, last):
        for row in rows:
            yield row
        last = rows[-1]["file_id"]


async def _side_by_side(
    left: AsyncGenerator[Row, None], right: AsyncGenerator[Row, None]
) -> AsyncGenerator[tuple[Row | None, Row | None], None]:
    """Yield the files of two lists by their ids: those of both, and those of one."""
    one, other = await anext(left, None), await anext(right, None)
    while one is not None or other is not None:
        ids = [row["file_id"] for row in (one, other) if row is not None]
        here = one if one is not None and one["file_id"] == min(ids) else None
        there = other if other is not None and other["file_id"] == min(ids) else None
        yield here, there
        one = one if here is None else await anext(left, None)
        other = other if there is None else await anext(right, None)
