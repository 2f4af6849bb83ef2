"""Reads a catalogue with the master key and nothing of RoadVault's, as `architecture/custody.md` describes it."""

import json
import zlib
from base64 import urlsafe_b64decode
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

_MAGIC, _NONCE, _SEALED = b"RVC1", slice(12, 24), 24
"""What a sealed part begins with: this, the master key's id, and the nonce; then come ciphertext and tag."""


@dataclass(frozen=True)
class Listed:
    """What a catalogue says."""

    cid: str
    made: str
    """When, in ISO 8601, UTC."""
    numbers: dict[str, int]
    """The archives' numbers, by their CIDs."""


def read(cid: str, give: Callable[[str], bytes | None], master_key: str) -> Listed | None:
    """Read the catalogue of this CID by what `give` returns of a path on IPFS; None if it is not there, or none."""
    head = _opened("head", give(f"{cid}/head"), master_key)
    if head is None:
        return None
    numbers: dict[str, int] = {}
    for segment in head["segments"]:
        number = str(segment["number"])
        records = _opened(number, give(f"{cid}/segments/{number}"), master_key)
        if records is None:
            return None
        numbers |= {record["cid"]: record["zip_id"] for record in records}
    return Listed(cid, head["made"], numbers)


def _opened(name: str, sealed: bytes | None, master_key: str) -> Any:  # noqa: ANN401 - JSON
    if sealed is None or not sealed.startswith(_MAGIC):
        return None
    key = HKDF(SHA256(), 32, None, b"roadvault catalogue").derive(urlsafe_b64decode(master_key))
    plain = AESGCM(key).decrypt(sealed[_NONCE], sealed[_SEALED:], sealed[:_SEALED] + name.encode())
    return json.loads(zlib.decompress(plain))
