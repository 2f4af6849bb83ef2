"""The start of `make run`, warm: everything is set up, and its data is there."""

import os
import signal
import subprocess
from pathlib import Path

from bench.measure import OURS, Measure, Target, take_turns, timed
from free_ports import pick_free

from roadvault_stack.settings import PREFIX, StackSettings

_CHECKOUT = Path(__file__).parents[2]
_ALLOWED = "15 s"
_READY = "Ctrl-C stops everything"


def measure(directory: Path, runs: int) -> Measure:
    """Start and stop the whole stack with `make run`; figures are seconds until it says that all is ready."""
    result = Measure(
        "`make run`, warm, until all is ready", "s", more_is_better=False, targets=[Target(_ALLOWED, 1, least=False)]
    )
    names = list(StackSettings(dir=directory).ports())
    ports = {f"{PREFIX}{name.upper()}": str(port) for name, port in zip(names, pick_free(len(names)), strict=True)}
    environment = {**os.environ, **ports, f"{PREFIX}DIR": str(directory / "stack")}
    _start(environment)  # the first start makes the data that a warm one finds

    def run() -> float:
        result.add(_ALLOWED, 15)
        return _start(environment)

    take_turns(result, {OURS: run}, runs)
    return result


def _start(environment: dict[str, str]) -> float:
    """Start everything, and stop it again; return the seconds that the start took."""
    with (
        timed() as seconds,
        subprocess.Popen(
            ["make", "run"], cwd=_CHECKOUT, env=environment, stdout=subprocess.PIPE, text=True, start_new_session=True
        ) as stack,
    ):
        assert stack.stdout is not None
        ready = next((seconds() for line in stack.stdout if _READY in line), None)
        os.killpg(stack.pid, signal.SIGINT)
        stack.stdout.read()
    if ready is None:
        raise RuntimeError("the stack did not start")
    return ready
