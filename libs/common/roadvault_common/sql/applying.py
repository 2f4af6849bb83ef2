"""Applies migrations statement by statement, so that a `roadvault migrate` that was killed is gone on with.

The server commits each ALTER and CREATE by itself: whole, or not at all. How many statements of a migration are done is
noted behind each of them, in the same transaction where it is no ALTER; so at most one may be done and not be noted.
"""

import hashlib
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from pymysql import Connection
from pymysql.cursors import Cursor
from pymysql.err import IntegrityError, MySQLError

from roadvault_common.sql import locks

Say = Callable[[str], None]

_LOCK_SECONDS = 5
_APPLIED = "_yoyo_migration"
"""The list of migrations that are applied, under the name that yoyo gave it, which was used for them before."""
_HALF = "_migration_at_work"
"""How far a migration has come: it has a row while one is applied, or after that was cut short."""
_MADE_FIRST = {
    _APPLIED: "migration_hash VARCHAR(64) NOT NULL PRIMARY KEY, migration_id VARCHAR(255), applied_at_utc DATETIME",
    _HALF: "migration_id VARCHAR(255) NOT NULL PRIMARY KEY, done INT NOT NULL COMMENT 'statements that are done'",
}
"""Both tables, made here and by no migration."""
_ALREADY = frozenset({1050, 1060, 1061, 1091})
"""A table, a column or a key is there already, or is gone already: error numbers of MariaDB and MySQL."""
_COMMENT = re.compile(r"^\s*--.*\n?", re.MULTILINE)
_END = re.compile(r";\s*$", re.MULTILINE)
_ALTERING = (
    "SELECT COUNT(*) FROM information_schema.processlist WHERE db = DATABASE() AND id <> CONNECTION_ID()"
    " AND (info LIKE 'ALTER TABLE%' OR info LIKE 'CREATE TABLE%')"
)


def statements(path: Path) -> list[str]:
    """Return the statements of a migration, without comments; each ends with a line."""
    text = _COMMENT.sub("", path.read_text())
    return [statement.strip() for statement in _END.split(text) if statement.strip()]


@contextmanager
def alone(connections: "Sequence[Connection[Cursor]]", database: str, say: Say) -> Iterator[None]:
    """Keep others from migrating the database; this ends with the connections, whatever becomes of the process.

    The first works. The server ends it when its last statement is over, and an ALTER outlives a client that was killed.
    """
    name = f"roadvault.{hashlib.sha1(database.encode(), usedforsecurity=False).hexdigest()}"
    while not locks.take(connections, name, _LOCK_SECONDS):
        say("another `roadvault migrate` is at work, or what it began still runs: waiting for it")
    try:
        yield
    finally:
        locks.release(connections, name)


def apply_all(cursor: Cursor, directory: Path, say: Say) -> list[str]:
    """Apply what is not on the list of applied migrations, in order; return their ids."""
    for table, columns in _MADE_FIRST.items():
        cursor.execute(f"CREATE TABLE IF NOT EXISTS {table} ({columns}) ENGINE = InnoDB")
    cursor.execute(f"SELECT migration_id FROM {_APPLIED}")  # noqa: S608 - a constant
    applied = {migration for (migration,) in cursor.fetchall()}
    waiting = [path for path in sorted(directory.glob("*.sql")) if path.stem not in applied]
    killed = _take_over(cursor, say)
    for path in waiting:
        _apply(cursor, path, say, killed=killed)
        killed = False
    return [path.stem for path in waiting]


def _take_over(cursor: Cursor, say: Say) -> bool:
    """Remove the lock of a `roadvault migrate` of before that was killed; tell whether there was one.

    It kept its lock in a row of yoyo's, and noted nothing else.
    """
    if not _number(
        cursor,
        "SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name = 'yoyo_lock'",
    ):
        return False
    while _number(cursor, "SELECT COUNT(*) FROM yoyo_lock") and _number(cursor, _ALTERING):
        say("what an earlier `roadvault migrate` began still runs: waiting for it")
        time.sleep(_LOCK_SECONDS)
    left = _number(cursor, "SELECT COUNT(*) FROM yoyo_lock")
    if left:
        say("an earlier `roadvault migrate` was killed: its lock is removed")
        cursor.execute("DELETE FROM yoyo_lock")
    return bool(left)


def _apply(cursor: Cursor, path: Path, say: Say, *, killed: bool) -> None:
    """Run what is not done yet of a migration; `killed` if one that noted nothing may have been at it."""
    cursor.execute(f"SELECT done FROM {_HALF} WHERE migration_id = %s", (path.stem,))  # noqa: S608 - a constant
    row = cursor.fetchone()
    done = int(row[0]) if row else 0
    if row:
        say(f"{path.stem} was cut short behind statement {done}: going on from there")
    else:
        cursor.execute(f"INSERT INTO {_HALF} VALUES (%s, 0)", (path.stem,))  # noqa: S608
    # What is not noted may be done: the one behind the last that is noted, or any where nobody noted anything.
    doubtful = killed or row is not None
    for number, statement in enumerate(statements(path), 1):
        if statement.startswith("SET "):
            cursor.execute(statement)  # for this session, so again after each start
        elif number > done:
            if not _run(cursor, statement, path.stem, number, doubtful=doubtful):
                say(f"{path.stem}: statement {number} had been done before")
            doubtful = killed
    cursor.execute("BEGIN")
    cursor.execute(f"DELETE FROM {_HALF} WHERE migration_id = %s", (path.stem,))  # noqa: S608
    cursor.execute(
        f"INSERT INTO {_APPLIED} VALUES (%s, %s, UTC_TIMESTAMP())",  # noqa: S608
        (hashlib.sha256(path.stem.encode()).hexdigest(), path.stem),
    )
    cursor.execute("COMMIT")


def _run(cursor: Cursor, statement: str, migration: str, number: int, *, doubtful: bool) -> bool:
    """Run a statement and note that; False if it is `doubtful` and turns out to be done."""
    cursor.execute("BEGIN")
    ran = True
    try:
        cursor.execute(statement)
    except MySQLError as error:
        if not doubtful or (error.args[0] not in _ALREADY and not isinstance(error, IntegrityError)):
            raise
        ran = False  # an IntegrityError: the rows that it would insert are there
    cursor.execute(f"UPDATE {_HALF} SET done = %s WHERE migration_id = %s", (number, migration))  # noqa: S608
    cursor.execute("COMMIT")
    return ran


def _number(cursor: Cursor, question: str) -> int:
    cursor.execute(question)
    row = cursor.fetchone()
    return int(row[0] or 0) if row else 0
