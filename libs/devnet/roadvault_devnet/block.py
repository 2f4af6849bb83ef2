"""Blocks: header, hash and body."""

from dataclasses import dataclass

from roadvault_devnet import keys, scale


@dataclass(frozen=True)
class Block:
    """One block. `body` holds its extrinsics, each with its length in front."""

    number: int
    parent_hash: bytes
    state_root: bytes
    body: tuple[bytes, ...]

    @property
    def extrinsics_root(self) -> bytes:
        """A hash over the body. A real chain has the root of a trie here; no client can tell without a proof."""
        return keys.blake2_256(b"".join(self.body))

    @property
    def hash(self) -> bytes:
        """The hash of the header, as Substrate encodes it: here without digest logs."""
        number = scale.compact(self.number)
        return keys.blake2_256(self.parent_hash + number + self.state_root + self.extrinsics_root + b"\0")

    def header_json(self) -> dict[str, object]:
        """Return the header as nodes answer it."""
        return {
            "parentHash": as_hex(self.parent_hash),
            "number": hex(self.number),
            "stateRoot": as_hex(self.state_root),
            "extrinsicsRoot": as_hex(self.extrinsics_root),
            "digest": {"logs": []},
        }

    def json(self) -> dict[str, object]:
        """Return the whole block as nodes answer it."""
        extrinsics = [as_hex(extrinsic) for extrinsic in self.body]
        return {"block": {"header": self.header_json(), "extrinsics": extrinsics}, "justifications": None}


def as_hex(data: bytes) -> str:
    """Write bytes as nodes do."""
    return f"0x{data.hex()}"
