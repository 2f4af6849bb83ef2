"""The runtime: how a block changes the state, and which extrinsics a block may take."""

import time
from collections.abc import Callable, Iterable
from dataclasses import replace

from roadvault_devnet import accounts, extrinsic, keys, market, rules, scale
from roadvault_devnet.errors import DispatchFailed
from roadvault_devnet.execution import Execution
from roadvault_devnet.extrinsic import Extrinsic
from roadvault_devnet.pallets import Pallets
from roadvault_devnet.rules import Rules
from roadvault_devnet.scale import Cursor, ScaleError
from roadvault_devnet.state import Overlay

Change = Callable[[Execution], None]
"""Something that a block does by itself: replicas reported, or what the control door asks for."""

WEIGHT = 200_000_000
DISPATCH_INFO = scale.u64(WEIGHT) + b"\0\0"
"""Weight, class Normal, pays a fee."""
_MODULE_ERROR = b"\3"
_OTHER_ERROR = b"\0"
_AUTHOR = accounts.pot("author")


def genesis(state: Overlay, endowed: dict[bytes, int]) -> None:
    """Fill the state of block 0; `endowed` is in planck by public key."""
    for public_key, planck in endowed.items():
        accounts.add(state, public_key, planck)
    state.put(keys.plain("Balances", "TotalIssuance"), scale.u128(sum(endowed.values())))
    state.put(keys.plain("System", "Number"), scale.u32(0))
    market.genesis(state)


def initialize(block: Execution, parent_hash: bytes) -> None:
    """Begin a block, as Substrate's System pallet does."""
    state, number = block.state, block.number
    state.put(keys.plain("System", "Number"), scale.u32(number))
    state.put(keys.plain("System", "ParentHash"), parent_hash)
    state.put(keys.block_hash(number - 1), parent_hash)
    if number > rules.BLOCK_HASH_COUNT:
        state.put(keys.block_hash(number - 1 - rules.BLOCK_HASH_COUNT), None)


def run(block: Execution, changes: Iterable[Change], extrinsics: Iterable[Extrinsic]) -> list[bytes]:
    """Run a block and return its body: the author's own extrinsic, which sets the time, then those of the pool."""
    for change in changes:
        change(block)
    body = [_set_time(block)]
    for index, sent in enumerate(extrinsics, start=1):
        block.begin_extrinsic(index)
        _apply(block, sent)
        body.append(sent.raw)
    block.finish()
    return body


def _set_time(block: Execution) -> bytes:
    now = time.time_ns() // 1_000_000
    block.begin_extrinsic(0)
    block.state.put(keys.plain("Timestamp", "Now"), scale.u64(now))
    block.deposit("System", "ExtrinsicSuccess", DISPATCH_INFO)
    return extrinsic.unsigned(block.pallets.call("Timestamp", "set") + scale.compact(now))


def _apply(block: Execution, sent: Extrinsic) -> None:
    """Take fee and nonce, whatever comes next; then do what is asked, wholly or not at all."""
    account = accounts.read(block.state.get, sent.signer)
    paid = replace(account, nonce=account.nonce + 1, free=account.free - sent.fee)
    accounts.write(block.state, sent.signer, paid)
    accounts.add(block.state, _AUTHOR, sent.fee)
    block.deposit("Balances", "Deposit", _AUTHOR + scale.u128(sent.fee))
    if block.rules.dispatch_error:
        block.deposit("System", "ExtrinsicFailed", bytes.fromhex(block.rules.dispatch_error) + DISPATCH_INFO)
        return
    attempt = block.attempt()
    try:
        _dispatch(attempt, sent)
    except DispatchFailed as failure:
        named = _MODULE_ERROR + block.pallets.error(failure.pallet, failure.error)
        block.deposit("System", "ExtrinsicFailed", named + DISPATCH_INFO)
    except ScaleError:
        block.deposit("System", "ExtrinsicFailed", _OTHER_ERROR + DISPATCH_INFO)
    else:
        block.keep(attempt)
        block.deposit("System", "ExtrinsicSuccess", DISPATCH_INFO)


def _dispatch(block: Execution, sent: Extrinsic) -> None:
    """Do what a call asks for; `check_call` has made sure that it can be read."""
    call, arguments = sent.call[:2], Cursor(sent.call[2:])
    if call == block.pallets.call("Market", "place_storage_order"):
        market.place_order(block, sent.signer, market.decode_order(arguments, memo=block.rules.memo))
    elif call == block.pallets.call("Balances", "transfer"):
        _transfer(block, sent.signer, target=arguments.take(32), planck=arguments.compact())


def _transfer(block: Execution, source: bytes, *, target: bytes, planck: int) -> None:
    if accounts.read(block.state.get, source).free < planck:
        raise DispatchFailed("Balances", "InsufficientBalance")
    block.transfer(source, target, planck)


def check_call(call: bytes, pallets: Pallets, chain_rules: Rules) -> None:
    """Insist that a call is one of this runtime's, as a node does that decodes an extrinsic.

    Raises:
        ScaleError: It is not.
    """
    arguments = Cursor(call[2:])
    if call[:2] == pallets.call("Market", "place_storage_order"):
        market.decode_order(arguments, memo=chain_rules.memo)
    elif call[:2] == pallets.call("Balances", "transfer"):
        arguments.take(32)
        arguments.compact()
        arguments.finish()
    elif call[:2] == pallets.call("System", "remark"):
        arguments.byte_string()
        arguments.finish()
    else:
        raise ScaleError("no such call")
