"""The market's files in a node's storage, many in one call. Names and types come from the node's metadata."""

from collections.abc import Sequence
from typing import Any

import structlog
from scalecodec.base import ScaleBytes
from substrateinterface import SubstrateInterface
from substrateinterface.exceptions import StorageFunctionNotFound, SubstrateRequestException
from substrateinterface.storage import StorageKey

from roadvault_crust_orderer.markets.endpoints import Endpoints
from roadvault_crust_orderer.markets.market import EntryUnreadable, FileInfo, Found

log = structlog.get_logger()

_FIELDS = ("file_size", "calculated_at", "expired_at", "reported_replica_count")
"""They stand before the replicas, of which there are up to 200: these would take a hundred times as long to read."""


def at(endpoints: Endpoints, cids: Sequence[str], block_hash: str) -> dict[str, Found]:
    """Return the entries at a block: None for a CID that the market does not know."""
    node = endpoints.substrate
    node.init_runtime(block_hash=block_hash)
    keys = {key.to_hex(): (cid, key) for cid, key in zip(cids, _keys(node, cids), strict=True)}
    found: dict[str, Found] = {}
    for name, value in _values(endpoints, list(keys), block_hash).items():
        cid, key = keys[name]
        try:
            found[cid] = None if value is None else _info(node, key.value_scale_type, value)
        except Exception as error:  # noqa: BLE001 - the client has no error of its own for what it can't read
            found[cid] = EntryUnreadable(f"the market's entry of its CID can't be read: {endpoints.told(error)}")
    return found


def _keys(node: SubstrateInterface, cids: Sequence[str]) -> list[StorageKey]:
    """Return the storage keys of CIDs: in FilesV2 where the runtime has it, else in Files."""

    def of(name: str) -> list[StorageKey]:
        return [
            StorageKey.create_from_storage_function("Market", name, [cid], node.runtime_config, node.metadata)
            for cid in cids
        ]

    try:
        return of("FilesV2")
    except StorageFunctionNotFound:
        return of("Files")


def _values(endpoints: Endpoints, keys: list[str], block_hash: str) -> dict[str, str | None]:
    """Return what the chain stores under keys, as many in one call as the node takes.

    `state_queryStorageAt` is open on every node of Substrate's own, but some providers shut it, and some answer with
    less at once than others: then fewer are asked for, in the end each by itself.
    """
    values: dict[str, str | None] = {}
    while left := keys[len(values) :]:
        some = left[: endpoints.keys_at_once]
        try:
            values |= _asked(endpoints.substrate, some, block_hash)
        except SubstrateRequestException as error:
            if len(some) == 1:
                raise
            endpoints.keys_at_once = max(len(some) // 10, 1)
            log.warning(
                "the Crust node does not give so many files at once; asking for fewer",
                keys=len(some), then=endpoints.keys_at_once, error=endpoints.told(error),
            )  # fmt: skip
    return values


def _asked(node: SubstrateInterface, keys: list[str], block_hash: str) -> dict[str, str | None]:
    """Ask for some keys in one call.

    Raises:
        SubstrateRequestException: The node refuses, or answers with something else.
    """
    if len(keys) == 1:
        return {keys[0]: node.rpc_request("state_getStorage", [keys[0], block_hash])["result"]}
    result = node.rpc_request("state_queryStorageAt", [keys, block_hash]).get("result")
    changes = result[0].get("changes") if isinstance(result, list) and result and isinstance(result[0], dict) else None
    if not isinstance(changes, list):
        raise SubstrateRequestException({"message": f"no storage in the answer: {str(result)[:100]}"})
    values = dict(changes)
    if values.keys() != set(keys):
        raise SubstrateRequestException({"message": f"{len(values)} keys in the answer, {len(keys)} asked for"})
    return values


def _info(node: SubstrateInterface, kind: str, value: str) -> FileInfo:
    """Read what is needed of a stored file, and no further."""
    decoder = node.runtime_config.create_scale_object(kind, ScaleBytes(value), metadata=node.metadata)
    read: dict[str, Any] = {}
    for name, type_name in decoder.type_mapping:
        read[name] = decoder.process_type(type_name, metadata=node.metadata).value
        if all(field in read for field in _FIELDS):
            break
    size, calculated, expires, replicas = (int(read[field]) for field in _FIELDS)
    return FileInfo(size, calculated, expires or None, replicas)
