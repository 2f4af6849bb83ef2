"""Five years of renewals on the planner's own code, with a virtual clock: `make bench-renewal`.

Archives come in weekly bursts; replicas are first reported hours to days after an order. One extrinsic is in flight at
a time and takes 20 s. The orderer or its node is away for up to four days at a time, the market closes, prices jump
over the operator's limit, the account runs dry until it is topped up some hours later, and a daily limit holds.
"""

import argparse
import heapq
import random
import sys
from collections import Counter
from dataclasses import dataclass, field

from roadvault_crust_orderer.planner import Buy, Need, Purse, RenewalPolicy, Stop, decide, renewal_block

BLOCK_SECONDS = 6
DAY = 86_400 // BLOCK_SECONDS
TERM = 180 * DAY
IN_FLIGHT = 4
"""Blocks until an order is final: the next one waits that long."""
SIZE = 5_000_000_000
PRICE = 12_000_000_000
"""Planck, about 0.012 CRU: what 5 GB cost on the devnet; only its proportions matter here."""
MOST_WASTED = 0.05


@dataclass
class Result:
    """What came of a run. `wasted` is the part of paid days that were paid twice."""

    lapses: int = 0
    purchases: int = 0
    paid_days: float = 0
    lost_days: float = 0
    spent: int = 0
    loud: int = 0
    hours: Counter[int] = field(default_factory=Counter)

    @property
    def wasted(self) -> float:
        return self.lost_days / self.paid_days if self.paid_days else 0.0

    @property
    def busiest_hour(self) -> int:
        return max(self.hours.values(), default=0)


@dataclass
class Archive:
    """One archive: when its term ends, None before the first replica."""

    number: int
    expires: int | None = None
    bought_at: int | None = None


class World:
    """Everything that is not the planner: time, troubles, money."""

    def __init__(self, archives: int, years: float, seed: int) -> None:
        self.dice = random.Random(seed)
        self.end = int(years * 365 * DAY)
        self.policy = RenewalPolicy(block_seconds=BLOCK_SECONDS)
        self.result = Result()
        self.busy_until = 0
        self.balance = 400 * PRICE
        self.top_up_at: int | None = None
        self.spent: Counter[int] = Counter()
        daily = archives / (years * 365)
        self.daily_limit = int((daily + archives / 180) * 1.5 * PRICE) + 20 * PRICE
        self.away = self._spells(every_days=40, longest_days=4)
        self.closed = self._spells(every_days=90, longest_days=2)
        self.dear = self._spells(every_days=60, longest_days=6)
        self.queue: list[tuple[int, int, Archive]] = []
        for number in range(archives):
            week = int(number / archives * self.end / (7 * DAY))
            self.push(week * 7 * DAY + self.dice.randrange(DAY), Archive(number))

    def _spells(self, every_days: float, longest_days: float) -> list[tuple[int, int]]:
        spells, at = [], 0
        while at < self.end:
            at += int(self.dice.expovariate(1 / every_days) * DAY) + 10 * DAY
            length = int(self.dice.uniform(0.1, longest_days) * DAY)
            spells.append((at, at + length))
            at += length
        return spells

    def push(self, height: int, archive: Archive) -> None:
        heapq.heappush(self.queue, (height, archive.number, archive))

    def end_of(self, spells: list[tuple[int, int]], height: int) -> int | None:
        """Return when the spell ends that `height` is in, or None."""
        return next((end for begin, end in spells if begin <= height < end), None)

    def earn(self, height: int) -> None:
        """Let money arrive: an operator sends some a few hours after the account fell low."""
        low = 40 * PRICE
        if self.balance < low and self.top_up_at is None:
            self.top_up_at = height + int(self.dice.uniform(2, 30) * DAY / 24)
        if self.top_up_at is not None and height >= self.top_up_at:
            self.balance += 800 * PRICE
            self.top_up_at = None


def simulate(archives: int, years: float, seed: int) -> Result:
    """Run the years and return what came of them."""
    world = World(archives, years, seed)
    while world.queue:
        height, _, archive = heapq.heappop(world.queue)
        if height >= world.end:
            break
        again = _attend(world, height, archive)
        world.push(again, archive)
    return world.result


def _attend(world: World, height: int, archive: Archive) -> int:
    """Do what the orderer would do; return when it looks again."""
    if (back := world.end_of(world.away, height)) is not None:
        return back + world.dice.randrange(600)
    world.earn(height)
    if archive.expires is not None:
        due = renewal_block(archive.number, archive.expires, archive.bought_at, world.policy)
        if height < due:
            return due
    if world.end_of(world.closed, height) is not None:
        return height + 50
    if height < world.busy_until:
        return world.busy_until
    left = None if archive.expires is None else max(archive.expires - height, 0)
    price = PRICE * 3 if world.end_of(world.dear, height) is not None else PRICE
    limit = PRICE * 2 * (1 << 30) // SIZE
    purse = Purse(world.balance, world.spent[height // DAY], world.daily_limit, limit, 20 * PRICE)
    decision = decide(Need(SIZE, left), price, purse, world.policy)
    if not isinstance(decision, Buy):
        return height + (600 if isinstance(decision, Stop) else 100)
    world.result.loud += decision.warning is not None
    _pay(world, height, archive, price)
    return renewal_block(archive.number, archive.expires or 0, archive.bought_at, world.policy)


def _pay(world: World, height: int, archive: Archive, price: int) -> None:
    result = world.result
    world.busy_until = height + IN_FLIGHT
    world.balance -= price
    world.spent[height // DAY] += price
    result.purchases += 1
    result.spent += price
    result.paid_days += TERM / DAY
    if archive.expires is None:
        # The term begins with the first replica.
        archive.expires = height + int(world.dice.uniform(0.1, 3) * DAY) + TERM
    else:
        result.hours[height // (DAY // 24)] += 1
        result.lapses += height >= archive.expires
        result.lost_days += max(archive.expires - height, 0) / DAY
        archive.expires = height + TERM
    archive.bought_at = height


def main() -> None:
    """Run one seed or several and print what came of them; exit code 1 if a target is missed."""
    parser = argparse.ArgumentParser(description="Five years of renewals, simulated")
    parser.add_argument("--archives", type=int, default=20_000)
    parser.add_argument("--years", type=float, default=5)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    arguments = parser.parse_args()
    missed = False
    for seed in arguments.seeds:
        result = simulate(arguments.archives, arguments.years, seed)
        missed |= result.lapses > 0 or result.wasted >= MOST_WASTED
        sys.stdout.write(
            f"seed {seed}: {arguments.archives} archives, {arguments.years:g} years: {result.purchases} purchases,"
            f" {result.lapses} lapses, {result.wasted:.1%} of paid days wasted,"
            f" at most {result.busiest_hour} renewals in an hour, {result.loud} over a limit,"
            f" {result.spent / 10**12:.0f} CRU\n"
        )
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
