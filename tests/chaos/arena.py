"""The whole local stack, arranged so that it can be broken, and the hands to break it with.

Everything that is broken here was started here: the disks are small file systems of this process's own mount
namespace, the clocks those of the services' processes alone, and what is killed carries the stack's mark.
"""

import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from xmlrpc.client import Fault

import pymysql
from chaos.mounts import mount, unmount
from chaos.wiring import STALL_SECONDS, THIRDS, Wiring, arrange, bend, clock
from redis import Redis as RedisClient
from rich.console import Console

from roadvault_stack import processes
from roadvault_stack.mariadb import DATABASE
from roadvault_stack.plan import Plan
from roadvault_stack.readiness import Readiness, until
from roadvault_stack.settings import StackSettings
from roadvault_stack.supervisor import Supervisor
from roadvault_stack.up import Stack

VAULT_BYTES, DATABASE_BYTES = 320 << 20, 400 << 20

STAGES = {
    "pack": "folder_info",
    "pin": "zip_ipfs_info",
    "drop": "zip_ipfs_info",
    "watch": "zip_ipfs_info",
    "order": "zip_ipfs_info",
    "prove": "zip_ipfs_info",
    "restore": "zip_ipfs_info",
    "audit": "zip_ipfs_info",
    "inspect": "zip_ipfs_info",
    "fetch": "download_info",
    "callback": "download_info",
    "expire": "download_info",
    "ask": "batch_info",
    "report": "batch_info",
}
"""The stages of work, and the table that each works on."""

KEYS = {"folder_info": "folder_id", "zip_ipfs_info": "zip_id", "download_info": "download_id", "batch_info": "batch_id"}

STREAMS = {
    "file.received": ("file_id", "folder_id"),
    "folder.sealed": ("zip_id",),
    "zip.pinned": ("zip_id",),
    "zip.replicated": ("zip_id",),
    "download.requested": ("download_id",),
    "file.extracted": ("download_id",),
}
"""The streams that a service reads, and the numbers that an event on them names."""

Leases = dict[tuple[str, int], str]
"""Tokens by stage and row."""


class Arena:
    """A running stack, and the hands to break it with. Use `Arena.open`."""

    def __init__(self, settings: StackSettings, wiring: Wiring, supervisor: Supervisor) -> None:
        self.settings = settings
        self.wiring = wiring
        self.layout = wiring.plan.layout
        self.plan: Plan = wiring.plan
        self.proxies = wiring.proxies
        self._supervisor = supervisor
        self._mariadb, self._redis = wiring.plan.servers[0], wiring.plan.servers[1]
        self._addresses = {
            program.name: f"{group.name}:{program.name}" for group in self.plan.groups for program in group.programs
        }

    @classmethod
    @contextmanager
    def open(cls, root: Path, console: Console) -> Iterator["Arena"]:
        """Start everything below `root`, which must be new; stop it at the end."""
        disks = {root / "vault": VAULT_BYTES, root / "mariadb": DATABASE_BYTES}
        for disk, size in disks.items():
            mount(disk, size)
        settings, wiring = arrange(root)
        stack = Stack(settings, console, lambda _: wiring.plan)
        try:
            _start(stack, wiring.plan, console)
            yield cls(settings, wiring, stack.supervisor)
        finally:
            stack.down()
            for disk in disks:
                unmount(disk)

    # --- processes -------------------------------------------------------------------------------------------------

    def signal(self, name: str, number: signal.Signals) -> bool:
        """Signal a program; False if it does not run just now."""
        info = self._supervisor.states().get(name, {})
        if not info.get("pid"):
            return False
        processes.send(info["pid"], self.layout.root, number)
        return True

    def start(self, name: str) -> None:
        """Start a program."""
        with suppress(Fault), self._supervisor._commands() as commands:  # it runs already
            commands.startProcess(self._addresses[name], False)  # noqa: FBT003 - "wait", by position in XML-RPC

    def stop(self, name: str, *, wait: bool = True) -> None:
        """Stop it in good order, and have it stay down."""
        with suppress(Fault), self._supervisor._commands() as commands:  # it has just ended by itself
            commands.stopProcess(self._addresses[name], wait)

    def halt(self, names: Sequence[str]) -> None:
        """Kill programs with -9, all at one moment, and have them stay down."""
        states = self._supervisor.states()
        running = {name: states[name]["pid"] for name in names if states[name]["pid"]}
        for pid in running.values():
            processes.send(pid, self.layout.root, signal.SIGSTOP)
        for name in names:
            self.stop(name, wait=False)
        for pid in running.values():
            processes.send(pid, self.layout.root, signal.SIGKILL)
        until(lambda: not any(self._supervisor.states()[name]["pid"] for name in names), "the end of programs", 30)

    def running(self) -> set[str]:
        """Return the programs that run."""
        return {name for name, info in self._supervisor.states().items() if info["statename"] == "RUNNING"}

    def ready(self, seconds: float, names: Iterable[str] = ()) -> list[str]:
        """Wait until some programs are ready, or all but the third processes; return what is not."""
        waiting = [program for group in self.plan.groups for program in group.programs if group.name != THIRDS]
        if chosen := set(names):
            waiting = [program for program in waiting if program.name in chosen]
        deadline = time.monotonic() + seconds
        while waiting and time.monotonic() < deadline:
            waiting = [program for program in waiting if not program.ready()]
            time.sleep(0.2 if waiting else 0)
        return [f"{program.name}: {program.explain()}" for program in waiting]

    def said(self, text: str) -> int:
        """Count the lines of all logs that contain `text`."""
        logs = (path.read_text(errors="replace") for path in self.layout.logs.glob("*.log*"))
        return sum(text in line for log in logs for line in log.splitlines())

    # --- clocks and disks ------------------------------------------------------------------------------------------

    def set_clock(self, program: str, shift: float) -> None:
        """Set a process's wall clock ahead by so many seconds, of which 0 is right."""
        bend(clock(self.layout.root, program), shift)

    @contextmanager
    def full_disk(self, disk: str, leave: int) -> Iterator[None]:
        """Have a disk (`vault` or `mariadb`) keep no more than `leave` bytes of room for a while."""
        ballast = self.layout.root / disk / "ballast"
        with ballast.open("wb") as file:
            try:
                _fill(file.fileno(), leave)
                yield
            finally:
                ballast.unlink()

    # --- servers, reached past the proxies ---------------------------------------------------------------------------

    def roadvault(self, *arguments: str) -> tuple[int, str]:
        """Run the operator's tool with all settings; return its exit code, and what it said."""
        settings = {**self.plan.environments.everything(), "ROADVAULT_IPFS_STALL_SECONDS": str(STALL_SECONDS)}
        done = subprocess.run(
            [str(Path(sys.executable).with_name("roadvault")), *arguments],
            env={"PATH": os.environ["PATH"], "COLUMNS": "1000", **settings}, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300, check=False,
        )  # fmt: skip
        return done.returncode, done.stdout

    def drop_database(self) -> None:
        """Lose the database with all that is in it, whoever is at work there; there is an empty one then."""
        mariadb: Any = self._mariadb
        with mariadb.connect("mysql", admin=True) as connection, connection.cursor() as cursor:
            cursor.execute("KILL CONNECTION USER roadvault")
            cursor.execute(f"DROP DATABASE {DATABASE}")
            cursor.execute(f"CREATE DATABASE {DATABASE} CHARACTER SET utf8mb4")

    def sql(self, statement: str, args: tuple[object, ...] = ()) -> list[dict[str, Any]]:
        """Run a statement on the database and return its rows."""
        mariadb: Any = self._mariadb
        with mariadb.connect() as connection, connection.cursor(pymysql.cursors.DictCursor) as cursor:
            cursor.execute("SET time_zone = '+00:00'")
            cursor.execute(statement, args)
            return list(cursor.fetchall())

    def pass_time(self, stages: Iterable[str], seconds: float, *, leases: bool = False) -> None:
        """Move the clock of some stages on: what would be due in so many seconds is due now, as if they had passed.

        Rows that somebody works on are left alone unless `leases` run out faster, too.
        """
        for stage in stages:
            free = "" if leases else f" AND {stage}_token IS NULL"
            self.sql(
                f"UPDATE {STAGES[stage]} SET {stage}_due = {stage}_due - INTERVAL %s SECOND"  # noqa: S608 - names in this file
                f" WHERE {stage}_due > UTC_TIMESTAMP(6){free}",
                (seconds,),
            )

    def leases(self, stages: Iterable[str], *, unlocked: bool = False) -> Leases:
        """Return what is worked on; `unlocked` leaves out rows that a transaction under way holds."""
        lock = " FOR UPDATE SKIP LOCKED" if unlocked else ""
        return {
            (stage, row["id"]): row["token"]
            for stage in stages
            for row in self.sql(
                f"SELECT {KEYS[STAGES[stage]]} AS id, {stage}_token AS token FROM {STAGES[stage]}"  # noqa: S608 - likewise
                f" WHERE {stage}_token IS NOT NULL{lock}"
            )
        }

    @contextmanager
    def redis(self) -> Iterator[RedisClient]:
        """Give a client of Redis."""
        redis: Any = self._redis
        client: RedisClient = redis.client()
        try:
            yield client
        finally:
            client.close()


def _start(stack: Stack, made: Plan, console: Console) -> None:
    """Start all groups but that of the third processes, as `roadvault-stack up` does."""
    for server in made.servers:
        server.prepare()
    stack.supervisor.start(made, tied=True)
    readiness = Readiness(stack.supervisor, made.layout, console, made.ready_seconds)
    for group in made.groups:
        if group.name == THIRDS:
            continue
        stack.supervisor.launch(group)
        readiness.wait_for(group)
        if group is made.groups[0]:
            for condition in made.settle:
                until(condition, "a connection between Kubo nodes", made.ready_seconds)
            stack.migrate(made)


def _fill(descriptor: int, leave: int) -> None:
    """Make a file as long as its disk allows, but for `leave` bytes; others write there at the same time."""
    while True:
        state = os.fstatvfs(descriptor)
        room = state.f_bavail * state.f_frsize - leave
        if room <= 0:
            return
        try:
            os.posix_fallocate(descriptor, os.fstat(descriptor).st_size, room)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
