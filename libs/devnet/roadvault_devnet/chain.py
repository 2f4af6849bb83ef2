"""The chain: makes blocks, finalizes them, takes them back, and knows the state at each recent one."""

import secrets
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial

from roadvault_devnet import extrinsic, keys, market, rules, runtime, runtime_pallets
from roadvault_devnet.block import Block, as_hex
from roadvault_devnet.errors import CLIENT_ERROR, CannotStart, ControlRefused, RpcError
from roadvault_devnet.execution import Execution
from roadvault_devnet.extrinsic import Extrinsic
from roadvault_devnet.pallets import Pallets
from roadvault_devnet.pool import Pool, Watches
from roadvault_devnet.rules import Generation, Rules
from roadvault_devnet.runtime import Change
from roadvault_devnet.state import Changes, Overlay, Read
from roadvault_devnet.store import Store
from roadvault_devnet.validity import Moment

Listener = Callable[[Block], None]


class Chain:
    """One chain. `on_head` and `on_finalized` are called with each new block, from the event loop."""

    def __init__(self, store: Store, chain_rules: Rules, endowed: dict[bytes, int]) -> None:
        """Go on with the chain of a store, or begin one where `endowed` accounts have that many planck.

        Raises:
            CannotStart: The store holds a chain of the other generation.
        """
        self._store = store
        self.rules = chain_rules
        self.watches = Watches()
        self.pool = Pool(self.watches)
        self.on_head: list[Listener] = []
        self.on_finalized: list[Listener] = []
        self.own_changes: Callable[[], list[Change]] = list
        self._upgraded = (0, chain_rules)
        """The block that brought the current code, and the rules before it."""
        if store.head() is None:
            self._begin(endowed)
        known = store.meta("generation")
        if known != chain_rules.generation.encode():
            held = (known or b"").decode()
            raise CannotStart(
                f"the data directory holds a chain like {held}, the settings say {chain_rules.generation}"
            )
        self._state = store.state()
        self.head = store.head() or self.at(0)
        self.finalized = self.at(int.from_bytes(store.meta("finalized") or b"", "little"))
        self.genesis = self.at(0).hash

    def _begin(self, endowed: dict[bytes, int]) -> None:
        state = Overlay(lambda _key: None)
        runtime.genesis(state, endowed)
        self._store.set_meta("generation", self.rules.generation.encode())
        # A root of its own tells this chain from one that was begun in the same way before and then thrown away.
        block = Block(0, bytes(32), secrets.token_bytes(32), ())
        self._store.append(block, state.changes, {}, forget_below=0)

    def upgrade(self) -> None:
        """Go over to the current runtime, as a network does: one block brings the code, the next moves the files.

        Raises:
            ControlRefused: It is the current runtime already.
        """
        if self.rules.generation is Generation.V2:
            raise ControlRefused("this chain has the current runtime already")
        before = replace(self.rules)
        self._upgraded = (self.make_block(take_pool=False).number, before)
        self.rules.generation, self.rules.memo = Generation.V2, True
        self._store.set_meta("generation", self.rules.generation.encode())
        prefix = keys.plain("Market", before.generation.files_item)
        moves = [partial(market.move_file, key=key, prefix=prefix) for key in self.keys_at(prefix, None)]
        self.make_block(moves, take_pool=False)

    def rules_at(self, block_hash: bytes | None) -> Rules:
        """Return the rules whose code the state at a block holds, the head's by default."""
        number = self._number_with_state(block_hash)
        return self._upgraded[1] if number < self._upgraded[0] else self.rules

    @property
    def pallets(self) -> Pallets:
        """The runtime, by the rules of the moment."""
        return runtime_pallets.describe(self.rules)

    def read(self, key: bytes) -> bytes | None:
        """Return a value at the head."""
        return self._state.get(key)

    def at(self, number: int) -> Block:
        """Return the block of a height that there is."""
        block = self._store.block_at(number)
        if block is None:
            raise LookupError(f"no block {number}")
        return block

    def hash_at(self, number: int) -> bytes | None:
        """Return the hash of a height, or None."""
        block = self._store.block_at(number)
        return None if block is None else block.hash

    def block_of(self, block_hash: bytes) -> Block | None:
        """Return a block by its hash, or None."""
        return self._store.block_of(block_hash)

    def moment(self) -> Moment:
        """Return what the next block would go by."""
        spec_version = self.rules.generation.spec_version
        return Moment(self.head.number + 1, spec_version, self.genesis, self.hash_at, self.read)

    def state_at(self, block_hash: bytes | None) -> Read:
        """Return a way to read the state at a block, the head's by default.

        Raises:
            RpcError: There is no such block, or its state is forgotten.
        """
        number = self._number_with_state(block_hash)
        if number == self.head.number:
            return self.read

        def read(key: bytes) -> bytes | None:
            changed, before = self._store.before_change(key, number)
            return before if changed else self.read(key)

        return read

    def keys_at(self, prefix: bytes, block_hash: bytes | None) -> list[bytes]:
        """Return the keys with a prefix at a block, in order."""
        number, read = self._number_with_state(block_hash), self.state_at(block_hash)
        changed = self._store.changed_keys(number) if number < self.head.number else ()
        known = {*self._state, *changed}
        return sorted(key for key in known if key.startswith(prefix) and read(key) is not None)

    def _number_with_state(self, block_hash: bytes | None) -> int:
        block = self.head if block_hash is None else self.block_of(block_hash)
        if block is None:
            unknown = f"Header was not found in the database: {as_hex(block_hash or b'')}"
            raise RpcError(CLIENT_ERROR, f"Client error: UnknownBlock: {unknown}")
        if block.number < self.finalized.number - rules.STATE_BLOCKS:
            discarded = f"State already discarded for {as_hex(block.hash)}"
            raise RpcError(CLIENT_ERROR, f"Client error: UnknownBlock: {discarded}")
        return block.number

    def make_block(self, changes: Iterable[Change] = (), *, take_pool: bool = True) -> Block:
        """Make one block with changes of its own and what waits in the pool."""
        execution = Execution(Overlay(self.read), self.head.number + 1, self.pallets, self.rules)
        runtime.initialize(execution, self.head.hash)
        waiting = self.pool.candidates(execution) if take_pool else ()
        body = runtime.run(execution, [*changes, *(self.own_changes() if take_pool else ())], waiting)
        block = Block(execution.number, self.head.hash, secrets.token_bytes(32), tuple(body))
        self._append(block, execution.state.changes)
        included = [keys.blake2_256(raw) for raw in body]
        self.pool.settle(included, self.moment())
        for extrinsic_hash in included:
            self.watches.tell(extrinsic_hash, {"inBlock": as_hex(block.hash)})
        for listener in list(self.on_head):
            listener(block)
        self.finalize()
        return block

    def _append(self, block: Block, changes: Changes) -> None:
        replaced: Changes = {key: self.read(key) for key in changes}
        forget_below = self.finalized.number - rules.STATE_BLOCKS
        self._store.append(block, changes, replaced, forget_below)
        self._update(changes)
        self.head = block

    def _update(self, changes: Changes) -> None:
        for key, value in changes.items():
            if value is None:
                self._state.pop(key, None)
            else:
                self._state[key] = value

    def finalize(self) -> None:
        """Let finality follow the head, by the lag of the moment."""
        target = self.head.number - self.rules.finality_lag
        while not self.rules.hold_finality and self.finalized.number < target:
            self.finalized = self.at(self.finalized.number + 1)
            self._store.set_meta("finalized", self.finalized.number.to_bytes(8, "little"))
            for raw in self.finalized.body:
                self.watches.tell(keys.blake2_256(raw), {"finalized": as_hex(self.finalized.hash)}, last=True)
            for listener in list(self.on_finalized):
                listener(self.finalized)

    def reorganize(self, blocks: int) -> None:
        """Take the last blocks back; their extrinsics wait again.

        Raises:
            ControlRefused: One of them is final.
        """
        if blocks > self.head.number - self.finalized.number:
            raise ControlRefused(f"only {self.head.number - self.finalized.number} blocks are not final yet")
        returned: list[Extrinsic] = []
        for _ in range(blocks):
            gone, parent = self.head, self.at(self.head.number - 1)
            self._update(self._store.take_back(gone))
            self.head = parent
            returned = [extrinsic.decode(raw) for raw in gone.body if extrinsic.is_signed(raw)] + returned
            for raw in gone.body:
                self.watches.tell(keys.blake2_256(raw), {"retracted": as_hex(gone.hash)})
        self.pool.put_back(returned, self.moment())
