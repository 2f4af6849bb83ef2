"""Supervisor, which runs the stack's processes: its configuration, its start, its commands, its stop."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path
from typing import Any
from xmlrpc.client import Fault, ServerProxy

from supervisor.xmlrpc import SupervisorTransport

from roadvault_stack import processes
from roadvault_stack.errors import StackError
from roadvault_stack.layout import Layout
from roadvault_stack.plan import Group, Plan, Program
from roadvault_stack.programs import tied_to_parent
from roadvault_stack.servers import private_file

_START_SECONDS = 20
_INHERITED = ("PATH", "LANG", "LC_ALL", "TZ", "TMPDIR", "HOME", "USER", "LOGNAME", "SSL_CERT_FILE")
"""What the processes take over from whoever starts the stack: no settings and no secrets meant for another one."""


class Supervisor:
    """The supervisor of one stack, running or not."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout

    def pid(self) -> int | None:
        """Return its process id while it runs; a pid file that was left behind is not believed."""
        try:
            pid = int(self._layout.supervisor_pid.read_text())
        except (OSError, ValueError):
            return None
        return pid if processes.belongs(pid, self._layout.root) else None

    def start(self, plan: Plan, *, tied: bool) -> None:
        """Start it, with no program running yet.

        Args:
            plan: What it will run.
            tied: Stop everything as soon as the calling process is gone, however it went.
        """
        private_file(self._layout.supervisor_conf, configuration(plan))
        self._layout.supervisor_pid.unlink(missing_ok=True)
        script = Path(sys.executable).with_name("supervisord")
        command = [sys.executable, str(script), "--nodaemon", "--configuration", str(self._layout.supervisor_conf)]
        with (self._layout.logs / "supervisord.out").open("wb") as out:
            process = subprocess.Popen(  # noqa: S603 - our own arguments
                tied_to_parent(command, "TERM") if tied else command,
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is for us alone; we then stop the programs in their order
            )
        self._wait_until_it_answers(process)

    def _environment(self) -> dict[str, str]:
        inherited = {name: os.environ[name] for name in _INHERITED if name in os.environ}
        return {**inherited, processes.MARK: str(self._layout.root)}

    def _wait_until_it_answers(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while not self.states():
            if process.poll() is not None or time.monotonic() > deadline:
                out = (self._layout.logs / "supervisord.out").read_text(errors="replace").strip()
                raise StackError(f"supervisord did not start: {out[-2000:] or 'it says nothing'}")
            time.sleep(0.05)

    def launch(self, group: Group) -> None:
        """Start the programs of a group, without waiting for them."""
        with self._commands() as commands:
            commands.startProcessGroup(group.name, False)  # noqa: FBT003 - "wait", by position in XML-RPC

    def halt(self, group: Group, seconds: float) -> None:
        """Stop the programs of a group that run, all at once; what is named by the group and not in it goes on.

        Raises:
            StackError: One has not ended after `seconds`, or supervisor does not tell.
        """
        names = {program.name for program in group.programs}
        with self._commands() as commands:
            for name in names & self._living():
                commands.stopProcess(f"{group.name}:{name}", False)  # noqa: FBT003 - "wait"
        deadline = time.monotonic() + seconds
        while left := names & self._living():
            if time.monotonic() > deadline:
                raise StackError(f"{', '.join(sorted(left))} did not end within {seconds:.0f} s.")
            time.sleep(0.05)

    def _living(self) -> set[str]:
        states = self.states()
        if not states:
            raise StackError("supervisor does not tell which programs run.")
        return {name for name, info in states.items() if info.get("pid")}

    def states(self) -> dict[str, dict[str, Any]]:
        """Return what supervisor knows of each program, by name; nothing while it doesn't answer."""
        try:
            with self._commands() as commands:
                return {info["name"]: info for info in commands.getAllProcessInfo()}
        except (OSError, HTTPException, Fault):
            return {}

    @contextmanager
    def _commands(self) -> Iterator[Any]:
        transport = SupervisorTransport(None, None, f"unix://{self._layout.supervisor_socket}")
        with ServerProxy("http://127.0.0.1", transport=transport) as proxy:
            yield proxy.supervisor

    def stop(self, seconds: float) -> None:
        """Stop the programs, group after group from the last to the first, and then supervisor itself."""
        pid = self.pid()
        if pid is not None:
            processes.send(pid, self._layout.root, signal.SIGTERM)
            processes.ends(pid, seconds)
        # There are none left unless supervisor was killed or a program hangs beyond all limits.
        processes.stop(processes.find(self._layout.root), self._layout.root)


def configuration(plan: Plan) -> str:
    """Return supervisor's configuration; it holds secrets."""
    layout = plan.layout
    sections = [
        _section("unix_http_server", {"file": str(layout.supervisor_socket), "chmod": "0700"}),
        _section(
            "supervisord",
            {
                "logfile": str(layout.logs / "supervisord.log"),
                "pidfile": str(layout.supervisor_pid),
                "directory": str(layout.root),
                "umask": "077",
                **({"user": "root"} if os.getuid() == 0 else {}),  # what it runs as anyway; unsaid, it warns
            },
        ),
        _section(
            "rpcinterface:supervisor",
            {"supervisor.rpcinterface_factory": "supervisor.rpcinterface:make_main_rpcinterface"},
        ),
    ]
    for number, group in enumerate(plan.groups, start=1):
        members = ",".join(program.name for program in group.programs)
        # It stops groups by falling priority, and the programs of one group at the same time.
        sections.append(_section(f"group:{group.name}", {"programs": members, "priority": str(number)}))
        sections += [_program(program, layout) for program in group.programs]
    return "\n".join(sections)


def _program(program: Program, layout: Layout) -> str:
    environment = ",".join(f"{name}={_quoted(value)}" for name, value in program.environment.items())
    return _section(
        f"program:{program.name}",
        {
            # Tied: should supervisor be killed, the programs end by themselves.
            "command": " ".join(_quoted(part) for part in tied_to_parent(program.command, "TERM")),
            "environment": environment,
            "autostart": "false",
            "autorestart": "true",
            "startsecs": "1",
            "stopwaitsecs": str(program.stop_seconds),
            "stopasgroup": "true",
            "killasgroup": "true",
            "redirect_stderr": "true",
            "stdout_logfile": str(layout.log(program.name)),
            "stdout_logfile_maxbytes": "20MB",
            "stdout_logfile_backups": "2",
        },
    )


def _section(name: str, options: dict[str, str]) -> str:
    lines = [f"{key} = {_plain(value)}" for key, value in options.items()]
    return "\n".join([f"[{name}]", *lines, ""])


def _plain(value: str) -> str:
    """Refuse what supervisor would take for an expansion or a comment; it has no sure way of escaping them."""
    if any(character in value for character in "%;#\n"):
        raise StackError(f"supervisor's configuration can't hold {value!r}: use a path without %, ; and #.")
    return value


def _quoted(text: str) -> str:
    if any(character in text for character in '"\\'):
        raise StackError(f"supervisor's configuration can't hold {text!r}: use a path without quotes and backslashes.")
    return f'"{text}"'
