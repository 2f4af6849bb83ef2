"""Bringing the stack up, keeping it up, and taking it down."""

import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from rich.console import Console

from roadvault_stack import processes
from roadvault_stack.errors import StackError
from roadvault_stack.layout import Layout
from roadvault_stack.plan import Plan
from roadvault_stack.ports import is_free
from roadvault_stack.readiness import Readiness, until
from roadvault_stack.settings import StackSettings, describe
from roadvault_stack.supervisor import Supervisor

_STOP_SECONDS = 150
"""More than all groups may take one after the other: 60 s for the servers, 15 s for each of the two others."""
_MIGRATE_SECONDS = 120
_LOOK_SECONDS = 3.0
_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stack:
    """The stack of one data directory, as the commands see it."""

    def __init__(self, settings: StackSettings, console: Console, make: Callable[[StackSettings], Plan]) -> None:
        """Take what to run from `make`, which is called once the coast is clear."""
        self.settings = settings
        self.layout = Layout(settings.dir)
        self.supervisor = Supervisor(self.layout)
        self._console = console
        self._make = make

    def up(self, *, detach: bool) -> None:
        """Start everything; stay in the foreground until stopped, or return once all is ready.

        Raises:
            StackError: It could not be started; what had been started is stopped again.
        """
        if self.supervisor.pid() is not None:
            if detach:
                self._console.print("the stack is up already")
                return
            raise StackError("The stack is up already: stop it with `make stop` first.")
        with _signals_interrupt(), self._only_one():
            try:
                self._start(detach=detach)
                if detach:
                    return
                self._console.print("Ctrl-C stops everything.")
                self._watch()
            except KeyboardInterrupt:
                self._stop_uninterrupted()
                if detach:
                    raise StackError("The start was interrupted.") from None
            except BaseException:
                self._stop_uninterrupted()
                raise

    @contextmanager
    def _only_one(self) -> Iterator[None]:
        self.layout.create()
        with self.layout.lock.open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise StackError(f"Another start of the stack in {self.layout.root} is under way.") from None
            yield

    def _start(self, *, detach: bool) -> None:
        self._stop_leftovers()
        check_ports(self.settings)
        plan = self._make(self.settings)
        for note in plan.notes:
            self._console.print(note)
        self._console.print("starting the servers")
        for server in plan.servers:
            server.prepare()
        self.supervisor.start(plan, tied=not detach)
        readiness = Readiness(self.supervisor, self.layout, self._console, plan.ready_seconds)
        for group in plan.groups:
            self.supervisor.launch(group)
            readiness.wait_for(group)
            if group is plan.groups[0]:
                for condition in plan.settle:
                    until(condition, "a connection between Kubo nodes", plan.ready_seconds)
                self.migrate(plan)
        self._console.print(f"\nback-office   http://localhost:{self.settings.ingest_port}")
        self._console.print(f"signed links  http://localhost:{self.settings.public_port}")
        self._console.print(f"logs          {self.layout.logs}")

    def _stop_leftovers(self) -> None:
        leftovers = processes.find(self.layout.root)
        if leftovers:
            names = ", ".join(f"{found.name} ({found.pid})" for found in leftovers)
            self._console.print(f"stopping what an earlier run left behind: {names}")
            processes.stop(leftovers, self.layout.root)

    def migrate(self, plan: Plan) -> None:
        """Run `roadvault migrate`, and say what it says.

        Raises:
            StackError: It failed.
        """
        script = Path(sys.executable).with_name("roadvault")
        done = subprocess.run(  # noqa: S603 - our own program
            [str(script), "migrate"],
            env={"PATH": os.environ.get("PATH", os.defpath), **plan.environments.migration()},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_MIGRATE_SECONDS,
            check=False,
        )
        if done.returncode:
            raise StackError(f"The database could not be migrated: {done.stderr.strip() or done.stdout.strip()}")
        self._console.print(f"  {done.stdout.strip()}")

    def _watch(self) -> None:
        """Stay until supervisor ends, and tell when a program is not running."""
        pid = self.supervisor.pid()
        before: dict[str, str] = {}
        while pid is not None and not processes.ends(pid, _LOOK_SECONDS):
            states = {name: str(info["statename"]) for name, info in self.supervisor.states().items()}
            for name, state in states.items():
                if before.get(name, "RUNNING") != state:
                    self._console.print(f"{name}: {state.lower()}; see {self.layout.log(name)}")
            before = states or before
        self._console.print("the stack was stopped")

    def _stop_uninterrupted(self) -> None:
        """Stop everything; a second Ctrl-C does not leave half of it behind, nor does a terminal that is gone."""
        for number in _STOP_SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        with suppress(OSError):
            self._console.print("\nstopping everything")
        self.supervisor.stop(_STOP_SECONDS)
        with suppress(OSError):
            self._console.print("stopped")

    def down(self) -> None:
        """Stop the stack if it runs, and whatever an earlier run left behind."""
        if not processes.find(self.layout.root):
            self._console.print("the stack is not up")
            return
        self._stop_uninterrupted()


def check_ports(settings: StackSettings) -> None:
    """See that every port is free, and given once only.

    Raises:
        StackError: One isn't; it names the port, what it is for, and the variable that sets it.
    """
    seen: dict[int, str] = {}
    for name, port in settings.ports().items():
        what, variable = describe(name)
        if port in seen:
            raise StackError(f"Port {port} is given to both {seen[port]} and {what}: set {variable} to another one.")
        seen[port] = what
    for name, port in settings.ports().items():
        what, variable = describe(name)
        if not is_free(port):
            raise StackError(
                f"Port {port}, for {what}, is in use by another program: stop that program, or set {variable}"
                " to a free port."
            )


@contextmanager
def _signals_interrupt() -> Iterator[None]:
    """Let SIGTERM and a closed terminal do what Ctrl-C does."""
    previous = {number: signal.signal(number, signal.default_int_handler) for number in _STOP_SIGNALS}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
