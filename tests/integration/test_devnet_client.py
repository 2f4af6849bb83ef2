"""The devnet as the stock client sees it, and what the other devnet tests use: a network in a thread, and a client."""

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import Queue
from typing import Any

import pytest
import requests
from scalecodec.types import GenericCall, GenericExtrinsic
from substrateinterface import ExtrinsicReceipt, Keypair, SubstrateInterface

from roadvault_devnet.config import DevnetSettings
from roadvault_devnet.devnet import running

ALICE = Keypair.create_from_uri("//Alice", ss58_format=66)
MIB = 2**20

Answer = Any
"""What a node answers: any JSON."""
CID = "bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi"


@dataclass(frozen=True)
class Network:
    """Where a devnet is. It makes no block unless told to, except where a test sets a block time."""

    url: str

    @property
    def http_url(self) -> str:
        return self.url.replace("ws://", "http://")

    def turn(self, **what: object) -> dict[str, Any]:
        answer = requests.post(f"{self.http_url}/control", data=json.dumps(what), timeout=30)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def blocks(self, number: int = 1) -> dict[str, Any]:
        return self.turn(make_blocks=number)

    def state(self) -> dict[str, Any]:
        return dict(requests.get(f"{self.http_url}/control", timeout=30).json())


class Client:
    """The stock client, with what many tests do."""

    def __init__(self, url: str) -> None:
        self.node = SubstrateInterface(url, ss58_format=66, type_registry_preset="crust", use_remote_preset=False)

    def rpc(self, method: str, *params: object) -> Answer:
        return self.node.rpc_request(method, list(params))["result"]

    def sign(self, call: GenericCall, who: Keypair = ALICE, **options: object) -> GenericExtrinsic:
        return self.node.create_signed_extrinsic(call, who, **{"era": {"period": 64}, **options})

    def order_call(self, cid: str = CID, size: int = 5 * MIB, tips: int = 0) -> GenericCall:
        arguments = {"cid": cid, "reported_file_size": size, "tips": tips, "_memo": ""}
        known = self.node.get_metadata_call_function("Market", "place_storage_order")
        names = [argument.name for argument in known.args]
        return self.node.compose_call("Market", "place_storage_order", {name: arguments[name] for name in names})

    def order(
        self, cid: str = CID, size: int = 5 * MIB, *, who: Keypair = ALICE, **options: object
    ) -> GenericExtrinsic:
        return self.sign(self.order_call(cid, size), who, **options)

    def submit(self, extrinsic: GenericExtrinsic) -> str:
        return str(self.node.submit_extrinsic(extrinsic).extrinsic_hash)

    def place(self, network: Network, extrinsic: GenericExtrinsic) -> ExtrinsicReceipt:
        """Submit an extrinsic, make the block for it, and return its receipt."""
        extrinsic_hash = self.submit(extrinsic)
        network.blocks()
        return self.node.retrieve_extrinsic_by_hash(self.node.get_chain_head(), extrinsic_hash)

    def account(self, who: Keypair = ALICE) -> tuple[int, int]:
        """Return nonce and free planck."""
        value = self.node.query("System", "Account", [who.ss58_address]).value
        return value["nonce"], value["data"]["free"]

    def file(self, cid: str = CID, block_hash: str | None = None) -> Answer:
        names = [item.name for item in self.node.get_metadata().get_metadata_pallet("Market").storage]
        item = "FilesV2" if "FilesV2" in names else "Files"
        return self.node.query("Market", item, [cid], block_hash=block_hash).value

    def market(self, item: str) -> int:
        return int(self.node.query("Market", item).value)


@contextmanager
def network(directory: Path, **settings: object) -> Iterator[Network]:
    chosen = DevnetSettings.model_validate({"port": 0, "data_dir": directory, "block_seconds": 3600, **settings})
    up: Queue[tuple[str, asyncio.AbstractEventLoop, asyncio.Event] | BaseException] = Queue()

    async def serve() -> None:
        stop = asyncio.Event()
        async with running(chosen) as devnet:
            up.put((devnet.url, asyncio.get_running_loop(), stop))
            await devnet.wait(stop)

    def run() -> None:
        try:
            asyncio.run(serve())
        except BaseException as error:  # noqa: BLE001 - the test's thread is told
            up.put(error)

    thread = threading.Thread(target=run)
    thread.start()
    started = up.get(timeout=30)
    if isinstance(started, BaseException):
        raise started
    url, loop, stop = started
    try:
        yield Network(url)
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(timeout=30)
        assert not thread.is_alive()
        assert up.empty(), up.get()


@contextmanager
def client(network: Network, *, http: bool = False) -> Iterator[Client]:
    opened = Client(network.http_url if http else network.url)
    try:
        yield opened
    finally:
        opened.node.close()
        if http:
            opened.node.transport.session.close()


@pytest.fixture
def devnet(tmp_path: Path) -> Iterator[Network]:
    with network(tmp_path) as up:
        yield up


@pytest.fixture
def alice(devnet: Network) -> Iterator[Client]:
    with client(devnet) as opened:
        yield opened


def test_the_chain_introduces_itself(alice: Client) -> None:
    node = alice.node
    assert (node.chain, node.properties["ss58Format"], node.token_symbol, node.token_decimals) == (
        "RoadVault Devnet",
        66,
        "CRU",
        12,
    )
    assert node.name == "roadvault-devnet"
    assert node.version
    assert node.get_constant("Market", "FileDuration").value == 2_592_000
    assert node.get_constant("Market", "FileReplica").value == 4
    assert node.get_constant("System", "BlockHashCount").value == 2400
    assert alice.rpc("system_health") == {"peers": 1, "isSyncing": False, "shouldHavePeers": False}


@pytest.mark.parametrize("http", [False, True])
def test_reads_work_over_websocket_and_over_http(devnet: Network, *, http: bool) -> None:
    with client(devnet, http=http) as opened:
        devnet.blocks(2)
        assert opened.account() == (0, 10**18)
        assert opened.node.get_block()["header"]["number"] == 2
        assert opened.file() is None


def test_fee_is_known_before_it_is_paid(devnet: Network, alice: Client) -> None:
    expected = alice.node.get_payment_info(alice.order_call(), ALICE)["partialFee"]
    extrinsic = alice.order()
    asked = int(alice.rpc("payment_queryInfo", str(extrinsic.data))["partialFee"])
    receipt = alice.place(devnet, extrinsic)
    assert receipt.total_fee_amount == asked
    # The client's own estimate is for an immortal extrinsic: one byte less.
    assert asked - expected == 1_000_000


def test_receipts_and_events_of_an_order(devnet: Network, alice: Client) -> None:
    receipt = alice.place(devnet, alice.order())
    assert receipt.is_success
    assert receipt.error_message is None
    again = alice.node.retrieve_extrinsic_by_identifier(receipt.get_extrinsic_identifier())
    assert again.extrinsic.value["extrinsic_hash"] == receipt.extrinsic_hash
    names = [(event.value["module_id"], event.value["event_id"]) for event in receipt.triggered_events]
    assert names[-2:] == [("Market", "FileSuccess"), ("System", "ExtrinsicSuccess")]
    who, cid = (each["value"] for each in receipt.triggered_events[-2].value["attributes"])
    assert (who, bytes.fromhex(cid[2:]).decode()) == (ALICE.ss58_address, CID)


def test_maps_can_be_walked(devnet: Network, alice: Client) -> None:
    for number in range(3):
        alice.submit(alice.order(f"cid-{number}", nonce=number))
    devnet.blocks()
    files = {
        key.value: value.value["file_size"] for key, value in alice.node.query_map("Market", "FilesV2", page_size=2)
    }
    assert {bytes.fromhex(key[2:]) if key.startswith("0x") else key.encode() for key in files} == {
        b"cid-0",
        b"cid-1",
        b"cid-2",
    }
    storage_key = alice.node.create_storage_key("System", "Account", [ALICE.ss58_address])
    assert alice.node.query_multi([storage_key])[0][1].value["nonce"] == 3


def test_every_value_and_constant_of_the_metadata_can_be_read(devnet: Network, alice: Client) -> None:
    devnet.blocks()
    for item in alice.node.get_metadata_storage_functions():
        if item["type_class"] == "Plain" and not item["storage_name"].startswith(":"):
            assert alice.node.query(item["module_name"], item["storage_name"]).value is not None
    assert alice.node.query("System", "BlockHash", [0]).value == alice.node.get_block_hash(0)
    assert all(constant["constant_value"] != "[decoding error]" for constant in alice.node.get_metadata_constants())


def test_unknown_methods_and_broken_requests_get_an_error(devnet: Network) -> None:
    def post(body: str) -> Answer:
        return requests.post(devnet.http_url, data=body, timeout=30).json()

    assert post('{"jsonrpc":"2.0","id":1,"method":"no_such"}')["error"]["code"] == -32601
    assert post("not json")["error"]["code"] == -32700
    assert post('{"jsonrpc":"2.0","id":1,"method":"chain_getHeader","params":["0xzz"]}')["error"]["code"] == -32602
    assert post('{"jsonrpc":"2.0","id":1,"method":"author_submitExtrinsic","params":["0x00"]}')["error"]["code"] == 1001
    pair = post('[{"jsonrpc":"2.0","id":1,"method":"system_chain"},{"jsonrpc":"2.0","id":2,"method":"system_name"}]')
    assert [answer["id"] for answer in pair] == [1, 2]
