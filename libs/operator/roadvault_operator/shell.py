"""What every command has in common: the application, the console, connections, the stages by name."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from datetime import UTC, datetime
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from roadvault_common.errors import SettingsError
from roadvault_common.plain import plain
from roadvault_common.work.stages import STAGES, Stage

P = ParamSpec("P")
T = TypeVar("T")

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
console = Console(highlight=False)

_STAGE_NAMES = ", ".join(stage.name for stage in STAGES)
STAGE_HELP = f"one of {_STAGE_NAMES}"


@app.callback()
def _about() -> None:
    """RoadVault, for its operator: look, retry, verify. Settings are the services' own ROADVAULT_ variables."""


def blocking(command: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, T]:
    """Run an async command to its end."""

    @wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        return asyncio.run(command(*args, **kwargs))

    return run


def stage_named(name: str) -> Stage:
    """Return the stage of that name.

    Raises:
        SettingsError: There is none.
    """
    for stage in STAGES:
        if stage.name == name:
            return stage
    raise SettingsError(f"there is no stage {name!r}; the stages are {_STAGE_NAMES}")


def say(text: str) -> None:
    """Print a line: its brackets are no markup, and what a terminal would obey is not in it."""
    console.print(plain(text), markup=False, soft_wrap=True)


def local_time(value: datetime) -> str:
    """Return a database time (UTC, naive) in the operator's zone, to the second, with how far that is from UTC."""
    return value.replace(tzinfo=UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S %z")


def show(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a table; nothing where there are no rows."""
    if not rows:
        return
    table = Table(title=title, title_justify="left")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        # As text: a reason with brackets in it is not markup. Reasons, names and letters hold what others said.
        table.add_row(*(Text("" if cell is None else plain(str(cell))) for cell in row))
    console.print(table)
