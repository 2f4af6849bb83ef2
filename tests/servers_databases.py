"""Fixtures: databases with all tables as migrations make them.

To make all tables, and to drop them, takes more than most tests do. So what a test has written is taken out of a
database before the next test gets it; one whose tables a test has changed is dropped, and another one is made.
"""

import itertools
import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import pymysql
import pytest
from servers_process import Running

from roadvault_stack.mariadb import MariaDB

if TYPE_CHECKING:
    from pymysql.cursors import Cursor

_MIGRATED = "roadvault_migrated"
_NEXT_NUMBER = re.compile(r" AUTO_INCREMENT=\d+")


class Databases:
    """Makes databases, and cleans those that tests are done with."""

    def __init__(self, server: MariaDB) -> None:
        from roadvault_common.sql.migrate import migrate  # noqa: PLC0415 - tests without a database don't need it

        self._server = server
        self._numbers = itertools.count(1)
        self._done_with: list[str] = []
        with self._server.connect() as connection, connection.cursor() as cursor:
            cursor.execute(f"CREATE DATABASE {_MIGRATED} CHARACTER SET utf8mb4")
            migrate(self._server.url(_MIGRATED))
            cursor.execute(f"USE {_MIGRATED}")
            self._tables = _tables(cursor)
            self._sums = self._checksums(cursor)

    def take(self) -> str:
        """Return the name of a database that is as migrations make it."""
        with self._server.connect() as connection, connection.cursor() as cursor:
            while self._done_with:
                name = self._done_with.pop()
                try:
                    if self._clean(cursor, name):
                        return name
                except pymysql.Error:
                    pass  # its tables are not what they were
                cursor.execute(f"DROP DATABASE IF EXISTS {name}")
            # None begins as another one does: a test may look for what is named after its own.
            name = f"roadvault_{next(self._numbers):06}"
            cursor.execute(f"CREATE DATABASE {name} CHARACTER SET utf8mb4")
            cursor.execute(f"USE {name}")
            for statement in self.statements():
                cursor.execute(statement)
            return name

    def give_back(self, name: str) -> None:
        """Note that a test is done with a database."""
        self._done_with.append(name)

    def _clean(self, cursor: "Cursor", name: str) -> bool:
        """Take out what a test has written; False if somebody is still there, or tables have changed."""
        cursor.execute("SELECT 1 FROM information_schema.processlist WHERE db = %s", (name,))
        if cursor.fetchone():
            return False
        cursor.execute(f"USE {name}")
        found = _tables(cursor)
        if _without_numbers(found) != _without_numbers(self._tables):
            return False
        sums = self._checksums(cursor)
        written = [table for table in found if (found[table], sums[table]) != (self._tables[table], self._sums[table])]
        emptied = [f"TRUNCATE TABLE {table}" for table in written]
        for statement in ["SET foreign_key_checks = 0", *emptied, *self._filling(written)]:
            cursor.execute(statement)
        return True

    def statements(self) -> list[str]:
        """Return what makes in an empty database what all migrations make, in a twentieth of their time."""
        return ["SET foreign_key_checks = 0", *self._tables.values(), *self._filling(self._tables)]

    def _filling(self, tables: Iterable[str]) -> list[str]:
        """Return what puts into tables that are empty what migrations write there."""
        return [f"INSERT INTO {one} SELECT * FROM {_MIGRATED}.{one}" for one in tables if self._sums[one]]  # noqa: S608

    def _checksums(self, cursor: "Cursor") -> dict[str, int]:
        """Return a number for what is in each table; 0 if nothing is."""
        cursor.execute(f"CHECKSUM TABLE {', '.join(self._tables)}")
        return {name.partition(".")[2]: number for name, number in cursor.fetchall()}


def _tables(cursor: "Cursor") -> dict[str, str]:
    """Return the statements that make the tables, with the numbers that their next rows get."""
    cursor.execute("SHOW TABLES")
    found = {}
    for (table,) in cursor.fetchall():
        cursor.execute(f"SHOW CREATE TABLE {table}")
        found.update(cursor.fetchall())
    return found


def _without_numbers(tables: dict[str, str]) -> dict[str, str]:
    return {table: _NEXT_NUMBER.sub("", made) for table, made in tables.items()}


@pytest.fixture(scope="session")
def databases(mariadb_of_session: Running[MariaDB]) -> Databases:
    mariadb_of_session.start()
    return Databases(mariadb_of_session.server)


@pytest.fixture(scope="session")
def migrated(databases: Databases) -> list[str]:
    """Return the statements that make in an empty database what all migrations make."""
    return databases.statements()


@pytest.fixture
def database_url(mariadb: Running[MariaDB], databases: Databases) -> Iterator[str]:
    yield from _database(mariadb, databases)


@pytest.fixture
def another_database_url(mariadb: Running[MariaDB], databases: Databases) -> Iterator[str]:
    yield from _database(mariadb, databases)


def _database(mariadb: Running[MariaDB], databases: Databases) -> Iterator[str]:
    name = databases.take()
    yield mariadb.server.url(name)
    databases.give_back(name)
