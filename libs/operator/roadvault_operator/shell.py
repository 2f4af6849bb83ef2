"""What every command has in common: the application, what it answers, connections, the stages by name.

A command answers people with lines and tables. With `--json`, which every command takes, it answers programs: one
document at its end, of one shape (`architecture/operator.md`), with the same lines, tables and what they tell of.
"""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import wraps
from json import dumps
from typing import Annotated, Any, ParamSpec, TypeVar

import typer
from rich.console import Console
from rich.filesize import decimal
from rich.table import Table
from rich.text import Text

from roadvault_common.build import REVISION, VERSION
from roadvault_common.errors import SettingsError
from roadvault_common.plain import plain
from roadvault_common.sql.db import Row
from roadvault_common.work import reasons
from roadvault_common.work.reasons import Reason
from roadvault_common.work.stages import STAGES, Stage

P = ParamSpec("P")
T = TypeVar("T")

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False)
console = Console(highlight=False)

_STAGE_NAMES = ", ".join(stage.name for stage in STAGES)
STAGE_HELP = f"one of {_STAGE_NAMES}"


@dataclass
class Answer:
    """What a program gets: lines as people see them, and what they tell of, by name."""

    lines: list[str] = field(default_factory=list)
    facts: dict[str, object] = field(default_factory=dict)
    tables: dict[str, list[dict[str, object]]] = field(default_factory=dict)

    def document(self, command: str, code: int, error: str | None) -> str:
        """Return it as one document: ASCII, so that nothing in it steers a terminal."""
        ends = {"command": command, "exit": code, "error": error}
        rest = {"facts": self.facts, "tables": self.tables, "lines": self.lines}
        return dumps(ends | rest, indent=1, default=_value)


_answer: Answer | None = None
"""Of this process, if a program asks."""


def for_a_program() -> Answer:
    """Answer a program, from now on, instead of a person."""
    global _answer
    _answer, console.quiet = Answer(), True
    return _answer


def asked_by_a_program() -> bool:
    """Tell whether a program is answered."""
    return _answer is not None


@dataclass(frozen=True)
class Shown:
    """A value with a text of its own for people."""

    text: str
    value: object


def size(amount: int) -> Shown:
    """Return bytes."""
    return Shown(decimal(amount), int(amount))


def utc(value: datetime | None) -> Shown | None:
    """Return a time of the database (UTC, naive)."""
    return None if value is None else Shown(f"{value:%Y-%m-%d %H:%M:%S} UTC", value)


def local(value: datetime | None) -> Shown | None:
    """Return a time of the database, for people in their own zone."""
    return None if value is None else Shown(local_time(value), value)


def why(reason: str | Reason | None) -> Shown | None:
    """Return a reason, as a column has it or read from one: its words, and for programs its code besides."""
    read = reason if isinstance(reason, Reason) else reasons.parse(reason)
    if read is None:
        return None
    return Shown(read.words, {"code": read.code or None, "params": dict(read.params), "words": read.words})


def _about(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="say which version this is")] = False,  # noqa: FBT002 - typer
    json: Annotated[bool, typer.Option("--json", help="answer a program, by one JSON document")] = False,  # noqa: ARG001, FBT002
) -> None:
    """RoadVault, for its operator: look, retry, verify. Settings are the services' own ROADVAULT_ variables."""
    if version:
        say(f"roadvault {VERSION} ({REVISION})", version=VERSION, revision=REVISION)
        raise typer.Exit
    if context.invoked_subcommand is None:
        context.fail("name a command: `roadvault --help` lists them")


app.callback(invoke_without_command=True)(_about)


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


def say(text: str, **facts: object) -> None:
    """Print a line: its brackets are no markup, and what a terminal would obey is not in it. Programs get `facts`."""
    if _answer is None:
        console.print(plain(text), markup=False, soft_wrap=True)
    else:
        _answer.lines.append(text)
        _answer.facts |= facts


def put(text: str, name: str) -> None:
    """Print a text of ours as it is, such as a sheet; to a program it is a fact."""
    if _answer is None:
        typer.echo(text, nl=not text.endswith("\n"))
    else:
        _answer.facts[name] = text


def local_time(value: datetime) -> str:
    """Return a database time (UTC, naive) in the operator's zone, to the second, with how far that is from UTC."""
    return value.replace(tzinfo=UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S %z")


def show(name: str, title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a table; nothing where there are no rows. To a program it is a list by that name, which may be empty."""
    if _answer is not None:
        keys = [column.lower().replace(" ", "_") for column in columns]
        _answer.tables[name] = [dict(zip(keys, row, strict=False)) for row in rows]
        return
    if not rows:
        return
    table = Table(title=title, title_justify="left")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        # As text: a reason with brackets in it is not markup. Reasons, names and letters hold what others said.
        table.add_row(*(Text(plain(_text(cell))) for cell in row))
    console.print(table)


def _text(cell: object) -> str:
    return "" if cell is None else cell.text if isinstance(cell, Shown) else str(cell)


def _value(value: object) -> object:
    """Return what JSON has no form for: times with their zone, all else as text."""
    match value:
        case Shown(value=inner):
            return inner
        case datetime(tzinfo=None):
            return f"{value.isoformat()}Z"
        case datetime():
            return value.isoformat()
        case _:
            return str(value)


def show_away(rows: Sequence[Row]) -> None:
    """Print what is away, since when and for whom."""
    show(
        "away",
        "Away: what needs it rests, and goes on by itself",
        ("what", "which", "whose work waits", "since", "reason"),
        [(row["domain"], row["name"], row["service"], utc(row["since"]), row["reason"]) for row in rows],
    )
