"""What took how long: the table at the end of the demo."""

from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise

from rich.console import Console
from rich.table import Table

from roadvault_stack.demo.follow import STAGES, Folder

PLANCK = 10**12
"""Planck in one CRU."""
_NAMES = {
    "packed": "pack",
    "pinned": "pin",
    "ordered": "order",
    "replicated": "grow",
    "proven": "prove",
    "dropped": "drop",
}


@dataclass
class Step:
    """One of the demo's own steps; sizes are bytes."""

    name: str
    size: int | None
    seconds: float = 0.0
    moved: int | None = None
    """Bytes that crossed the network for it."""


def show(steps: list[Step], folders: list[Folder], console: Console) -> None:
    """Print the timeline: the demo's steps, and each archive's way through the stages."""
    table = Table("step", "seconds", "MB", "MB/s", "MB moved", title="Timeline")
    for step in steps:
        table.add_row(step.name, f"{step.seconds:.2f}", *_amounts(step))
    console.print(table)
    stages = Table("archive", "MB", *(_NAMES[stage] for stage in STAGES), "CRU", title="Seconds in each stage")
    for folder in folders:
        archive = folder.archive
        price = f"{int(archive['pricePlanck']) / PLANCK:.5f}"
        stages.add_row(str(archive["zipID"]), f"{archive['size'] / 1e6:.1f}", *_seconds(folder), price)
    console.print(stages)


def _amounts(step: Step) -> tuple[str, str, str]:
    size = "" if step.size is None else f"{step.size / 1e6:.1f}"
    speed = "" if step.size is None or not step.seconds else f"{step.size / 1e6 / step.seconds:.0f}"
    return size, speed, "" if step.moved is None else f"{step.moved / 1e6:.2f}"


def _seconds(folder: Folder) -> list[str]:
    """Return the seconds from each stage's end to the next one's; the first counts from the folder's closing."""
    moments = [folder.state["closed"], *(folder.archive[stage] for stage in STAGES)]
    return [
        f"{(datetime.fromisoformat(end) - datetime.fromisoformat(begin)).total_seconds():.2f}"
        for begin, end in pairwise(moments)
    ]
