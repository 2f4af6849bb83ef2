"""`roadvault-stack`: the whole system on one machine, for development, tests and a try-out.

roadvault-stack up [--detach]   start everything; stay until Ctrl-C, or return once all is ready
roadvault-stack down            stop it
roadvault-stack status          show the processes, and which of them are ready
roadvault-stack env [SERVICE]   print the environment of the services, or of one, for a shell to read
"""

import argparse
import shlex
import signal
import sys

from rich.console import Console
from rich.table import Table

from roadvault_common.plain import plain_lines
from roadvault_stack import plan, settings
from roadvault_stack.environment import SERVICES
from roadvault_stack.errors import StackError
from roadvault_stack.up import Stack


def main(argv: list[str] | None = None) -> None:
    """Run a command; what can't be done is said on stderr, with exit code 1."""
    arguments = _parser().parse_args(argv)
    console = Console(highlight=False, markup=False, soft_wrap=True)
    try:
        stack = Stack(settings.load(), console, plan.make)
        match arguments.command:
            case "up":
                stack.up(detach=arguments.detach)
            case "down":
                stack.down()
            case "status":
                sys.exit(_status(stack, console))
            case _:
                _env(stack, arguments.service)
    except StackError as error:
        sys.exit(plain_lines(f"roadvault-stack: {error}"))
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="roadvault-stack", description="RoadVault on one machine")
    commands = parser.add_subparsers(dest="command", required=True)
    up = commands.add_parser("up", help="start everything and stay until Ctrl-C")
    up.add_argument("--detach", action="store_true", help="return once everything is ready, and leave it running")
    commands.add_parser("down", help="stop everything")
    commands.add_parser("status", help="show the processes and which are ready; exit code 1 unless all are")
    env = commands.add_parser("env", help="print the services' environment, secrets included, as export lines")
    env.add_argument("service", nargs="?", choices=SERVICES, help="only what this service gets")
    return parser


def _status(stack: Stack, console: Console) -> int:
    if stack.supervisor.pid() is None:
        console.print("the stack is not up")
        return 1
    states = stack.supervisor.states()
    table = Table("program", "state", "process", "ready")
    all_ready = True
    for program in plan.make(stack.settings).programs():
        info = states.get(program.name, {})
        ready = program.ready()
        all_ready = all_ready and ready
        state, pid = str(info.get("statename", "unknown")).lower(), info.get("pid") or "-"
        table.add_row(program.name, state, str(pid), "yes" if ready else "no")
    console.print(table)
    return 0 if all_ready else 1


def _env(stack: Stack, service: str | None) -> None:
    environments = plan.make(stack.settings).environments
    values = environments.service(service) if service else environments.everything()
    for name, value in sorted(values.items()):
        sys.stdout.write(f"export {name}={shlex.quote(value)}\n")


if __name__ == "__main__":
    main()
