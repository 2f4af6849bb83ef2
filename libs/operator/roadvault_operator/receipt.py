"""`roadvault check-receipt`: what a receipt proves of a file, with no settings, no database, and no network."""

import asyncio
import hashlib
import re
from pathlib import Path
from typing import Annotated, Any

import aiohttp
import typer

from roadvault_common.errors import ChainUnavailable, IntegrityError, PermanentError, SettingsError, brief
from roadvault_common.receipts.check import check, left_open
from roadvault_common.receipts.receipt import MOST_BYTES, ChainOrder, Receipt
from roadvault_operator.shell import blocking, say

_NODE_SECONDS = 45
"""All that is asked of a node, however slowly it answers."""
_CLOSE_SECONDS = 5
"""And until it has said goodbye."""
_MOST_ANSWER = 64 << 20
"""Bytes of an answer of a node: blocks of Crust stay under 5 MB, twice that in hex."""
_READ_BYTES = 1 << 20
_HASH = re.compile("0x[0-9a-f]{64}")


@blocking
async def check_receipt(
    receipt: Annotated[Path, typer.Argument(help="the receipt, as it was downloaded")],
    file: Annotated[Path, typer.Argument(help="the file that it is of")],
    node: Annotated[
        str | None, typer.Option(help="a node of the chain (ws:// or wss://): look into the block, too", metavar="URL")
    ] = None,
) -> None:
    """Say what a receipt proves of a file, one thing a line; exit code 1 at the first that is not so."""
    try:
        with receipt.open("rb") as source:
            read = Receipt.read(source.read(MOST_BYTES + 1))
        sha256, size = _hash(file)
    except OSError as error:
        raise PermanentError(f"{error.filename}: {error.strerror}") from None
    say(f"the receipt is of file {read.file.id}, {read.file.name}")
    for line in check(read, sha256, size):
        say(f"proven: {line}")
    if node is not None:
        for line in await look(read, node):
            say(f"seen at the node: {line}")
    for line in left_open(read, seen=node is not None):
        say(f"not proven by this: {line}")


def _hash(file: Path) -> tuple[str, int]:
    digest, size = hashlib.sha256(), 0
    with file.open("rb") as source:
        while piece := source.read(_READ_BYTES):
            digest.update(piece)
            size += len(piece)
    return digest.hexdigest(), size


async def look(receipt: Receipt, url: str) -> list[str]:
    """Look for the orders in their blocks: the archive's, and that of the catalogue which has the custody log's head.

    Raises:
        SettingsError: There is nothing to look for, or the URL is none.
        ChainUnavailable: The node does not answer.
        IntegrityError: The node's chain says something else.
    """
    orders = {"the order": receipt.order}
    orders |= {} if receipt.published is None else {"the order of the catalogue": receipt.published.order}
    wanted = {name: one for name, one in orders.items() if isinstance(one, ChainOrder) and one.extrinsic is not None}
    if not wanted:
        raise SettingsError("--node: the receipt has no order's bytes to look for in a block")
    try:
        async with asyncio.timeout(_NODE_SECONDS):
            return [await _look_for(name, order, url) for name, order in wanted.items()]
    except TimeoutError:
        raise ChainUnavailable(f"the node does not answer as nodes do within {_NODE_SECONDS} s") from None


async def _look_for(name: str, order: ChainOrder, url: str) -> str:
    try:
        goodbye = aiohttp.ClientWSTimeout(ws_close=_CLOSE_SECONDS)
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(url, max_msg_size=_MOST_ANSWER, timeout=goodbye) as socket,
        ):
            genesis = _hash_of_block(await _ask(socket, "chain_getBlockHash", 0))
            block_hash = _hash_of_block(await _ask(socket, "chain_getBlockHash", order.block))
            block = await _ask(socket, "chain_getBlock", block_hash) if block_hash else None
            head = await _ask(socket, "chain_getHeader", await _ask(socket, "chain_getFinalizedHead"))
        extrinsics, final = (block["block"]["extrinsics"] if block else None), int(head["number"], 16)
    except aiohttp.InvalidURL:
        raise SettingsError("--node must be a node's URL, as wss://rpc-crust-mainnet.decoo.io") from None
    except (aiohttp.ClientError, TypeError, ValueError, KeyError) as error:
        raise ChainUnavailable(f"the node does not answer as nodes do: {brief(error)}") from None
    if genesis != order.genesis:
        raise IntegrityError(f"the node is of another chain: its genesis is {genesis}")
    if extrinsics is None or final < order.block:
        raise ChainUnavailable(f"the node does not have block {order.block}, or not as final")
    if order.blockHash not in {None, block_hash}:
        raise IntegrityError(f"block {order.block} of the chain is {block_hash}, not the receipt's")
    if order.extrinsic not in extrinsics:
        raise IntegrityError(f"block {order.block} of the chain does not have {name}")
    return f"{name} is in block {order.block} ({block_hash}), which is final, of the chain with genesis {genesis}"


def _hash_of_block(answer: object) -> str | None:
    if answer is None or (isinstance(answer, str) and _HASH.fullmatch(answer)):
        return answer
    raise ValueError("a block's hash is none")


async def _ask(socket: aiohttp.ClientWebSocketResponse, method: str, *params: object) -> Any:  # noqa: ANN401 - JSON
    await socket.send_json({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
    return (await socket.receive_json())["result"]
