"""What every benchmark has in common: runs that take turns with their peers', medians with their spread, one table."""

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Console
from rich.table import Table

RUNS = 5
OURS = "RoadVault"


@dataclass
class Target:
    """What a ratio has to reach; `least` for ratios that should be large, else they should be small."""

    peer: str
    ratio: float
    least: bool = True


@dataclass
class Measure:
    """One measure: what every run of each contender came to, in `unit`; more is better, or less."""

    name: str
    unit: str
    more_is_better: bool
    targets: list[Target]
    runs: dict[str, list[float]] = field(default_factory=dict)
    note: str = ""

    def add(self, contender: str, value: float) -> None:
        """Note what a run came to."""
        self.runs.setdefault(contender, []).append(value)

    def median(self, contender: str) -> float:
        """Return the median of a contender's runs."""
        return statistics.median(self.runs[contender])

    def spread(self, contender: str) -> str:
        """Return the least and the most of a contender's runs."""
        values = self.runs[contender]
        return f"{min(values):.4g}-{max(values):.4g}"

    def ratio(self, peer: str) -> float:
        """Return how many times as good as the peer RoadVault is (for times: how many times as long it takes)."""
        return self.median(OURS) / self.median(peer)

    def verdict(self, peer: str) -> str:
        """Return the ratio, what was to be reached, and whether it was."""
        target = next((target for target in self.targets if target.peer == peer), None)
        ratio = self.ratio(peer)
        if target is None:
            return f"{ratio:.2f}"
        reached = ratio >= target.ratio if target.least else ratio <= target.ratio
        sign = "≥" if target.least else "≤"
        return f"{ratio:.2f} ({'reached' if reached else 'missed'}: {sign} {target.ratio:g})"


def take_turns(measure: Measure, contenders: dict[str, Callable[[], float]], runs: int = RUNS) -> None:
    """Run all contenders in turn, `runs` times, each beginning once with another; a contender returns its figure."""
    names = list(contenders)
    for number in range(runs):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            measure.add(name, contenders[name]())


@contextmanager
def timed() -> Iterator[Callable[[], float]]:
    """Give a function that returns the seconds since the beginning, or of the block once it is over."""
    started = time.perf_counter()
    ended: list[float] = []
    yield lambda: (ended[0] if ended else time.perf_counter()) - started
    ended.append(time.perf_counter())


def show(measures: list[Measure], console: Console) -> None:
    """Print the table of ratios."""
    table = Table(title="Medians of runs that took turns; least and most in brackets", title_justify="left")
    for column in ("measure", "contender", "median", "unit", "RoadVault to it"):
        table.add_column(column, overflow="fold")
    for measure in measures:
        for contender in measure.runs:
            ours = contender == OURS
            table.add_row(
                measure.name if ours else "",
                contender,
                f"{measure.median(contender):.4g} [{measure.spread(contender)}]",
                measure.unit,
                measure.note if ours else measure.verdict(contender),
            )
        table.add_section()
    console.print(table, markup=False)
