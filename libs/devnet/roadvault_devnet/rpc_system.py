"""The `system_` methods and fee queries: what this node is and how it is."""

from importlib.metadata import version

from roadvault_devnet import accounts, errors, extrinsic, rules, runtime
from roadvault_devnet.chain import Chain
from roadvault_devnet.connection import Connection
from roadvault_devnet.errors import RpcError
from roadvault_devnet.rpc import Method, Params

CHAIN_NAME = "RoadVault Devnet"
_BEHIND = 1000
"""Blocks that a node still has to fetch when it is told to look unsynced."""


class SystemMethods:
    """Answers questions about the node."""

    def __init__(self, chain: Chain) -> None:
        self._chain = chain

    def table(self) -> dict[str, Method]:
        """Return the methods by their names."""
        return {
            "system_chain": lambda _params, _to: CHAIN_NAME,
            "system_chainType": lambda _params, _to: "Development",
            "system_name": lambda _params, _to: "roadvault-devnet",
            "system_version": lambda _params, _to: version("roadvault"),
            "system_properties": self._properties,
            "system_health": self._health,
            "system_syncState": self._sync_state,
            "system_accountNextIndex": self._next_index,
            "account_nextIndex": self._next_index,
            "payment_queryInfo": self._query_info,
        }

    def _properties(self, _params: Params, _connection: Connection | None) -> object:
        decimals, symbol = rules.TOKEN_DECIMALS, rules.TOKEN_SYMBOL
        return {"ss58Format": rules.SS58_FORMAT, "tokenDecimals": decimals, "tokenSymbol": symbol}

    def _health(self, _params: Params, _connection: Connection | None) -> object:
        alone = self._chain.rules.peerless
        return {"peers": int(not alone), "isSyncing": self._chain.rules.syncing, "shouldHavePeers": alone}

    def _sync_state(self, _params: Params, _connection: Connection | None) -> object:
        head = self._chain.head.number
        highest = head + _BEHIND if self._chain.rules.syncing else head
        return {"startingBlock": 0, "currentBlock": head, "highestBlock": highest}

    def _next_index(self, params: Params, _connection: Connection | None) -> object:
        try:
            public_key = accounts.public_key_of(params.text(0))
        except ValueError as error:
            raise RpcError(errors.INVALID_PARAMS, f"Invalid params: {error}") from error
        return self._chain.pool.next_nonce(public_key, self._chain.read)

    def _query_info(self, params: Params, _connection: Connection | None) -> object:
        fee = extrinsic.fee(len(params.data(0)))
        return {"weight": runtime.WEIGHT, "class": "normal", "partialFee": str(fee)}
