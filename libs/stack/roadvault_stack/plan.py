"""Everything that the stack runs, in the order in which it starts."""

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from http.client import HTTPConnection, HTTPException
from pathlib import Path

from roadvault_stack import credentials as secret
from roadvault_stack import overrides
from roadvault_stack.environment import GRANTS, SERVICES, Environments
from roadvault_stack.kubo import Kubo, KuboPorts, NetworkKubo, WitnessKubo
from roadvault_stack.layout import DEVNET, ELSEWHERE, Layout
from roadvault_stack.mariadb import MariaDB
from roadvault_stack.ports import HOST
from roadvault_stack.redis_server import Redis
from roadvault_stack.servers import Server
from roadvault_stack.settings import STORES, StackSettings

_READY_SECONDS = 8
"""A service gives each of its checks 5 seconds before it answers that it is not ready."""
_ANSWER_BYTES = 2000
_ELSEWHERE = (
    "orders cost money on another network than the devnet, which is not started. This stack's IPFS node is private: no"
    " storage node there can fetch from it. Use docker compose where archives are to be replicated."
)


@dataclass(frozen=True)
class Program:
    """One process of the stack."""

    name: str
    command: list[str]
    environment: dict[str, str]
    ready: Callable[[], bool]
    stop_seconds: int
    """How long it may take to end after SIGTERM before it is killed."""
    explain: Callable[[], str] = str
    """Says what it waits for itself while it is not ready; empty when there is nothing to say."""


@dataclass(frozen=True)
class Group:
    """Programs that start together once the groups before it are ready, and stop together before those do."""

    name: str
    programs: list[Program]


@dataclass(frozen=True)
class Plan:
    """What there is to run."""

    layout: Layout
    servers: list[Server]
    groups: list[Group]
    """In starting order; the first is that of the servers."""
    environments: Environments
    settle: list[Callable[[], bool]] = field(default_factory=list)
    """What must hold, beyond each server's answering, before RoadVault itself starts."""
    ready_seconds: float = 60
    """How long the programs of a group may take until they are ready."""
    notes: list[str] = field(default_factory=list)
    """What whoever starts it is told."""

    def programs(self) -> list[Program]:
        """Return all programs, in starting order."""
        return [program for group in self.groups for program in group.programs]


def make(settings: StackSettings) -> Plan:
    """Lay out the stack for these settings; creates its directories and, at the first time, its secrets.

    Raises:
        StackError: A setting in the environment can't be taken, or the data belong to another network.
    """
    layout = Layout(settings.dir)
    layout.create()
    credentials = secret.load_or_create(layout.secrets)
    mariadb = MariaDB(layout.mariadb, settings.mariadb_port, credentials.database_password)
    redis = Redis(layout.redis, settings.redis_port)
    places = [_Place(settings, layout, credentials, number) for number in range(settings.stores)]
    network, witness = _network(settings, layout, credentials)
    urls = {
        "DATABASE_URL": mariadb.url(),
        "REDIS_URL": redis.url(),
        "NETWORK_IPFS_RPC_URL": network.rpc_url,
        "WITNESS_RPC_URL": witness.rpc_url,
        "WITNESS_GATEWAY_URL": witness.gateway_url,
    }
    kubos, per_place = [place.kubo for place in places], [place.environments(credentials, urls) for place in places]
    environments = per_place[0]
    layout.belongs_to(DEVNET if environments.on_devnet else ELSEWHERE)
    notes = [f"from the environment: {override}" for override in environments.overrides]
    programs = [program for place, own in zip(places, per_place, strict=True) for program in place.services(own)]
    services = Group("services", programs)
    if not environments.on_devnet:
        servers: list[Server] = [mariadb, redis, *kubos]
        groups = [Group("servers", [_server(server) for server in servers]), services]
        return Plan(layout, servers, groups, environments, notes=[*notes, _ELSEWHERE])
    for kubo in kubos:
        kubo.peer_with(network)
    servers = [mariadb, redis, *kubos, network, witness]
    groups = [
        Group("servers", [_server(server) for server in servers]),
        Group("network", [_own("devnet", environments.devnet(), settings.devnet_port)]),
        services,
    ]
    return Plan(
        layout, servers, groups, environments, [*(kubo.connect for kubo in kubos), witness.connect], notes=notes
    )


class _Place:
    """A store: its settings, its directories, its Kubo, its services. What is there once belongs to main."""

    def __init__(self, settings: StackSettings, layout: Layout, credentials: secret.Credentials, number: int) -> None:
        self._number, self._name = number, STORES[number]
        self._alone = settings.stores == 1
        self._settings = settings.of_store(number)
        self._layout = Layout(layout.root, self._name)
        self._layout.create()
        at = KuboPorts(self._settings.ipfs_rpc_port, self._settings.ipfs_gateway_port, self._settings.ipfs_swarm_port)
        token = credentials.ipfs_rpc_token
        self.kubo = Kubo(self._called("ipfs"), self._layout.ipfs, at, filestore=True, token=token, names=True)

    def environments(self, credentials: secret.Credentials, urls: dict[str, str]) -> Environments:
        """Return the environments of its services."""
        urls = {**urls, "IPFS_RPC_URL": self.kubo.rpc_url, "IPFS_GATEWAY_URL": self.kubo.gateway_url}
        store = None if self._alone else self._name
        return Environments(self._settings, self._layout, credentials, urls, partial(overrides.read, os.environ), store)

    def services(self, environments: Environments) -> list[Program]:
        """Return its services; the first further store has another orderer and notifier, for whoever works on rows."""
        names = [name for name in SERVICES if self._number <= 1 or "DATA_DIR" in GRANTS[name]]
        return [_service(name, self._called(name), environments, self._settings) for name in names]

    def _called(self, program: str) -> str:
        return program if self._number == 0 else f"{program}-{self._name}"


def _network(settings: StackSettings, layout: Layout, credentials: secret.Credentials) -> tuple[Kubo, Kubo]:
    """Return the network's node, which is as open as the devnet is, and the witness, which asks for a token."""
    network_at = KuboPorts(
        settings.network_ipfs_rpc_port, settings.network_ipfs_gateway_port, settings.network_ipfs_swarm_port
    )
    witness_at = KuboPorts(settings.witness_rpc_port, settings.witness_gateway_port)
    network = NetworkKubo("network-ipfs", layout.network_ipfs, network_at, names=True)
    witness = WitnessKubo("witness-ipfs", layout.witness_ipfs, witness_at, network, token=credentials.witness_rpc_token)
    return network, witness


def _server(server: Server) -> Program:
    # A database that writes its buffers back on a slow disk needs a while; killing it would mean recovery.
    return Program(server.name, server.command(), server.environment(), server.answers, stop_seconds=60)


def _service(name: str, called: str, environments: Environments, settings: StackSettings) -> Program:
    port = getattr(settings, f"{name.replace('-', '_')}_port")
    return _own(name, environments.service(name), port, called)


def _own(name: str, environment: dict[str, str], port: int, called: str | None = None) -> Program:
    script = Path(sys.executable).with_name(f"roadvault-{name}")
    # Unbuffered, so that the log's last lines are there when a service dies.
    environment = {**environment, "PYTHONUNBUFFERED": "1"}
    # More than the 10 seconds in which a service drains, and the 5 after which it leaves by force.
    return Program(called or name, [str(script)], environment, partial(says_ready, port), 20, partial(says, port))


def says_ready(port: int) -> bool:
    """Tell whether /readyz on this port answers 200."""
    return _readyz(port)[0] == 200  # noqa: PLR2004 - OK


def says(port: int) -> str:
    """Return what /readyz on this port answers: its checks, and what is wrong with them."""
    return _readyz(port)[1]


def _readyz(port: int) -> tuple[int, str]:
    connection = HTTPConnection(HOST, port, timeout=_READY_SECONDS)
    try:
        connection.request("GET", "/readyz")
        response = connection.getresponse()
        return response.status, response.read(_ANSWER_BYTES).decode(errors="replace")
    except (OSError, HTTPException) as error:
        return 0, f"/readyz does not answer: {error}"
    finally:
        connection.close()
