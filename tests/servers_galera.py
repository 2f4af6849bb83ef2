"""Fixtures: a Galera cluster of three MariaDB nodes, and databases in it.

It is started when the first test asks for it, and once; nodes that a test has left down, paused or cut off are brought
back before the next. `galera_url` names all three, as an installation does; `galera.url(name, 1)` the second alone.
"""

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pymysql
import pytest
from free_ports import pick_free
from servers_databases import Databases
from servers_process import Running

from roadvault_stack import programs
from roadvault_stack.galera import MOST_BYTES
from roadvault_stack.mariadb import DATABASE, MariaDB
from roadvault_stack.ports import HOST

NODES = 3
_PASSWORD = "test-password"
_LIBRARY = Path("/usr/lib/galera/libgalera_smm.so")
_SYNCED_SECONDS = 60
_ANSWER_SECONDS = 30
_USER = "mysql"
"""The copy of a node is taken by rsync, which takes nothing as root: then the servers are this user's."""


class GaleraNode(MariaDB):
    """One node; `group` are the ports on which all of them talk to each other."""

    def __init__(self, home: Path, number: int, port: int, own: list[int], group: list[int]) -> None:
        super().__init__(home, port, _PASSWORD, durable=False)
        self.name = f"galera-{number}"
        self._number = number
        self._own = own
        self._group = group

    @property
    def ports(self) -> tuple[int, ...]:
        return (self.port, *self._own, self._group[self._number])

    def prepare(self) -> None:
        (self.home / "tmp").mkdir(parents=True, exist_ok=True)
        self._give_away()
        if self._number:
            (self.home / "data").mkdir(exist_ok=True)  # a copy of the first node's comes there
        super().prepare()
        self._give_away()

    def _install(self) -> None:
        self._install_into(self.home / "data")

    def _give_away(self) -> None:
        if os.getuid() == 0:
            for path in (self.home, *self.home.glob("*")):
                shutil.chown(path, _USER)

    @staticmethod
    def _as_root() -> list[str]:
        return [f"--user={_USER}"] if os.getuid() == 0 else []

    def command(self) -> list[str]:
        listen, (copies, changes) = self._group[self._number], self._own
        options = {
            "base_port": listen,
            "gmcast.listen_addr": f"tcp://{HOST}:{listen}",
            "ist.recv_addr": f"{HOST}:{changes}",
            "gcache.size": "16M",
            "gcache.page_size": "4M",
        }
        return [
            programs.find("prlimit"),
            f"--data={MOST_BYTES}",
            *_as_its_user(),
            *[part for part in super().command() if part not in self._as_root()],
            "--wsrep-on=ON",
            f"--wsrep-provider={_LIBRARY}",
            "--wsrep-cluster-name=roadvault-test",
            f"--wsrep-cluster-address=gcomm://{','.join(f'{HOST}:{port}' for port in self._group)}",
            f"--wsrep-node-name={self.name}",
            f"--wsrep-node-address={HOST}",
            f"--wsrep-node-incoming-address={HOST}:{self.port}",
            "--wsrep-sst-method=rsync",
            f"--wsrep-sst-receive-address={HOST}:{copies}",
            f"--wsrep-provider-options={';'.join(f'{name}={value}' for name, value in options.items())}",
            "--binlog-format=ROW",
            "--innodb-autoinc-lock-mode=2",
            *(["--init-file="] if self._number else []),
        ]

    def connect(self, database: str = DATABASE, *, admin: bool = False) -> "pymysql.Connection[pymysql.cursors.Cursor]":
        connection = super().connect(database, admin=admin)
        connection._read_timeout = _ANSWER_SECONDS  # a node that is between two states may say nothing
        return connection

    def answers(self) -> bool:
        try:
            return self.state() == "Synced"
        except (pymysql.Error, OSError):
            return False

    def state(self) -> str:
        """Return what the node says of itself."""
        return str(self.ask("SHOW GLOBAL STATUS LIKE 'wsrep_local_state_comment'")[0][1])

    def ask(self, statement: str, database: str = "mysql", *args: object) -> Any:  # noqa: ANN401 - rows
        """Have the administrator run a statement."""
        with self.connect(database, admin=True) as connection, connection.cursor() as cursor:
            cursor.execute(statement, args)
            return cursor.fetchall()


def _as_its_user() -> list[str]:
    """Who becomes another user by itself is no longer ended with the test run: this asks for that once more."""
    own = [f"--reuid={_USER}", f"--regid={_USER}", "--clear-groups"]
    return [programs.find("setpriv"), *own, "--pdeathsig", "KILL", "--"] if os.getuid() == 0 else []


class Galera:
    """The cluster."""

    def __init__(self, directory: Path) -> None:
        ports = pick_free(4 * NODES)
        group = ports[:NODES]
        self.nodes = [
            Running(GaleraNode(directory / f"galera-{number}", number, *_ports(ports[NODES:], number), group))
            for number in range(NODES)
        ]

    def start(self) -> None:
        """Start all nodes that are down; none may be paused or cut off."""
        first = self.nodes[0]
        new = not any(node.server.answers() for node in self.nodes)
        first.more = ["--wsrep-new-cluster"] if new else []
        for node in self.nodes:
            node.start()
        first.more = []
        self.wait_until_well()

    def wait_until_well(self) -> None:
        deadline = time.monotonic() + _SYNCED_SECONDS
        while not all(node.server.answers() for node in self.nodes) or self._size() < NODES:
            assert time.monotonic() < deadline, [node.server.answers() for node in self.nodes]
            time.sleep(0.1)

    def _size(self) -> int:
        return int(self.nodes[0].server.ask("SHOW GLOBAL STATUS LIKE 'wsrep_cluster_size'")[0][1])

    def url(self, database: str, *numbers: int) -> str:
        """Return the URL of a database at these nodes, or all of them."""
        nodes = [self.nodes[number].server for number in numbers or range(NODES)]
        hosts = ",".join(f"{HOST}:{node.port}" for node in nodes)
        return nodes[0].url(database).replace(f"{HOST}:{nodes[0].port}", hosts)

    @contextmanager
    def cut_off(self, number: int) -> Iterator[None]:
        """Have a node hear nothing of the others for a while, as when the line between them is cut."""
        node = self.nodes[number].server
        node.ask("SET GLOBAL wsrep_provider_options = 'gmcast.isolate=1'")
        try:
            yield
        finally:
            node.ask("SET GLOBAL wsrep_provider_options = 'gmcast.isolate=0'")

    def stop(self) -> None:
        for node in self.nodes:
            node.kill()


def _ports(ports: list[int], number: int) -> tuple[int, list[int]]:
    port, *own = ports[3 * number : 3 * number + 3]
    return port, own


@pytest.fixture(scope="session")
def galera_of_session() -> Iterator[Galera]:
    directory = Path(tempfile.mkdtemp(prefix="rv-galera-"))
    directory.chmod(0o755)
    galera = Galera(directory)
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, directory, ignore_errors=True)
        stack.callback(galera.stop)
        galera.start()
        yield galera


@pytest.fixture(scope="session")
def galera_databases(galera_of_session: Galera) -> Databases:
    return Databases(galera_of_session.nodes[0].server)


@pytest.fixture
def galera(galera_of_session: Galera) -> Iterator[Galera]:
    galera_of_session.start()
    yield galera_of_session
    galera_of_session.start()


@pytest.fixture
def galera_name(galera: Galera, galera_databases: Databases) -> Iterator[str]:
    """The name of a database with all tables, at every node."""
    name = galera_databases.take()
    yield name
    galera.start()
    galera_databases.give_back(name)


@pytest.fixture
def galera_url(galera: Galera, galera_name: str) -> str:
    return galera.url(galera_name)
