"""The custody log in the catalogue: slices of it, each one block, sealed; a directory for each 1024 of them.

Beside head and segments, so that who reads these needs to know nothing of it. What the head says of the log (its
lines, the hash of the last, the root over all) is what the slices have to come to.
"""

from typing import Final

from roadvault_common.archive.crypto import MasterKeys
from roadvault_common.catalogue.records import MOST_BYTES, Sealed
from roadvault_common.catalogue.sealing import seal, unseal
from roadvault_common.errors import IntegrityError

LOG: Final = "custody"
"""The directory of directories of slices, each called by its number."""
SLICE_LINES: Final = 4096
"""In a slice that is full: some 500 KB. Of lines that are too long for a block there are fewer."""
GROUP_SLICES: Final = 1024
"""In a directory: 4 million lines; a directory of directories, one block as well, has room for 10**10."""


def seal_slice(number: int, content: bytes, keys: MasterKeys) -> Sealed | None:
    """Return a slice as it is published; None if it is longer than a block. It is compressed already."""
    data = seal(_name(number), content, keys)
    return Sealed(str(number), data) if len(data) <= MOST_BYTES else None


def open_slice(number: int, sealed: bytes, keys: MasterKeys) -> bytes:
    """Return what is in a slice.

    Raises:
        MasterKeyMissing: The master key that sealed it is not among ours.
        IntegrityError: It is damaged, or another one.
    """
    if len(sealed) > MOST_BYTES:
        raise IntegrityError(f"slice {number} of the custody log has {len(sealed)} bytes; none is longer than a block")
    return unseal(_name(number), sealed, keys)


def _name(number: int) -> str:
    return f"{LOG}/{number}"
