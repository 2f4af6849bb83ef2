"""MariaDB as a Galera cluster: three nodes, each with all the data; any one of them may die.

A node is started by this module as a program: `python -m roadvault_stack.galera HOME` looks whether the others are up,
and joins them; the first begins the cluster if none is.
"""

import json
import os
import resource
import shutil
import sys
from pathlib import Path
from typing import NamedTuple

import pymysql

from roadvault_stack.mariadb import ADMIN, MariaDB
from roadvault_stack.ports import HOST
from roadvault_stack.servers import private_file

NODES = 3
MOST_BYTES = 2 << 30
"""Of a node's memory. One that was cut off on a busy machine was seen to grow by 20 GB in minutes, until nothing else
could run; a node that ends is what a cluster is there for."""
_LIBRARY = Path("/usr/lib/galera/libgalera_smm.so")
_START = "start.json"
_USER = "mysql"
"""The copy of a node is taken by rsync, which takes nothing as root: then the servers are this user's."""


class GaleraPorts(NamedTuple):
    """The ports of a node: for clients, for the other nodes, and two for its copy."""

    clients: int
    group: int
    copies: int
    changes: int


class GaleraNode(MariaDB):
    """One node of those at `ports`; the first begins a new cluster if no other is up."""

    def __init__(
        self, home: Path, number: int, ports: list[GaleraPorts], password: str, *, durable: bool = True
    ) -> None:
        super().__init__(home, ports[number].clients, password, durable=durable)
        self.name = f"galera-{number}"
        self._number = number
        self._own, self._all = ports[number], ports

    @property
    def ports(self) -> tuple[int, ...]:
        """For clients, for the other nodes, and two for its copy."""
        return tuple(self._own)

    def prepare(self) -> None:
        """As of one server; but a copy of the first node's data comes to the others."""
        (self.home / "tmp").mkdir(parents=True, exist_ok=True)
        self._give_away()
        if self._number:
            (self.home / "data").mkdir(exist_ok=True)
        super().prepare()
        others = [one.clients for one in self._all if one is not self._own]
        start = {"command": self._node(), "others": others, "password": self._password, "begins": not self._number}
        private_file(self.home / _START, json.dumps(start))
        self._give_away()
        self._may_begin()

    def _install(self) -> None:
        self._install_into(self.home / "data")

    def _give_away(self) -> None:
        if os.getuid() == 0:
            for above in (self.home.parent, self.home.parent.parent):
                above.chmod(0o711)  # its user has to come through
            for path in (self.home, *self.home.glob("*")):
                shutil.chown(path, _USER)

    def _may_begin(self) -> None:
        """Let the first node begin the cluster, which all were told to leave together."""
        state = self.home / "data" / "grastate.dat"
        if not self._number and state.exists():
            text = state.read_text()
            state.write_text(text.replace("safe_to_bootstrap: 0", "safe_to_bootstrap: 1"))

    @staticmethod
    def _as_root() -> list[str]:
        return [f"--user={_USER}"] if os.getuid() == 0 else []

    def command(self) -> list[str]:
        """Return what starts the node."""
        return [sys.executable, "-m", "roadvault_stack.galera", str(self.home)]

    def _node(self) -> list[str]:
        own = self._own
        options = {
            "base_port": own.group,
            "gmcast.listen_addr": f"tcp://{HOST}:{own.group}",
            "ist.recv_addr": f"{HOST}:{own.changes}",
            "gcache.size": "16M",
            "gcache.page_size": "4M",
            "pc.recovery": "false",
        }
        return [
            *super().command(),
            "--wsrep-on=ON",
            f"--wsrep-provider={_LIBRARY}",
            "--wsrep-cluster-name=roadvault",
            f"--wsrep-cluster-address=gcomm://{','.join(f'{HOST}:{one.group}' for one in self._all)}",
            f"--wsrep-node-name={self.name}",
            f"--wsrep-node-address={HOST}",
            f"--wsrep-node-incoming-address={HOST}:{own.clients}",
            "--wsrep-sst-method=rsync",
            f"--wsrep-sst-receive-address={HOST}:{own.copies}",
            f"--wsrep-provider-options={';'.join(f'{name}={value}' for name, value in options.items())}",
            "--binlog-format=ROW",
            "--innodb-autoinc-lock-mode=2",
            *(["--init-file="] if self._number else []),
        ]

    def answers(self) -> bool:
        """Tell whether it has all the data, and takes statements."""
        try:
            with self.connect("mysql", admin=True) as connection:
                return _is_synced(connection)
        except (pymysql.Error, OSError):
            return False


def _is_synced(connection: "pymysql.Connection[pymysql.cursors.Cursor]") -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SHOW GLOBAL STATUS LIKE 'wsrep_local_state_comment'")
        return bool(cursor.fetchone() == ("wsrep_local_state_comment", "Synced"))


def _is_up(port: int, password: str) -> bool:
    try:
        with pymysql.connect(
            host=HOST, port=port, user=ADMIN, password=password, connect_timeout=2, read_timeout=5, ssl_disabled=True
        ) as connection:
            return _is_synced(connection)
    except (pymysql.Error, OSError):
        return False


def main() -> None:
    """Become a node."""
    start = json.loads((Path(sys.argv[1]) / _START).read_text())
    alone = not any(_is_up(port, start["password"]) for port in start["others"])
    command = [*start["command"], *(["--wsrep-new-cluster"] if start["begins"] and alone else [])]
    resource.setrlimit(resource.RLIMIT_DATA, (MOST_BYTES, MOST_BYTES))
    os.execv(command[0], command)  # noqa: S606 - our own arguments


if __name__ == "__main__":
    main()
