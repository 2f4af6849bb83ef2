"""The `chain_` methods: blocks, headers and who wants to hear of new ones."""

from roadvault_devnet import errors
from roadvault_devnet.block import Block, as_hex
from roadvault_devnet.chain import Chain, Listener
from roadvault_devnet.connection import Cancel, Connection, Notify, needed
from roadvault_devnet.errors import RpcError
from roadvault_devnet.rpc import Method, Params


class ChainMethods:
    """Answers questions about blocks. All blocks are kept, unless told otherwise; only their state is forgotten."""

    def __init__(self, chain: Chain) -> None:
        self._chain = chain

    def table(self) -> dict[str, Method]:
        """Return the methods by their names, with those that nodes know under two."""
        new, final = "chain_newHead", "chain_finalizedHead"
        return {
            "chain_getHeader": self._header,
            "chain_getBlock": self._block,
            "chain_getBlockHash": self._block_hash,
            "chain_getHead": self._block_hash,
            "chain_getFinalizedHead": self._finalized,
            "chain_getFinalisedHead": self._finalized,
            "chain_subscribeNewHeads": lambda _params, to: self._subscribe(to, new, self._chain.on_head),
            "chain_subscribeAllHeads": lambda _params, to: self._subscribe(to, "chain_allHead", self._chain.on_head),
            "chain_subscribeFinalizedHeads": lambda _params, to: self._subscribe(to, final, self._chain.on_finalized),
            "chain_unsubscribeNewHeads": unsubscribe,
            "chain_unsubscribeAllHeads": unsubscribe,
            "chain_unsubscribeFinalizedHeads": unsubscribe,
        }

    def _wanted(self, params: Params) -> Block | None:
        block_hash = params.data_or_none(0)
        return self._chain.head if block_hash is None else self._chain.block_of(block_hash)

    def _header(self, params: Params, _connection: Connection | None) -> object:
        block = self._wanted(params)
        return None if block is None else block.header_json()

    def _block(self, params: Params, _connection: Connection | None) -> object:
        block, kept = self._wanted(params), self._chain.rules.bodies
        if block is None or (kept is not None and block.number < self._chain.finalized.number - kept):
            return None
        return block.json()

    def _block_hash(self, params: Params, _connection: Connection | None) -> object:
        wanted = params.get(0)
        if wanted is None:
            return as_hex(self._chain.head.hash)
        if isinstance(wanted, list):
            return [self._hash_at(each) for each in wanted]
        return self._hash_at(wanted)

    def _hash_at(self, number: object) -> str | None:
        """Take a height as nodes do: a number, or one in hexadecimal."""
        try:
            height = int(number, 16) if isinstance(number, str) else number
        except ValueError:
            height = None
        if not isinstance(height, int):
            raise RpcError(errors.INVALID_PARAMS, "Invalid params: not a block number")
        block_hash = self._chain.hash_at(height)
        return None if block_hash is None else as_hex(block_hash)

    def _finalized(self, _params: Params, _connection: Connection | None) -> object:
        return as_hex(self._chain.finalized.hash)

    def _subscribe(self, connection: Connection | None, method: str, listeners: list[Listener]) -> str:
        latest = self._chain.finalized if listeners is self._chain.on_finalized else self._chain.head

        def begin(notify: Notify) -> Cancel:
            def tell(block: Block) -> None:
                notify(block.header_json())

            listeners.append(tell)
            tell(latest)
            return lambda: listeners.remove(tell)

        return needed(connection).subscribe(method, begin)


def unsubscribe(params: Params, connection: Connection | None) -> object:
    """End any subscription; all `unsubscribe` methods are this one."""
    return needed(connection).unsubscribe(params.text(0))
