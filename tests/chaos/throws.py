"""What a fault works with when it is thrown, and the faults that stay while the next ones come."""

import asyncio
import random
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from dataclasses import dataclass, field
from itertools import cycle

from chaos.arena import Arena
from chaos.load import Load
from chaos.losses import Loss
from chaos.wiring import second, third

from roadvault_stack.environment import SERVICES

LONG = 100
"""A run of so many faults has time for those that take a minute."""


@dataclass
class _Standing:
    name: str
    context: AbstractAsyncContextManager[str]
    left: int


class Standing:
    """Faults that stay for the next few: third processes, bent clocks, the receiver's moods."""

    def __init__(self) -> None:
        self._all: list[_Standing] = []

    async def begin(self, name: str, context: AbstractAsyncContextManager[str], faults: int) -> str:
        """Begin a fault that stays for so many more; one of the same name ends first."""
        await self._end([one for one in self._all if one.name == name])
        what = await context.__aenter__()
        self._all.append(_Standing(name, context, faults + 1))  # with its own, which has not passed yet
        return f"{what}, for the next {faults} faults"

    async def passed(self) -> list[str]:
        """Note that a fault has passed; return the names of those that have ended with it."""
        for one in self._all:
            one.left -= 1
        return await self._end([one for one in self._all if one.left <= 0])

    async def end(self) -> None:
        """End them all."""
        await self._end(self._all)

    async def _end(self, ending: list[_Standing]) -> list[str]:
        names = [one.name for one in ending]
        for one in list(ending):
            self._all.remove(one)
            await one.context.__aexit__(None, None, None)
        return names


@dataclass
class Findings:
    """What the faults themselves have seen, for the books."""

    taken_over: list[str] = field(default_factory=list)
    """Rows that went to another process while the one that had them stood still."""
    letters: dict[tuple[str, str], str] = field(default_factory=dict)
    """Corrupt events by stream and entry: while Redis keeps one of them, it has to be among the dead letters, too."""
    injected: Counter[str] = field(default_factory=Counter)
    """Events put on the streams, by kind."""
    losses: list[Loss] = field(default_factory=list)
    """What was lost with all its backups, in its order."""


@dataclass
class Throw:
    """One fault as it is thrown: what it works on, and dice of its own."""

    arena: Arena
    load: Load
    dice: random.Random
    standing: Standing
    findings: Findings
    proxies: Iterator[str]
    """The connections, each in its turn."""
    long: bool

    def process(self) -> str:
        """Return one of the processes of the services that run."""
        running = self.arena.running()
        service = self.dice.choice(SERVICES)
        return self.dice.choice([name for name in processes_of(service) if name in running] or [service])

    async def while_(self, context: AbstractContextManager[None], least: float, most: float) -> str:
        """Keep a fault up for some seconds; say how many."""
        seconds = self.dice.uniform(least, most)
        await asyncio.to_thread(context.__enter__)
        try:
            await asyncio.sleep(seconds)
        finally:
            await asyncio.to_thread(context.__exit__, None, None, None)
        return f"{seconds:.1f} s"


class Throws:
    """Makes the throws of one run: each fault has dice of its own, so that none changes what the next one does."""

    def __init__(self, arena: Arena, load: Load, seed: int, count: int) -> None:
        self.arena, self._load, self._seed = arena, load, seed
        self._long = count >= LONG
        self.standing = Standing()
        self.findings = Findings()
        names = list(arena.proxies.names)
        random.Random(f"{seed}/proxies").shuffle(names)
        self._proxies = cycle(names)

    def throw(self, number: int) -> Throw:
        """Return what the fault of this number works with."""
        dice = random.Random(f"{self._seed}/{number}")
        return Throw(self.arena, self._load, dice, self.standing, self.findings, self._proxies, self._long)


def processes_of(service: str) -> list[str]:
    """Return the names of a service's processes; the third does not always run."""
    return [service, second(service), third(service)]
