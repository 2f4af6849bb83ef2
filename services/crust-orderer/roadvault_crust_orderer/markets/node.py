"""A Crust node's RPC through `substrate-interface`. Everything here blocks, and is called from one thread only."""

from collections.abc import Callable, Sequence
from copy import copy
from functools import wraps
from hashlib import blake2b
from typing import Any, Concatenate, ParamSpec, TypeVar, cast

import structlog
from pydantic import SecretStr
from substrateinterface import SubstrateInterface
from substrateinterface.exceptions import StorageFunctionNotFound, SubstrateRequestException

from roadvault_common.errors import ChainUnavailable
from roadvault_common.web.w3auth import keypair
from roadvault_crust_orderer.markets import files
from roadvault_crust_orderer.markets.endpoints import UNREACHABLE, CannotTell, Endpoints
from roadvault_crust_orderer.markets.market import FILE_DURATION, Found, Included
from roadvault_crust_orderer.markets.results import NoResultEvent, error_of

log = structlog.get_logger()

ERA_BLOCKS = 64
"""How long a signed order stays valid: 6.4 minutes at 6 s, enough for a busy pool, short enough to be sure soon."""
_DEFAULT_LARGEST = 8 << 30
"""MaximumFileSize of the current market pallet, for a runtime that does not tell it as a constant."""
_POOL_ERRORS = range(1010, 1020)
"""What a node's transaction pool says: invalid, unknown, banned for now, already there, priority too low, ..."""
_IN_POOL = frozenset({1012, 1013})
"""Temporarily banned, which is what follows inclusion, and already imported."""
_STATE_DISCARDED = frozenset({4003, -32000})
"""What a node says of a block whose state it has forgotten, as all but archive nodes do after 256 blocks."""

P = ParamSpec("P")
T = TypeVar("T")


def _reaching_node(method: "Callable[Concatenate[Node, P], T]") -> "Callable[Concatenate[Node, P], T]":
    """Have a method talk to one node, over one connection, and all of it to the next after a failure.

    All that a node is asked for may be asked for twice: what it tells is read only, and the same signed bytes are
    included at most once.
    """

    @wraps(method)
    def guarded(self: "Node", *args: P.args, **kwargs: P.kwargs) -> T:
        return self.endpoints.ask(lambda: method(self, *args, **kwargs))

    return cast("Callable[Concatenate[Node, P], T]", guarded)


class Node:
    """One account on one chain. Every method raises ChainUnavailable when no endpoint can answer."""

    def __init__(self, endpoints: Endpoints, seed: SecretStr, tip: int = 0) -> None:
        self.endpoints = endpoints
        self._tip = tip
        self._keypair = keypair(seed)
        self.account: str = self._keypair.ss58_address

    def over(self, endpoints: Endpoints) -> "Node":
        """Return the same account at the same chain, over connections of its own, for another thread."""
        other = copy(self)
        other.endpoints = endpoints
        return other

    @property
    def _substrate(self) -> SubstrateInterface:
        return self.endpoints.substrate

    @_reaching_node
    def genesis(self) -> str:
        """Return the hash of the chain's first block."""
        return self.endpoints.genesis()

    @_reaching_node
    def pulse(self) -> tuple[str, int]:
        """Return the chain's genesis hash and the finalized height, with no more questions than it takes."""
        height, _ = self._finalized()
        return self.endpoints.genesis(), height

    @_reaching_node
    def finalized_head(self) -> tuple[int, str, int]:
        """Return the finalized head's height and hash, and how many blocks an order lasts there."""
        height, block_hash = self._finalized()
        return height, block_hash, self._constant("Market", "FileDuration", FILE_DURATION, block_hash)

    def _finalized(self) -> tuple[int, str]:
        """Return height and hash of the finalized head of a node that follows its chain."""
        health = self._substrate.rpc_request("system_health", [])["result"]
        if health["isSyncing"]:
            raise ChainUnavailable("the Crust node is still syncing")
        if health.get("shouldHavePeers") and not health["peers"]:
            raise ChainUnavailable("the Crust node has no peers")
        block_hash = str(self._substrate.get_chain_finalised_head())
        height = int(self._substrate.get_block_number(block_hash))
        self.endpoints.see_head(height)
        return height, block_hash

    def _constant(self, pallet: str, name: str, default: int, block_hash: str | None = None) -> int:
        constant = self._substrate.get_constant(pallet, name, block_hash=block_hash)
        return default if constant is None else int(constant.value)

    @_reaching_node
    def files(self, cids: Sequence[str], block_hash: str) -> dict[str, Found]:
        """Return the market's entries of CIDs: of FilesV2 where the runtime has it, else of Files."""
        return files.at(self.endpoints, cids, block_hash)

    @_reaching_node
    def prices(self) -> tuple[int, int]:
        """Return what the market takes for any order, with our tip, and for each MiB; both move with every order."""
        for_keys = self._price_item("FileKeysCountFee", 0)  # older runtimes do not ask for it
        return self._price_item("FileBaseFee") + for_keys + self._tip, self._price_item("FileByteFee")

    def _price_item(self, name: str, default: int | None = None) -> int:
        try:
            value = self._substrate.query("Market", name).value
        except StorageFunctionNotFound:
            value = default
        if value is None:
            raise ChainUnavailable(f"the chain's runtime has no Market.{name}: without a price nothing is bought")
        return int(value)

    @_reaching_node
    def fee(self, cid: str, size: int) -> int:
        """Return the transaction fee of an order: of its very bytes, since the chain takes a part for each.

        The chain's fee multiplier moves with every block, on Crust by some 755 planck.
        """
        birth, _ = self._finalized()
        extrinsic = self._signed(cid, size, self._nonce(), birth)
        length = self._substrate.runtime_config.create_scale_object("u32")
        length.encode(len(extrinsic.data))
        info = self._substrate.runtime_call("TransactionPaymentApi", "query_info", [extrinsic, length])
        return int(info.value["partialFee"])

    @_reaching_node
    def balance(self) -> int:
        """Return what the account can spend: free, not frozen, and not the deposit without which it ends.

        A node refuses an extrinsic that would leave less than that (code 1010).
        """
        data = self._substrate.query("System", "Account", [self.account]).value["data"]
        frozen = max(int(data.get(name, 0)) for name in ("misc_frozen", "fee_frozen", "frozen"))
        return max(int(data["free"]) - frozen - self._constant("Balances", "ExistentialDeposit", 0), 0)

    @_reaching_node
    def market_open(self) -> bool:
        """Tell whether the market takes orders now."""
        try:
            return bool(self._substrate.query("Market", "EnableMarket").value)
        except StorageFunctionNotFound:
            return True  # a runtime without the switch is always open

    @_reaching_node
    def largest_file(self) -> int:
        """Return the size that a file must stay under."""
        return self._constant("Market", "MaximumFileSize", _DEFAULT_LARGEST)

    def _call(self, cid: str, size: int) -> Any:  # noqa: ANN401 - the client has no types
        given = {"cid": cid, "reported_file_size": size, "tips": self._tip, "_memo": "", "memo": ""}
        function = self._substrate.get_metadata_call_function("Market", "place_storage_order")
        names = [argument["name"] for argument in function.value["args" if "args" in function.value else "fields"]]
        return self._substrate.compose_call("Market", "place_storage_order", {name: given[name] for name in names})

    @_reaching_node
    def sign(self, cid: str, size: int) -> tuple[int, int, int, str, str]:
        """Sign an order; return its nonce, first and end block of its era, hash and bytes (hex)."""
        birth, _ = self._finalized()
        nonce = self._nonce()
        signed = str(self._signed(cid, size, nonce, birth).data)
        return nonce, birth, birth + ERA_BLOCKS, _hash(signed), signed

    def _nonce(self) -> int:
        return int(self._substrate.rpc_request("system_accountNextIndex", [self.account])["result"])

    def _signed(self, cid: str, size: int, nonce: int, birth: int) -> Any:  # noqa: ANN401 - the client has no types
        era = {"period": ERA_BLOCKS, "current": birth}
        return self._substrate.create_signed_extrinsic(self._call(cid, size), self._keypair, era=era, nonce=nonce)

    @_reaching_node
    def submit(self, extrinsic: str) -> str | None:
        """Send signed bytes; return None if the pool has them now, else the node's refusal."""
        try:
            self._substrate.rpc_request("author_submitExtrinsic", [extrinsic])
        except SubstrateRequestException as error:
            code = _code(error)
            if code in _IN_POOL:
                return None
            if code in _POOL_ERRORS:
                return self.endpoints.told(error)
            raise
        return None

    def find(self, extrinsic_hash: str, first: int, last: int) -> Included | None:
        """Return the finalized block that holds the extrinsic, and its error's name; None if there is none."""
        try:
            return self._find(extrinsic_hash, first, last)
        except CannotTell as error:
            return Included(error.height, error.why, known=False)

    @_reaching_node
    def _find(self, extrinsic_hash: str, first: int, last: int) -> Included | None:
        # This node may be another one than told the head, and heights that it lacks are no proof of anything.
        finalized, _ = self._finalized()
        if finalized < last:
            words = f"the Crust node is at the finalized block {finalized}, and {last} is asked for"
            raise ChainUnavailable(words, code="head_behind", head=finalized, block=last)
        for height in range(first, last + 1):
            block_hash = self._substrate.rpc_request("chain_getBlockHash", [height])["result"]
            if block_hash is None:
                raise ChainUnavailable(f"the Crust node does not have block {height}")
            block = self._substrate.rpc_request("chain_getBlock", [block_hash])["result"]
            if block is None:
                raise CannotTell(height, "BodyDiscarded")
            for index, extrinsic in enumerate(block["block"]["extrinsics"]):
                if _hash(extrinsic) == extrinsic_hash:
                    return Included(height, self._error_of(height, block_hash, index), block_hash=block_hash)
        return None

    def _error_of(self, height: int, block_hash: str, index: int) -> str | None:
        try:
            events = self._substrate.get_events(block_hash)
            return error_of(events, index, self._substrate.metadata)
        except SubstrateRequestException as error:
            why = "StateDiscarded" if _code(error) in _STATE_DISCARDED else "EventsRefused"
            raise CannotTell(height, why) from error
        except NoResultEvent as error:
            raise CannotTell(height, "NoResultEvent") from error
        except UNREACHABLE:
            raise
        except Exception as error:
            # A single event of a type that it does not know makes all of the block's unreadable.
            told = self.endpoints.told(error)
            log.error("events can't be decoded", block=height, error=told)  # noqa: TRY400 - that says it all
            raise CannotTell(height, "EventsUnreadable") from error


def _hash(extrinsic: str) -> str:
    """Return an extrinsic's hash: BLAKE2b-256 of its bytes."""
    return "0x" + blake2b(bytes.fromhex(extrinsic.removeprefix("0x")), digest_size=32).hexdigest()


def _code(error: SubstrateRequestException) -> int | None:
    """Return the RPC error's code; texts differ between nodes, codes do not."""
    detail = error.args[0] if error.args else None
    code = detail.get("code") if isinstance(detail, dict) else None
    return code if isinstance(code, int) else None
