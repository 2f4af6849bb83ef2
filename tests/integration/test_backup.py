"""A database that is destroyed comes back from its backup and its binary log, by deploy/database.sh."""

import asyncio
import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pymysql
import pytest
import yaml
from chaos.crowd import Crowd, upload
from free_ports import pick_free
from servers_operator import Console
from servers_process import Running
from servers_services import Service, Services

from roadvault_common.files.identity import Identity
from roadvault_common.files.numbers import MARGIN
from roadvault_common.sql.migrate import migrate
from roadvault_stack import programs
from roadvault_stack.mariadb import MariaDB
from roadvault_stack.ports import HOST

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "deploy" / "database.sh"
KEEPER = "keeper"
FILES = "SELECT file_id, file_name, size, sha256, path, create_time FROM file_upload_info ORDER BY file_id"


def options_of_compose() -> list[str]:
    """Return what docker-compose.yml starts MariaDB with, but for the file of users, which is a container's."""
    command = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]["mariadb"]["command"]
    return [option for option in command if not option.startswith("--init-file")]


@pytest.fixture
def logged(servers_dir: Path) -> Iterator[Running[MariaDB]]:
    """A MariaDB of the test's own, which writes a binary log as docker compose's does."""
    running = Running(MariaDB(servers_dir / "logged", pick_free(1)[0], "test-password", durable=False))
    running.more = options_of_compose()
    running.start()
    with running.server.connect(admin=True) as connection, connection.cursor() as cursor:
        # The rights of the user that deploy/database-users.sql makes, for one who comes with a password.
        users = (ROOT / "deploy" / "database-users.sql").read_text().replace("mysql@localhost", f"{KEEPER}@'127.0.0.1'")
        for statement in users.replace("VIA unix_socket", f"BY '{KEEPER}'").strip().split("\n"):
            cursor.execute(statement)
    yield running
    running.stop()


@pytest.fixture
def database_url(logged: Running[MariaDB]) -> str:
    """The services' database is on that server; no other test comes there."""
    migrate(logged.server.url())
    return logged.server.url()


def test_the_doors_user_may_read_tables_that_are_not_there_yet_and_has_no_password_but_its_secret(
    logged: Running[MariaDB], servers_dir: Path
) -> None:
    with logged.server.connect(admin=True) as connection, connection.cursor() as cursor:
        cursor.execute("SHOW TABLES")
        assert not cursor.fetchall()
        cursor.execute("SHOW GRANTS FOR door@'%'")
        first, *grants = (row[0] for row in cursor.fetchall())
        assert "invalid" in first
    tables = ("_yoyo_migration", "download_info", "file_upload_info", "identity_info", "store_info")
    assert sorted(grants) == [f"GRANT SELECT ON `roadvault`.`{table}` TO `door`@`%`" for table in tables]
    password, users = servers_dir / "door_database_password", servers_dir / "database-users.sql"
    users.write_text((ROOT / "deploy" / users.name).read_text().replace("/run/secrets", str(servers_dir)))
    logged.more.append(f"--init-file={users}")
    for text in ("first", "it's another"):  # the password follows the file
        password.write_text(f"{text}\n")
        password.chmod(0o444)
        logged.stop()
        logged.start()
        pymysql.connect(host=HOST, port=logged.server.port, user="door", password=text, database="roadvault").close()


def test_the_services_user_may_make_the_scratch_database_of_a_rehearsal(logged: Running[MariaDB]) -> None:
    """At each start, by the file that docker compose starts the server with; at its very first there is no user yet."""
    logged.more.append(f"--init-file={ROOT / 'deploy' / 'database-users.sql'}")
    grants = []
    for statement in ("CREATE USER roadvault@'%' IDENTIFIED BY 'p'", "SHOW GRANTS FOR roadvault@'%'"):
        logged.stop()
        logged.start()
        with logged.server.connect(admin=True) as connection, connection.cursor() as cursor:
            cursor.execute(statement)
            grants += [row[0] for row in cursor.fetchall()]
    assert r"GRANT ALL PRIVILEGES ON `roadvault\_rehearsal`.* TO `roadvault`@`%`" in grants


def test_the_users_can_be_made_by_hand_with_the_client_that_ends_a_statement_at_each_semicolon(
    logged: Running[MariaDB],
) -> None:
    """`mariadb < deploy/database-users.sql`, as the runbook says; again, when there are users."""
    reach = ["--user=root", f"--host={HOST}", f"--port={logged.server.port}", "--skip-ssl"]
    with logged.server.connect(admin=True) as connection, connection.cursor() as cursor:
        for made in (False, True):
            with (ROOT / "deploy" / "database-users.sql").open() as users:
                done = subprocess.run(
                    [programs.find("mariadb"), *reach], stdin=users, capture_output=True, text=True, check=False,
                    env={"PATH": os.environ["PATH"], "MYSQL_PWD": "test-password"},
                )  # fmt: skip
            assert (done.returncode, done.stderr) == (0, "")
            cursor.execute("SHOW GRANTS FOR mysql@localhost")
            assert "BINLOG MONITOR" in str(cursor.fetchall())
            if made:
                cursor.execute("SHOW GRANTS FOR roadvault@'%'")
                grants = [row[0] for row in cursor.fetchall()]
                assert r"GRANT ALL PRIVILEGES ON `roadvault\_rehearsal`.* TO `roadvault`@`%`" in grants
            cursor.execute("CREATE USER IF NOT EXISTS roadvault@'%' IDENTIFIED BY 'p'")


class Keeper:
    """The script, for one server."""

    def __init__(self, server: Running[MariaDB], directory: Path) -> None:
        self.server = server
        self.directory = directory
        port = server.server.port
        reach = f"--user={KEEPER} --host=127.0.0.1 --port={port}"
        self.environment = {"PATH": os.environ["PATH"], "DATABASE_OPTIONS": reach, "MYSQL_PWD": KEEPER}

    @property
    def data(self) -> Path:
        return self.server.server.home / "data"

    @asynccontextmanager
    async def keeping(self) -> AsyncIterator[None]:
        """Have it make backups; the first set is whole. At the end the copy of the log has come to the server's end."""
        child = await asyncio.create_subprocess_exec(
            "sh", SCRIPT, "keep", self.directory, env=self.environment, stderr=asyncio.subprocess.PIPE
        )
        try:
            assert child.stderr is not None
            said = (await asyncio.wait_for(child.stderr.readline(), 60)).decode()
            assert said.endswith(" is whole\n"), said
            yield
            await asyncio.wait_for(self._copied(max(self.sets())), 30)
        finally:
            child.terminate()
            await child.wait()

    def sets(self) -> list[Path]:
        return [path for path in self.directory.iterdir() if path.name.endswith("Z")]

    async def next_day(self) -> Path:
        """Have the newest set be of two days ago, and one of long ago beside it; return the set that is made then."""
        (made,), old = self.sets(), self.directory / "20200101T000000Z"
        old.mkdir()
        os.utime(old, (0, 0))
        os.utime(made / "made", (made.stat().st_mtime - 2 * 86_400,) * 2)
        async with asyncio.timeout(60):
            while old.exists() or len(self.sets()) < 2:
                await asyncio.sleep(0.05)
        assert made.exists()
        return max(self.sets())

    async def _copied(self, made: Path) -> None:
        """Wait until the copy of the log has come to where the server's is."""
        with self.server.server.connect(admin=True) as connection, connection.cursor() as cursor:
            cursor.execute("SHOW MASTER STATUS")
            ((name, position, *_),) = cursor.fetchall()
        copy = made / "log" / str(name)
        while not copy.exists() or copy.stat().st_size < position:
            await asyncio.sleep(0.05)

    async def destroy(self) -> None:
        """The server is gone, and all of its files."""
        await asyncio.to_thread(self.server.kill)
        shutil.rmtree(self.data)
        self.data.mkdir()

    async def restore(self, made: Path) -> str:
        """Bring the database back, and have it run; return what the script said."""
        child = await asyncio.create_subprocess_exec(
            "sh", SCRIPT, "restore", made, self.data, env={"PATH": os.environ["PATH"]}, stderr=asyncio.subprocess.PIPE
        )
        _, errors = await child.communicate()
        assert child.returncode == 0, errors.decode()
        await asyncio.to_thread(self.server.start)
        return errors.decode()


@pytest.fixture
def keeper(logged: Running[MariaDB], tmp_path: Path) -> Keeper:
    (tmp_path / "backup").mkdir()
    return Keeper(logged, tmp_path / "backup")


async def ready(service: Service, *, wanted: int = 200) -> None:
    async with asyncio.timeout(60):
        while await service.readiness() != wanted:
            await asyncio.sleep(0.05)


@pytest.mark.timeout(180)
async def test_a_destroyed_database_comes_back_with_its_last_act_and_without_its_log_is_found_out(
    keeper: Keeper, services: Services, console: Console
) -> None:
    db, mark = console.db, Identity(console.db, console.vault.root, moves_on=True)
    ingest, packer = services("ingest", folder_files=20), services("packer")
    await asyncio.gather(ingest.start(), packer.start())
    crowd = Crowd(ingest.url)
    clients = [asyncio.create_task(crowd.client()) for _ in range(2)]
    async with keeper.keeping():  # while files come in
        await crowd.went_on()
        made = await keeper.next_day()
        in_the_full = max(crowd.file_ids)
        await mark.move_on()
        await crowd.went_on()
        await console.says("retention", "hold", "--file", 1, "--reason", "case 7")
        crowd.over.set()
        await asyncio.gather(*clients)
        packer.terminate()
        await packer.ended(30)
        ids, before = crowd.file_ids, await db.fetch_all(FILES)
        holds = await db.fetch_all("SELECT * FROM hold_info")
    assert max(ids) > in_the_full
    assert [row["file_id"] for row in before] == sorted(ids)

    await keeper.destroy()
    await ready(ingest, wanted=503)
    assert "and of all that its log has" in await keeper.restore(made)
    # It waited, and goes on by itself: nobody has to adopt anything.
    await ready(ingest)
    assert "they belong together" in await console.says("identity")
    assert await db.fetch_all(FILES) == before
    assert await db.fetch_all("SELECT * FROM hold_info") == holds
    async with aiohttp.ClientSession() as http:
        assert await upload(http, ingest.url, b"after") == max(ids) + 1
        for file_id in ids:
            async with http.get(f"{ingest.url}/api/open/file/{file_id}") as response:
                assert response.status == 200
    before = await db.fetch_all(FILES)

    # With a copy of the log that breaks off in its first act it is as old as the full backup.
    name, position, *_ = (made / "full" / "xtrabackup_binlog_info").read_text().split()
    for path in (made / "log").iterdir():
        os.truncate(path, int(position) + 200 if path.name == name else 0)
    await keeper.destroy()
    assert "ends within an act" in await keeper.restore(made)
    assert (await ingest.ended(60))[0] == 1
    assert "went back in time" in ingest.log.read_text()
    code, out, _ = await console.run("identity")
    assert (code, "went back in time" in out) == (1, True)
    lacking = {row["file_id"] for row in before} - {row["file_id"] for row in await db.fetch_all(FILES)}
    assert max(ids) in lacking
    await console.says("identity", "adopt", "--yes")
    said = await console.says("recover", "--received")
    assert f"{len(lacking)} uploads adopted under their old numbers" in said
    assert await db.fetch_all(FILES) == before
    await ingest.start()
    async with aiohttp.ClientSession() as http:
        assert await upload(http, ingest.url, b"after") > MARGIN
