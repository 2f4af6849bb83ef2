"""Fixtures: private real servers for a test session, and a clean part of each for every test.

Each server starts when the first test asks for it, on ports and directories of its own, and stops at the end. A server
program that is missing fails the tests that need it. Servers:

- `mariadb`, `redis_server`, `kubo_server`, `network_kubo_server`: `Running[...]`, for tests that stop and start them;
  started again afterwards, should the test have left them down
- `database_url`, `another_database_url`: as made in `servers_databases.py`; `db`: the pool of the first
- `redis_url`: a logical database of its own; a key that would stay for ever fails the test; `bus` is a connection to it
- `kubo`, `network_kubo`: `.rpc_url`, `.gateway_url`, `.peer_id`; the two are connected, ours has the filestore
- `witness_server`: our witness, connected to the network's node alone
- `data_dir`: received/, archives/ and downloads/, where the filestore of `kubo` takes files
"""

import itertools
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from free_ports import pick_free
from pydantic import SecretStr
from servers_leaks import lasting_keys
from servers_process import Running

from roadvault_common.events.bus import Bus
from roadvault_common.sql.db import Database
from roadvault_stack.kubo import Kubo, KuboPorts, NetworkKubo, WitnessKubo
from roadvault_stack.mariadb import MariaDB
from roadvault_stack.redis_server import DATABASES, Redis

_CONNECT_SECONDS = 30
_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def servers_dir() -> Iterator[Path]:
    """Parent of all servers' data; short, since Unix sockets lie in it."""
    directory = Path(tempfile.mkdtemp(prefix="rv-test-"))
    yield directory
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="session")
def mariadb_of_session(servers_dir: Path) -> Iterator[Running[MariaDB]]:
    running = Running(MariaDB(servers_dir / "mariadb", pick_free(1)[0], "test-password", durable=False))
    with ExitStack() as stack:
        stack.callback(running.stop)
        running.start()
        yield running


@pytest.fixture(scope="session")
def redis_of_session(servers_dir: Path) -> Iterator[Running[Redis]]:
    running = Running(Redis(servers_dir / "redis", pick_free(1)[0], durable=False))
    with ExitStack() as stack:
        stack.callback(running.stop)
        running.start()
        yield running


@pytest.fixture(scope="session")
def kubos_of_session(servers_dir: Path) -> Iterator[tuple[Running[Kubo], Running[Kubo]]]:
    ports = pick_free(6)
    ours = Kubo("ipfs", servers_dir / "ipfs", KuboPorts(*ports[:3]), filestore=True)
    network: Kubo = NetworkKubo("network-ipfs", servers_dir / "network-ipfs", KuboPorts(*ports[3:]))
    ours.peer_with(network)
    pair = Running(ours), Running(network)
    with ExitStack() as stack:
        for running in pair:
            stack.callback(running.stop)
            running.start()
        wait_until_connected(ours)
        yield pair


@pytest.fixture(scope="session")
def witness_of_session(
    servers_dir: Path, kubos_of_session: tuple[Running[Kubo], Running[Kubo]]
) -> Iterator[Running[WitnessKubo]]:
    network = kubos_of_session[1].server
    running = Running(WitnessKubo("witness-ipfs", servers_dir / "witness-ipfs", KuboPorts(*pick_free(2)), network))
    with ExitStack() as stack:
        stack.callback(running.stop)
        running.start()
        yield running


@pytest.fixture
def witness_server(
    witness_of_session: Running[WitnessKubo], network_kubo_server: Running[Kubo]
) -> Running[WitnessKubo]:
    network_kubo_server.start()
    witness_of_session.start()
    wait_until_connected(witness_of_session.server)
    return witness_of_session


def wait_until_connected(node: Kubo) -> None:
    deadline = time.monotonic() + _CONNECT_SECONDS
    while not node.connect():
        assert time.monotonic() < deadline, f"{node.name} did not connect to its peer"
        time.sleep(0.05)


@pytest.fixture
def mariadb(mariadb_of_session: Running[MariaDB]) -> Iterator[Running[MariaDB]]:
    mariadb_of_session.start()
    yield mariadb_of_session
    mariadb_of_session.start()


@pytest.fixture
def redis_server(redis_of_session: Running[Redis]) -> Iterator[Running[Redis]]:
    redis_of_session.start()
    yield redis_of_session
    redis_of_session.start()


@pytest.fixture
def kubo_server(kubos_of_session: tuple[Running[Kubo], Running[Kubo]]) -> Iterator[Running[Kubo]]:
    yield from _kept_up(*kubos_of_session)


@pytest.fixture
def network_kubo_server(kubos_of_session: tuple[Running[Kubo], Running[Kubo]]) -> Iterator[Running[Kubo]]:
    ours, network = kubos_of_session
    yield from _kept_up(network, ours)


def _kept_up(node: Running[Kubo], peer: Running[Kubo]) -> Iterator[Running[Kubo]]:
    yield node
    for running in (node, peer):
        running.start()
    wait_until_connected(node.server)


@pytest.fixture
def kubo(kubo_server: Running[Kubo]) -> Kubo:
    return kubo_server.server


@pytest.fixture
def network_kubo(network_kubo_server: Running[Kubo]) -> Kubo:
    return network_kubo_server.server


@pytest.fixture
async def db(database_url: str) -> AsyncIterator[Database]:
    async with Database.open(database_url) as opened:
        yield opened


@pytest.fixture
def redis_url(redis_server: Running[Redis]) -> Iterator[str]:
    number = 1 + next(_numbers) % (DATABASES - 1)
    client = redis_server.server.client(number)
    client.flushdb()
    yield redis_server.server.url(number)
    redis_server.start()
    leaks = lasting_keys(client)
    client.flushdb()
    client.close()
    assert not leaks, f"these Redis keys would stay for ever: {', '.join(leaks)}"


@pytest.fixture
async def bus(redis_url: str) -> AsyncIterator[Bus]:
    async with Bus.open(SecretStr(redis_url), "test") as opened:
        yield opened


@pytest.fixture
def data_dir(servers_dir: Path) -> Iterator[Path]:
    """Under the parent of our Kubo's IPFS_PATH, which is where its filestore takes files from."""
    directory = servers_dir / f"vault-{next(_numbers)}"
    for name in ("received", "archives", "downloads", "posters"):
        (directory / name).mkdir(parents=True)
    yield directory
    shutil.rmtree(directory, ignore_errors=True)
