"""A network that misbehaves on purpose, and one that is killed."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests
from integration.test_devnet_client import ALICE, CID, Client, Network, client, network
from substrateinterface.exceptions import SubstrateRequestException
from websocket import WebSocketConnectionClosedException

from roadvault_devnet.errors import CannotStart

LOST = (WebSocketConnectionClosedException, ConnectionError, requests.ConnectionError)


@pytest.fixture
def devnet(tmp_path: Path) -> Iterator[Network]:
    with network(tmp_path) as up:
        yield up


@pytest.mark.parametrize("http", [False, True])
@pytest.mark.parametrize("included", [False, True])
def test_a_lost_answer_and_the_same_bytes_again_pay_once(devnet: Network, *, http: bool, included: bool) -> None:
    with client(devnet, http=http) as alice:
        extrinsic = alice.order()
        devnet.turn(lose_answer=1)
        with pytest.raises(LOST):
            alice.submit(extrinsic)
    assert len(devnet.state()["pool"]) == 1, "the network has it"
    if included:
        devnet.blocks()
    with client(devnet, http=http) as alice:
        with pytest.raises(SubstrateRequestException):
            alice.submit(extrinsic)
        devnet.blocks(5)
        nonce, _free = alice.account()
        assert nonce == 1
        assert alice.market("OrdersCount") == 1


def test_dropped_connections(devnet: Network) -> None:
    with client(devnet) as alice:
        devnet.turn(drop_connections=True)
        with pytest.raises(LOST):
            alice.rpc("system_chain")
    with client(devnet) as alice:
        assert alice.account()[0] == 0


def test_a_node_that_is_not_synced(devnet: Network) -> None:
    devnet.turn(syncing=True)
    with client(devnet) as alice:
        assert alice.rpc("system_health")["isSyncing"] is True
        state = alice.rpc("system_syncState")
        assert state["highestBlock"] > state["currentBlock"]


def test_the_control_door_says_what_it_does_not_take(devnet: Network) -> None:
    for wrong in ({"no_such": 1}, {"block_seconds": 0}, {"fund": {"address": ALICE.ss58_address, "planck": -1}}):
        assert requests.post(f"{devnet.http_url}/control", data=json.dumps(wrong), timeout=30).status_code == 400
    nobody = {"fund": {"address": "nobody", "planck": 1}}
    for foreign in ({"Sec-Fetch-Site": "cross-site"}, {"Origin": "http://page.example"}, {"Host": "page.example"}):
        assert requests.post(f"{devnet.http_url}/control", headers=foreign, timeout=30).status_code in {403, 421}
    answer = requests.post(f"{devnet.http_url}/control", data=json.dumps(nobody), timeout=30)
    assert (answer.status_code, devnet.state()["head"]["number"]) == (409, 0)


def test_a_balance_can_be_set(devnet: Network) -> None:
    devnet.turn(set_balance={"address": ALICE.ss58_address, "planck": 5})
    devnet.turn(fund={"address": ALICE.ss58_address, "planck": 2})
    with client(devnet) as alice:
        assert alice.account() == (0, 7)


@contextmanager
def process(directory: Path, port: int) -> Iterator[tuple[Network, subprocess.Popen[bytes]]]:
    own = {"DATA_DIR": str(directory), "PORT": str(port), "BLOCK_SECONDS": "3600", "REPLICAS_PER_BLOCK": "2"}
    environment = {**os.environ, **{f"ROADVAULT_DEVNET_{name}": value for name, value in own.items()}}
    with (directory / "log").open("ab") as log:
        started = subprocess.Popen([sys.executable, "-m", "roadvault_devnet"], env=environment, stdout=log, stderr=log)
    try:
        _wait_until_ready(f"http://127.0.0.1:{port}/readyz", started)
        yield Network(f"ws://127.0.0.1:{port}"), started
    finally:
        started.kill()
        started.wait()


def _wait_until_ready(url: str, started: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            requests.get(url, timeout=5).raise_for_status()
        except requests.RequestException:
            assert started.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
        else:
            return


def everything(alice: Client) -> tuple[object, ...]:
    genesis, head = alice.node.get_block_hash(0), alice.node.get_chain_head()
    return genesis, head, alice.account(), alice.file(), alice.node.get_block(head)["header"]["parentHash"]


def test_a_killed_network_goes_on_where_it_was(tmp_path: Path, free_port: int) -> None:
    with process(tmp_path, free_port) as (devnet, running), client(devnet) as alice:
        alice.place(devnet, alice.order())
        devnet.blocks(3)
        before = everything(alice)
        early = alice.node.get_block_hash(1)
        running.send_signal(signal.SIGKILL)
        running.wait()
    with process(tmp_path, free_port) as (devnet, _running), client(devnet) as alice:
        assert everything(alice) == before
        assert alice.file(block_hash=early)["reported_replica_count"] == 0
        assert devnet.state()["finalized"]["number"] == 2
        devnet.blocks()
        assert alice.file()["reported_replica_count"] == 8
        assert alice.place(devnet, alice.order(CID, nonce=1)).is_success


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_it_stops_at_once_though_clients_are_connected(tmp_path: Path, free_port: int, name: str) -> None:
    with process(tmp_path, free_port) as (devnet, running), client(devnet) as alice:
        alice.rpc("chain_subscribeNewHeads")
        asked = time.monotonic()
        running.send_signal(signal.Signals[name])
        assert running.wait(timeout=10) == 0
        assert time.monotonic() - asked < 2


def test_one_network_for_each_directory(devnet: Network, tmp_path: Path) -> None:
    assert devnet.state()["head"]["number"] == 0
    with pytest.raises(CannotStart, match="locked"), network(tmp_path):
        pass


def test_a_port_that_is_taken(devnet: Network, tmp_path: Path) -> None:
    port = int(devnet.url.rpartition(":")[2])
    with pytest.raises(CannotStart, match="cannot be listened on"), network(tmp_path / "other", port=port):
        pass


def test_a_chain_of_the_other_generation_is_not_taken(tmp_path: Path) -> None:
    with network(tmp_path, generation="v1"):
        pass
    with pytest.raises(CannotStart, match="the settings say v2"), network(tmp_path, generation="v2"):
        pass


@pytest.fixture
def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
