"""`roadvault top`: the way of files through the nine stages, live, in one screen of a terminal."""

import asyncio
import os
import sys
import termios
import tty
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.console import Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from roadvault_common.build import VERSION
from roadvault_common.errors import TransientError, brief
from roadvault_common.history import days, event_log, heartbeats
from roadvault_common.history.days import Day
from roadvault_common.history.event_log import Event
from roadvault_common.history.heartbeats import Beat
from roadvault_common.loops import pause
from roadvault_common.plain import plain
from roadvault_common.sql.db import Database, Row
from roadvault_common.work import backlog, outage_store
from roadvault_common.work.backlog import Numbers
from roadvault_operator.config import OperatorSettings
from roadvault_operator.shell import asked_by_a_program, blocking, console, say, show, show_away, size, utc, why
from roadvault_operator.store import MOST

_EVENTS, _AWAY = 40, 4
"""Lines that are asked for, and lines of what is away that are shown."""
_GONE_SECONDS = 600
"""After so long one is not missed any more, where others of its service are up."""
_COLOURS = {"done": "green", "wait": "yellow", "retry": "yellow", "failed": "red"}


@dataclass(frozen=True)
class Picture:
    """What there is to see."""

    at: datetime
    stages: list[tuple[str, Numbers]]
    beats: list[Beat]
    away: list[Row]
    events: list[Event]
    today: Day | None


@blocking
async def top(
    every: Annotated[float, typer.Option(min=0.5, help="seconds between two looks")] = 2,
) -> None:
    """Show the stages live: what waits, runs, is retried and failed, what is away, and what happens. q quits.

    With --json, or where the output is no terminal, it looks once.
    """
    async with Database.open(OperatorSettings().database_url, size=1) as db:
        if asked_by_a_program():
            _tell(await look(db))
        elif not console.is_terminal:
            console.print(frame(await look(db), None, console.height))
        else:
            await _live(db, every)


async def look(db: Database) -> Picture:
    """Look once.

    Raises:
        DatabaseUnavailable: The database does not answer.
    """
    stages, beats = await backlog.pipeline(db), await heartbeats.all(db)
    away, events = await outage_store.away(db), await event_log.latest(db, _EVENTS)
    today = next(iter(await days.last(db, 1)), None)
    return Picture(datetime.now(UTC), stages, beats, away, events, today)


async def _live(db: Database, every: float) -> None:
    quitting, picture, trouble = asyncio.Event(), None, None
    with _keys(quitting), Live(console=console, screen=True, auto_refresh=False) as live:
        while not quitting.is_set():
            try:
                picture, trouble = await look(db), None
            except TransientError as error:
                trouble = brief(error)
            live.update(frame(picture, trouble, console.height), refresh=True)
            await pause(quitting, every)


@contextmanager
def _keys(quitting: asyncio.Event) -> Iterator[None]:
    """Listen for q while the block runs; the terminal is left as it was."""
    if not sys.stdin.isatty():
        yield
        return
    loop, before = asyncio.get_running_loop(), termios.tcgetattr(sys.stdin)

    def pressed() -> None:
        if (keys := os.read(sys.stdin.fileno(), 64).lower()) == b"" or b"q" in keys:
            quitting.set()

    tty.setcbreak(sys.stdin)
    loop.add_reader(sys.stdin, pressed)
    try:
        yield
    finally:
        loop.remove_reader(sys.stdin)
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)


def frame(picture: Picture | None, trouble: str | None, height: int) -> RenderableType:
    """Return a screen of so many lines; each is cut where the screen ends."""
    lines: list[RenderableType] = [_line(_head(picture), "bold")]
    if trouble is not None:
        lines.append(_line(f"this is old: {trouble}", "red"))
    if picture is not None:
        lines += [_stages(picture.stages), _line(""), _services(picture.beats)]
        lines += [_line(_gone(row), "yellow") for row in picture.away[:_AWAY]]
        used = len(lines) + len(picture.stages) + 2  # the table has a line of names, and below is what q does
        lines += [_event(event) for event in picture.events[: max(height - used, 0)]]
    return Group(*lines, _line("q quits", "dim"))


def _head(picture: Picture | None) -> str:
    told = f"RoadVault {VERSION}"
    if picture is None:
        return told
    told += f"  {picture.at:%Y-%m-%d %H:%M:%S} UTC"
    today = picture.today
    if today is not None:
        told += f"  today in: {size(today.bytes_in).text}, archived: {size(today.bytes_archived).text}"
    return told


def _stages(stages: list[tuple[str, Numbers]]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("stage", width=10)
    for name in ("waiting", "running", "retrying", "failed"):
        table.add_column(name, justify="right", width=9)
    table.add_column("oldest", justify="right", width=9)
    for name, numbers in stages:
        cells = [
            ("", numbers.waiting),
            ("cyan", numbers.running),
            ("yellow", numbers.retrying),
            ("red", numbers.failed),
        ]
        table.add_row(
            name,
            *(Text(_count(count), style=colour if count else "dim") for colour, count in cells),
            _age(numbers.oldest_seconds),
        )
    return table


def _services(beats: list[Beat]) -> Text:
    """Return who is silent, and then who is up: with many processes the line ends before those do."""
    line = Text(no_wrap=True, overflow="ellipsis")
    up = Counter(plain(beat.service) for beat in beats if beat.lives)
    for beat in beats:
        name, seconds = plain(beat.service), beat.seconds_silent
        if not beat.lives and (seconds < _GONE_SECONDS or name not in up):
            line.append(f"{name} {'stopped' if beat.stopped else 'silent for'} {_age(seconds)}  ", style="red")
    names = (name if count == 1 else f"{name} ({count})" for name, count in up.items())
    line.append(f"up: {' '.join(names)}" if up else "no service is up", style="green" if up else "red")
    return line


def _gone(row: Row) -> str:
    what = " ".join(filter(None, (row["domain"], row["name"])))
    return f"away: {what}, for {row['service']}: {row['reason']}"


def _event(event: Event) -> Text:
    words = "" if event.reason is None else f": {event.reason.words}"
    trace = "" if event.trace_id is None else f"  trace {event.trace_id}"
    told = f"{event.at:%H:%M:%S}  {event.stage} {event.row_id} {event.outcome}{words}{trace}"
    return _line(told, _COLOURS.get(event.outcome, ""))


def _line(text: str, style: str = "") -> Text:
    return Text(plain(text), style=style, no_wrap=True, overflow="ellipsis")


def _count(count: int) -> str:
    return f"{count}+" if count >= MOST else str(count)


def _age(seconds: float) -> str:
    for unit, length in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s" if seconds else ""


def _tell(picture: Picture) -> None:
    """Give a program what there is."""
    names = ("waiting", "running", "retrying", "failed", "oldest_seconds")
    stages = [(stage, *(getattr(numbers, name) for name in names)) for stage, numbers in picture.stages]
    show("stages", "Stages", ("stage", *names), stages)
    beats = [(beat.service, beat.instance, beat.version, utc(beat.heard_at), beat.facts) for beat in picture.beats]
    show("services", "Services", ("service", "instance", "version", "heard", "facts"), beats)
    show_away(picture.away)
    events = [
        (utc(one.at), one.stage, one.row_id, one.outcome, one.attempt, why(one.reason), one.trace_id)
        for one in picture.events
    ]
    show("events", "Events", ("at", "stage", "row", "outcome", "attempt", "reason", "trace"), events)
    if picture.today is not None:
        say("today", bytes_in=picture.today.bytes_in, bytes_archived=picture.today.bytes_archived)
