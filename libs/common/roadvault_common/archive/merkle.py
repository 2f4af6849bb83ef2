"""The Merkle tree over an archive's files: RFC 9162, section 2.1, with SHA-256.

A leaf is salted, so that nobody can confirm a guess at a file by what is public of the tree. Salts are derived from
the archive's key, by way of a salt key, which opens nothing: whoever has that can show any file of the archive; one
file's salt tells nothing of the others'.
"""

import hashlib
import hmac
from collections.abc import Sequence

_LEAF, _NODE = b"\0", b"\1"
"""What sets the hash of a leaf apart from that of a node (RFC 9162, section 2.1.1)."""


def salt_key(archive_key: bytes) -> bytes:
    """Return the key of an archive's salts: 32 bytes. It tells nothing of the archive's key."""
    return hmac.digest(archive_key, b"roadvault leaf salts", hashlib.sha256)


def salt(salt_key: bytes, file_id: int) -> bytes:
    """Return the salt of a file's leaf: 32 bytes."""
    return hmac.digest(salt_key, b"roadvault leaf" + file_id.to_bytes(8), hashlib.sha256)


def leaf(salt: bytes, sha256: str, size: int, file_id: int, name: str) -> bytes:
    """Return a file's leaf: `salt`, SHA-256 of the file (given in hex), size in bytes, id and name."""
    return salt + bytes.fromhex(sha256) + size.to_bytes(8) + file_id.to_bytes(8) + name.encode()


def root(leaves: Sequence[bytes]) -> bytes:
    """Return the tree's root: 32 bytes."""
    return _root([_hash(_LEAF, one) for one in leaves])


def path(leaves: Sequence[bytes], index: int) -> list[bytes]:
    """Return the inclusion path of a leaf, from the hash beside it upwards (section 2.1.3.1)."""
    hashes, found = [_hash(_LEAF, one) for one in leaves], list[bytes]()
    while len(hashes) > 1:
        split = _split(len(hashes))
        left, right = hashes[:split], hashes[split:]
        beside, hashes, index = (right, left, index) if index < split else (left, right, index - split)
        found.append(_root(beside))
    return found[::-1]


def includes(root: bytes, count: int, leaf: bytes, index: int, path: Sequence[bytes]) -> bool:
    """Tell whether a tree of `count` leaves has `leaf` as number `index`, from 0 on, by its path (section 2.1.3.2)."""
    if not 0 <= index < count:
        return False
    hashed, last = _hash(_LEAF, leaf), count - 1
    for beside in path:
        if last == 0:
            return False
        if index & 1 or index == last:
            hashed = _hash(_NODE, beside, hashed)
            while not index & 1 and index:
                index, last = index >> 1, last >> 1
        else:
            hashed = _hash(_NODE, hashed, beside)
        index, last = index >> 1, last >> 1
    return last == 0 and hmac.compare_digest(hashed, root)


def _root(hashes: list[bytes]) -> bytes:
    """Return the root of leaves by their hashes; a level at a time, which gives RFC 9162's tree: an odd one goes up."""
    if not hashes:
        return hashlib.sha256().digest()
    while len(hashes) > 1:
        pairs = [_hash(_NODE, *hashes[at : at + 2]) for at in range(0, len(hashes) - 1, 2)]
        hashes = pairs + hashes[len(pairs) * 2 :]
    return hashes[0]


def _split(count: int) -> int:
    """Return the largest power of two below `count`."""
    return 1 << (count - 1).bit_length() - 1


def _hash(*parts: bytes) -> bytes:
    return hashlib.sha256(b"".join(parts)).digest()
