"""Blocks, finality, forks and forgetting."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from integration.test_devnet_client import CID, Client, Network, client, network
from scalecodec.base import ScaleType
from substrateinterface.exceptions import SubstrateRequestException


@pytest.fixture
def devnet(tmp_path: Path) -> Iterator[Network]:
    with network(tmp_path) as up:
        yield up


@pytest.fixture
def alice(devnet: Network) -> Iterator[Client]:
    with client(devnet) as opened:
        yield opened


def heights(state: dict[str, Any]) -> tuple[int, int]:
    return state["head"]["number"], state["finalized"]["number"]


def test_finality_lags_can_be_held_and_catches_up(devnet: Network, alice: Client) -> None:
    assert heights(devnet.blocks(5)) == (5, 3)
    assert heights(devnet.turn(hold_finality=True, make_blocks=4)) == (9, 3)
    assert alice.node.get_block(finalized_only=True)["header"]["number"] == 3
    assert heights(devnet.turn(hold_finality=False)) == (9, 7)
    assert heights(devnet.turn(finality_lag=0)) == (9, 9)


def test_blocks_come_by_themselves_until_they_are_held(tmp_path: Path) -> None:
    with network(tmp_path, block_seconds=0.02) as devnet, client(devnet) as alice:

        def until_the_fourth(block: dict[str, Any], update: int, _subscription: str) -> int | None:
            return int(block["header"]["number"]) if update == 4 else None

        reached = alice.node.subscribe_block_headers(until_the_fourth)
        assert reached >= 4
        assert alice.node.subscribe_block_headers(until_the_fourth, finalized_only=True) > reached - 4
        held = devnet.turn(hold_blocks=True)
        assert heights(devnet.turn(make_blocks=1))[0] == heights(held)[0] + 1, "still by hand"


def test_the_hash_of_an_extrinsic_is_found_in_a_finalized_body(devnet: Network, alice: Client) -> None:
    extrinsic = alice.order()
    expected = f"0x{extrinsic.extrinsic_hash.hex()}"
    assert alice.submit(extrinsic) == expected
    assert alice.node.retrieve_pending_extrinsics()[0].value["extrinsic_hash"] == expected
    devnet.blocks(3)
    body = alice.node.get_block(finalized_only=True)["extrinsics"]
    assert [each.value["call"]["call_function"] for each in body] == ["set", "place_storage_order"]
    assert f"0x{body[1].extrinsic_hash.hex()}" == expected


def test_waiting_for_inclusion_and_for_finality(devnet: Network, alice: Client) -> None:
    for wait, number in (("wait_for_inclusion", 1), ("wait_for_finalization", 2)):
        extrinsic = alice.order()
        maker = threading.Thread(target=_make_blocks_once_waiting, args=(devnet,))
        maker.start()
        receipt = alice.node.submit_extrinsic(extrinsic, **{wait: True})
        maker.join()
        assert receipt.is_success
        assert receipt.finalized == (wait == "wait_for_finalization")
        assert alice.account()[0] == number


def _make_blocks_once_waiting(devnet: Network) -> None:
    while not devnet.state()["pool"]:
        pass
    devnet.blocks(3)


def test_a_fork_puts_the_extrinsic_back(devnet: Network, alice: Client) -> None:
    devnet.blocks(4)
    free = alice.account()[1]
    extrinsic = alice.order()
    receipt = alice.place(devnet, extrinsic)
    retracted = receipt.block_hash
    devnet.blocks(1)
    state = devnet.turn(reorg=2)
    assert heights(state) == (4, 4)
    assert state["pool"] == [receipt.extrinsic_hash]
    assert alice.account() == (0, free)
    assert alice.file() is None
    assert alice.rpc("chain_getHeader", retracted) is None
    devnet.blocks()
    assert alice.account()[0] == 1
    assert alice.file()["calculated_at"] == 5
    assert alice.node.get_chain_head() != retracted


def test_what_is_final_stays(devnet: Network) -> None:
    devnet.blocks(5)
    with pytest.raises(AssertionError, match="only 2 blocks are not final"):
        devnet.turn(reorg=3)


def test_old_state_is_read_until_it_is_forgotten(devnet: Network, alice: Client) -> None:
    alice.place(devnet, alice.order())
    then = alice.node.get_chain_head()
    events = len(alice.node.get_events(then))
    devnet.blocks(200)
    assert alice.file(block_hash=then)["reported_replica_count"] == 0
    assert alice.file()["reported_replica_count"] == 60
    assert len(alice.node.get_events(then)) == events
    earlier = alice.node.get_block_hash(0)
    assert dict(alice.node.query_map("Market", "FilesV2", block_hash=earlier).records) == {}
    devnet.blocks(59)
    with pytest.raises(SubstrateRequestException, match="State already discarded") as caught:
        alice.rpc("state_getStorage", "0x00", then)
    assert caught.value.args[0]["code"] == 4003
    assert len(alice.rpc("chain_getBlock", then)["block"]["extrinsics"]) == 2, "bodies are kept"


def test_state_of_a_block_that_never_was(alice: Client) -> None:
    with pytest.raises(SubstrateRequestException, match="UnknownBlock"):
        alice.rpc("state_getStorage", "0x00", "0x" + "11" * 32)
    assert alice.rpc("chain_getBlock", "0x" + "11" * 32) is None
    assert alice.rpc("chain_getBlockHash", 7) is None


def test_storage_can_be_watched(devnet: Network, alice: Client) -> None:
    key = alice.node.create_storage_key("Market", "FilesV2", [CID])
    seen: list[Any] = []

    def until_ordered(_key: object, value: ScaleType, _update: int, _subscription: str) -> bool | None:
        seen.append(value.value)
        if value.value is None:
            # Sent from the second connection, while the first one listens.
            with client(devnet) as other:
                other.place(devnet, other.order())
        return value.value is not None or None

    assert alice.node.subscribe_storage([key], until_ordered)
    assert seen[0] is None
    assert seen[1]["reported_replica_count"] == 0
