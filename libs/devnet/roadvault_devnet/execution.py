"""One block in the making: its state, its events, and what they say."""

from roadvault_devnet import accounts, keys, scale
from roadvault_devnet.pallets import Pallets
from roadvault_devnet.rules import Rules
from roadvault_devnet.state import Overlay

_INITIALIZATION = b"\2"
_APPLY_EXTRINSIC = b"\0"
_IN_NO_METADATA = b"\xff\xff"
"""An event of a pallet that there is none of."""


class Execution:
    """Collects the effects of one block, or of one call that may yet fail."""

    def __init__(self, state: Overlay, number: int, pallets: Pallets, rules: Rules) -> None:
        self.state = state
        self.number = number
        self.pallets = pallets
        self.rules = rules
        self.events: list[bytes] = []
        self.phase = _INITIALIZATION

    def begin_extrinsic(self, index: int) -> None:
        """Let the following events belong to the extrinsic at that place in the block."""
        self.phase = _APPLY_EXTRINSIC + scale.u32(index)

    def deposit(self, pallet: str, event: str, arguments: bytes) -> None:
        """Add an event; its arguments come encoded. Events have no topics here."""
        self.events.append(self.phase + self.pallets.event(pallet, event) + arguments + b"\0")

    def transfer(self, source: bytes, target: bytes, planck: int) -> None:
        """Move funds; the caller knows that they are there."""
        accounts.add(self.state, source, -planck)
        accounts.add(self.state, target, planck)
        self.deposit("Balances", "Transfer", source + target + scale.u128(planck))

    def attempt(self) -> "Execution":
        """Return an execution on top, to be kept with `keep` or thrown away."""
        upper = Execution(self.state.layer(), self.number, self.pallets, self.rules)
        upper.phase = self.phase
        return upper

    def keep(self, upper: "Execution") -> None:
        """Take over all that an attempt did."""
        self.state.take(upper.state)
        self.events += upper.events

    def finish(self) -> None:
        """Write the events where clients look for them, spoiled if that is wanted."""
        if self.rules.spoil_events == "unknown":
            self.events.append(_INITIALIZATION + _IN_NO_METADATA + b"\0")
        elif self.rules.spoil_events:
            self.events = []
        self.state.put(keys.plain("System", "Events"), scale.compact(len(self.events)) + b"".join(self.events))
        self.state.put(keys.plain("System", "EventCount"), scale.u32(len(self.events)))
