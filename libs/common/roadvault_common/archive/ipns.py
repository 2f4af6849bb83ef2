"""The IPNS name under which the catalogue is published: an Ed25519 key that is derived from a master key.

So whoever has the master key finds the name, and nobody else can publish under it.
Layouts: https://github.com/libp2p/specs/blob/master/peer-ids/peer-ids.md, https://specs.ipfs.tech/ipns/ipns-record/.
"""

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from roadvault_common.archive.crypto import MasterKeys, Use

_ED25519 = b"\x08\x01"
"""Field 1 of libp2p's PublicKey and PrivateKey: the key's type."""
_CID_OF_LIBP2P_KEY = b"\x01\x72"
"""CID version 1, multicodec libp2p-key."""
_IDENTITY = b"\x00"
"""The multihash that is no hash: short keys stand in their names as they are."""
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
_BASE36 = "k"


def ipns_name(keys: MasterKeys, master_key: str | None = None) -> str:
    """Return the name, `k51…`, of the first master key, or of the one with the id `master_key`.

    Raises:
        MasterKeyMissing: There is none with that id.
    """
    public = _ED25519 + _field(2, _pair(keys, master_key)[1])
    number = int.from_bytes(_CID_OF_LIBP2P_KEY + _IDENTITY + bytes([len(public)]) + public)
    digits = ""
    while number:
        number, digit = divmod(number, len(_DIGITS))
        digits = _DIGITS[digit] + digits
    return _BASE36 + digits


def ipns_key(keys: MasterKeys, master_key: str | None = None) -> bytes:
    """Return the private key of that name as Kubo's `key/import` takes it (libp2p-protobuf-cleartext).

    Raises:
        MasterKeyMissing: There is none with that id.
    """
    return _ED25519 + _field(2, b"".join(_pair(keys, master_key)))


def _pair(keys: MasterKeys, master_key: str | None) -> tuple[bytes, bytes]:
    """Return seed and public key, 32 bytes each (RFC 8032)."""
    seed = keys.derive(Use.IPNS, master_key)
    return seed, Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()


def _field(number: int, content: bytes) -> bytes:
    """Return a field of bytes as protobuf writes it; they are fewer than 128."""
    return bytes([number << 3 | 2, len(content)]) + content
