"""Five years of renewals on the planner's own code, with a virtual clock: `make bench-renewal`.

Archives of 2 MiB to 5 GB come in weekly bursts, and once very many within an hour, in the midst of renewals; a part of
the price is the same for any size. Replicas are first reported hours to days after an order. The orderer attends to one
archive at a time, in the order of `OrdererStore.next_renewal` and `next_new`. One extrinsic is in flight at a time and
takes 24 s; one that buys nothing takes 6 s. The orderer or its node is
away for up to four days at a time; nodes hang for up to a day, so that each call takes all of its time and comes to
nothing; the market closes for up to two; prices jump over the operator's limit for up to six; the account runs dry
until somebody sends money some hours later; and a daily limit holds. Some orders are never included, some are refused
in their block; what asks a person waits for one, who comes within a day.
"""

import argparse
import heapq
import random
import sys
from bisect import bisect_right
from collections import Counter
from dataclasses import dataclass, field

from roadvault_crust_orderer.buying.planner import Buy, Need, Purse, RenewalPolicy, Stop, Wait, decide, renewal_block
from roadvault_crust_orderer.markets.market import MIB, Offer, Renewals, mebibytes

BLOCK_SECONDS = 6
DAY = 86_400 // BLOCK_SECONDS
HOUR = DAY // 24
TERM = 180 * DAY
IN_FLIGHT = 4
"""Blocks until an order is final: the next one waits that long."""
ERA = 64
"""Blocks after which an order that is in none of them is known never to be included."""
CALL = 15
"""Blocks, 90 s, after which a call of nodes that hang is given up; then the archive waits for two more."""
SMALLEST, LARGEST = 2 * MIB, 5_000_000_000
"""Bytes; half of the archives are under 100 MB."""
FLAT, PER_MIB, FEE = 1_200_240_000, 600_000, 1_250_000_000
"""Planck: the parts of a price, as on a new devnet but dearer for each MiB, and the transaction's fee, which a refused
order costs, too."""
DEAR = 6
"""By so much prices jump."""
MOST_PER_GIB = (FLAT + PER_MIB * 1024 + FEE) * 3 // 2
"""The operator's limit: half as much again as 1 GiB costs."""
RESERVE_DAYS = 14
NEVER_INCLUDED, MARKET_CLOSED, REFUSED = 0.01, 0.005, 0.005
"""How often an order is never included, meets a market that has just closed, or is refused so that a person is asked.
Far oftener than seen on a chain."""
MOST_WASTED = 0.05
CHECK = 300 // BLOCK_SECONDS
"""Blocks until the orderer looks again where a limit holds, or the market is closed."""


@dataclass
class Result:
    """What came of a run. `wasted` is the part of paid days that were paid twice."""

    lapses: int = 0
    """Terms that ended before they were renewed, whether the archive was bought again later or not."""
    unbought: int = 0
    """Archives that came a month before the end or earlier, and were never bought."""
    purchases: int = 0
    paid_days: float = 0
    lost_days: float = 0
    spent: int = 0
    loud: int = 0
    hung: int = 0
    never_included: int = 0
    refused: int = 0
    asked: int = 0
    """How often a person was asked."""
    least_left: float = 180
    """Days that were left of a term when it was renewed, at least."""
    longest_wait: float = 0
    """Days that a new archive waited for its order at most: for money, limits, outages and persons."""
    hours: Counter[int] = field(default_factory=Counter)

    @property
    def wasted(self) -> float:
        return self.lost_days / self.paid_days if self.paid_days else 0.0

    @property
    def busiest_hour(self) -> int:
        return max(self.hours.values(), default=0)


@dataclass
class Archive:
    """One archive: when it came, and when its term ends, None before the first replica."""

    number: int
    came: int
    size: int
    expires: int | None = None
    bought_at: int | None = None


class Spells:
    """Times of trouble: about every so many days, up to so many days long."""

    def __init__(self, dice: random.Random, end: int, every_days: float, longest_days: float) -> None:
        self._begins: list[int] = []
        self._ends: list[int] = []
        at = 0
        while at < end:
            at += int(dice.expovariate(1 / every_days) * DAY) + 10 * DAY
            self._begins.append(at)
            at += int(dice.uniform(0.1, longest_days) * DAY)
            self._ends.append(at)

    def end_of(self, height: int) -> int | None:
        """Return when the spell ends that `height` is in, or None."""
        last = bisect_right(self._begins, height) - 1
        return self._ends[last] if last >= 0 and height < self._ends[last] else None


class World:
    """Everything that is not the planner: time, troubles, money."""

    def __init__(self, archives: int, years: float, seed: int, burst: int = 0, *, by_age: bool = False) -> None:
        self.by_age = by_age
        """Whether turns go by how long archives are due, as one queue for all would have it."""
        self.dice = random.Random(seed)
        self.end = int(years * 365 * DAY)
        self.policy = RenewalPolicy(block_seconds=BLOCK_SECONDS)
        self.result = Result()
        self.busy_until = 0
        sizes = [int(SMALLEST * (LARGEST / SMALLEST) ** self.dice.random()) for _ in range(archives)]
        usual = offer(sum(sizes) // archives, 0).total
        self.balance = 400 * usual
        self.low, self.top_up = 40 * usual, 800 * usual
        self.top_up_at: int | None = None
        self.spent: Counter[int] = Counter()
        self.ending: Counter[int] = Counter()
        """By day, how many terms end then."""
        self.ending_mebibytes: Counter[int] = Counter()
        daily = archives / (years * 365)
        self.daily_limit: int | None = int((daily + archives / 180) * 1.5 * usual) + 20 * usual
        self.away = Spells(self.dice, self.end, every_days=40, longest_days=4)
        self.hanging = Spells(self.dice, self.end, every_days=30, longest_days=1)
        self.closed = Spells(self.dice, self.end, every_days=90, longest_days=2)
        self.dear = Spells(self.dice, self.end, every_days=60, longest_days=6)
        self.queue: list[tuple[int, int, Archive]] = []
        """Archives by when they are next to be attended to."""
        self.turns: list[tuple[bool, int, int, Archive]] = []
        """Those that are due: renewals by their end first, then what is new, by how long it is due."""
        for number, size in enumerate(sizes):
            week = int(number / archives * self.end / (7 * DAY))
            came = week * 7 * DAY + self.dice.randrange(DAY)
            self.push(came, Archive(number, came, size))
        for number in range(archives, archives + burst):
            came = self.end // 2 + self.dice.randrange(HOUR)
            self.push(came, Archive(number, came, sizes[number % archives]))
        if burst:  # whoever sends so many knows what they cost, and sets no limit for a day
            self.balance += burst * usual * 2
            self.daily_limit = None

    def next_turn(self, height: int) -> tuple[int, Archive]:
        """Return whose turn it is, and from when on."""
        while self.queue and (self.queue[0][0] <= height or not self.turns):
            due, number, archive = heapq.heappop(self.queue)
            height = max(height, due)
            ends = None if self.by_age else archive.expires
            heapq.heappush(self.turns, (ends is None, due if ends is None else ends, number, archive))
        return height, heapq.heappop(self.turns)[-1]

    def push(self, height: int, archive: Archive) -> None:
        heapq.heappush(self.queue, (height, archive.number, archive))

    def pay(self, height: int, planck: int) -> None:
        self.balance -= planck
        self.spent[height // DAY] += planck
        self.result.spent += planck

    def renewals(self, height: int) -> Renewals:
        """Return what has to be renewed in the coming days."""
        days = range(height // DAY, height // DAY + RESERVE_DAYS + 1)
        return Renewals(sum(self.ending[day] for day in days), sum(self.ending_mebibytes[day] for day in days))

    def earn(self, height: int) -> None:
        """Let money arrive: somebody sends some a few hours after the account fell low, late as that is."""
        if self.balance < self.low and self.top_up_at is None:
            self.top_up_at = height + int(self.dice.uniform(2, 30) * HOUR)
        if self.top_up_at is not None and height >= self.top_up_at:
            self.balance += self.top_up + 3 * offer(0, self.balance).cost(self.renewals(height))
            self.top_up_at = None

    def person(self, height: int) -> int:
        """Ask a person; return when they have acted and pressed retry."""
        self.result.asked += 1
        return height + int(self.dice.uniform(0.5, 24) * HOUR)

    def end_term(self, archive: Archive, expires: int) -> None:
        if archive.expires is not None:
            self.ending[archive.expires // DAY] -= 1
            self.ending_mebibytes[archive.expires // DAY] -= mebibytes(archive.size)
        archive.expires = expires
        self.ending[expires // DAY] += 1
        self.ending_mebibytes[expires // DAY] += mebibytes(archive.size)


def offer(size: int, balance: int, dearer: int = 1) -> Offer:
    """Return what the market asks for an archive."""
    return Offer(FLAT * dearer, PER_MIB * dearer, mebibytes(size), FEE, balance, market_open=True, largest=1 << 33)


def simulate(archives: int, years: float, seed: int, burst: int = 0, *, by_age: bool = False) -> Result:
    """Run the years, with a burst of so many new archives in their midst, and return what came of them."""
    world = World(archives, years, seed, burst, by_age=by_age)
    height = 0
    while world.queue or world.turns:
        height, archive = world.next_turn(height)
        if height >= world.end:
            world.push(height, archive)
            break
        again = _attend(world, height, archive)
        world.push(max(again, height + 1), archive)
        height = max(height, world.busy_until)
    left = [entry[-1] for entry in world.queue] + [entry[-1] for entry in world.turns]
    for archive in left:  # what nobody came to any more
        world.result.lapses += archive.expires is not None and archive.expires <= world.end
        world.result.unbought += archive.expires is None and archive.came < world.end - 30 * DAY
    return world.result


def _attend(world: World, height: int, archive: Archive) -> int:
    """Do what the orderer would do; return when it looks again."""
    later = _not_now(world, height, archive)
    if later is not None:
        return later
    left = None if archive.expires is None else max(archive.expires - height, 0)
    asked = offer(archive.size, world.balance, DEAR if world.dear.end_of(height) is not None else 1)
    today = world.spent[height // DAY]
    purse = Purse(world.balance, today, world.daily_limit, MOST_PER_GIB, asked.cost(world.renewals(height)))
    match decide(Need(archive.size, left), asked.total, purse, world.policy):
        case Stop():
            return world.person(height)
        case Wait():
            return height + CHECK
        case Buy(warning):
            world.result.loud += warning is not None
            return _order(world, height, archive, asked.price)


def _not_now(world: World, height: int, archive: Archive) -> int | None:
    """Return when the orderer can and has to do something for the archive, if not now."""
    if (back := world.away.end_of(height)) is not None:
        world.busy_until = back
        return back
    world.earn(height)
    if archive.expires is not None:
        due = renewal_block(archive.number, archive.expires, archive.bought_at, world.policy)
        if height < due:
            return due
    world.busy_until = height + 1
    if world.hanging.end_of(height) is not None:
        world.result.hung += 1
        world.busy_until = height + CALL
        return world.busy_until + 2
    return height + CHECK if world.closed.end_of(height) is not None else None


def _order(world: World, height: int, archive: Archive, price: int) -> int:
    """Send an order, and see what comes of it; return when the orderer looks again."""
    luck = world.dice.random()
    if luck < NEVER_INCLUDED:
        world.result.never_included += 1
        world.busy_until = height + ERA
        return world.busy_until
    world.busy_until = height + IN_FLIGHT
    if luck < NEVER_INCLUDED + MARKET_CLOSED + REFUSED:
        world.result.refused += 1
        world.pay(height, FEE)
        return height + CHECK if luck < NEVER_INCLUDED + MARKET_CLOSED else world.person(height)
    world.pay(height, price + FEE)
    _note_bought(world, height, archive)
    return renewal_block(archive.number, archive.expires or 0, archive.bought_at, world.policy)


def _note_bought(world: World, height: int, archive: Archive) -> None:
    result = world.result
    result.purchases += 1
    result.paid_days += TERM / DAY
    if archive.expires is None:
        result.longest_wait = max(result.longest_wait, (height - archive.came) / DAY)
        # The term begins with the first replica.
        world.end_term(archive, height + int(world.dice.uniform(0.1, 3) * DAY) + TERM)
    else:
        left = (archive.expires - height) / DAY
        result.hours[height // HOUR] += 1
        result.lapses += left <= 0
        result.lost_days += max(left, 0)
        result.least_left = min(result.least_left, left)
        world.end_term(archive, height + TERM)
    archive.bought_at = height


def main() -> None:
    """Run one seed or several and print what came of them; exit code 1 if a target is missed."""
    parser = argparse.ArgumentParser(description="Five years of renewals, simulated")
    parser.add_argument("--archives", type=int, default=20_000)
    parser.add_argument("--years", type=float, default=5)
    parser.add_argument("--burst", type=int, default=20_000, help="new archives within an hour, in the midst")
    parser.add_argument("--by-age", action="store_true", help="one queue for renewals and new orders")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    arguments = parser.parse_args()
    missed = False
    for seed in arguments.seeds:
        result = simulate(arguments.archives, arguments.years, seed, arguments.burst, by_age=arguments.by_age)
        missed |= result.lapses > 0 or result.unbought > 0 or result.wasted >= MOST_WASTED
        sys.stdout.write(
            f"seed {seed}: {arguments.archives} archives and {arguments.burst} at once, {arguments.years:g} years:"
            f" {result.purchases} purchases, {result.lapses} lapses, {result.wasted:.1%} of paid days wasted\n"
            f"  renewals: at least {result.least_left:.1f} days before the end, at most {result.busiest_hour} in an"
            f" hour, {result.loud} over a limit; new orders waited {result.longest_wait:.1f} days at most,"
            f" {result.unbought} for ever\n"
            f"  troubles: {result.hung} calls that hung, {result.never_included} orders never included,"
            f" {result.refused} refused in their block, {result.asked} times a person was asked;"
            f" {result.spent / 10**12:.0f} CRU spent\n"
        )
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
