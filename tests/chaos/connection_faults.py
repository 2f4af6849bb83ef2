"""Faults of connections, through Toxiproxy: slow, narrow, cut and half-open; now and then of one half of them only."""

from contextlib import AbstractContextManager

from chaos.throws import Throw
from chaos.wiring import STALL_SECONDS

_LIMITS = {"redis": 10, "database": 60}
"""Seconds after which the services give up a connection on which nothing comes; for the others it is a setting."""
_SHORT = 12
"""What a short run has time for."""


async def slow(throw: Throw) -> str:
    """Have everything arrive late."""
    latency = throw.dice.randint(50, 1500)
    what, toxic = _some(throw, "latency", latency=latency, jitter=latency // 2)
    return f"{what} +{latency} ms for {await throw.while_(toxic, 1, 4)}"


async def narrow(throw: Throw) -> str:
    """Let only so many kilobytes through in a second."""
    rate = throw.dice.choice((1, 4, 16, 64))
    what, toxic = _some(throw, "bandwidth", rate=rate)
    return f"{what} at {rate} KB/s for {await throw.while_(toxic, 1, 4)}"


async def cut(throw: Throw) -> str:
    """Refuse, reset or cut after some bytes."""
    kind = throw.dice.choice(("refuses", "resets", "cut"))
    if kind == "refuses":
        proxy = next(throw.proxies)
        return f"{proxy} refuses for {await throw.while_(throw.arena.proxies.down(proxy), 0.5, 4)}"
    if kind == "resets":
        what, toxic = _some(throw, "reset_peer", timeout=throw.dice.randint(0, 200))
        return f"{what} resets for {await throw.while_(toxic, 0.5, 3)}"
    size = int(throw.dice.lognormvariate(6, 2)) + 1
    what, toxic = _some(throw, "limit_data", bytes=size)
    return f"{what} cut after {size} bytes for {await throw.while_(toxic, 1, 4)}"


async def half_open(throw: Throw) -> str:
    """Let nothing pass and tell nobody, for longer than the services wait; at the end the connections break."""
    what, toxic = _some(throw, "timeout", timeout=0)
    limit = _LIMITS.get(what.split()[0], STALL_SECONDS)
    seconds = limit if throw.long or limit <= _SHORT else STALL_SECONDS
    return f"{what} for {await throw.while_(toxic, seconds + 0.5, seconds + 2)}"


def _some(throw: Throw, kind: str, **attributes: int) -> tuple[str, AbstractContextManager[None]]:
    """Return a toxic on one way of the next connection, and what to call it."""
    proxy, stream = next(throw.proxies), throw.dice.choice(("upstream", "downstream"))
    half = throw.dice.random() < 0.4
    toxic = throw.arena.proxies.toxic(proxy, kind, stream, toxicity=0.5 if half else 1.0, **attributes)
    return f"{proxy} {stream}{' (one half of them)' if half else ''}", toxic
