"""What an order does to the market, the file and the balance, under both generations of the runtime."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from integration.test_devnet_client import ALICE, CID, MIB, Client, Network, client, network
from substrateinterface import Keypair, KeypairType

FRESH = {
    "file_size": 5 * MIB + 1,
    "spower": 0,
    "expired_at": 0,
    "prepaid": 0,
    "reported_replica_count": 0,
    "replicas": [],
}
DURATION = 1000


@pytest.fixture
def devnet(tmp_path: Path) -> Iterator[Network]:
    with network(tmp_path, replicas_per_block=0, file_duration_blocks=DURATION) as up:
        yield up


@pytest.fixture
def alice(devnet: Network) -> Iterator[Client]:
    with client(devnet) as opened:
        yield opened


@pytest.mark.parametrize("memo", [True, False])
@pytest.mark.parametrize(("generation", "more"), [("v2", {"remaining_paid_count": 4}), ("v1", {})])
def test_a_fresh_file(tmp_path: Path, generation: str, more: dict[str, int], *, memo: bool) -> None:
    with (
        network(tmp_path, generation=generation, memo=memo, replicas_per_block=0) as devnet,
        client(devnet) as alice,
    ):
        assert alice.file() is None
        call = alice.order_call()
        assert ("_memo" in call.value["call_args"]) == memo
        devnet.blocks(4)
        assert alice.place(devnet, alice.order(size=5 * MIB + 1)).is_success
        file = alice.file()
        assert file.pop("amount") > 0
        assert file == {**FRESH, **more, "calculated_at": 5}


def test_the_price_is_read_from_the_market_and_moves_with_every_order(devnet: Network, alice: Client) -> None:
    for tips in (0, 777):
        base, per_mib, for_keys = (alice.market(f"File{name}Fee") for name in ("Base", "Byte", "KeysCount"))
        free = alice.account()[1]
        receipt = alice.place(devnet, alice.sign(alice.order_call(f"cid-{tips}", 5 * MIB + 1, tips)))
        price = base + 6 * per_mib + for_keys + tips
        assert alice.account()[1] == free - price - receipt.total_fee_amount
        assert alice.market("FileBaseFee") > base
        assert alice.market("FileByteFee") > per_mib


def test_the_first_replica_starts_the_term(devnet: Network, alice: Client) -> None:
    alice.place(devnet, alice.order())
    alice.place(devnet, alice.order())
    assert alice.file()["expired_at"] == 0, "an order again does not start it"
    number = devnet.turn(replicas_per_block=1, make_blocks=1)["head"]["number"]
    file = alice.file()
    assert (file["reported_replica_count"], file["expired_at"]) == (1, number + DURATION)
    assert (file["calculated_at"], file["remaining_paid_count"]) == (number, 3)
    devnet.blocks(2)
    assert alice.file()["expired_at"] == number + DURATION


def test_an_order_again_counts_from_now(devnet: Network, alice: Client) -> None:
    alice.place(devnet, alice.order())
    devnet.turn(set_replicas={"cid": CID, "count": 1})
    devnet.blocks(30)
    amount = alice.file()["amount"]
    receipt = alice.place(devnet, alice.order())
    number = alice.node.get_block_number(receipt.block_hash)
    file = alice.file()
    assert (file["expired_at"], file["calculated_at"]) == (number + DURATION, number)
    assert file["amount"] > amount


def test_expiry_changes_nothing_by_itself(devnet: Network, alice: Client) -> None:
    alice.place(devnet, alice.order())
    devnet.turn(file_duration_blocks=3, set_replicas={"cid": CID, "count": 2})
    before = alice.file()
    number = devnet.turn(replicas_per_block=5, make_blocks=6)["head"]["number"]
    assert before["expired_at"] < number
    late = alice.file()
    assert late["expired_at"] == before["expired_at"]
    assert late["reported_replica_count"] < 60, "no replicas come in after the end"
    alice.place(devnet, alice.order())
    assert alice.file()["expired_at"] > number


def test_a_closed_file_is_gone_and_can_be_ordered_anew(devnet: Network, alice: Client) -> None:
    alice.place(devnet, alice.order(size=5 * MIB))
    devnet.turn(set_replicas={"cid": CID, "count": 7}, file_duration_blocks=50)
    devnet.turn(close_file=CID)
    assert alice.file() is None
    assert alice.place(devnet, alice.order(size=4 * MIB)).is_success, "a smaller size too"
    assert (alice.file()["expired_at"], alice.file()["reported_replica_count"]) == (0, 0)


@pytest.mark.parametrize("generation", ["v1", "v2"])
def test_replicas_grow_and_no_more_than_200_are_kept(tmp_path: Path, generation: str) -> None:
    with (
        network(tmp_path, generation=generation, replicas_per_block=6, max_replicas=20) as devnet,
        client(devnet) as alice,
    ):
        alice.place(devnet, alice.order())
        counts = []
        for _ in range(5):
            devnet.blocks()
            counts.append(alice.file()["reported_replica_count"])
        assert counts == [6, 12, 18, 20, 20]
        devnet.turn(set_replicas={"cid": CID, "count": 230})
        file = alice.file()
        assert (file["reported_replica_count"], len(file["replicas"])) == (230, 200)


def test_other_keys_and_other_calls(devnet: Network, alice: Client) -> None:
    edward = Keypair.create_from_seed(bytes(range(32)), ss58_format=66, crypto_type=KeypairType.ED25519)
    call = alice.node.compose_call("Balances", "transfer", {"dest": edward.ss58_address, "value": 10**13})
    assert alice.place(devnet, alice.sign(call)).is_success
    assert alice.account(edward) == (0, 10**13)
    assert alice.place(devnet, alice.order(who=edward, era=None, tip=5)).is_success
    remark = alice.node.compose_call("System", "remark", {"_remark": "0x0102"})
    assert alice.place(devnet, alice.sign(remark)).is_success
    too_much = alice.node.compose_call("Balances", "transfer", {"dest": ALICE.ss58_address, "value": 10**14})
    receipt = alice.place(devnet, alice.sign(too_much, edward))
    assert receipt.error_message["name"] == "InsufficientBalance"
