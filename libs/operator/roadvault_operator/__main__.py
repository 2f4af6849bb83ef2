"""`roadvault`: what an operator sees and mends from outside, by the functions that the services use themselves."""

import sys

from pydantic import ValidationError

from roadvault_common.errors import RoadVaultError, brief
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
    user,
    verify,
)
from roadvault_operator.recover.command import recover
from roadvault_operator.sheet import command as sheet
from roadvault_operator.shell import app

app.command()(look.status)
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


def main() -> None:
    """Run a command (console script `roadvault`); an error is one line on stderr and exit code 1."""
    try:
        app()
    except ValidationError as error:
        sys.exit(f"roadvault: {explain(error)}")
    except RoadVaultError as error:
        sys.exit(f"roadvault: {brief(error)}")
    except Exception as error:  # noqa: BLE001 - whatever it is, an operator gets one line and no traceback
        sys.exit(f"roadvault: {brief(error)}")


if __name__ == "__main__":
    main()
