"""Names of what the chain stores: hashes of pallet and item, then of the entry (Substrate's FRAME storage)."""

from hashlib import blake2b

from substrateinterface.utils.hasher import blake2_128_concat, two_x64_concat, xxh128

from roadvault_devnet import scale


def blake2_256(data: bytes) -> bytes:
    """Hash as the chain hashes blocks and extrinsics: 32 bytes."""
    return blake2b(data, digest_size=32).digest()


def plain(pallet: str, item: str) -> bytes:
    """Return the key of a value that stands alone, which is also the prefix of all entries of a map."""
    return bytes(xxh128(pallet.encode()) + xxh128(item.encode()))


def account(public_key: bytes) -> bytes:
    """Return the key of an account's nonce and balance."""
    return plain("System", "Account") + bytes(blake2_128_concat(public_key))


def block_hash(number: int) -> bytes:
    """Return the key of the hash of a recent block."""
    return plain("System", "BlockHash") + bytes(two_x64_concat(scale.u32(number)))


def file(item: str, cid: bytes) -> bytes:
    """Return the key of an ordered file: `item` is the map's name, `cid` the CID's text as bytes."""
    return plain("Market", item) + bytes(two_x64_concat(scale.byte_string(cid)))


def cid_of(key: bytes) -> bytes:
    """Return the CID that a file's key ends in: after two hashes of 16 bytes for the map and one of 8 for the entry."""
    return scale.Cursor(key[40:]).byte_string()
