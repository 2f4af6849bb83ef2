"""SCALE, the byte format of everything on the chain, as far as this network needs it.

Written by hand rather than taken from the client's library, so that the two check each other in every test.
"""

_TWO_BYTES_FROM = 1 << 6
_FOUR_BYTES_FROM = 1 << 14
_BIG_FROM = 1 << 30


class ScaleError(ValueError):
    """The bytes are not what they should encode."""


def u32(value: int) -> bytes:
    """Encode a u32."""
    return value.to_bytes(4, "little")


def u64(value: int) -> bytes:
    """Encode a u64."""
    return value.to_bytes(8, "little")


def u128(value: int) -> bytes:
    """Encode a u128, such as an amount in planck."""
    return value.to_bytes(16, "little")


def compact(value: int) -> bytes:
    """Encode an unsigned integer in as few bytes as it takes; the two lowest bits tell the form."""
    if value < _TWO_BYTES_FROM:
        return bytes([value << 2])
    if value < _FOUR_BYTES_FROM:
        return (value << 2 | 1).to_bytes(2, "little")
    if value < _BIG_FROM:
        return (value << 2 | 2).to_bytes(4, "little")
    size = (value.bit_length() + 7) // 8
    return bytes([(size - 4) << 2 | 3]) + value.to_bytes(size, "little")


def byte_string(value: bytes) -> bytes:
    """Encode a `Vec<u8>`."""
    return compact(len(value)) + value


class Cursor:
    """Reads one value after the other."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def take(self, size: int) -> bytes:
        """Read that many bytes.

        Raises:
            ScaleError: There are not so many left.
        """
        end = self._at + size
        if end > len(self._data):
            raise ScaleError(f"{size} bytes wanted at {self._at}, {len(self._data) - self._at} left")
        taken = self._data[self._at : end]
        self._at = end
        return taken

    def rest(self) -> bytes:
        """Read all that is left."""
        return self.take(len(self._data) - self._at)

    def unsigned(self, size: int) -> int:
        """Read an unsigned integer of so many bytes."""
        return int.from_bytes(self.take(size), "little")

    def compact(self) -> int:
        """Read a compact integer."""
        first = self.unsigned(1)
        mode = first & 3
        if mode == 3:  # noqa: PLR2004 - the two mode bits, all set: a length follows
            return self.unsigned((first >> 2) + 4)
        more = self.take((1 << mode) - 1)
        return int.from_bytes(bytes([first]) + more, "little") >> 2

    def byte_string(self) -> bytes:
        """Read a `Vec<u8>`."""
        return self.take(self.compact())

    def finish(self) -> None:
        """Insist that nothing is left.

        Raises:
            ScaleError: Something is.
        """
        left = len(self._data) - self._at
        if left:
            raise ScaleError(f"{left} bytes too many")
