"""A private MariaDB."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pymysql

from roadvault_stack import programs
from roadvault_stack.errors import StackError
from roadvault_stack.ports import HOST
from roadvault_stack.servers import Server, private_file, socket_path

DATABASE = "roadvault"
_USER = "roadvault"
ADMIN = "root"
_INSTALL_SECONDS = 120

# 64 MiB of buffer are plenty for a try-out and let several servers live side by side on a small machine.
# A tmpdir of its own: a MariaDB that starts removes temporary tables from a shared one, other servers' too.
# Flushing at each commit (1) outlives a power cut; 2 outlives only the end of the process, and is faster.
_CONF = """\
[mariadbd]
datadir = {home}/data
tmpdir = {home}/tmp
socket = {socket}
pid-file = {home}/mariadbd.pid
init-file = {home}/init.sql
bind-address = {host}
port = {port}
skip-name-resolve
skip-log-bin
local-infile = 0
character-set-server = utf8mb4
collation-server = utf8mb4_general_ci
transaction-isolation = READ-COMMITTED
default-time-zone = +00:00
max-connections = 250
performance-schema = OFF
innodb-buffer-pool-size = 64M
innodb-log-file-size = 48M
innodb-flush-log-at-trx-commit = {flush}
innodb-file-per-table = {files}
"""

# Run at each start, one statement for each line: passwords follow the secrets file, and the password-less
# administrators that a new data directory comes with are gone before the first connection is taken.
_INIT = """\
DELETE FROM mysql.global_priv WHERE User = '' OR (User = '{admin}' AND Host NOT IN ('localhost', '{host}'));
FLUSH PRIVILEGES;
CREATE DATABASE IF NOT EXISTS `{database}` CHARACTER SET utf8mb4;
CREATE OR REPLACE USER '{user}'@'{host}' IDENTIFIED BY '{password}';
GRANT ALL ON `{database}%`.* TO '{user}'@'{host}';
CREATE OR REPLACE USER '{admin}'@'{host}' IDENTIFIED BY '{password}';
GRANT ALL ON *.* TO '{admin}'@'{host}' WITH GRANT OPTION;
ALTER USER '{admin}'@'localhost' IDENTIFIED BY '{password}';
"""


class MariaDB(Server):
    """MariaDB with one user, who owns every database whose name begins with `roadvault`."""

    name = "mariadb"

    def __init__(self, home: Path, port: int, password: str, *, durable: bool = True) -> None:
        super().__init__(home)
        self.port = port
        self._password = password
        self._durable = durable

    @property
    def ports(self) -> tuple[int, ...]:
        """The port for clients."""
        return (self.port,)

    def url(self, database: str = DATABASE) -> str:
        """Return the URL of a database, as RoadVault's services take it."""
        return f"mysql://{_USER}:{self._password}@{HOST}:{self.port}/{database}"

    def prepare(self) -> None:
        """Create the data directory at the first time; write the configuration."""
        self.home.mkdir(parents=True, exist_ok=True, mode=0o700)
        (self.home / "tmp").mkdir(exist_ok=True)
        if not (self.home / "data").exists():
            self._install()
        # Tests make and drop all tables again and again: in one file that takes half the time.
        flush, files = (1, 1) if self._durable else (2, 0)
        socket = socket_path(self.home / "mariadbd.sock")
        conf = _CONF.format(home=self.home, socket=socket, host=HOST, port=self.port, flush=flush, files=files)
        private_file(self.home / "mariadbd.cnf", conf)
        names = {"admin": ADMIN, "user": _USER, "host": HOST, "database": DATABASE}
        private_file(self.home / "init.sql", _INIT.format(password=self._password, **names))

    def _install(self) -> None:
        """Fill a directory under another name first: one that was cut short is never taken for a good one."""
        fresh = self.home / "data.new"
        shutil.rmtree(fresh, ignore_errors=True)
        with tempfile.TemporaryDirectory(prefix="roadvault-") as short:
            # The script trips over blanks in a path, so it gets to see one that has none.
            plain = Path(short) / "home"
            plain.symlink_to(self.home)
            self._install_into(plain / fresh.name)
        fresh.rename(self.home / "data")

    def _install_into(self, directory: Path) -> None:
        command = [
            programs.find("mariadb-install-db"),
            "--no-defaults",
            f"--datadir={directory}",
            f"--tmpdir={directory.parent / 'tmp'}",
            "--auth-root-authentication-method=normal",
            "--skip-test-db",
            *self._as_root(),
        ]
        done = subprocess.run(  # noqa: S603 - our own arguments
            command, capture_output=True, text=True, timeout=_INSTALL_SECONDS, check=False
        )
        if done.returncode:
            raise StackError(f"MariaDB could not create its data: {done.stderr.strip() or done.stdout.strip()}")

    def command(self) -> list[str]:
        """Return the server's command line."""
        return [programs.find("mariadbd"), f"--defaults-file={self.home}/mariadbd.cnf", *self._as_root()]

    @staticmethod
    def _as_root() -> list[str]:
        # mariadbd refuses to run as root unless it is told to; in a container there often is nobody else.
        return ["--user=root"] if os.getuid() == 0 else []

    def answers(self) -> bool:
        """Tell whether our own user can log in."""
        try:
            connection = self.connect()
        except (pymysql.Error, OSError):
            return False
        connection.close()
        return True

    def connect(self, database: str = DATABASE, *, admin: bool = False) -> "pymysql.Connection[pymysql.cursors.Cursor]":
        """Open a plain, blocking, autocommitting connection, for set-up work."""
        return pymysql.connect(
            host=HOST,
            port=self.port,
            user=ADMIN if admin else _USER,
            password=self._password,
            database=database,
            connect_timeout=2,
            ssl_disabled=True,  # our own server on loopback: nothing to hide, and a context for TLS takes 20 ms
            autocommit=True,
        )
