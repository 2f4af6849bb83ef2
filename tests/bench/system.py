"""The whole local stack, all of its services at their defaults, for measures of the way through all stages."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pymysql
from free_ports import pick_free
from rich.console import Console

from roadvault_stack import plan
from roadvault_stack.environment import SERVICES
from roadvault_stack.mariadb import MariaDB
from roadvault_stack.plan import Plan
from roadvault_stack.ports import HOST
from roadvault_stack.settings import StackSettings
from roadvault_stack.up import Stack

_LOOK_SECONDS = 0.2


@dataclass
class System:
    """A running stack. Use `System.open`."""

    settings: StackSettings
    plan: Plan
    stack: Stack

    @classmethod
    @contextmanager
    def open(
        cls,
        root: Path,
        planned: Callable[[StackSettings], Plan] | None = None,
        /,
        **settings: Any,  # noqa: ANN401 - any
    ) -> Iterator["System"]:
        """Start everything below `root`, on free ports, and stop it at the end."""
        names = list(StackSettings(dir=root).ports())
        ports = dict(zip(names, pick_free(len(names)), strict=True))
        with (root / "out").open("w") as out:
            console = Console(file=out)
            chosen = StackSettings.model_validate({"dir": root, **ports, **settings})
            make = planned or plan.make
            stack = Stack(chosen, console, make)
            try:
                stack.up(detach=True)
                yield cls(chosen, make(chosen), stack)
            finally:
                stack.down()

    @property
    def url(self) -> str:
        """Base URL of the HTTP API."""
        return f"http://{HOST}:{self.settings.ingest_port}"

    def environment(self) -> dict[str, str]:
        """Return all settings of the services."""
        return self.plan.environments.everything()

    def sql(self, statement: str, args: tuple[object, ...] = ()) -> list[dict[str, Any]]:
        """Run a statement on the database and return its rows."""
        mariadb = self.plan.servers[0]
        assert isinstance(mariadb, MariaDB)
        with mariadb.connect() as connection, connection.cursor(pymysql.cursors.DictCursor) as cursor:
            cursor.execute("SET time_zone = '+00:00'")
            cursor.execute(statement, args)
            return list(cursor.fetchall())

    def count(self, statement: str) -> int:
        """Return the one number that a statement gives."""
        return int(next(iter(self.sql(statement)[0].values())))

    def wait(self, statement: str, count: int, seconds: float) -> None:
        """Wait until the number that a statement gives is at least `count`."""
        deadline = time.monotonic() + seconds
        while (found := self.count(statement)) < count:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{found} of {count} after {seconds:.0f} s: {statement}")
            time.sleep(_LOOK_SECONDS)

    def pids(self) -> dict[str, int]:
        """Return the process of each program."""
        return {name: info["pid"] for name, info in self.stack.supervisor.states().items() if info["pid"]}

    def peak_memory(self) -> dict[str, int]:
        """Return the most memory that each service ever had, in bytes."""
        pids = self.pids()
        return {name: _field(f"/proc/{pids[name]}/status", "VmHWM:") * 1024 for name in SERVICES}

    def written(self) -> dict[str, int]:
        """Return the bytes that each program has caused to be written to disk, as the kernel counts them."""
        return {name: _field(f"/proc/{pid}/io", "write_bytes:") for name, pid in self.pids().items()}

    def processor_seconds(self) -> float:
        """Return the processor time that all programs have taken so far."""
        stats = [Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1].split() for pid in self.pids().values()]
        return sum(int(stat[11]) + int(stat[12]) for stat in stats) / os.sysconf("SC_CLK_TCK")  # utime, stime

    @contextmanager
    def without(self, service: str) -> Iterator[Callable[[], None]]:
        """Stop a service; give a function that starts it again, as the end of the block does."""
        name = f"services:{service}"

        def start() -> None:
            with self.stack.supervisor._commands() as commands:
                if commands.getProcessInfo(name)["statename"] == "STOPPED":
                    commands.startProcess(name, True)  # noqa: FBT003 - "wait", by position in XML-RPC

        with self.stack.supervisor._commands() as commands:
            commands.stopProcess(name, True)  # noqa: FBT003 - likewise
        try:
            yield start
        finally:
            start()


def _field(path: str, name: str) -> int:
    return int(Path(path).read_text().split(name)[1].split()[0])


def random_file(path: Path, size: int) -> None:
    """Write a file that can't be compressed."""
    with path.open("wb") as file:
        for begin in range(0, size, 1 << 20):
            file.write(os.urandom(min(1 << 20, size - begin)))
