"""Every row of what can go wrong with an order, as the client sees it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from integration.test_devnet_client import ALICE, CID, MIB, Client, Network, client, network
from scalecodec.types import GenericExtrinsic
from substrateinterface import Keypair
from substrateinterface.exceptions import SubstrateRequestException

POOR = Keypair.create_from_uri("//Poor", ss58_format=66)
GIB = 2**30


@pytest.fixture
def devnet(tmp_path: Path) -> Iterator[Network]:
    with network(tmp_path) as up:
        yield up


@pytest.fixture
def alice(devnet: Network) -> Iterator[Client]:
    with client(devnet) as opened:
        yield opened


def refusal(alice: Client, extrinsic: GenericExtrinsic) -> tuple[int, str]:
    """Submit what is to be refused; return code and text."""
    with pytest.raises(SubstrateRequestException) as caught:
        alice.submit(extrinsic)
    error = caught.value.args[0]
    return error["code"], error.get("data", error["message"])


def test_closed_market(devnet: Network, alice: Client) -> None:
    devnet.turn(market_enabled=False)
    assert alice.node.query("Market", "EnableMarket").value is False
    receipt = alice.place(devnet, alice.order())
    assert (receipt.is_success, receipt.error_message["name"]) == (False, "PlaceOrderNotAvailable")
    devnet.turn(market_enabled=True)
    assert alice.place(devnet, alice.order()).is_success


@pytest.mark.parametrize(("generation", "limit"), [("v2", 8 * GIB), ("v1", 32 * GIB)])
def test_too_large(tmp_path: Path, generation: str, limit: int) -> None:
    with network(tmp_path, generation=generation) as devnet, client(devnet) as alice:
        assert alice.node.get_constant("Market", "MaximumFileSize").value == limit
        receipt = alice.place(devnet, alice.order(size=limit))
        assert receipt.error_message["name"] == "FileTooLarge"
        assert alice.file() is None
        assert alice.place(devnet, alice.order(size=limit - 1)).is_success


def test_known_cid_with_another_size(devnet: Network, alice: Client) -> None:
    alice.place(devnet, alice.order(size=5 * MIB))
    receipt = alice.place(devnet, alice.order(size=5 * MIB - 1))
    assert receipt.error_message["name"] == "FileSizeNotCorrect"
    for size in (5 * MIB, 9 * MIB):
        assert alice.place(devnet, alice.order(size=size)).is_success
        assert alice.file()["file_size"] == 5 * MIB


def test_enough_for_the_fee_but_not_for_the_order(devnet: Network, alice: Client) -> None:
    devnet.turn(fund={"address": POOR.ss58_address, "planck": 2_000_000_000})
    receipt = alice.place(devnet, alice.order(who=POOR))
    assert receipt.error_message["name"] == "InsufficientCurrency"
    # Fee and nonce are gone all the same.
    assert alice.account(POOR) == (1, 2_000_000_000 - receipt.total_fee_amount)
    assert alice.file() is None


def test_not_enough_for_the_fee(devnet: Network, alice: Client) -> None:
    devnet.turn(fund={"address": POOR.ss58_address, "planck": 1000})
    code, text = refusal(alice, alice.order(who=POOR))
    assert (code, "Inability to pay some fees" in text) == (1010, True)


def test_used_nonce_and_the_same_extrinsic_again(devnet: Network, alice: Client) -> None:
    extrinsic = alice.order()
    alice.place(devnet, extrinsic)
    assert refusal(alice, extrinsic) == (1010, "Transaction is outdated")
    assert refusal(alice, alice.order("another", nonce=0)) == (1010, "Transaction is outdated")


def test_the_same_extrinsic_while_it_waits(alice: Client) -> None:
    extrinsic = alice.order()
    alice.submit(extrinsic)
    assert refusal(alice, extrinsic)[0] == 1013
    assert refusal(alice, alice.order("another"))[0] == 1014


def test_bad_signature(alice: Client) -> None:
    call = alice.order_call()
    forged = alice.sign(call, signature=Keypair.create_from_uri("//Bob").sign(b"something else"))
    assert refusal(alice, forged) == (1010, "Transaction has a bad signature")
    assert refusal(alice, alice.sign(call, signature=bytes(64)))[0] == 1010


def test_signature_for_another_chain(tmp_path: Path, alice: Client) -> None:
    with network(tmp_path / "other") as other, client(other) as stranger:
        extrinsic = stranger.order()
    assert refusal(alice, extrinsic) == (1010, "Transaction has a bad signature")


def test_nonce_from_the_future_waits(devnet: Network, alice: Client) -> None:
    late = alice.submit(alice.order("late", nonce=1))
    devnet.blocks(3)
    assert alice.account()[0] == 0
    assert devnet.state()["pool"] == [late]
    alice.submit(alice.order("early", nonce=0))
    assert alice.rpc("system_accountNextIndex", ALICE.ss58_address) == 2
    devnet.blocks()
    assert alice.account()[0] == 2
    assert alice.file("late")["calculated_at"] == alice.file("early")["calculated_at"]


@pytest.mark.parametrize("age", [8, 9, 15, 30])
def test_born_too_long_ago(devnet: Network, alice: Client, age: int) -> None:
    devnet.blocks(20)
    extrinsic = alice.order(era={"period": 8})
    # Signed at the finalized head, two blocks back; its first block that is too late is the eighth after its birth.
    devnet.blocks(age - 3)
    assert refusal(alice, extrinsic) == (1010, "Transaction has an ancient birth block")
    assert alice.place(devnet, alice.order(era={"period": 8})).is_success


def test_the_last_block_of_an_era_still_takes_it(devnet: Network, alice: Client) -> None:
    devnet.blocks(20)
    extrinsic = alice.order(era={"period": 8})
    devnet.blocks(4)
    assert alice.place(devnet, extrinsic).is_success


def test_an_extrinsic_that_outlives_its_era_in_the_pool_is_dropped(devnet: Network, alice: Client) -> None:
    alice.submit(alice.order(CID, nonce=1, era={"period": 8}))
    assert len(devnet.blocks(6)["pool"]) == 1
    assert devnet.blocks(1)["pool"] == []


def test_refused_on_demand(devnet: Network, alice: Client) -> None:
    devnet.turn(refuse_submissions={"code": 1012, "text": "Transaction is temporarily banned"})
    assert refusal(alice, alice.order()) == (1012, "Transaction is temporarily banned")
    devnet.turn(refuse_submissions=None)
    assert alice.place(devnet, alice.order()).is_success
