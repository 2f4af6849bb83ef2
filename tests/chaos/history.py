"""What the devnet itself says that was bought: its blocks, its map of files, read over its RPC from outside."""

import json
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.request import Request, urlopen

from substrateinterface.utils.hasher import xxh128

_PAGE = 500
_HASHES = 16 + 16 + 8
"""Bytes before the CID in a file's key: pallet, item, and the entry's own hash."""
_EXPIRES = slice(16, 20)
"""Where a file's record says at which block its order ends."""


@dataclass(frozen=True)
class History:
    """The chain as it stands: `purchases` are the blocks that have an order, `expires` is in blocks, both by CID."""

    head: int
    paid: int
    purchases: dict[str, list[int]]
    expires: dict[str, int]


def head(port: int) -> int:
    """Return the height of the devnet on this port."""
    return int(_call(port, "chain_getHeader")["number"], 16)


def known(port: int) -> dict[str, int]:
    """Return the CIDs that the market knows, with the blocks at which their orders end."""
    return _expiries(partial(_call, port))


def read(port: int, cids: set[str]) -> History:
    """Read the chain of the devnet on this port; of its blocks the orders for these CIDs, and those it knows."""
    call, newest, expires = partial(_call, port), head(port), known(port)
    purchases: dict[str, list[int]] = {cid: [] for cid in cids | expires.keys()}
    by_hex = {cid.encode().hex(): cid for cid in purchases}
    for first in range(1, newest + 1, _PAGE):
        numbers = range(first, min(first + _PAGE, newest + 1))
        for number, block_hash in zip(numbers, call("chain_getBlockHash", list(numbers)), strict=True):
            for extrinsic in call("chain_getBlock", block_hash)["block"]["extrinsics"]:
                for cid in (cid for text, cid in by_hex.items() if text in extrinsic):
                    purchases[cid].append(number)
    paid = call("state_getStorage", "0x" + _key("OrdersCount").hex())
    return History(newest, int.from_bytes(_bytes(paid), "little"), purchases, expires)


def _call(port: int, method: str, *parameters: object) -> Any:  # noqa: ANN401 - JSON
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": parameters}).encode()
    request = Request(f"http://127.0.0.1:{port}/", body, {"Content-Type": "application/json"})
    with urlopen(request, timeout=20) as response:  # noqa: S310 - our own devnet
        return json.loads(response.read())["result"]


def _expiries(call: Any) -> dict[str, int]:  # noqa: ANN401 - a function of any parameters
    found: dict[str, int] = {}
    start = None
    while keys := call("state_getKeysPaged", "0x" + _key("FilesV2").hex(), _PAGE, start):
        for key in keys:
            record = _bytes(call("state_getStorage", key))
            found[_cid(_bytes(key)[_HASHES:])] = int.from_bytes(record[_EXPIRES], "little")
        start = keys[-1]
    return found


def _key(item: str) -> bytes:
    return bytes(xxh128(b"Market") + xxh128(item.encode()))


def _bytes(text: str | None) -> bytes:
    return bytes.fromhex((text or "0x")[2:])


def _cid(encoded: bytes) -> str:
    """Read SCALE's string: its length, four times, in one byte or two, then its text."""
    length, begin = encoded[0] >> 2, 1
    if encoded[0] & 3 == 1:
        length, begin = int.from_bytes(encoded[:2], "little") >> 2, 2
    return encoded[begin : begin + length].decode()
