"""What a database says when it can't do something now: an outage, wherever it says so, and never a broken statement."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import asyncmy
import pytest
from asyncmy.errors import Error as DriverError
from asyncmy.errors import OperationalError
from pymysql.cursors import Cursor
from servers_process import Running

from roadvault_common.errors import CommitUnknown, DatabaseUnavailable
from roadvault_common.sql.db import Database, Transaction
from roadvault_common.sql.server_errors import _ROLLED_BACK, _UNABLE
from roadvault_stack.mariadb import MariaDB

OPEN_FOLDER = "INSERT INTO folder_info (open_slot, close_at) VALUES (%s, UTC_TIMESTAMP(6))"
ADD = "UPDATE folder_info SET files = files + 1 WHERE folder_id = %s"
SAYS = "BEGIN NOT ATOMIC SIGNAL SQLSTATE '45000' SET MYSQL_ERRNO = %s, MESSAGE_TEXT = 'as provoked'; END"


@pytest.fixture
def admin(mariadb: Running[MariaDB]) -> Iterator[Cursor]:
    with mariadb.server.connect("mysql", admin=True) as connection, connection.cursor() as cursor:
        yield cursor


@contextmanager
def commits_held_back(admin: Cursor) -> Iterator[None]:
    """Have every COMMIT that wrote something wait, as it does while a backup is taken."""
    for stage in ("START", "FLUSH", "BLOCK_DDL", "BLOCK_COMMIT"):
        admin.execute(f"BACKUP STAGE {stage}")
    try:
        yield
    finally:
        admin.execute("BACKUP STAGE END")


async def kill_what_waits(admin: Cursor, info: str) -> None:
    """Kill the statement, and not the connection, that says `info` and waits."""
    async with asyncio.timeout(20):
        while True:
            admin.execute("SELECT id FROM information_schema.processlist WHERE info LIKE %s AND time_ms > 200", (info,))
            if row := admin.fetchone():
                admin.execute(f"KILL QUERY {row[0]}")
                return
            await asyncio.sleep(0.05)


async def files(db: Database, folder_id: int) -> int:
    row = await db.fetch_one("SELECT files FROM folder_info WHERE folder_id = %s", (folder_id,))
    assert row is not None
    return int(row["files"])


@pytest.fixture
async def folder(db: Database) -> int:
    return await db.transact(lambda tx: tx.insert(OPEN_FOLDER, ("a",)))


async def test_each_number_of_a_server_in_trouble_is_an_outage(db: Database) -> None:
    for number in sorted(_UNABLE | _ROLLED_BACK):
        with pytest.raises(DatabaseUnavailable, match="as provoked"):
            await db.fetch_all(SAYS, (number,))
    for number in (1064, 1146, 1054):
        with pytest.raises(DriverError):
            await db.fetch_all(SAYS, (number,))


async def test_what_the_server_rolled_back_is_run_again(db: Database, folder: int) -> None:
    runs = 0

    async def work(tx: Transaction) -> None:
        nonlocal runs
        runs += 1
        await tx.execute(ADD, (folder,))
        if runs < 3:
            await tx.execute(SAYS, (1213,))

    await db.transact(work)
    assert (runs, await files(db, folder)) == (3, 1)


async def test_a_statement_that_is_killed_is_an_outage(db: Database, admin: Cursor, folder: int) -> None:
    async with db.transaction() as holder:
        await holder.execute(ADD, (folder,))
        waiting = asyncio.create_task(db.execute(ADD, (folder,)))
        await kill_what_waits(admin, "UPDATE folder_info%")
        with pytest.raises(DatabaseUnavailable, match="1317"):
            await waiting


async def test_a_statement_that_takes_too_long_for_the_server_is_an_outage(db: Database) -> None:
    with pytest.raises(DatabaseUnavailable, match="1969"):
        await db.fetch_one(
            "SET STATEMENT max_statement_time = 0.1 FOR SELECT SUM(seq * RAND()) FROM seq_1_to_1000000000"
        )


async def _held_commit(db: Database, folder: int, setting: str) -> None:
    async with db.transaction() as tx:
        await tx.execute(f"SET SESSION {setting}")
        await tx.execute(ADD, (folder,))


@pytest.mark.parametrize(("setting", "number"), [("lock_wait_timeout = 1", 1205), ("max_statement_time = 1", 1969)])
async def test_a_commit_that_waited_too_long_did_not_take_place(
    database_url: str, db: Database, admin: Cursor, folder: int, setting: str, number: int
) -> None:
    async with Database.open(database_url, size=1) as own:
        with commits_held_back(admin), pytest.raises(DatabaseUnavailable, match=str(number)) as caught:
            await _held_commit(own, folder, setting)
        assert not isinstance(caught.value, CommitUnknown)
        assert await files(own, folder) == 0
        await own.execute(ADD, (folder,))
    assert await files(db, folder) == 1


async def test_a_commit_that_was_killed_did_not_take_place(db: Database, admin: Cursor, folder: int) -> None:
    with commits_held_back(admin):
        held = asyncio.create_task(_held_commit(db, folder, "lock_wait_timeout = 20"))
        await kill_what_waits(admin, "COMMIT%")
        with pytest.raises(DatabaseUnavailable, match="1317") as caught:
            await held
    assert not isinstance(caught.value, CommitUnknown)
    assert await files(db, folder) == 0


@pytest.mark.parametrize(("number", "runs_again"), [(1213, True), (1047, False)])
async def test_a_cluster_that_refuses_a_commit(
    db: Database, folder: int, monkeypatch: pytest.MonkeyPatch, number: int, *, runs_again: bool
) -> None:
    """Galera tells of a conflict with another node at COMMIT, and there it also is when it loses the others."""
    commit, refusals = asyncmy.Connection.commit, [number]

    async def refused(connection: asyncmy.Connection) -> None:
        if refusals:
            raise OperationalError(refusals.pop(), "as provoked")
        await commit(connection)

    monkeypatch.setattr(asyncmy.Connection, "commit", refused)
    if runs_again:
        await db.execute(ADD, (folder,))
    else:
        with pytest.raises(CommitUnknown):
            await db.execute(ADD, (folder,))
    assert await files(db, folder) == int(runs_again)
