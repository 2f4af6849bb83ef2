"""What the runtime offers: its pallets with their storage, calls, events, constants and errors.

Names, order of arguments and types follow Crust's runtime; the types are those of scalecodec's `crust` preset.
Everything else in this package asks here for the index of a call, an event or an error, as a client asks the metadata.
"""

from dataclasses import dataclass

PLAIN = ""
TWOX_64 = "Twox64Concat"
BLAKE2_128 = "Blake2_128Concat"


@dataclass(frozen=True)
class Item:
    """A value, or a map of values, in the chain's storage. `default` None: an absent value reads as None."""

    name: str
    type: str
    default: bytes | None = b""
    hasher: str = PLAIN
    key: str = ""


@dataclass(frozen=True)
class Call:
    """Something an extrinsic can do, with its arguments' names and types."""

    name: str
    arguments: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Event:
    """Something that happened, with the types of what it tells."""

    name: str
    types: tuple[str, ...]


@dataclass(frozen=True)
class Constant:
    """A value that only a new runtime changes."""

    name: str
    type: str
    value: bytes


@dataclass(frozen=True)
class Pallet:
    """One module of the runtime. The order of calls, events and errors is their index."""

    name: str
    index: int
    storage: tuple[Item, ...] = ()
    calls: tuple[Call, ...] = ()
    events: tuple[Event, ...] = ()
    constants: tuple[Constant, ...] = ()
    errors: tuple[str, ...] = ()


@dataclass(frozen=True)
class Pallets:
    """All modules of a runtime, and the bytes by which the chain names their parts."""

    modules: tuple[Pallet, ...]

    def __getitem__(self, name: str) -> Pallet:
        return next(pallet for pallet in self.modules if pallet.name == name)

    def call(self, pallet: str, name: str) -> bytes:
        """Return the two bytes that a call starts with."""
        return bytes([self[pallet].index, [call.name for call in self[pallet].calls].index(name)])

    def event(self, pallet: str, name: str) -> bytes:
        """Return the two bytes that an event starts with."""
        return bytes([self[pallet].index, [event.name for event in self[pallet].events].index(name)])

    def error(self, pallet: str, name: str) -> bytes:
        """Return the two bytes that name an error."""
        return bytes([self[pallet].index, self[pallet].errors.index(name)])
