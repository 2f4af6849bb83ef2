"""What the demo shows as it goes: its steps, how long each took, bars where it waits, and the words of commands."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, TextColumn, TimeElapsedColumn

from roadvault_stack.demo.timeline import Step


class Screen:
    """The person's terminal, or a file."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.steps: list[Step] = []

    @contextmanager
    def step(self, name: str, size: int | None = None) -> Iterator[Step]:
        """Time what is done within, as a line of the timeline; `size` is bytes."""
        step = Step(name, size)
        started = time.monotonic()
        yield step
        step.seconds = time.monotonic() - started
        self.steps.append(step)

    @contextmanager
    def bar(self, name: str, *columns: ProgressColumn) -> Iterator[Progress]:
        """Show a bar while this is done."""
        if not self.console.is_terminal:
            self.console.print(name)
        with Progress(
            TextColumn("{task.description}"), BarColumn(), *columns, console=self.console, transient=True
        ) as progress:
            yield progress

    @contextmanager
    def waiting(self, name: str) -> Iterator[None]:
        """Show a bar that only tells that something is done, and for how long."""
        with self.bar(name, TimeElapsedColumn()) as bar:
            bar.add_task(name, total=None)
            yield

    def ran(self, command: str, output: str) -> None:
        """Show a command that was run, and what it said."""
        self.console.print(f"$ {command}", soft_wrap=True)
        for line in filter(None, map(str.rstrip, output.splitlines())):
            self.console.print(f"  {line}", soft_wrap=True)
