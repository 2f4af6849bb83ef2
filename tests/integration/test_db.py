"""The database: transactions, and errors in our own words, on a real server."""

import asyncio
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from threading import Thread
from urllib.parse import urlsplit

import asyncmy
import pytest
import uvloop
from free_ports import pick_free
from pymysql.cursors import Cursor
from servers_process import Running

from roadvault_common.errors import CommitUnknown, DatabaseUnavailable, SettingsError
from roadvault_common.sql.db import Database, Transaction
from roadvault_common.sql.migrate import check_server, migrate
from roadvault_common.sql.server_errors import duplicate_key
from roadvault_stack.mariadb import MariaDB
from roadvault_stack.ports import HOST

_FAILS_LATE = "BEGIN NOT ATOMIC DO SLEEP(0.05); SIGNAL SQLSTATE '45000'; END"
OPEN_FOLDER = "INSERT INTO folder_info (open_slot, close_at) VALUES (%s, UTC_TIMESTAMP(6))"


async def count(db: Database) -> int:
    row = await db.fetch_one("SELECT COUNT(*) AS n FROM folder_info")
    assert row is not None
    return int(row["n"])


async def test_sessions_are_utc_strict_and_read_committed(db: Database) -> None:
    row = await db.fetch_one("SELECT @@time_zone AS zone, @@tx_isolation AS level, @@sql_mode AS mode")
    assert row is not None
    assert (row["zone"], row["level"]) == ("+00:00", "READ-COMMITTED")
    assert "STRICT_TRANS_TABLES" in row["mode"]


async def test_an_error_takes_the_whole_transaction_back(db: Database) -> None:
    with pytest.raises(ZeroDivisionError):
        async with db.transaction() as tx:
            await tx.execute(OPEN_FOLDER, ("a",))
            raise ZeroDivisionError
    with pytest.raises(Exception, match="Duplicate") as caught:
        async with db.transaction() as tx:
            await tx.execute(OPEN_FOLDER, ("b",))
            await tx.execute(OPEN_FOLDER, ("b",))
    assert duplicate_key(caught.value)
    assert await count(db) == 0


async def test_a_cancelled_statement_leaves_no_broken_connection_behind(db: Database) -> None:
    for _ in range(3):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await db.fetch_one("SELECT SLEEP(5)")
    assert await count(db) == 0


@pytest.mark.parametrize("sql", ["SELECT SLEEP(0.05)", _FAILS_LATE], ids=["answer", "error"])
async def test_a_cancellation_that_meets_what_comes_back_is_not_lost(db: Database, sql: str) -> None:
    await db.ping()
    for _ in range(3):
        reading = asyncio.create_task(db.fetch_one(sql))
        await asyncio.sleep(0.01)
        asyncio.get_running_loop().call_later(0.1, reading.cancel)
        time.sleep(0.2)  # noqa: ASYNC251 - the answer and the cancellation are both there when the loop goes on
        with pytest.raises(asyncio.CancelledError):
            await reading
    assert await count(db) == 0


async def test_deadlocks_are_run_again(db: Database) -> None:
    async with db.transaction() as tx:
        one = await tx.insert(OPEN_FOLDER, ("one",))
        two = await tx.insert(OPEN_FOLDER, ("two",))
    barrier, runs = asyncio.Barrier(2), 0

    async def cross(first: int, second: int) -> None:
        met = False

        async def work(tx: Transaction) -> None:
            nonlocal runs, met
            runs += 1
            await tx.execute("UPDATE folder_info SET files = files + 1 WHERE folder_id = %s", (first,))
            if not met:
                met = True
                await barrier.wait()
            await tx.execute("UPDATE folder_info SET files = files + 1 WHERE folder_id = %s", (second,))

        await db.transact(work)

    await asyncio.gather(cross(one, two), cross(two, one))
    rows = await db.fetch_all("SELECT files FROM folder_info")
    assert (runs, [row["files"] for row in rows]) == (3, [2, 2])


async def test_a_server_that_restarts_is_found_again(db: Database, mariadb: Running[MariaDB]) -> None:
    assert await count(db) == 0
    await asyncio.to_thread(mariadb.stop)
    with pytest.raises(DatabaseUnavailable):
        await db.ping()
    with pytest.raises(DatabaseUnavailable):
        await db.execute(OPEN_FOLDER, ("a",))
    await asyncio.to_thread(mariadb.start)
    await db.ping()
    assert await db.execute(OPEN_FOLDER, ("a",)) == 1


async def test_a_process_has_no_more_connections_than_it_may(database_url: str, db: Database) -> None:
    name = urlsplit(database_url).path.lstrip("/")
    async with Database.open(database_url, size=4) as bounded:
        asked = [asyncio.create_task(bounded.fetch_one("SELECT SLEEP(0.05)")) for _ in range(12)]
        await asyncio.sleep(0.05)
        connected = "SELECT COUNT(*) FROM information_schema.processlist WHERE db = %s"
        assert await db.fetch_value(connected, (name,)) == 4 + 1
        await asyncio.gather(*asked)


def test_a_server_that_hangs_up_at_once_is_away() -> None:
    """As a proxy does whose database is gone; in the event loop of the services, where the driver finds no socket."""

    def hang_up(server: socket.socket) -> None:
        with suppress(OSError):  # until it is shut down
            while True:
                server.accept()[0].close()

    async def ask(port: int) -> None:
        async with Database.open(f"mysql://a:b@{HOST}:{port}/c") as db:
            for _ in range(20):
                with pytest.raises(DatabaseUnavailable, match="can't be reached"):
                    await db.ping()

    with socket.create_server((HOST, 0)) as server:
        Thread(target=hang_up, args=(server,), daemon=True).start()
        uvloop.run(ask(server.getsockname()[1]))
        server.shutdown(socket.SHUT_RDWR)


async def test_a_lost_answer_to_commit_is_told_apart(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    async def lose_the_answer(_: asyncmy.Connection) -> None:
        raise ConnectionResetError

    with pytest.raises(CommitUnknown):
        async with db.transaction() as tx:
            await tx.execute(OPEN_FOLDER, ("a",))
            monkeypatch.setattr(asyncmy.Connection, "commit", lose_the_answer)
    monkeypatch.undo()
    assert await count(db) == 0


async def test_migrations_are_applied_once(database_url: str) -> None:
    assert await asyncio.to_thread(migrate, database_url) == []


@pytest.mark.parametrize("url", ["postgres://u@h/db", "mysql://u:p@h", "nonsense"])
async def test_a_bad_url_is_named_and_not_shown(url: str) -> None:
    with pytest.raises(SettingsError, match="ROADVAULT_DATABASE_URL") as caught:
        async with Database.open(url):
            pass
    assert url not in str(caught.value)


@pytest.fixture
def admin(mariadb: Running[MariaDB]) -> Iterator[Cursor]:
    """The server's administrator; what a test sets globally is set back."""
    with mariadb.server.connect("mysql", admin=True) as connection, connection.cursor() as cursor:
        yield cursor
        cursor.execute("SET GLOBAL read_only = 0")
        cursor.execute("SET GLOBAL default_storage_engine = InnoDB")


async def test_a_read_only_server_is_away_and_says_why(db: Database, admin: Cursor, database_url: str) -> None:
    await db.ping()
    admin.execute("SET GLOBAL read_only = 1")
    with pytest.raises(DatabaseUnavailable, match="read-only"):
        await db.ping()
    with pytest.raises(SettingsError, match="read-only"):
        await asyncio.to_thread(migrate, database_url)
    async with Database.open(database_url, read_only=True) as reader:
        await reader.ping()  # to who never writes it is nothing


async def test_a_server_whose_binary_log_can_not_record_our_writes_is_named(servers_dir: Path) -> None:
    server = Running(MariaDB(servers_dir / "mariadb-statement", pick_free(1)[0], "test-password", durable=False))
    with ExitStack() as stack:
        stack.callback(server.stop)
        server.start()
        url = server.server.url()
        await asyncio.to_thread(migrate, url)
        server.stop()
        server.more = ["--log-bin=binlog", "--binlog-format=STATEMENT"]
        server.start()
        async with Database.open(url) as db:
            with pytest.raises(DatabaseUnavailable, match="binlog_format to ROW or MIXED"):
                await check_server(db)
        with pytest.raises(SettingsError, match="binlog_format is STATEMENT"):
            await asyncio.to_thread(migrate, url)


async def test_a_user_who_may_not_write_is_named(admin: Cursor, database_url: str) -> None:
    name, port = urlsplit(database_url).path.lstrip("/"), urlsplit(database_url).port
    admin.execute("CREATE OR REPLACE USER 'reader'@'127.0.0.1' IDENTIFIED BY 'reader'")
    admin.execute(f"GRANT SELECT ON `{name}`.* TO 'reader'@'127.0.0.1'")
    async with Database.open(f"mysql://reader:reader@{HOST}:{port}/{name}", size=1) as reader:
        with pytest.raises(DatabaseUnavailable, match=r"takes no writes.*UPDATE command denied"):
            await reader.ping()
    admin.execute("DROP USER 'reader'@'127.0.0.1'")


async def test_tables_without_transactions_are_refused(db: Database, admin: Cursor, database_url: str) -> None:
    await check_server(db)
    await db.execute("ALTER TABLE renewal_info ENGINE = MyISAM")
    with pytest.raises(SettingsError, match="renewal_info"):
        await check_server(db)
    admin.execute("SET GLOBAL default_storage_engine = Aria")
    with pytest.raises(SettingsError, match="default_storage_engine is Aria"):
        await asyncio.to_thread(migrate, database_url)


async def test_a_server_that_takes_no_long_statements_is_refused(admin: Cursor, database_url: str) -> None:
    admin.execute("SELECT @@global.max_allowed_packet")
    (before,) = admin.fetchone() or (0,)
    admin.execute("SET GLOBAL max_allowed_packet = 1048576")
    try:
        async with Database.open(database_url) as db:
            with pytest.raises(SettingsError, match="max_allowed_packet is 1048576"):
                await check_server(db)
    finally:
        admin.execute(f"SET GLOBAL max_allowed_packet = {before}")
