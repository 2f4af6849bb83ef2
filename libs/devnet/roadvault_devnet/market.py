"""The market pallet: orders, their price, replicas and closing.

Behaves as Crust's `place_storage_order` was seen to behave: the checks in this order, the price from the values of the
moment, and the price moving with every order.
"""

from dataclasses import dataclass

from roadvault_devnet import accounts, files, keys, rules, scale
from roadvault_devnet.errors import DispatchFailed
from roadvault_devnet.execution import Execution
from roadvault_devnet.files import FileInfo, Replica
from roadvault_devnet.rules import Generation
from roadvault_devnet.scale import Cursor
from roadvault_devnet.state import Overlay

_DRIFT = 10_000
"""Each order makes the next ones dearer by a ten-thousandth."""
_PRICES = ("FileBaseFee", "FileByteFee", "FileKeysCountFee")


@dataclass(frozen=True)
class Order:
    """One order: size in bytes as the client declares it, tips in planck."""

    cid: bytes
    size: int
    tips: int


def genesis(state: Overlay) -> None:
    """Open the market and set the first prices."""
    values = (rules.GENESIS_FILE_BASE_FEE, rules.GENESIS_FILE_BYTE_FEE, rules.GENESIS_FILE_KEYS_COUNT_FEE)
    for item, value in zip(_PRICES, values, strict=True):
        state.put(keys.plain("Market", item), scale.u128(value))
    enable(state, enabled=True)


def enable(state: Overlay, *, enabled: bool) -> None:
    """Open or close the market."""
    state.put(keys.plain("Market", "EnableMarket"), bytes([enabled]))


def decode_order(arguments: Cursor, *, memo: bool) -> Order:
    """Read the arguments of the call; the memo is of no consequence."""
    order = Order(arguments.byte_string(), arguments.unsigned(8), arguments.compact())
    if memo:
        arguments.byte_string()
    arguments.finish()
    return order


def place_order(block: Execution, who: bytes, order: Order) -> None:
    """Charge an order and note its file.

    Raises:
        DispatchFailed: The market is closed, the size wrong or too large, or the account too poor.
    """
    if block.state.get(keys.plain("Market", "EnableMarket")) != b"\1":
        raise DispatchFailed("Market", "PlaceOrderNotAvailable")
    known = read(block, order.cid)
    if known is not None and order.size < known.file_size:
        raise DispatchFailed("Market", "FileSizeNotCorrect")
    size = order.size if known is None else known.file_size
    if size >= block.rules.generation.maximum_file_size:
        raise DispatchFailed("Market", "FileTooLarge")
    amount = _charge(block, who, size, order.tips)
    write(block, order.cid, _ordered(block, known, size, amount))
    _count(block, new_file=known is None)
    block.deposit("Market", "FileSuccess", who + scale.byte_string(order.cid))


def _charge(block: Execution, who: bytes, size: int, tips: int) -> int:
    """Take the price and return the part that goes to those who store the file, in planck."""
    base, per_mib, for_keys = (block.state.unsigned(keys.plain("Market", item)) for item in _PRICES)
    amount = per_mib * -(-size // rules.MIB) + for_keys
    if accounts.read(block.state.get, who).free < base + amount + tips:
        raise DispatchFailed("Market", "InsufficientCurrency")
    staking = amount * rules.STAKING_PERCENT // 100
    storage = amount * rules.STORAGE_PERCENT // 100
    block.transfer(who, accounts.pot("reserved"), base + amount - staking - storage)
    block.transfer(who, accounts.pot("staking"), staking)
    block.transfer(who, accounts.pot("storage"), storage + tips)
    return storage + tips


def _ordered(block: Execution, known: FileInfo | None, size: int, amount: int) -> FileInfo:
    if known is None:
        return FileInfo(size, calculated_at=block.number, amount=amount, remaining_paid_count=rules.FILE_REPLICA)
    known.amount += amount
    known.calculated_at = block.number
    if known.expired_at:
        # From now on, not from the old end: what was left of the old term is lost.
        known.expired_at = block.number + block.rules.file_duration_blocks
    return known


def _count(block: Execution, *, new_file: bool) -> None:
    for item, more in (("OrdersCount", 1), ("FileKeysCount", int(new_file))):
        key = keys.plain("Market", item)
        block.state.put(key, scale.u32(block.state.unsigned(key) + more))
    for item in _PRICES:
        key = keys.plain("Market", item)
        price = block.state.unsigned(key)
        block.state.put(key, scale.u128(price + max(1, price // _DRIFT)))


def read(block: Execution, cid: bytes) -> FileInfo | None:
    """Return an ordered file, or None."""
    generation = block.rules.generation
    stored = block.state.get(keys.file(generation.files_item, cid))
    return None if stored is None else files.decode(stored, generation)


def write(block: Execution, cid: bytes, info: FileInfo | None) -> None:
    """Store a file, or close it."""
    generation = block.rules.generation
    block.state.put(keys.file(generation.files_item, cid), None if info is None else info.encode(generation))


def move_file(block: Execution, key: bytes, prefix: bytes) -> None:
    """Move one file from the map of the runtime before to the present one's; `prefix` is the old map's."""
    stored = block.state.get(key)
    if stored is not None:
        generation = block.rules.generation
        info = files.decode(stored, Generation.V1)
        block.state.put(key, None)
        block.state.put(keys.plain("Market", generation.files_item) + key[len(prefix) :], info.encode(generation))


def close(block: Execution, cid: bytes) -> None:
    """Take a file from the market: from now on it was never ordered."""
    write(block, cid, None)
    block.deposit("Market", "FileClosed", scale.byte_string(cid))


def report_replicas(block: Execution, cid: bytes, count: int) -> None:
    """Set how many replicas storage nodes report; the first one starts the term."""
    info = read(block, cid)
    if info is None:
        return
    stored = min(count, rules.STORED_REPLICAS)
    first_new = len(info.replicas)
    info.replicas = info.replicas[:stored] + [_replica(block, index) for index in range(first_new, stored)]
    info.reported_replica_count = count
    info.remaining_paid_count = max(0, rules.FILE_REPLICA - count)
    if count and not info.expired_at:
        info.calculated_at = block.number
        info.expired_at = block.number + block.rules.file_duration_blocks
    write(block, cid, info)


def _replica(block: Execution, index: int) -> Replica:
    anchor = f"devnet-storage-node-{index}".encode()
    return Replica(accounts.pot(f"node/{index}"), valid_at=block.number, anchor=anchor, created_at=block.number)
