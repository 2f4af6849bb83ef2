"""The control door: people and tests turn the network, make it misbehave and advance its time."""

import asyncio
from dataclasses import asdict
from functools import partial
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from roadvault_devnet import accounts, files, keys, market, scale
from roadvault_devnet.accounts import Account
from roadvault_devnet.block import Block, as_hex
from roadvault_devnet.chain import Chain
from roadvault_devnet.errors import ControlRefused
from roadvault_devnet.execution import Execution
from roadvault_devnet.producer import Producer
from roadvault_devnet.runtime import Change
from roadvault_devnet.storage_node import StorageNode

_SHOWN_FILES = 1000
_BLOCKS_AT_ONCE = 100_000
_BREATH = 20
"""Blocks made in one go, before others get a turn."""

Count = Annotated[int, Field(ge=0, le=2**32 - 1)]
Planck = Annotated[int, Field(ge=0, le=2**120)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Funds(_Strict):
    """An account and an amount in planck."""

    address: str
    planck: Planck


class Replicas(_Strict):
    """A file and how many replicas are reported."""

    cid: str
    count: Annotated[int, Field(ge=0, le=10_000)]


class Files(_Strict):
    """Many files as if ordered: `cid` has a place, {}, for the number of each. Sizes are bytes."""

    cid: str
    count: Annotated[int, Field(ge=0, le=100_000)]
    size: Annotated[int, Field(ge=0, le=2**63)]
    replicas: Annotated[int, Field(ge=0, le=10_000)]


class Refusal(_Strict):
    """The error with which every extrinsic is refused."""

    code: int
    text: str


class Turn(_Strict):
    """What to turn; any of these at once. First the settings, then single acts, in the order written here."""

    block_seconds: float | None = Field(None, gt=0)
    finality_lag: Count | None = None
    replicas_per_block: Count | None = None
    max_replicas: Annotated[int, Field(ge=0, le=10_000)] | None = None
    file_duration_blocks: Annotated[int, Field(ge=1, le=2**32 - 1)] | None = None
    hold_blocks: bool | None = None
    hold_finality: bool | None = None
    syncing: bool | None = None
    lose_answer: Count | None = None
    refuse_submissions: Refusal | None = None
    peerless: bool | None = None
    bodies: Count | None = None
    spoil_events: Literal["", "unknown", "none"] | None = None
    answer_seconds: Annotated[float, Field(ge=0, le=60)] | None = None
    most_keys: Count | None = None
    dispatch_error: Annotated[str, Field(pattern="^([0-9a-f]{2})*$")] | None = None
    market_enabled: bool | None = None
    fund: Funds | None = None
    set_balance: Funds | None = None
    close_file: str | None = None
    lose_file: str | None = None
    set_replicas: Replicas | None = None
    add_files: Files | None = None
    upgrade: bool = False
    reorg: Count = 0
    make_blocks: Annotated[int, Field(ge=0, le=_BLOCKS_AT_ONCE)] = 0
    drop_connections: bool = False


_SETTINGS = (
    "block_seconds",
    "finality_lag",
    "replicas_per_block",
    "max_replicas",
    "file_duration_blocks",
    "hold_blocks",
    "hold_finality",
    "syncing",
    "lose_answer",
    "peerless",
    "bodies",
    "spoil_events",
    "dispatch_error",
    "answer_seconds",
    "most_keys",
)


class Control:
    """Does what the door is asked for."""

    def __init__(self, chain: Chain, node: StorageNode, producer: Producer) -> None:
        self._chain = chain
        self._node = node
        self._producer = producer

    async def apply(self, turn: Turn) -> None:
        """Turn the network; closing connections is the server's part.

        Raises:
            ControlRefused: It cannot be done now; what stands before it is done.
        """
        self._turn_settings(turn)
        changes = _changes(turn)
        if changes:
            # What no extrinsic asks for gets a block of its own, so that the state at every block stays true.
            self._chain.make_block(changes, take_pool=False)
        if turn.lose_file is not None:
            await self._lose(turn.lose_file)
        if turn.upgrade:
            self._chain.upgrade()
        if turn.reorg:
            self._chain.reorganize(turn.reorg)
        for made in range(turn.make_blocks):
            self._chain.make_block()
            if made % _BREATH == 0:
                await asyncio.sleep(0)

    async def _lose(self, cid: str) -> None:
        if not self._node.holds(cid):
            raise ControlRefused(f"no storage node holds {cid}")
        if not await self._node.lose(cid):
            raise ControlRefused(f"the storage node's Kubo does not let go of {cid} now")

    def _turn_settings(self, turn: Turn) -> None:
        for name in _SETTINGS:
            value = getattr(turn, name)
            if value is not None:
                setattr(self._chain.rules, name, value)
        if "refuse_submissions" in turn.model_fields_set:
            refusal = turn.refuse_submissions
            self._chain.rules.refusal = None if refusal is None else (refusal.code, refusal.text)
        self._producer.turn()
        self._chain.finalize()

    def state(self) -> dict[str, object]:
        """Return what there is to see, as JSON; prices in planck."""
        chain = self._chain
        prices = ("FileBaseFee", "FileByteFee", "FileKeysCountFee", "OrdersCount")
        market_state: dict[str, object] = {
            item: int.from_bytes(chain.read(keys.plain("Market", item)) or b"", "little") for item in prices
        }
        market_state["EnableMarket"] = chain.read(keys.plain("Market", "EnableMarket")) == b"\1"
        return {
            "genesis": as_hex(chain.genesis),
            "head": _named(chain.head),
            "finalized": _named(chain.finalized),
            "settings": asdict(chain.rules),
            "market": market_state,
            "pool": [as_hex(sent.hash) for sent in chain.pool],
            "files": [self._file(cid, key) for cid, key in list(self._node.growth.ordered().items())[:_SHOWN_FILES]],
        }

    def _file(self, cid: str, key: bytes) -> dict[str, object]:
        info = files.decode(self._chain.read(key) or b"", self._chain.rules.generation)
        shown = {name: value for name, value in vars(info).items() if name != "replicas"}
        return {"cid": cid, "held": self._node.holds(cid), **shown}


def _named(block: Block) -> dict[str, object]:
    return {"number": block.number, "hash": as_hex(block.hash)}


def _changes(turn: Turn) -> list[Change]:
    changes: list[Change] = []
    if turn.market_enabled is not None:
        changes.append(partial(_enable, enabled=turn.market_enabled))
    if turn.fund is not None:
        changes.append(partial(_set_balance, funds=turn.fund, more=True))
    if turn.set_balance is not None:
        changes.append(partial(_set_balance, funds=turn.set_balance, more=False))
    if turn.close_file is not None:
        changes.append(partial(market.close, cid=turn.close_file.encode()))
    if turn.set_replicas is not None:
        wanted = turn.set_replicas
        changes.append(partial(market.report_replicas, cid=wanted.cid.encode(), count=wanted.count))
    if turn.add_files is not None:
        changes.append(partial(_add_files, many=turn.add_files))
    return changes


def _add_files(block: Execution, *, many: Files) -> None:
    for number in range(many.count):
        cid = many.cid.format(number).encode()
        market.write(block, cid, files.FileInfo(many.size, block.number, amount=0, remaining_paid_count=0))
        market.report_replicas(block, cid, many.replicas)


def _enable(block: Execution, *, enabled: bool) -> None:
    market.enable(block.state, enabled=enabled)


def _set_balance(block: Execution, funds: Funds, *, more: bool) -> None:
    try:
        public_key = accounts.public_key_of(funds.address)
    except ValueError as error:
        raise ControlRefused(str(error)) from error
    account = accounts.read(block.state.get, public_key)
    free = account.free + funds.planck if more else funds.planck
    accounts.write(block.state, public_key, Account(account.nonce, free))
    block.deposit("Balances", "BalanceSet", public_key + scale.u128(free) + scale.u128(0))
