"""A Crust node's RPC through `substrate-interface`. Everything here blocks, and is called from one thread only."""

import json
from collections.abc import Callable
from functools import wraps
from hashlib import blake2b
from typing import Any, Concatenate, ParamSpec, TypeVar, cast

from pydantic import SecretStr
from substrateinterface import ExtrinsicReceipt, Keypair, SubstrateInterface
from substrateinterface.exceptions import StorageFunctionNotFound, SubstrateRequestException
from websocket import WebSocketException

from roadvault_common.errors import ChainUnavailable, SettingsError, brief

SS58_PREFIX = 66
"""Crust's address type (its `system_properties`)."""
ERA_BLOCKS = 64
"""How long a signed order stays valid: 6.4 minutes at 6 s, enough for a busy pool, short enough to be sure soon."""
_MIB = 1 << 20
_DEFAULT_LARGEST = 8 << 30
"""MaximumFileSize of the current market pallet, for a runtime that does not tell it as a constant."""
_POOL_ERRORS = range(1010, 1020)
"""What a node's transaction pool says: invalid, unknown, banned for now, already there, priority too low, ..."""
_IN_POOL = frozenset({1012, 1013})
"""Temporarily banned, which is what follows inclusion, and already imported."""
_STATE_DISCARDED = 4003
UNKNOWN_RESULT = "StateDiscarded"
"""Stands for the dispatch error when the node has forgotten the block's events."""

P = ParamSpec("P")
T = TypeVar("T")


def _reaching_node(method: "Callable[Concatenate[Node, P], T]") -> "Callable[Concatenate[Node, P], T]":
    """Turn whatever a broken connection raises into ChainUnavailable, after each endpoint had its turn.

    All that a node is asked for may be asked for twice: what it tells is read only, and the same signed bytes are
    included at most once.
    """

    @wraps(method)
    def guarded(self: "Node", *args: P.args, **kwargs: P.kwargs) -> T:
        failure = ChainUnavailable("there is no Crust node to ask")
        for _ in self.urls:
            try:
                return method(self, *args, **kwargs)
            except SubstrateRequestException as error:
                failure = ChainUnavailable(f"the Crust node answers with an error: {brief(error)}")
            except ChainUnavailable as error:
                failure = error
            except (OSError, WebSocketException, json.JSONDecodeError) as error:
                failure = ChainUnavailable(f"the Crust node can't be reached: {brief(error)}")
            self.turn_to_next()
        raise failure

    return cast("Callable[Concatenate[Node, P], T]", guarded)


class Node:
    """One account on one chain, which one or several nodes (`urls`, separated by commas) give access to."""

    def __init__(self, urls: str, seed: SecretStr, timeout_seconds: float, tip: int = 0) -> None:
        self.urls = [url.strip() for url in urls.split(",") if url.strip()]
        self._tip = tip
        self._turn = 0
        self._genesis: str | None = None
        self._timeout = timeout_seconds
        self._keypair = keypair(seed)
        self.account: str = self._keypair.ss58_address
        self._connected: SubstrateInterface | None = None

    @property
    def _substrate(self) -> SubstrateInterface:
        if self._connected is None:
            url = self.urls[self._turn % len(self.urls)]
            options = {"timeout": self._timeout} if url.startswith("ws") else None
            self._connected = SubstrateInterface(
                url,
                ss58_format=SS58_PREFIX,
                type_registry_preset="crust",
                use_remote_preset=False,
                ws_options=options,
            )
            self._check_chain(self._connected, url)
        return self._connected

    def _check_chain(self, substrate: SubstrateInterface, url: str) -> None:
        """See that another endpoint is a node of the same chain: what was bought there would not count here."""
        genesis = str(substrate.get_block_hash(0))
        if self._genesis is not None and genesis != self._genesis:
            self.close()
            raise SettingsError(f"ROADVAULT_CRUST_URL: {url} is a node of another chain than the others")
        self._genesis = genesis

    def turn_to_next(self) -> None:
        """Drop the connection; the next use goes to the next endpoint."""
        self.close()
        self._turn += 1

    def close(self) -> None:
        """Drop the connection; the next use makes a new one."""
        connected, self._connected = self._connected, None
        if connected is not None:
            try:
                connected.close()
            except (OSError, WebSocketException):
                return  # it was broken already

    @_reaching_node
    def finalized_head(self) -> tuple[int, str]:
        """Return the finalized head's height and hash."""
        health = self._substrate.rpc_request("system_health", [])["result"]
        if health["isSyncing"]:
            raise ChainUnavailable("the Crust node is still syncing")
        block_hash = self._substrate.get_chain_finalised_head()
        return int(self._substrate.get_block_number(block_hash)), str(block_hash)

    @_reaching_node
    def file_info(self, cid: str, block_hash: str) -> dict[str, Any] | None:
        """Return the market's entry for a CID: FilesV2 where the runtime has it, else Files."""
        try:
            entry = self._substrate.query("Market", "FilesV2", [cid], block_hash)
        except StorageFunctionNotFound:
            entry = self._substrate.query("Market", "Files", [cid], block_hash)
        value: dict[str, Any] | None = entry.value
        return value

    @_reaching_node
    def price(self, size: int) -> int:
        """Return the market's price for `size` bytes, with our tip; it moves with every order."""
        mebibytes = -(-size // _MIB)
        per_mebibyte = self._market("FileByteFee")
        return self._market("FileBaseFee") + per_mebibyte * mebibytes + self._market("FileKeysCountFee") + self._tip

    def _market(self, name: str) -> int:
        try:
            return int(self._substrate.query("Market", name).value or 0)
        except StorageFunctionNotFound:
            return 0  # older runtimes do not ask for it

    @_reaching_node
    def fee(self, cid: str, size: int) -> int:
        """Return the transaction fee of an order."""
        info = self._substrate.get_payment_info(self._call(cid, size), self._keypair)
        return int(info["partialFee"])

    @_reaching_node
    def balance(self) -> int:
        """Return the account's free balance that is not frozen."""
        data = self._substrate.query("System", "Account", [self.account]).value["data"]
        frozen = max(int(data.get(name, 0)) for name in ("misc_frozen", "fee_frozen", "frozen"))
        return max(int(data["free"]) - frozen, 0)

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
        constant = self._substrate.get_constant("Market", "MaximumFileSize")
        return _DEFAULT_LARGEST if constant is None else int(constant.value)

    def _call(self, cid: str, size: int) -> Any:  # noqa: ANN401 - the client has no types
        given = {"cid": cid, "reported_file_size": size, "tips": self._tip, "_memo": "", "memo": ""}
        function = self._substrate.get_metadata_call_function("Market", "place_storage_order")
        names = [argument["name"] for argument in function.value["args" if "args" in function.value else "fields"]]
        return self._substrate.compose_call("Market", "place_storage_order", {name: given[name] for name in names})

    @_reaching_node
    def sign(self, cid: str, size: int) -> tuple[int, int, int, str, str]:
        """Sign an order; return its nonce, first and end block of its era, hash and bytes (hex)."""
        nonce = int(self._substrate.rpc_request("system_accountNextIndex", [self.account])["result"])
        birth, _ = self.finalized_head()
        extrinsic = self._substrate.create_signed_extrinsic(
            self._call(cid, size), self._keypair, era={"period": ERA_BLOCKS, "current": birth}, nonce=nonce
        )
        signed = str(extrinsic.data)
        return nonce, birth, birth + ERA_BLOCKS, _hash(signed), signed

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
                return brief(error)
            raise
        return None

    @_reaching_node
    def find(self, extrinsic_hash: str, first: int, last: int) -> tuple[int, str | None] | None:
        """Return the finalized block that holds the extrinsic and its error's name, or None."""
        for height in range(first, last + 1):
            block_hash = self._substrate.rpc_request("chain_getBlockHash", [height])["result"]
            block = self._substrate.rpc_request("chain_getBlock", [block_hash])["result"]
            if block is None:
                raise ChainUnavailable(f"the Crust node does not have block {height}")
            for index, extrinsic in enumerate(block["block"]["extrinsics"]):
                if _hash(extrinsic) == extrinsic_hash:
                    return height, self._error_of(extrinsic_hash, block_hash, index)
        return None

    def _error_of(self, extrinsic_hash: str, block_hash: str, index: int) -> str | None:
        receipt = ExtrinsicReceipt(self._substrate, extrinsic_hash, block_hash, extrinsic_idx=index)
        try:
            if receipt.is_success:
                return None
        except SubstrateRequestException as error:
            if _code(error) == _STATE_DISCARDED or "discarded" in str(error).lower():
                return UNKNOWN_RESULT
            raise
        message = receipt.error_message or {}
        return str(message.get("name", "Unknown"))


def keypair(seed: SecretStr) -> Keypair:
    """Return the account of a seed phrase, hex seed or //Derivation; SettingsError without quoting it otherwise."""
    try:
        return Keypair.create_from_uri(seed.get_secret_value(), ss58_format=SS58_PREFIX)
    except ValueError:
        # The client's own message may quote the phrase.
        raise SettingsError("the Crust account's seed is neither a phrase, a hex seed nor a //Derivation") from None


def _hash(extrinsic: str) -> str:
    """Return an extrinsic's hash: BLAKE2b-256 of its bytes."""
    return "0x" + blake2b(bytes.fromhex(extrinsic.removeprefix("0x")), digest_size=32).hexdigest()


def _code(error: SubstrateRequestException) -> int | None:
    """Return the RPC error's code; texts differ between nodes, codes do not."""
    detail = error.args[0] if error.args else None
    code = detail.get("code") if isinstance(detail, dict) else None
    return code if isinstance(code, int) else None
