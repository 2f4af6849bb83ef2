"""The runtime's description of itself, as clients read it: metadata V12, the version Crust's runtimes speak."""

from functools import lru_cache
from typing import Any

from scalecodec.base import RuntimeConfigurationObject
from scalecodec.type_registry import load_type_registry_preset

from roadvault_devnet.pallets import Item, Pallet, Pallets

_MAGIC = "0x6d657461"
_EXTRINSIC_VERSION = 4
SIGNED_EXTENSIONS = (
    "CheckSpecVersion",
    "CheckTxVersion",
    "CheckGenesis",
    "CheckMortality",
    "CheckNonce",
    "CheckWeight",
    "ChargeTransactionPayment",
)
"""What an extrinsic carries, or signs without carrying, beside its call."""


@lru_cache(maxsize=4)
def encode(pallets: Pallets) -> bytes:
    """Return the metadata of a runtime with these pallets."""
    registry = RuntimeConfigurationObject()
    registry.update_type_registry(load_type_registry_preset("core"))
    described = {
        "modules": [_pallet(pallet) for pallet in pallets.modules],
        "extrinsic": {"version": _EXTRINSIC_VERSION, "signed_extensions": list(SIGNED_EXTENSIONS)},
    }
    encoded = registry.create_scale_object("MetadataVersioned").encode((_MAGIC, {"V12": described}))
    return bytes(encoded.data)


def _pallet(pallet: Pallet) -> dict[str, Any]:
    storage = {"prefix": pallet.name, "entries": [_item(item) for item in pallet.storage]}
    return {
        "name": pallet.name,
        "storage": storage if pallet.storage else None,
        "calls": [
            {"name": call.name, "args": [{"name": name, "type": kind} for name, kind in call.arguments], **_DOCS}
            for call in pallet.calls
        ]
        or None,
        "events": [{"name": event.name, "args": list(event.types), **_DOCS} for event in pallet.events] or None,
        "constants": [
            {"name": constant.name, "type": constant.type, "value": f"0x{constant.value.hex()}", **_DOCS}
            for constant in pallet.constants
        ],
        "errors": [{"name": name, **_DOCS} for name in pallet.errors],
        "index": pallet.index,
    }


def _item(item: Item) -> dict[str, Any]:
    entry = {"hasher": item.hasher, "key": item.key, "value": item.type, "linked": False}
    return {
        "name": item.name,
        "modifier": "Optional" if item.default is None else "Default",
        "type": {"Map": entry} if item.hasher else {"Plain": item.type},
        # An absent optional value decodes as None from one zero byte.
        "default": f"0x{(item.default or bytes(1)).hex()}",
        **_DOCS,
    }


_DOCS: dict[str, Any] = {"documentation": []}
