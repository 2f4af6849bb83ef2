"""What an order on Crust says: the bytes of a signed extrinsic, read without the chain's metadata.

Which pallet and call a number stands for, the chain's runtime says; what is read here is their shape, which no other of
Crust's calls has: `market.place_storage_order(cid, reported_file_size, tips, memo)`.
"""

from dataclasses import dataclass
from hashlib import blake2b

from roadvault_common.errors import IntegrityError

_SIGNED_V4 = 0x84
_ACCOUNT_BYTES = 32
"""Crust has bare AccountIds where others have MultiAddresses."""
_SIGNATURES = {0: 64, 1: 64, 2: 65}
"""Bytes of a signature by its kind: Ed25519, sr25519, ECDSA."""
_LONG = 3
"""The two lowest bits of a compact number whose length stands in the others."""


@dataclass(frozen=True)
class Order:
    """A signed order: who signs, which call of the runtime it is, and what is ordered (size in bytes)."""

    account: bytes
    pallet: int
    call: int
    cid: str
    size: int


def hashed(extrinsic: bytes) -> str:
    """Return an extrinsic's hash: BLAKE2b-256 of its bytes, in hex behind `0x`."""
    return "0x" + blake2b(extrinsic, digest_size=32).hexdigest()


def sent_by(extrinsic: bytes) -> tuple[bytes, int]:
    """Return who signed an extrinsic, whatever it asks for, and the number that it has among all of that account.

    Raises:
        IntegrityError: It is not a signed one.
    """
    account, nonce, _ = _opened(extrinsic)
    return account, nonce


def read(extrinsic: bytes) -> Order:
    """Read an order.

    Raises:
        IntegrityError: It is none.
    """
    account, _, body = _opened(extrinsic)
    pallet, call = body.number(1), body.number(1)
    cid, size = body.take(body.compact()), body.number(8)
    body.compact()  # the tip for storers
    body.take(body.compact())  # the memo
    body.end()
    return Order(account, pallet, call, cid.decode("ascii", "replace"), size)


def _opened(extrinsic: bytes) -> tuple[bytes, int, "_Cursor"]:
    """Return the account, the nonce, and the rest, which is the call."""
    outer = _Cursor(extrinsic)
    body = _Cursor(outer.take(outer.compact()))
    outer.end()
    if body.number(1) != _SIGNED_V4:
        raise IntegrityError("the order's extrinsic is not a signed one of version 4")
    account = body.take(_ACCOUNT_BYTES)
    body.take(_SIGNATURES.get(body.number(1), len(extrinsic)))
    body.take(0 if body.take(1) == b"\0" else 1)  # the era: one byte for ever, two for a while
    nonce = body.compact()
    body.compact()  # the tip for the block's author
    return account, nonce, body


class _Cursor:
    """Reads SCALE, one value after the other."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def take(self, count: int) -> bytes:
        if count > len(self._data) - self._at:
            raise IntegrityError("the order's extrinsic is no storage order: it ends too early")
        self._at += count
        return self._data[self._at - count : self._at]

    def number(self, count: int) -> int:
        return int.from_bytes(self.take(count), "little")

    def compact(self) -> int:
        first = self.number(1)
        if first & _LONG == _LONG:
            return self.number((first >> 2) + 4)
        return (first | self.number((1 << (first & _LONG)) - 1) << 8) >> 2

    def end(self) -> None:
        if self._at != len(self._data):
            raise IntegrityError("the order's extrinsic is no storage order: it goes on behind its end")
