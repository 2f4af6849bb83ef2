"""The storage node: what is ordered really crosses to the network's Kubo before a replica is reported."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests
from integration.test_devnet_client import Client, Network, client, network
from servers_process import Running

from roadvault_common.ipfs.dag import RAW, Cid
from roadvault_devnet import storage_node
from roadvault_stack.kubo import Kubo

SECONDS = 30


def until(true: Callable[[], object]) -> None:
    deadline = time.monotonic() + SECONDS
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def added(kubo: Kubo, content: bytes) -> str:
    options = {"cid-version": "1", "raw-leaves": "true", "chunker": "size-262144"}
    answer = requests.post(f"{kubo.rpc_url}/api/v0/add", params=options, files={"file": content}, timeout=30)
    return str(answer.json()["Hash"])


def pinned(kubo: Kubo, cid: str) -> bool:
    answer = requests.post(f"{kubo.rpc_url}/api/v0/pin/ls", params={"arg": cid}, timeout=30)
    return answer.status_code == 200


def shown(devnet: Network, cid: str) -> dict[str, Any]:
    return next(file for file in devnet.state()["files"] if file["cid"] == cid)


def order(alice: Client, devnet: Network, cid: str) -> None:
    assert alice.place(devnet, alice.order(cid, 2**20)).is_success


def test_an_ordered_file_is_pulled_before_replicas_are_reported(tmp_path: Path, kubo: Kubo, network_kubo: Kubo) -> None:
    content = os.urandom(2**20)
    cid = added(kubo, content)
    missing = "bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy"
    with (
        network(tmp_path, kubo_rpc_url=network_kubo.rpc_url, replicas_per_block=5) as devnet,
        client(devnet) as alice,
    ):
        order(alice, devnet, missing)
        order(alice, devnet, cid)
        assert shown(devnet, cid)["reported_replica_count"] == 0
        until(lambda: shown(devnet, cid)["held"])
        assert pinned(network_kubo, cid)
        offline = {"arg": cid, "offline": "true"}
        read = requests.post(f"{network_kubo.rpc_url}/api/v0/cat", params=offline, timeout=30)
        assert read.content == content
        devnet.blocks(2)
        assert shown(devnet, cid)["reported_replica_count"] == 10
        assert shown(devnet, missing)["reported_replica_count"] == 0, "nobody has it"
        devnet.turn(lose_file=cid)
        devnet.blocks(2)
        assert (pinned(network_kubo, cid), shown(devnet, cid)["reported_replica_count"]) == (False, 10)
        assert requests.post(f"{network_kubo.rpc_url}/api/v0/cat", params=offline, timeout=30).status_code == 500
        order(alice, devnet, cid)
        until(lambda: shown(devnet, cid)["held"])
        devnet.turn(close_file=cid)
        until(lambda: not pinned(network_kubo, cid))


def test_a_pull_that_fails_is_tried_again(
    tmp_path: Path, kubo: Kubo, network_kubo_server: Running[Kubo], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage_node, "_RETRY_SECONDS", 0.05)
    monkeypatch.setattr(storage_node, "_PASS_SECONDS", 0.05)
    cid = added(kubo, os.urandom(1000))
    network_kubo_server.stop()
    with (
        network(tmp_path, kubo_rpc_url=network_kubo_server.server.rpc_url) as devnet,
        client(devnet) as alice,
    ):
        order(alice, devnet, cid)
        devnet.blocks(2)
        assert shown(devnet, cid)["reported_replica_count"] == 0
        network_kubo_server.start()
        until(kubo.connect)
        until(lambda: shown(devnet, cid)["held"])


def test_a_file_long_past_its_term_is_let_go(tmp_path: Path, network_kubo: Kubo) -> None:
    cid = added(network_kubo, os.urandom(1000))
    with (
        network(tmp_path, kubo_rpc_url=network_kubo.rpc_url, file_duration_blocks=5) as devnet,
        client(devnet) as alice,
    ):
        order(alice, devnet, cid)
        until(lambda: shown(devnet, cid)["held"])
        devnet.blocks(20)
        assert shown(devnet, cid)["held"], "the term is over, but not long"
        devnet.blocks(100)
        until(lambda: not shown(devnet, cid)["held"])
        assert not pinned(network_kubo, cid)
        assert shown(devnet, cid)["reported_replica_count"] > 0, "expiry changes nothing on the chain"
        order(alice, devnet, cid)
        until(lambda: shown(devnet, cid)["held"])


def test_what_nobody_has_keeps_nobody_waiting(
    tmp_path: Path, kubo: Kubo, network_kubo: Kubo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage_node, "_RETRY_SECONDS", 0.1)
    with network(tmp_path, kubo_rpc_url=network_kubo.rpc_url) as devnet, client(devnet) as alice:
        missing = [str(Cid.of(RAW, os.urandom(100))) for _ in range(6)]
        for cid in missing:
            order(alice, devnet, cid)
        monkeypatch.setattr(storage_node, "_STALL_SECONDS", 0.5)
        time.sleep(2)  # each has failed once
        monkeypatch.setattr(storage_node, "_STALL_SECONDS", 10 * SECONDS)
        time.sleep(1)  # and is tried again, for longer than this test takes
        cid = added(kubo, os.urandom(2**20))
        order(alice, devnet, cid)
        until(lambda: shown(devnet, cid)["held"])
        assert not any(shown(devnet, cid)["held"] for cid in missing)
