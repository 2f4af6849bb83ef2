"""`roadvault`: what an operator sees and mends from outside, by the functions that the services use themselves."""

import copy
import sys
from enum import IntEnum
from typing import Any

import typer
from pydantic import ValidationError

from roadvault_common.errors import TransientError, brief
from roadvault_common.settings.config import explain
from roadvault_operator import (
    custody,
    identity,
    keys,
    letters,
    look,
    mend,
    quarantine,
    receipt,
    retention,
    set_aside,
    token,
    top,
    user,
    verify,
)
from roadvault_operator.recover.command import recover
from roadvault_operator.sheet import command as sheet
from roadvault_operator.shell import app, for_a_program
from roadvault_operator.stores import command as store

app.command()(look.status)
app.command()(top.top)
app.command()(look.failed)
app.command()(mend.retry)
app.command()(mend.give_up)
app.command()(mend.pin_again)
app.command()(mend.pack_again)
app.command()(mend.seal)
app.command()(letters.dead_letters)
app.command()(verify.verify)
app.command()(custody.custody)
app.command()(receipt.check_receipt)
app.command()(keys.migrate)
app.add_typer(identity.app, name="identity")
app.add_typer(quarantine.app, name="quarantine")
app.add_typer(set_aside.app, name="set-aside")
app.add_typer(store.app, name="store")
app.add_typer(retention.app, name="retention")
app.add_typer(token.app, name="token")
app.add_typer(user.app, name="user")
app.command()(recover)
app.command()(sheet.recovery_sheet)
app.add_typer(sheet.app, name="master-key")
app.command()(keys.archive_key)
app.command()(keys.master_keys)
app.command()(keys.rewrap)
app.command()(keys.new_master_key)


_CLICK: Any = typer.BadParameter.__mro__[2]
"""Errors of a command line, which can show themselves: typer has a click of its own, and exports no more of it."""


class Exit(IntEnum):
    """How `roadvault` ends: scripts go by it."""

    DONE = 0
    NO = 1
    """It was not done, or a check found something: the reason is on standard error, or was shown."""
    USAGE = 2
    """There is no such command, option or argument."""
    AWAY = 3
    """What it needs does not answer now: the same may go well later."""
    INTERRUPTED = 130


def main() -> None:
    """Run a command (console script `roadvault`); an error is one line on stderr."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run a command, and return how it ended."""
    command = every_command_takes_json(typer.main.get_command(app))
    answer = for_a_program() if "--json" in arguments and "--help" not in arguments else None
    code, error = _run(command, arguments)
    if answer is not None:
        typer.echo(answer.document(_name(command, arguments), code, error))
    if error is not None and code != Exit.USAGE:
        typer.echo(f"roadvault: {error}", err=True)
    return code


def _run(command: Any, arguments: list[str]) -> tuple[int, str | None]:  # noqa: ANN401 - typer's own click
    try:
        # The command's result is None, unless it ended with typer.Exit.
        ended = command.main(arguments, "roadvault", standalone_mode=False) or Exit.DONE
    except _CLICK as wrong:
        wrong.show()
        return Exit.USAGE, wrong.format_message()
    except (typer.Abort, KeyboardInterrupt):
        return Exit.INTERRUPTED, "interrupted"
    except ValidationError as error:
        return Exit.NO, explain(error)
    except TransientError as error:
        return Exit.AWAY, brief(error)
    except Exception as error:  # noqa: BLE001 - whatever it is, an operator gets one line and no traceback
        return Exit.NO, brief(error)
    return ended, "interrupted" if ended == Exit.INTERRUPTED else None


def every_command_takes_json(command: Any) -> Any:  # noqa: ANN401 - likewise
    """Return a command below which all take --json, as it does: before a command's name or behind it is the same."""
    option = copy.copy(next(option for option in command.params if option.name == "json"))
    option.expose_value = False
    left = [*command.commands.values()]
    while left:
        below = left.pop()
        below.params.append(option)
        left += getattr(below, "commands", {}).values()
    return command


def _name(command: Any, arguments: list[str]) -> str:  # noqa: ANN401 - likewise
    """Return which command was called, without its arguments."""
    names = []
    for one in arguments:
        below = getattr(command, "commands", {})
        if one in below:
            names.append(one)
            command = below[one]
    return " ".join(names)


if __name__ == "__main__":
    main()
