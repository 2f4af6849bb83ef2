"""Redis as it is run so that one may die: a master, a replica, and three Sentinels, all real, on this machine."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from free_ports import pick_free
from pydantic import SecretStr
from redis import Redis as Client
from redis.exceptions import RedisError
from servers_process import Running

from roadvault_common.events.bus import Bus
from roadvault_common.events.kinds import FolderSealed
from roadvault_stack import programs
from roadvault_stack.ports import HOST
from roadvault_stack.servers import Server, private_file

NAME = "rv"
SECONDS = 15
"""Within this all goes on; Sentinels take two of them to find that a master is down and to make another."""
# Milliseconds; by themselves Sentinels look ten times as seldom, and rest for 30 s when they got no processor for long.
_QUICK = {"INFO-PERIOD": 200, "PING-PERIOD": 300, "PUBLISH-PERIOD": 200, "ASK-PERIOD": 100, "TILT-PERIOD": 500}
_DOWN_AFTER, _FAILOVER = 700, 1000
# Whom a server lets in: ourselves, its replica, and each Sentinel by a name of its own, so that each can be cut off.
_USERS = ["default", "replica", "sentinel-0", "sentinel-1", "sentinel-2"]
_PASSWORD = "among-themselves"
_ACL = "".join(f"user {name} on >{_PASSWORD} ~* &* +@all\n" for name in _USERS)
_FOLLOWS = f"masteruser replica\nmasterauth {_PASSWORD}\n"


class Node(Server):
    """A Redis or a Sentinel; its configuration is its own once it has begun, for Sentinels rewrite it."""

    def __init__(self, home: Path, port: int, conf: str, client: dict[str, Any], *, sentinel: bool = False) -> None:
        super().__init__(home)
        self.name, self.port, self._conf, self._client, self._sentinel = home.name, port, conf, client, sentinel

    @property
    def ports(self) -> tuple[int, ...]:
        return (self.port,)

    def prepare(self) -> None:
        if not self.home.exists():
            self.home.mkdir(parents=True)
            private_file(self.home / "redis.conf", f'dir "{self.home}"\nbind {HOST}\n{self._conf}')

    def command(self) -> list[str]:
        kind = ["--sentinel"] if self._sentinel else []
        return [programs.find("redis-server"), str(self.home / "redis.conf"), *kind]

    def answers(self) -> bool:
        try:
            with self.client() as client:
                if self._sentinel:
                    client.execute_command("SENTINEL DEBUG", *(word for pair in _QUICK.items() for word in pair))
                return bool(client.ping())
        except RedisError:
            return False

    def client(self, **more: Any) -> Client:  # noqa: ANN401 - redis-py's
        return Client(**{"host": HOST, "port": self.port, "socket_timeout": 2, "retry": None, **self._client, **more})


class Guarded:
    """Two servers and three Sentinels, `watchers`; which of the servers is the master changes."""

    def __init__(
        self,
        home: Path,
        stack: ExitStack,
        conf: str = "",
        *,
        own_conf: str = "",
        watch_conf: str = "",
        client: dict[str, Any] | None = None,
    ) -> None:
        self.client, ports = {"password": _PASSWORD, **(client or {})}, pick_free(5)
        self.host = self.client.get("host", HOST)
        listen = "port 0\ntls-port {}\n" if self.client.get("ssl") else "port {}\n"
        names = f"sentinel resolve-hostnames yes\nsentinel announce-hostnames yes\nsentinel announce-ip {self.host}\n"
        own = f'{listen}{conf}{own_conf}{_ACL}{_FOLLOWS}save ""\nreplica-announce-ip {self.host}\n'
        own += "repl-diskless-sync-delay 0\n"
        watch = (
            f"{listen}{conf}{watch_conf}{names}sentinel monitor {NAME} {self.host} {ports[0]} 2\n"
            f"sentinel down-after-milliseconds {NAME} {_DOWN_AFTER}\nsentinel failover-timeout {NAME} {_FAILOVER}\n"
            f"sentinel auth-pass {NAME} {_PASSWORD}\nsentinel auth-user {NAME} sentinel-"
        )
        follow = f"replicaof {self.host} {ports[0]}\n"
        self.servers = [
            Running(Node(home / f"redis-{number}", port, own.format(port) + follow * number, self.client))
            for number, port in enumerate(ports[:2])
        ]
        self.watchers = [
            Running(Node(home / f"sentinel-{n}", port, f"{watch.format(port)}{n}\n", self.client, sentinel=True))
            for n, port in enumerate(ports[2:])
        ]
        for running in (*self.servers, *self.watchers):
            stack.callback(running.stop)
        self.addresses = ",".join(f"{self.host}:{port}" for port in ports[2:])
        self.url = f"redis+sentinel://:{_PASSWORD}@{self.addresses}/{NAME}/0"
        self.heal()

    def view(self, number: int = 0) -> dict[str, Any]:
        """Return what a Sentinel knows of the master."""
        with self.watchers[number].server.client() as client:
            state: dict[str, Any] = client.sentinel_masters()[NAME]
            return state | {"replicas": client.sentinel_slaves(NAME)}

    @property
    def master(self) -> Running[Node]:
        """The server that the first Sentinel takes for the master."""
        port = self.view()["port"]
        return next(running for running in self.servers if running.server.port == port)

    @property
    def replica(self) -> Running[Node]:
        """The other one."""
        return next(running for running in self.servers if running is not self.master)

    def heal(self, *, flush: bool = True) -> None:
        """Have all run, one server follow the other, all Sentinels of one mind, and nothing in it."""
        for running in (*self.servers, *self.watchers):
            running.start()
        for running in self.servers:
            wait(partial(_let_in, running.server))
        wait(self._is_whole)
        if flush:
            with self.master.server.client() as client:
                client.flushall()

    def _is_whole(self) -> bool:
        views = [self.view(number) for number in range(3)]
        if len({view["port"] for view in views}) > 1 or any(view["flags"] != "master" for view in views):
            return False
        if any(view["num-other-sentinels"] != 2 or _healthy(view["replicas"]) != 1 for view in views):
            return False  # a Sentinel that leads a fail-over needs a replica that it sees well itself
        with self.master.server.client() as master, self.replica.server.client() as replica:
            return bool(master.role()[0] == b"master" and replica.role()[3] == b"connected")

    @contextmanager
    def without(self, node: Running[Node], *users: str) -> Iterator[None]:
        """Have a server let these in no longer, for a while: `replica`, or `sentinel-0` to `sentinel-2`."""
        with node.server.client() as client:
            for user in users:
                client.acl_setuser(user, enabled=False)
                client.execute_command("CLIENT KILL USER", user)
        try:
            yield
        finally:
            with node.server.client() as client, suppress(RedisError):
                for user in users:
                    client.acl_setuser(user, enabled=True)

    @contextmanager
    def split(self) -> Iterator[Running[Node]]:
        """Part the network between the master with the first Sentinel and all else; whoever asks reaches all of them.

        The others make the replica the master; yield the old one, which goes on as a master, too.
        """
        old, new = self.master, self.replica
        with ExitStack() as stack:
            first = stack.enter_context(self.watchers[0].server.client())
            first.execute_command("ACL SETUSER default -publish")  # by which Sentinels tell each other
            stack.callback(first.execute_command, "ACL SETUSER default +publish")
            stack.enter_context(self.without(new, "sentinel-0"))
            stack.enter_context(self.without(old, "replica", "sentinel-1", "sentinel-2"))
            wait(lambda: all(self.view(number)["port"] == new.server.port for number in (1, 2)))
            yield old

    def moved_from(self, old: Running[Node]) -> None:
        """Wait until every Sentinel has another master than `old`."""
        wait(lambda: all(self.view(number)["port"] != old.server.port for number in range(3)))


def _let_in(node: Node) -> bool:
    """Let all users in: Sentinels may have had it written down that some were not."""
    with node.client() as client:
        return all(client.acl_setuser(user, enabled=True) for user in _USERS)


def _healthy(replicas: list[dict[str, Any]]) -> int:
    return sum(one["flags"] == "slave" and one["master-link-status"] == "ok" for one in replicas)


def wait(until: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while True:
        with suppress(RedisError, IndexError):
            if until():
                return
        assert time.monotonic() < deadline
        time.sleep(0.05)


class Heard:
    """Listens, and knows what it has heard."""

    def __init__(self, bus: Bus) -> None:
        self.bus = bus
        self.numbers = list[int]()

    async def __call__(self, event: FolderSealed) -> None:
        self.numbers.append(event.zip_id)

    async def hears(self, number: int) -> None:
        """Send one until it was heard, as what was sent before a fail-over may be lost."""
        async with asyncio.timeout(SECONDS):
            while number not in self.numbers:
                await self.bus.emit(FolderSealed(zip_id=number))
                await asyncio.sleep(0.05)


@asynccontextmanager
async def hearing(url: str) -> AsyncIterator[Heard]:
    closing = asyncio.Event()
    async with Bus.open(SecretStr(url), "pinner") as bus, asyncio.TaskGroup() as group:
        heard = Heard(bus)
        group.create_task(bus.listen({FolderSealed: heard}, closing, concurrency=4))
        await heard.hears(1)
        yield heard
        closing.set()


@pytest.fixture(scope="session")
def sentinels_of_session(servers_dir: Path) -> Iterator[Guarded]:
    with ExitStack() as stack:
        yield Guarded(servers_dir / "sentinel", stack)


@pytest.fixture
def duo(sentinels_of_session: Guarded) -> Guarded:
    sentinels_of_session.heal()
    return sentinels_of_session
