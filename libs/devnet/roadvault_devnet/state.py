"""What the chain knows at one block: keys and values, and layers of changes not yet kept."""

from collections.abc import Callable

Read = Callable[[bytes], bytes | None]
Changes = dict[bytes, bytes | None]


class Overlay:
    """Changes on top of a state, kept or thrown away as one. A value of None stands for a removed key."""

    def __init__(self, below: Read) -> None:
        self._below = below
        self.changes: Changes = {}

    def get(self, key: bytes) -> bytes | None:
        """Return a value as it is with these changes."""
        return self.changes[key] if key in self.changes else self._below(key)

    def put(self, key: bytes, value: bytes | None) -> None:
        """Set a value, or remove it."""
        self.changes[key] = value

    def layer(self) -> "Overlay":
        """Return a layer on top of this one."""
        return Overlay(self.get)

    def take(self, upper: "Overlay") -> None:
        """Keep the changes of an upper layer."""
        self.changes.update(upper.changes)

    def unsigned(self, key: bytes) -> int:
        """Return a value that is a plain unsigned integer; 0 if absent."""
        return int.from_bytes(self.get(key) or b"", "little")
