"""Faults of processes: killed, stopped for longer than their lease, more of them at once, with a bent wall clock."""

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress

import pymysql
from chaos.arena import Arena, Leases
from chaos.throws import Throw, processes_of
from chaos.wiring import LEASE_SECONDS, second, third
from redis.exceptions import RedisError

from roadvault_stack.environment import SERVICES

_AT_WORK = {
    "packer": ("pack",),
    "pinner": ("pin", "restore"),
    "crust-orderer": ("watch",),
    "retriever": ("fetch",),
    "notifier": ("callback",),
}
"""Stages whose leases are as short as the arena's settings say.

Not the drop: it has two hours for Kubo's garbage collection. Nor an order: others attend to it in its turn, behind
those that are due for longer.
"""
_SLOW_MS = 400
_LOOK_SECONDS = 0.05
_FIRST_CHOICE = 40
"""Looks at one service alone, before whoever has work is stopped."""
_LOOKS = 200
_ROUNDS = 3
"""Others do not always come by in time where the machine is busy."""
_SENT_SECONDS = 2 * _SLOW_MS / 1000
"""What was sent before a process was stopped has come to the database by then."""
_PASSED_SECONDS = 3 * LEASE_SECONDS
"""What has run out is found by then, by a process that is new."""
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
    """SIGSTOP a service with work in its hands, and an ingest: it wakes late, and the row is another's by then."""
    told: list[str] = []
    taken: list[str] = []
    while not taken and len(told) < _ROUNDS:
        what, taken = await _stop_once(throw)
        told.append(what)
    throw.findings.taken_over += taken
    return "; ".join(told)


async def _stop_once(throw: Throw) -> tuple[str, list[str]]:
    """Return what was done, and what others took over meanwhile.

    Both of a service's processes are stopped, since which of them has the work nobody can tell: a third takes it over.
    """
    arena = throw.arena
    running = await asyncio.to_thread(arena.running)
    services = [service for service in _AT_WORK if third(service) not in running]
    throw.dice.shuffle(services)
    ingest = throw.dice.choice(processes_of("ingest")[:2])
    service, held = await _stop_at_work(arena, services)
    stopped = [service, second(service), ingest]
    arena.signal(ingest, signal.SIGSTOP)
    try:
        async with _third(arena, service, "stopped"):
            taken = await _passed_on(arena, held)
            await asyncio.sleep(throw.dice.uniform(0, 1))
            for name in stopped:  # late, and while there is another at work
                arena.signal(name, signal.SIGCONT)
    finally:
        for name in stopped:
            arena.signal(name, signal.SIGCONT)
    hand = f"{service} with {_named(held) or 'nothing'} in hand, and {ingest}"
    return f"{hand}; others took over {', '.join(taken) or 'nothing'}", taken


async def _stop_at_work(arena: Arena, services: Sequence[str]) -> tuple[str, Leases]:
    """Stop both processes of the first of these services that is met with leases; return its name, and the leases."""
    with arena.proxies.toxic("database", "latency", "downstream", latency=_SLOW_MS):
        for look in range(_LOOKS):
            for service in services[: 1 if look < _FIRST_CHOICE else None]:
                if await _look(arena, _AT_WORK[service], unlocked=True) and (held := await _stop_both(arena, service)):
                    return service, held
            await asyncio.sleep(_LOOK_SECONDS)
    return services[0], {}


async def _stop_both(arena: Arena, service: str) -> Leases:
    """Stop both processes of a service; return what was in their hands. If that is nothing, they go on."""
    both = service, second(service)
    for name in both:
        arena.signal(name, signal.SIGSTOP)
    held = await _look(arena, _AT_WORK[service], unlocked=True) or {}
    if held:
        await asyncio.sleep(_SENT_SECONDS)
        held = await _still(arena, held, unlocked=True)
    if not held:
        for name in both:
            arena.signal(name, signal.SIGCONT)
    return held


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
    deadline, taken = time.monotonic() + _PASSED_SECONDS, Leases()
    while len(taken) < len(held) and time.monotonic() < deadline:
        await asyncio.sleep(0.3)
        still = await _still(arena, held)
        taken = {row: token for row, token in held.items() if row not in still}
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
