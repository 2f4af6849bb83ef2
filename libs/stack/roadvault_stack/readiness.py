"""Waiting until programs are ready, and saying what stands in the way when they don't get there."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from rich.console import Console

from roadvault_stack.errors import StackError
from roadvault_stack.layout import Layout
from roadvault_stack.plan import Group, Program
from roadvault_stack.supervisor import Supervisor

_LOOK_EVERY_SECONDS = 0.1
_LOG_LINES = 20
_LOG_TAIL_BYTES = 32_000
_GOING = {"STARTING", "RUNNING"}


class Readiness:
    """Follows programs as they start, and shows it: a line for each that is ready, and who is still waited for."""

    def __init__(self, supervisor: Supervisor, layout: Layout, console: Console, seconds: float) -> None:
        self._seconds = seconds
        self._supervisor = supervisor
        self._layout = layout
        self._console = console

    def wait_for(self, group: Group) -> None:
        """Return once every program of a group that was launched is ready.

        Raises:
            StackError: One has ended, or is not ready in time; its last log lines are in the text.
        """
        started = time.monotonic()
        waiting = list(group.programs)
        with ThreadPoolExecutor(len(waiting)) as pool, self._console.status("") as status:
            while waiting:
                status.update(f"waiting for {', '.join(program.name for program in waiting)}")
                ready = [p for p, is_ready in zip(waiting, pool.map(_ready, waiting), strict=True) if is_ready]
                self._refuse_the_dead(waiting)
                for program in ready:
                    self._console.print(f"  {program.name} is ready ({time.monotonic() - started:.1f} s)")
                    waiting.remove(program)
                if waiting and time.monotonic() - started > self._seconds:
                    late = waiting[0]
                    raise self._failure(late, f"is not ready after {self._seconds:.0f} s. {late.explain()}".strip())
                time.sleep(_LOOK_EVERY_SECONDS if waiting else 0)

    def _refuse_the_dead(self, programs: list[Program]) -> None:
        states = self._supervisor.states()
        for program in programs:
            state = states.get(program.name, {})
            if state.get("statename") not in _GOING:
                raise self._failure(program, f"ended: {state.get('spawnerr') or state.get('description') or 'gone'}")

    def _failure(self, program: Program, what: str) -> StackError:
        log = self._layout.log(program.name)
        return StackError(f"{program.name} {what}\nThe end of {log}:\n{tail(log)}")


def _ready(program: Program) -> bool:
    return program.ready()


def tail(log: Path) -> str:
    """Return the last lines of a log, which may be large or missing."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - _LOG_TAIL_BYTES))
            text = file.read().decode(errors="replace")
    except OSError as error:
        return f"  (no log: {error})"
    return "\n".join(f"  {line}" for line in text.splitlines()[-_LOG_LINES:]) or "  (empty)"


def until(condition: Callable[[], bool], what: str, seconds: float) -> None:
    """Wait until a condition holds.

    Raises:
        StackError: It doesn't within `seconds`; `what` says what was waited for.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise StackError(f"{what} did not come about within {seconds:.0f} s.")
        time.sleep(_LOOK_EVERY_SECONDS)
