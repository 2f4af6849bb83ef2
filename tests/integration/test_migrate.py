"""A `roadvault migrate` that is killed, wherever that is, is gone on with, and the tables come out the same."""

import os
import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest
from pymysql.cursors import Cursor
from servers_process import Running

from roadvault_common.sql import applying
from roadvault_common.sql.applying import statements
from roadvault_common.sql.migrate import migrate, schema_dir
from roadvault_common.sql.servers import connect
from roadvault_stack.mariadb import MariaDB

_numbers = count(1)
_CHANGES = ("CREATE", "ALTER", "INSERT", "UPDATE", "DELETE", "COMMIT")


@pytest.fixture
def empty(mariadb: Running[MariaDB]) -> Iterator[str]:
    """Return the URL of an empty database."""
    name = f"roadvault_migrate_{next(_numbers)}"
    with mariadb.server.connect() as connection, connection.cursor() as cursor:
        cursor.execute(f"CREATE DATABASE {name} CHARACTER SET utf8mb4")
        yield mariadb.server.url(name)
        cursor.execute(f"DROP DATABASE {name}")


@pytest.fixture(scope="module")
def whole(mariadb_of_session: Running[MariaDB]) -> Iterator[dict[str, str]]:
    """Return what a migration makes that nobody kills."""
    mariadb_of_session.start()
    with mariadb_of_session.server.connect() as connection, connection.cursor() as cursor:
        cursor.execute("CREATE DATABASE roadvault_migrate_whole CHARACTER SET utf8mb4")
        url = mariadb_of_session.server.url("roadvault_migrate_whole")
        migrate(url)
        yield tables(url)
        cursor.execute("DROP DATABASE roadvault_migrate_whole")


def tables(url: str) -> dict[str, str]:
    """Return each table's definition."""
    return {str(table): str(rows(url, f"SHOW CREATE TABLE {table}")[0][1]) for (table,) in rows(url, "SHOW TABLES")}


def rows(url: str, question: str) -> tuple[tuple[object, ...], ...]:
    """Ask the database."""
    with connect(url) as connection, connection.cursor() as cursor:
        cursor.execute(question)
        return tuple(cursor.fetchall())


def begun(work: Callable[[], object]) -> int:
    """Do something in a process of its own; return its number."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            work()
            code = 0
        finally:
            traceback.print_exc()
            os._exit(code)
    return child


def was_killed(child: int) -> bool:
    """Wait for the end of a process, and tell whether it was killed."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


def die_behind(stops: Callable[[str], bool]) -> None:
    """Kill this process behind the first statement at which it stops: the server has done it, and nobody knows."""
    execute: Callable[..., int] = Cursor.execute

    def act(cursor: Cursor, statement: str, arguments: object = None) -> int:
        done = execute(cursor, statement, arguments)
        if stops(statement):
            os.kill(os.getpid(), signal.SIGKILL)
        return done

    Cursor.execute = act  # in a process of its own


def test_killed_behind_each_statement_the_tables_come_out_the_same(
    empty: str, whole: dict[str, str], tmp_path: Path
) -> None:
    # Each run comes to one statement more than those before: of the schema, and of what is noted.
    known = tmp_path / "known"
    known.touch()

    def is_new(statement: str) -> bool:
        mark = f"{statement.strip()}\n;\n"
        if not mark.startswith(_CHANGES) or mark in known.read_text():
            return False
        with known.open("a") as file:
            file.write(mark)
        return True

    def work() -> None:
        die_behind(is_new)
        migrate(empty, lambda _: None)

    runs = 0
    while was_killed(begun(work)):
        runs += 1
    assert runs > sum(len(statements(path)) for path in schema_dir().glob("*.sql"))
    assert migrate(empty) == []
    assert tables(empty) == whole
    assert rows(empty, "SELECT * FROM _migration_at_work") == ()


@pytest.mark.parametrize(
    "last", ["CREATE TABLE download_info", "ALTER TABLE order_info ADD KEY order_created", "INSERT INTO renewal_info"]
)
def test_an_earlier_version_that_was_killed_is_taken_over(empty: str, whole: dict[str, str], last: str) -> None:
    """It noted nothing but its lock, a row of yoyo's, for which the next one waited in vain."""
    with connect(empty) as connection, connection.cursor() as cursor:
        applying.apply_all(cursor, schema_dir() / "none", print)
        cursor.execute("CREATE TABLE yoyo_lock (locked INT DEFAULT 1 PRIMARY KEY, ctime TIMESTAMP, pid INT NOT NULL)")
        cursor.execute("INSERT INTO yoyo_lock VALUES (1, UTC_TIMESTAMP(), 4711)")
        for path in sorted(schema_dir().glob("*.sql")):
            texts = statements(path)
            reached = next((number for number, text in enumerate(texts, 1) if last in text), None)
            if reached is not None:
                break
            applying._apply(cursor, path, print, killed=False)
        for text in texts[:reached]:
            cursor.execute(text)
    heard: list[str] = []
    migrate(empty, heard.append)
    assert heard[0] == "an earlier `roadvault migrate` was killed: its lock is removed"
    assert {name: made for name, made in tables(empty).items() if name != "yoyo_lock"} == whole
    assert rows(empty, "SELECT * FROM yoyo_lock") == ()


def test_what_a_killed_one_began_is_waited_for(empty: str, whole: dict[str, str]) -> None:
    """The server goes on with an ALTER whose client was killed; here it waits for somebody who reads the table."""

    def as_far_as_the_first() -> None:
        die_behind(lambda statement: statement.startswith("INSERT INTO _yoyo_migration"))
        migrate(empty)

    assert was_killed(begun(as_far_as_the_first))
    heard: list[str] = []
    with connect(empty) as reader, reader.cursor() as cursor:
        cursor.execute("BEGIN")
        cursor.execute("SELECT * FROM zip_ipfs_info")
        child = begun(lambda: migrate(empty))
        waits = (
            "SELECT 1 FROM information_schema.processlist WHERE info LIKE 'ALTER TABLE%' AND state LIKE '%metadata%'"
        )
        while not rows(empty, waits):
            time.sleep(0.02)
        os.kill(child, signal.SIGKILL)
        assert was_killed(child)
        successor = threading.Thread(target=lambda: migrate(empty, heard.append))
        successor.start()
        while not any("0002_proof was cut short behind statement 0: going on from there" in line for line in heard):
            time.sleep(0.02)
        cursor.execute("COMMIT")
        successor.join(60)
    assert tables(empty) == whole
