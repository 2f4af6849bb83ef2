"""The whole local stack, arranged so that it can be broken: fault proxies before the servers, small disks, bent clocks.

Everything that is broken here was started here: the disks are small file systems of this process's own mount
namespace, the clocks those of the services' processes alone, and what is killed carries the stack's mark.
"""

import errno
import os
import signal
import subprocess
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from xmlrpc.client import Fault

import pymysql
from chaos.proxies import Proxies, toxiproxy
from redis import Redis as RedisClient
from rich.console import Console

from roadvault_stack import plan, processes
from roadvault_stack.environment import SERVICES
from roadvault_stack.plan import Group, Plan, Program, says, says_ready
from roadvault_stack.ports import HOST, pick_free
from roadvault_stack.readiness import Readiness, until
from roadvault_stack.settings import StackSettings
from roadvault_stack.supervisor import Supervisor
from roadvault_stack.up import Stack

LEASE_SECONDS = 6
ORPHAN_SECONDS = 60
LINK_SECONDS = 60
"""Extractions hold their room for as long as their links live (and ten minutes more), however full the disk is."""
VAULT_BYTES, DATABASE_BYTES = 320 << 20, 400 << 20
REPLICAS = (2, 3)
"""Numbers of the further processes that each service can have."""

STAGES = {
    "pack": "folder_info",
    "pin": "zip_ipfs_info",
    "drop": "zip_ipfs_info",
    "order": "zip_ipfs_info",
    "prove": "zip_ipfs_info",
    "restore": "zip_ipfs_info",
    "fetch": "download_info",
    "callback": "download_info",
    "expire": "download_info",
}
"""The stages of work, and the table that each works on."""

STREAMS = ("file.received", "folder.sealed", "zip.pinned", "zip.replicated", "download.requested", "file.extracted")
"""The streams that a service reads."""

_SERVICE_SETTINGS = {
    "LEASE_SECONDS": LEASE_SECONDS,
    "SWEEP_SECONDS": 2,
    "DRAIN_SECONDS": 4,
    "ORPHAN_HOURS": ORPHAN_SECONDS / 3600,
    "DISK_MARGIN_BYTES": 8 << 20,
    "EVENT_RECLAIM_SECONDS": 8,
    "IPFS_STALL_SECONDS": 5,
    "PROOF_STALL_SECONDS": 5,
    "CALLBACK_TIMEOUT_SECONDS": 2,
    "LINK_TTL_SECONDS": LINK_SECONDS,
    "UPLOAD_STALL_SECONDS": 5,
    "CRUST_TIMEOUT_SECONDS": 5,
    "LOG_FORMAT": "json",
}
_PROXIED = {
    "database": "mariadb_port",
    "redis": "redis_port",
    "ipfs-rpc": "ipfs_rpc_port",
    "ipfs-gateway": "ipfs_gateway_port",
    "proof-gateway": "network_ipfs_gateway_port",
    "chain": "devnet_port",
}
"""The connections that can be slowed, cut or left half open, and the ports that they lead to."""


class Arena:
    """A running stack, and the hands to break it with. Use `Arena.open`."""

    def __init__(self, settings: StackSettings, made: Plan, supervisor: Supervisor, proxies: Proxies) -> None:
        self.settings = settings
        self.layout = made.layout
        self.plan = made
        self.proxies = proxies
        self._supervisor = supervisor
        self._mariadb, self._redis = made.servers[0], made.servers[1]

    @classmethod
    @contextmanager
    def open(cls, root: Path, console: Console) -> Iterator["Arena"]:
        """Start everything below `root`, which must be new; stop it at the end."""
        settings = _settings(root)
        mount(root / "vault", VAULT_BYTES)
        mount(root / "mariadb", DATABASE_BYTES)
        listen = dict(zip(_PROXIED, pick_free(len(_PROXIED)), strict=True))
        control, *ports = pick_free(1 + 2 * len(SERVICES) * len(REPLICAS))
        made = _arranged(plan.make(settings), settings, listen, control, ports)
        stack = Stack(settings, console, lambda _: made)
        try:
            _start(stack, made, console)
            yield cls(settings, made, stack.supervisor, Proxies(control, list(_PROXIED)))
        finally:
            stack.down()

    # --- processes -------------------------------------------------------------------------------------------------

    def signal(self, name: str, number: signal.Signals) -> bool:
        """Signal a program; False if it does not run just now."""
        info = self._supervisor.states().get(name, {})
        if not info.get("pid"):
            return False
        processes.send(info["pid"], self.layout.root, number)
        return True

    def start(self, name: str) -> None:
        """Start one of the further processes of a service."""
        with suppress(Fault), self._supervisor._commands() as commands:  # it runs already
            commands.startProcess(f"replicas:{name}", False)  # noqa: FBT003 - "wait", by position in XML-RPC

    def stop(self, name: str) -> None:
        """Stop it in good order."""
        with suppress(Fault), self._supervisor._commands() as commands:  # it has just ended by itself
            commands.stopProcess(f"replicas:{name}", True)  # noqa: FBT003 - likewise

    def running(self) -> set[str]:
        """Return the programs that run."""
        return {name for name, info in self._supervisor.states().items() if info["statename"] == "RUNNING"}

    def ready(self, seconds: float) -> list[str]:
        """Wait until everything but the further processes is ready; return what is not."""
        waiting = [program for group in self.plan.groups for program in group.programs if group.name != "replicas"]
        deadline = time.monotonic() + seconds
        while waiting and time.monotonic() < deadline:
            waiting = [program for program in waiting if not program.ready()]
            time.sleep(0.2 if waiting else 0)
        return [f"{program.name}: {program.explain()}" for program in waiting]

    # --- clocks and disks ------------------------------------------------------------------------------------------

    def set_clock(self, service: str, shift: str) -> None:
        """Bend a service's wall clock: `+0` is right, `+3600` an hour ahead, `+0 x2` twice as fast."""
        clock(self.layout.root, service).write_text(shift)

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
    """Start all groups but that of the further processes, as `roadvault-stack up` does."""
    for server in made.servers:
        server.prepare()
    stack.supervisor.start(made, tied=True)
    readiness = Readiness(stack.supervisor, made.layout, console, made.ready_seconds)
    for group in made.groups[:-1]:
        stack.supervisor.launch(group)
        readiness.wait_for(group)
        if group is made.groups[0]:
            for condition in made.settle:
                until(condition, "the connection between the two Kubo nodes", made.ready_seconds)
            stack._migrate(made)


def mount(path: Path, size: int) -> None:
    """Mount a file system of `size` bytes at `path`; nobody outside this mount namespace sees it."""
    path.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "roadvault-chaos", str(path)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert not done.returncode, f"no file system could be mounted at {path}: {done.stderr.strip()}"


def clock(root: Path, service: str) -> Path:
    """Return the file that bends a service's wall clock."""
    return root / f"clock-{service}"


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


def _settings(root: Path) -> StackSettings:
    names = list(StackSettings(dir=root).ports())
    ports = dict(zip(names, pick_free(len(names)), strict=True))
    values = {"folder_bytes": 2 << 20, "folder_age_seconds": 4, "block_seconds": 0.3, "replicas_per_block": 20}
    return StackSettings.model_validate({"dir": root, **values, **ports})


def _arranged(made: Plan, settings: StackSettings, listen: dict[str, int], control: int, ports: list[int]) -> Plan:
    """Put the proxies between services and servers, bend the clocks, and add further processes."""
    servers, network, services = made.groups
    addresses = {f"{HOST}:{getattr(settings, port)}": f"{HOST}:{listen[name]}" for name, port in _PROXIED.items()}
    first = [_prepared(program, program.name, addresses, made.layout.root) for program in services.programs]
    numbers = iter(ports)
    more = [_replica(program, number, next(numbers), next(numbers)) for program in first for number in REPLICAS]
    targets = {name: (listen[name], getattr(settings, port)) for name, port in _PROXIED.items()}
    command = toxiproxy(control, made.layout.root / "toxiproxy.json", targets)
    proxy = Program("toxiproxy", command, {}, partial(Proxies.answers, control), 5)
    groups = [
        Group(servers.name, [*servers.programs, proxy]),
        network,
        Group(services.name, first),
        Group("replicas", more),
    ]
    return replace(made, groups=groups)


def _prepared(program: Program, service: str, addresses: dict[str, str], root: Path) -> Program:
    environment = {**program.environment, **{f"ROADVAULT_{name}": str(v) for name, v in _SERVICE_SETTINGS.items()}}
    for name, value in environment.items():
        for address, proxied in addresses.items():
            environment[name] = environment[name].replace(address, proxied)
        del value
    clock(root, service).write_text("+0")
    environment |= {
        "LD_PRELOAD": _libfaketime(),
        "FAKETIME_TIMESTAMP_FILE": str(clock(root, service)),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "NO_FAKE_STAT": "1",
    }
    return replace(program, environment=environment)


def _replica(program: Program, number: int, port: int, public_port: int) -> Program:
    name = f"{program.name}-{number}"
    environment = {
        **program.environment,
        "ROADVAULT_HTTP_PORT": str(port),
        "ROADVAULT_PUBLIC_PORT": str(public_port),
        "ROADVAULT_INGEST_WORKER": name,
    }
    return replace(
        program, name=name, environment=environment, ready=partial(says_ready, port), explain=partial(says, port)
    )


def _libfaketime() -> str:
    # The variant for programs with threads.
    found = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
    if not found:
        raise AssertionError("libfaketime is not on this machine: run `make setup-tests`")
    return str(found[0])
