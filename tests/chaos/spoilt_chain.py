"""What is done to the devnet to see that the books find it out: it can't be undone."""

import json
from typing import Any
from urllib.request import Request, urlopen

from substrateinterface import Keypair, SubstrateInterface


def buy_again(port: int, cid: str, size: int) -> None:
    """Buy an archive that was bought, behind the orderer's back."""
    url = f"ws://127.0.0.1:{port}"
    with SubstrateInterface(url, ss58_format=66, type_registry_preset="crust", use_remote_preset=False) as node:
        arguments = {"cid": cid, "reported_file_size": size, "tips": 0, "_memo": ""}
        call = node.compose_call("Market", "place_storage_order", arguments)
        signed = node.create_signed_extrinsic(call, Keypair.create_from_uri("//Alice", ss58_format=66))
        node.submit_extrinsic(signed, wait_for_inclusion=True)


def end_order(port: int, cid: str, size: int) -> None:
    """Have an archive's order run out."""
    _turn(port, file_duration_blocks=2)
    buy_again(port, cid, size)
    _turn(port, make_blocks=5)


def forget_file(port: int, cid: str) -> None:
    """Have the market close a file."""
    _turn(port, close_file=cid)


def _turn(port: int, **what: Any) -> None:  # noqa: ANN401 - JSON
    request = Request(f"http://127.0.0.1:{port}/control", json.dumps(what).encode())
    with urlopen(request, timeout=20) as response:  # noqa: S310 - our own devnet
        response.read()
