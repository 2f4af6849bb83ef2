"""Faults of processes: killed, stopped for longer than their lease, more of them at once, with a bent wall clock."""

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import pymysql
from chaos.arena import Arena, Leases
from chaos.throws import Throw, processes_of
from chaos.wiring import LEASE_SECONDS, second, third
from redis.exceptions import RedisError

from roadvault_stack.environment import SERVICES

_AT_WORK = {
    "packer": (("pack",), "database"),
    "pinner": (("pin", "restore"), "ipfs-rpc"),
    "crust-orderer": (("watch",), "chain"),
    "retriever": (("fetch",), "database"),
    "notifier": (("callback",), "receiver"),
}
"""Stages whose leases are as short as the arena's settings say, and the connection that slows their work down.

Not the drop: it has two hours for Kubo's garbage collection. Nor an order: others attend to it in its turn, behind
those that are due for longer.
"""
_SLOW_MS = 400
_LOOKS = 60
_ROUNDS = 3
"""Others do not always come by in time where the machine is busy."""
_MEETINGS = 12
"""How often it is tried to meet somebody at work; one or two are usual."""
_SHORT_SECONDS = 1.5
"""Work that nobody stopped has mostly ended by then."""
_LAST_SECONDS = 1
"""Surely it has ended so long before its lease runs out."""
_DRIFT_SECONDS = 0.2

Server = Callable[[Throw], Awaitable[str]]


async def kill_service(throw: Throw) -> str:
    """Kill -9 one process of a service; supervisor starts it again."""
    name = throw.process()
    throw.arena.signal(name, signal.SIGKILL)
    await asyncio.sleep(throw.dice.uniform(0, 2))
    return name


async def kill_many(throw: Throw) -> str:
    """Kill all processes of several services at once."""
    services = throw.dice.sample(SERVICES, throw.dice.randint(2, len(SERVICES)))
    for service in services:
        for name in processes_of(service):
            throw.arena.signal(name, signal.SIGKILL)
    await asyncio.sleep(throw.dice.uniform(0, 2))
    return ", ".join(services)


async def stop_longer_than_the_lease(throw: Throw) -> str:
    """SIGSTOP a process with work in its hands, and an ingest: it wakes late, and the row is another's by then."""
    told: list[str] = []
    taken: list[str] = []
    while not taken and len(told) < _ROUNDS:
        what, taken = await _stop_once(throw)
        told.append(what)
    throw.findings.taken_over += taken
    return "; ".join(told)


async def _stop_once(throw: Throw) -> tuple[str, list[str]]:
    """Return what was done, and what others took over meanwhile."""
    arena = throw.arena
    pairs = [(service, name) for service in _AT_WORK for name in (service, second(service))]
    throw.dice.shuffle(pairs)
    ingest = throw.dice.choice(processes_of("ingest")[:2])
    name, held = await _stop_at_work(arena, (pairs * _MEETINGS)[:_MEETINGS])
    arena.signal(ingest, signal.SIGSTOP)
    try:
        await asyncio.sleep(throw.dice.uniform(2, 4))
        taken = await _passed_on(arena, held)
    finally:
        for stopped in (name, ingest):
            arena.signal(stopped, signal.SIGCONT)
    hand = f"{name} with {_named(held) or 'nothing'} in hand, and {ingest}"
    return f"{hand}; others took over {', '.join(taken) or 'nothing'}", taken


async def _stop_at_work(arena: Arena, pairs: list[tuple[str, str]]) -> tuple[str, Leases]:
    """Stop the first of these processes that is met with leases and no locks; return its name, and its leases."""
    name, held = "", Leases()
    for service, name in pairs:
        stages, proxy = _AT_WORK[service]
        with arena.proxies.toxic(proxy, "latency", "downstream", latency=_SLOW_MS):
            for _ in range(_LOOKS):
                if before := await _look(arena, stages):
                    break
                await asyncio.sleep(0.05)
            arena.signal(name, signal.SIGSTOP)
        # Others work on, or the process was at its last step: what ends by itself was not in its hands.
        held = before or {}
        for seconds in (_SHORT_SECONDS, LEASE_SECONDS - _SHORT_SECONDS - _LAST_SECONDS):
            if held:
                await asyncio.sleep(seconds)
                held = await _still(arena, held, unlocked=True)
        if held:
            break
        arena.signal(name, signal.SIGCONT)
    return name, held


async def _still(arena: Arena, held: Leases, *, unlocked: bool = False) -> Leases:
    """Return those of the leases that are still the same, as far as the database says."""
    now = await _look(arena, tuple({stage for stage, _ in held}), unlocked=unlocked)
    return held if now is None else {row: token for row, token in held.items() if now.get(row) == token}


async def _look(arena: Arena, stages: tuple[str, ...], *, unlocked: bool = False) -> Leases | None:
    with suppress(OSError, pymysql.Error):
        return await asyncio.to_thread(arena.leases, stages, unlocked=unlocked)
    return None


async def _passed_on(arena: Arena, held: Leases) -> list[str]:
    """Return which of the leases are somebody else's, or were closed by somebody else; wait for it a while."""
    for _ in range(8):
        still = await _still(arena, held)
        taken = {row: token for row, token in held.items() if row not in still}
        if len(taken) == len(held):
            break
        await asyncio.sleep(1)
    return _named(taken).split(", ") if taken else []


def _named(leases: Leases) -> str:
    return ", ".join(f"{stage} {row_id}" for stage, row_id in leases)


async def a_third_process(throw: Throw) -> str:
    """Run three processes of a service for a while; end the third politely or not."""
    service, ends = throw.dice.choice(SERVICES), throw.dice.choice(("stopped", "killed"))
    more = _third(throw.arena, service, ends)
    return await throw.standing.begin(f"a third {service}", more, throw.dice.randint(3, 6))


@asynccontextmanager
async def _third(arena: Arena, service: str, ends: str) -> AsyncIterator[str]:
    name = third(service)
    await asyncio.to_thread(arena.start, name)
    try:
        yield f"{name}, to be {ends}"
    finally:
        if ends == "killed":
            arena.signal(name, signal.SIGKILL)
        await asyncio.to_thread(arena.stop, name)


async def step_a_clock(throw: Throw) -> str:
    """Have a process's wall clock step; it goes right again afterwards, which is a step too."""
    name, shift = throw.process(), throw.dice.choice((3600, -3600, 31_536_000, -86_400, 40))
    return await throw.standing.begin(f"the clock of {name}", _step(throw.arena, name, shift), throw.dice.randint(1, 4))


@asynccontextmanager
async def _step(arena: Arena, name: str, shift: float) -> AsyncIterator[str]:
    arena.set_clock(name, shift)
    try:
        yield f"{name} by {shift:+} s"
    finally:
        arena.set_clock(name, 0)


async def drift_a_clock(throw: Throw) -> str:
    """Have a process's wall clock run too fast or too slow, or backwards."""
    name, rate = throw.process(), throw.dice.choice((3, 1.1, 0.5, 0, -1))
    return await throw.standing.begin(f"the clock of {name}", _drift(throw.arena, name, rate), throw.dice.randint(1, 4))


@asynccontextmanager
async def _drift(arena: Arena, name: str, rate: float) -> AsyncIterator[str]:
    async def run() -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        while True:
            arena.set_clock(name, (rate - 1) * (loop.time() - began))
            await asyncio.sleep(_DRIFT_SECONDS)

    task = asyncio.create_task(run())
    try:
        yield f"{name} at {rate} times its speed"
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        arena.set_clock(name, 0)


def kill_server(program: str, most: float = 3) -> Server:
    """Return the fault that a server is killed with -9 and started again by supervisor."""

    async def kill(throw: Throw) -> str:
        throw.arena.signal(program, signal.SIGKILL)
        await asyncio.sleep(throw.dice.uniform(0, most))
        return "restarted by supervisor"

    return kill


async def flush_redis(throw: Throw) -> str:
    """Take all of Redis' data, groups and all."""

    def flush() -> None:
        with suppress(RedisError), throw.arena.redis() as redis:
            redis.flushall()

    await asyncio.to_thread(flush)
    return "FLUSHALL"
