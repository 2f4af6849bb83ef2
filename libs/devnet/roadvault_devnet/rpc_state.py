"""The `state_` methods: storage, metadata and runtime, at any block whose state is still known."""

from roadvault_devnet import accounts, errors, extrinsic, metadata, rules, runtime, runtime_pallets, scale
from roadvault_devnet.block import Block, as_hex
from roadvault_devnet.chain import Chain
from roadvault_devnet.connection import Cancel, Connection, Notify, needed
from roadvault_devnet.errors import RpcError
from roadvault_devnet.rpc import Method, Params
from roadvault_devnet.rpc_chain import unsubscribe

_PAGE = 1000
"""Keys in one answer; a node's limit."""


class StateMethods:
    """Answers questions about the state."""

    def __init__(self, chain: Chain) -> None:
        self._chain = chain

    def table(self) -> dict[str, Method]:
        """Return the methods by their names, with those that nodes know under two."""
        return {
            "state_getStorage": self._storage,
            "state_getStorageAt": self._storage,
            "state_getKeysPaged": self._keys_paged,
            "state_getKeysPagedAt": self._keys_paged,
            "state_queryStorageAt": self._query,
            "state_subscribeStorage": self._subscribe,
            "state_unsubscribeStorage": unsubscribe,
            "state_getMetadata": self._metadata,
            "state_getRuntimeVersion": self._version,
            "chain_getRuntimeVersion": self._version,
            "state_call": self._call,
        }

    def _storage(self, params: Params, _connection: Connection | None) -> object:
        return _hex_or_none(self._chain.state_at(params.data_or_none(1))(params.data(0)))

    def _keys_paged(self, params: Params, _connection: Connection | None) -> object:
        prefix, start = params.data(0), params.data_or_none(2) or b""
        count = params.get(1)
        if not isinstance(count, int) or not 0 <= count <= _PAGE:
            raise RpcError(errors.INVALID_COUNT, f"count exceeds maximum value. value: {count}, max: {_PAGE}")
        known = self._chain.keys_at(prefix, params.data_or_none(3))
        return [as_hex(key) for key in known if key > start][:count]

    def _query(self, params: Params, _connection: Connection | None) -> object:
        block_hash, most = params.data_or_none(1) or self._chain.head.hash, self._chain.rules.most_keys
        if most == 0:
            raise RpcError(errors.METHOD_NOT_FOUND, "Method not found")
        if most is not None and len(params.data_list(0)) > most:
            raise RpcError(errors.TOO_LARGE, "Response is too big", f"more than {most} keys")
        return [self._changes(params.data_list(0), block_hash)]

    def _changes(self, wanted: list[bytes], block_hash: bytes) -> dict[str, object]:
        read = self._chain.state_at(block_hash)
        return {"block": as_hex(block_hash), "changes": [[as_hex(key), _hex_or_none(read(key))] for key in wanted]}

    def _subscribe(self, params: Params, connection: Connection | None) -> object:
        wanted = params.data_list(0)

        def begin(notify: Notify) -> Cancel:
            told: dict[bytes, bytes | None] = {}

            def tell(block: Block) -> None:
                now = {key: self._chain.read(key) for key in wanted}
                changed = [key for key in wanted if key not in told or told[key] != now[key]]
                told.update(now)
                if changed:
                    notify(self._changes(changed, block.hash))

            self._chain.on_head.append(tell)
            tell(self._chain.head)
            return lambda: self._chain.on_head.remove(tell)

        return needed(connection).subscribe("state_storage", begin)

    def _metadata(self, params: Params, _connection: Connection | None) -> object:
        return as_hex(metadata.encode(runtime_pallets.describe(self._chain.rules_at(params.data_or_none(0)))))

    def _version(self, params: Params, _connection: Connection | None) -> object:
        # The runtime is itself part of the state: a node that forgot the state does not know it either.
        there = self._chain.rules_at(params.data_or_none(0))
        return {
            "specName": "crust",
            "implName": "roadvault-devnet",
            "authoringVersion": 1,
            "specVersion": there.generation.spec_version,
            "implVersion": 1,
            "apis": [],
            "transactionVersion": rules.TRANSACTION_VERSION,
            "stateVersion": 0,
        }

    def _call(self, params: Params, _connection: Connection | None) -> object:
        name, arguments, read = params.text(0), params.data(1), self._chain.state_at(params.data_or_none(2))
        if name == "AccountNonceApi_account_nonce":
            return as_hex(scale.u32(accounts.read(read, arguments[:32]).nonce))
        if name == "TransactionPaymentApi_query_info":
            size = scale.Cursor(arguments[-4:]).unsigned(4)
            # Weight and class without "pays a fee", then the fee in planck.
            return as_hex(runtime.DISPATCH_INFO[:-1] + scale.u128(extrinsic.fee(size)))
        reason = f"Exported method {name} is not found"
        raise RpcError(errors.CLIENT_ERROR, f"Client error: Execution failed: {reason}")


def _hex_or_none(value: bytes | None) -> str | None:
    return None if value is None else as_hex(value)
