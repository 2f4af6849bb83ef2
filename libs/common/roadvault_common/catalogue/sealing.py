"""How a part of the catalogue is sealed: AES-256-GCM under a key that is derived from the first master key.

A sealed part is `RVC1`, the master key's id (8 bytes), the nonce (12), and ciphertext with tag. What stands before the
ciphertext, and the part's name, are authenticated with it: no part can take another's place.

The nonce is a MAC of what is sealed and its name: the same part sealed again has the same bytes, and so the same CID,
and two that differ have nonces that differ but for a chance of 2**-96 each. Who sees them learns that a part is the
same as before, which the CID says anyway.
"""

import hashlib
import hmac

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from roadvault_common.archive.crypto import MasterKeys, Use
from roadvault_common.errors import IntegrityError

_MAGIC = b"RVC1"
_KEY_ID_BYTES = 8
_NONCE_BYTES = 12
_HEADER_BYTES = len(_MAGIC) + _KEY_ID_BYTES + _NONCE_BYTES
_NONCE_KEY = b"roadvault catalogue nonce"


def seal(name: str, content: bytes, keys: MasterKeys) -> bytes:
    """Return a part sealed under the first master key."""
    key = keys.derive(Use.CATALOGUE)
    nonce_key = hmac.digest(key, _NONCE_KEY, hashlib.sha256)
    nonce = hmac.digest(nonce_key, name.encode() + b"\0" + content, hashlib.sha256)[:_NONCE_BYTES]
    header = _MAGIC + bytes.fromhex(keys.ids[0]) + nonce
    return header + AESGCM(key).encrypt(nonce, content, header + name.encode())


def sealed_by(sealed: bytes) -> str:
    """Return the id of the master key that sealed a part.

    Raises:
        IntegrityError: It is no sealed part.
    """
    if sealed[: len(_MAGIC)] != _MAGIC or len(sealed) < _HEADER_BYTES:
        raise IntegrityError("this is no part of a catalogue")
    return sealed[len(_MAGIC) : len(_MAGIC) + _KEY_ID_BYTES].hex()


def unseal(name: str, sealed: bytes, keys: MasterKeys) -> bytes:
    """Return what is in a sealed part of that name; each of the master keys unseals what it sealed.

    Raises:
        MasterKeyMissing: The one that sealed it is not among ours.
        IntegrityError: It is damaged, or another part.
    """
    key = keys.derive(Use.CATALOGUE, sealed_by(sealed))
    header = sealed[:_HEADER_BYTES]
    nonce = header[-_NONCE_BYTES:]
    try:
        return AESGCM(key).decrypt(nonce, sealed[_HEADER_BYTES:], header + name.encode())
    except InvalidTag as error:
        raise IntegrityError(f"{name} of the catalogue is damaged, or is another part of it") from error
