"""What can go wrong, one fault after another, by dice of a seed. The order is fixed before the first one comes."""

import random
from collections.abc import Awaitable, Callable

from chaos import connection_faults as connections
from chaos import event_faults as events
from chaos import process_faults as processes
from chaos.throws import Throw

Fault = Callable[[Throw], Awaitable[str]]
"""Does its worst for a while and mends it, or stays for the next few; returns what it did."""


def _full_disk(disk: str, *leave: int) -> Fault:
    async def fill(throw: Throw) -> str:
        left = throw.dice.choice(leave)
        return f"{left} bytes left for {await throw.while_(throw.arena.full_disk(disk, left), 1, 5)}"

    return fill


FAULTS: dict[str, Fault] = {
    "kill a service": processes.kill_service,
    "kill several services": processes.kill_many,
    "stop longer than the lease": processes.stop_longer_than_the_lease,
    "a third process": processes.a_third_process,
    "kill Redis": processes.kill_server("redis", 2),
    "flush Redis": processes.flush_redis,
    "kill MariaDB": processes.kill_server("mariadb"),
    "kill our Kubo": processes.kill_server("ipfs"),
    "kill the network's Kubo": processes.kill_server("network-ipfs"),
    "kill the devnet": processes.kill_server("devnet"),
    "slow connections": connections.slow,
    "narrow connections": connections.narrow,
    "cut connections": connections.cut,
    "half-open connections": connections.half_open,
    "full data disk": _full_disk("vault", 0, 100_000, 4 << 20),
    "full database disk": _full_disk("mariadb", 0, 100_000),
    "a clock steps": processes.step_a_clock,
    "a clock drifts": processes.drift_a_clock,
    "odd events": events.odd_events,
    "the receiver hangs": events.bad_receiver("hangs"),
    "the receiver drips": events.bad_receiver("drips"),
    "the receiver redirects": events.bad_receiver("redirects"),
    "the receiver errs for an hour": events.errs_for_an_hour,
}
"""All kinds, each of which comes once in a run of 25. Which connection is hit, and how, is for the dice of the seed."""
_WEIGHTS = {"kill a service": 4, "stop longer than the lease": 2, "cut connections": 2, "half-open connections": 2}


def plan(count: int, seed: int) -> list[str]:
    """Return which faults to throw, in order: each kind at least once while there is room, the rest by dice."""
    dice = random.Random(seed)
    names = list(FAULTS)
    dice.shuffle(names)
    weights = [_WEIGHTS.get(name, 1) for name in FAULTS]
    rest = dice.choices(list(FAULTS), weights, k=max(count - len(names), 0))
    chosen = names[:count] + rest
    dice.shuffle(chosen)
    return chosen
