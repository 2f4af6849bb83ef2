"""What can go wrong, one fault after another. A fault is chosen by dice, does its worst for a while, and is mended."""

import asyncio
import random
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractContextManager, asynccontextmanager, suppress
from typing import Any

import orjson
import pymysql
from chaos.arena import LEASE_SECONDS, REPLICAS, STREAMS, Arena
from chaos.load import Load
from redis.exceptions import RedisError

from roadvault_stack.environment import SERVICES

_JUNK = (
    b"",
    b"not json",
    b'{"folder_id": "many"}',
    b'{"file_id": 1}',
    b'{"zip_id": -1}',
    b'{"zip_id": 99999999999999999999999}',
    b'{"download_id": null}',
    b"\xff\xfe\x00",
    b'{"zip_id": 999999999, "file_id": 999999999, "folder_id": 999999999, "download_id": 999999999}',
    b'{"zip_id": 1, "file_id": 1, "folder_id": 1, "download_id": 1, "new_field": [1, 2]}',
)
_CALLBACK_HOUR_STEPS = 30

Fault = Callable[["Faults"], Awaitable[str]]


class Faults:
    """Throws faults at an arena, by dice of its own seed; each returns what it did."""

    def __init__(self, arena: Arena, load: Load, seed: int) -> None:
        self.arena = arena
        self.load = load
        self.dice = random.Random(seed)

    async def throw(self, name: str) -> str:
        """Do one fault, mend it, and return what it was."""
        return await FAULTS[name](self)

    def program(self, service: str) -> str:
        """Return the service's first process, or one of the further ones that run."""
        running = self.arena.running()
        names = [service, *(f"{service}-{number}" for number in REPLICAS if f"{service}-{number}" in running)]
        return self.dice.choice(names)

    async def while_(self, context: AbstractContextManager[None], least: float, most: float) -> str:
        """Keep a fault up for some seconds; say how many."""
        seconds = self.dice.uniform(least, most)
        await asyncio.to_thread(context.__enter__)
        try:
            await asyncio.sleep(seconds)
        finally:
            await asyncio.to_thread(context.__exit__, None, None, None)
        return f"{seconds:.1f} s"


async def kill_service(faults: Faults) -> str:
    """Kill -9 one process of a service; supervisor starts it again."""
    name = faults.program(faults.dice.choice(SERVICES))
    faults.arena.signal(name, signal.SIGKILL)
    await asyncio.sleep(faults.dice.uniform(0, 2))
    return name


async def kill_many(faults: Faults) -> str:
    """Kill several services at once."""
    names = faults.dice.sample(SERVICES, faults.dice.randint(2, len(SERVICES)))
    for name in names:
        faults.arena.signal(name, signal.SIGKILL)
    await asyncio.sleep(faults.dice.uniform(0, 2))
    return ", ".join(names)


async def stop_the_clock(faults: Faults) -> str:
    """SIGSTOP a process for longer than its lease: it wakes late, with work in its hands that is another's by then."""
    name = faults.program(faults.dice.choice(SERVICES))
    seconds = LEASE_SECONDS + faults.dice.uniform(1, 4)
    faults.arena.signal(name, signal.SIGSTOP)
    try:
        await asyncio.sleep(seconds)
    finally:
        faults.arena.signal(name, signal.SIGCONT)
    return f"{name} for {seconds:.1f} s"


async def more_processes(faults: Faults) -> str:
    """Run two or three processes of a service at once for a while; end them politely or not."""
    service = faults.dice.choice(SERVICES)
    names = [f"{service}-{number}" for number in faults.dice.sample(REPLICAS, faults.dice.randint(1, len(REPLICAS)))]
    for name in names:
        await asyncio.to_thread(faults.arena.start, name)
    await asyncio.sleep(faults.dice.uniform(3, 8))
    ends = faults.dice.choice(("stopped", "killed"))
    for name in names:
        if ends == "killed":
            faults.arena.signal(name, signal.SIGKILL)
        await asyncio.to_thread(faults.arena.stop, name)
    return f"{', '.join(names)}, then {ends}"


async def kill_redis(faults: Faults) -> str:
    faults.arena.signal("redis", signal.SIGKILL)
    await asyncio.sleep(faults.dice.uniform(0, 2))
    return "restarted by supervisor"


async def flush_redis(faults: Faults) -> str:
    def flush() -> None:
        with suppress(RedisError), faults.arena.redis() as redis:
            redis.flushall()

    await asyncio.to_thread(flush)
    return "FLUSHALL"


async def kill_mariadb(faults: Faults) -> str:
    faults.arena.signal("mariadb", signal.SIGKILL)
    await asyncio.sleep(faults.dice.uniform(0, 3))
    return "restarted by supervisor"


async def kill_kubo(faults: Faults) -> str:
    name = faults.dice.choice(("ipfs", "network-ipfs"))
    faults.arena.signal(name, signal.SIGKILL)
    await asyncio.sleep(faults.dice.uniform(0, 3))
    return name


async def kill_devnet(faults: Faults) -> str:
    faults.arena.signal("devnet", signal.SIGKILL)
    await asyncio.sleep(faults.dice.uniform(0, 3))
    return "restarted by supervisor"


async def slow_connections(faults: Faults) -> str:
    proxy, stream = faults.dice.choice(faults.arena.proxies.names), faults.dice.choice(("upstream", "downstream"))
    latency = faults.dice.randint(50, 1500)
    toxic = faults.arena.proxies.toxic(proxy, "latency", stream, latency=latency, jitter=latency // 2)
    return f"{proxy} {stream} +{latency} ms for {await faults.while_(toxic, 1, 5)}"


async def cut_connections(faults: Faults) -> str:
    proxy, kind = faults.dice.choice(faults.arena.proxies.names), faults.dice.choice(("down", "reset", "after bytes"))
    proxies = faults.arena.proxies
    stream = faults.dice.choice(("upstream", "downstream"))
    if kind == "down":
        return f"{proxy} refuses for {await faults.while_(proxies.down(proxy), 0.5, 4)}"
    if kind == "reset":
        toxic = proxies.toxic(proxy, "reset_peer", stream, timeout=faults.dice.randint(0, 200))
        return f"{proxy} {stream} resets for {await faults.while_(toxic, 0.5, 3)}"
    size = int(faults.dice.lognormvariate(6, 2)) + 1
    toxic = proxies.toxic(proxy, "limit_data", stream, bytes=size)
    return f"{proxy} {stream} cut after {size} bytes for {await faults.while_(toxic, 1, 4)}"


async def half_open_connections(faults: Faults) -> str:
    """Nothing passes any more and nobody is told; at the end the connections break."""
    proxy, stream = faults.dice.choice(faults.arena.proxies.names), faults.dice.choice(("upstream", "downstream"))
    toxic = faults.arena.proxies.toxic(proxy, "timeout", stream, timeout=0)
    return f"{proxy} {stream} for {await faults.while_(toxic, 2, 9)}"


async def full_vault(faults: Faults) -> str:
    leave = faults.dice.choice((0, 100_000, 4 << 20))
    return f"{leave} bytes left for {await faults.while_(faults.arena.full_disk('vault', leave), 1, 6)}"


async def full_database_disk(faults: Faults) -> str:
    leave = faults.dice.choice((0, 100_000))
    return f"{leave} bytes left for {await faults.while_(faults.arena.full_disk('mariadb', leave), 1, 5)}"


async def bent_clock(faults: Faults) -> str:
    """Let a service's wall clock step or drift; it goes right again afterwards, which is a step too."""
    service = faults.dice.choice(SERVICES)
    shift = faults.dice.choice(("+3600", "-3600", "+31536000", "-86400", "+0 x3", "+0 x0.2", "+40"))
    faults.arena.set_clock(service, shift)
    try:
        await asyncio.sleep(faults.dice.uniform(2, 6))
    finally:
        faults.arena.set_clock(service, "+0")
    return f"{service} {shift}"


async def odd_events(faults: Faults) -> str:
    """Put duplicated, reordered, corrupt and unknown events on every stream."""

    def put() -> int:
        count = 0
        with suppress(RedisError), faults.arena.redis() as redis:
            for stream in STREAMS:
                entries: Any = redis.xrevrange(stream, count=40)
                old: list[Any] = [fields for _, fields in entries]
                faults.dice.shuffle(old)
                junk = [{b"event": faults.dice.choice(_JUNK)} for _ in range(3)] + [{b"who": b"knows"}]
                for fields in [*old[:20], *junk, {b"event": orjson.dumps({"zip_id": faults.dice.randint(1, 50)})}]:
                    redis.xadd(stream, fields)
                    count += 1
        return count

    return f"{await asyncio.to_thread(put)} events"


async def bad_receiver(faults: Faults) -> str:
    mood = faults.dice.choice(("hangs", "errs", "drips", "redirects"))
    async with _mood(faults.load, mood):
        await asyncio.sleep(faults.dice.uniform(2, 8))
    return mood


async def bad_receiver_for_an_hour(faults: Faults) -> str:
    """The receiver answers 500 for an hour of the callbacks' clock, which is moved on by hand."""
    async with _mood(faults.load, "errs"):
        for _ in range(_CALLBACK_HOUR_STEPS):
            await asyncio.sleep(0.2)
            with suppress(OSError, pymysql.Error):  # a deadlock, or a database that is not back yet
                await asyncio.to_thread(faults.arena.pass_time, ("callback",), 3600 / _CALLBACK_HOUR_STEPS)
    return "500 for an hour"


@asynccontextmanager
async def _mood(load: Load, mood: str) -> AsyncIterator[None]:
    load.receiver.mood = mood
    try:
        yield
    finally:
        load.receiver.mood = "takes"


FAULTS: dict[str, Fault] = {
    "kill a service": kill_service,
    "kill several services": kill_many,
    "stop longer than the lease": stop_the_clock,
    "more processes": more_processes,
    "kill Redis": kill_redis,
    "flush Redis": flush_redis,
    "kill MariaDB": kill_mariadb,
    "kill a Kubo node": kill_kubo,
    "kill the devnet": kill_devnet,
    "slow connections": slow_connections,
    "cut connections": cut_connections,
    "half-open connections": half_open_connections,
    "full data disk": full_vault,
    "full database disk": full_database_disk,
    "bent clock": bent_clock,
    "odd events": odd_events,
    "bad callback receiver": bad_receiver,
    "callback receiver errs for an hour": bad_receiver_for_an_hour,
}
_WEIGHTS = {"kill a service": 4, "stop longer than the lease": 2, "cut connections": 2}


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
