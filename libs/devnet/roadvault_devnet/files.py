"""Ordered files as the market stores them: FileInfo (replicas in a list) and FileInfoV2 (in a map; what is still paid).

Field order and types are those of scalecodec's `crust` preset.
"""

from dataclasses import dataclass, field

from roadvault_devnet import scale
from roadvault_devnet.rules import Generation
from roadvault_devnet.scale import Cursor


@dataclass(frozen=True)
class Replica:
    """One copy of a file, held by one storage node. Blocks are heights."""

    who: bytes
    valid_at: int
    anchor: bytes
    created_at: int

    def encode(self) -> bytes:
        """Return it as the chain stores it; `is_reported` is always true here, and `created_at` always known."""
        reported, known = b"\1", b"\1"
        anchor = scale.byte_string(self.anchor)
        return self.who + scale.u32(self.valid_at) + anchor + reported + known + scale.u32(self.created_at)


@dataclass
class FileInfo:
    """One ordered file: sizes in bytes, times as block heights, amounts in planck."""

    file_size: int
    calculated_at: int
    amount: int
    remaining_paid_count: int
    spower: int = 0
    expired_at: int = 0
    prepaid: int = 0
    reported_replica_count: int = 0
    replicas: list[Replica] = field(default_factory=list)

    def encode(self, generation: Generation) -> bytes:
        """Return it as the chain stores it."""
        v2 = generation is Generation.V2
        parts = [scale.u64(self.file_size), scale.u64(self.spower)]
        parts += [scale.u32(self.expired_at), scale.u32(self.calculated_at)]
        parts += [scale.compact(self.amount), scale.compact(self.prepaid), scale.u32(self.reported_replica_count)]
        if v2:
            parts.append(scale.u32(self.remaining_paid_count))
        parts.append(scale.compact(len(self.replicas)))
        # The map is ordered by its key, and the key stands before each value.
        replicas = sorted(self.replicas, key=lambda replica: replica.who) if v2 else self.replicas
        parts += [(replica.who if v2 else b"") + replica.encode() for replica in replicas]
        return b"".join(parts)


def decode(data: bytes, generation: Generation) -> FileInfo:
    """Return a file from what the chain stores."""
    cursor = Cursor(data)
    v2 = generation is Generation.V2
    file_size, spower = cursor.unsigned(8), cursor.unsigned(8)
    expired_at, calculated_at = cursor.unsigned(4), cursor.unsigned(4)
    amount, prepaid, count = cursor.compact(), cursor.compact(), cursor.unsigned(4)
    remaining = cursor.unsigned(4) if v2 else 0
    replicas = [_replica(cursor, keyed=v2) for _ in range(cursor.compact())]
    cursor.finish()
    return FileInfo(file_size, calculated_at, amount, remaining, spower, expired_at, prepaid, count, replicas)


def expired_at(data: bytes) -> int:
    """Return only the height at which a file's term ends, 0 if it has not begun: without reading all replicas."""
    return Cursor(data[16:20]).unsigned(4)


def _replica(cursor: Cursor, *, keyed: bool) -> Replica:
    if keyed:
        cursor.take(32)
    who, valid_at, anchor = cursor.take(32), cursor.unsigned(4), cursor.byte_string()
    cursor.take(2)
    return Replica(who, valid_at, anchor, created_at=cursor.unsigned(4))
