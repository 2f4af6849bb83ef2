"""Extrinsics: how they are read, and what their signature has to cover (version 4)."""

from dataclasses import dataclass

from substrateinterface import Keypair, KeypairType

from roadvault_devnet import keys, rules, scale
from roadvault_devnet.scale import Cursor, ScaleError

_SIGNED = 0x84
_UNSIGNED = 0x04
_SCHEMES = {0: KeypairType.ED25519, 1: KeypairType.SR25519}
_HASHED_FROM = 256
"""Bytes from which on the hash of a payload is signed instead of the payload."""


@dataclass(frozen=True)
class Era:
    """For how long an extrinsic is valid: `period` blocks from a block whose height is `phase` modulo the period.

    A period of 0 stands for ever.
    """

    encoded: bytes
    period: int = 0
    phase: int = 0

    def birth(self, current: int) -> int:
        """Return the height at which the era began that `current` lies in."""
        if not self.period:
            return 0
        return (max(current, self.phase) - self.phase) // self.period * self.period + self.phase


@dataclass(frozen=True)
class Extrinsic:
    """A signed extrinsic. `raw` is all of it, with its length; `tip` is in planck."""

    raw: bytes
    signer: bytes
    scheme: int
    signature: bytes
    era: Era
    nonce: int
    tip: int
    call: bytes

    @property
    def hash(self) -> bytes:
        """The name by which clients know it."""
        return keys.blake2_256(self.raw)

    @property
    def fee(self) -> int:
        """Planck that any block takes for it, whatever comes of it."""
        return fee(len(self.raw)) + self.tip

    def is_signed_for(self, spec_version: int, genesis: bytes, birth: bytes) -> bool:
        """Tell whether the signature is the signer's, for this chain and runtime and an era born at that block."""
        versions = scale.u32(spec_version) + scale.u32(rules.TRANSACTION_VERSION)
        carried = self.call + self.era.encoded + scale.compact(self.nonce) + scale.compact(self.tip)
        payload = carried + versions + genesis + birth
        signed = keys.blake2_256(payload) if len(payload) > _HASHED_FROM else payload
        keypair = Keypair(public_key=self.signer, crypto_type=_SCHEMES[self.scheme], ss58_format=rules.SS58_FORMAT)
        try:
            return bool(keypair.verify(signed, self.signature))
        except ValueError:
            # Not even the shape of a signature.
            return False


def fee(size: int) -> int:
    """Return the fee in planck for an extrinsic of so many bytes, without a tip."""
    return rules.FEE_BASE + rules.FEE_PER_BYTE * size


def decode(raw: bytes) -> Extrinsic:
    """Read a signed extrinsic.

    Raises:
        ScaleError: It is not one, or signed in a way that this network does not know.
    """
    outer = Cursor(raw)
    cursor = Cursor(outer.byte_string())
    outer.finish()
    if cursor.unsigned(1) != _SIGNED:
        raise ScaleError("not a signed extrinsic of version 4")
    signer, scheme = cursor.take(32), cursor.unsigned(1)
    if scheme not in _SCHEMES:
        raise ScaleError(f"unknown kind of signature {scheme}")
    signature, era = cursor.take(64), _era(cursor)
    nonce, tip = cursor.compact(), cursor.compact()
    return Extrinsic(raw, signer, scheme, signature, era, nonce, tip, cursor.rest())


def is_signed(raw: bytes) -> bool:
    """Tell whether someone sent it; the others are the block author's own."""
    return Cursor(raw).byte_string()[:1] == bytes([_SIGNED])


def unsigned(call: bytes) -> bytes:
    """Return an extrinsic of the block author's own."""
    return scale.byte_string(bytes([_UNSIGNED]) + call)


def _era(cursor: Cursor) -> Era:
    first = cursor.take(1)
    if first == b"\0":
        return Era(first)
    encoded = first + cursor.take(1)
    number = int.from_bytes(encoded, "little")
    period = 2 << (number % 16)
    phase = (number >> 4) * max(1, period >> 12)
    if period < 4 or phase >= period:  # noqa: PLR2004 - the shortest era
        raise ScaleError("not an era")
    return Era(encoded, period, phase)
