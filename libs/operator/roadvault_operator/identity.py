"""`roadvault identity`: whose data directory this is, and accepting it after a database was restored."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from roadvault_common.errors import IdentityMismatch, SettingsError, brief
from roadvault_common.files import identity as identities
from roadvault_common.files import identity_store as store
from roadvault_common.files import numbers
from roadvault_common.retention import asking
from roadvault_common.sql.db import Database
from roadvault_operator.config import OperatorSettings
from roadvault_operator.shell import blocking, say, show

app = typer.Typer(invoke_without_command=True, help="Show whose data directory this is, or accept another database.")


@app.callback()
def identity(context: typer.Context) -> None:
    """Show the identity of the database and of the data directory; exit code 1 if they don't belong together."""
    if context.invoked_subcommand is None:
        _show()


@app.command()
@blocking
async def adopt(
    yes: Annotated[bool, typer.Option("--yes", help="do it; without this, say what would be done")] = False,  # noqa: FBT002 - typer
) -> None:
    """Accept this database for this data directory: after a restored dump, or for another directory."""
    root = data_dir()
    async with Database.open(OperatorSettings().database_url, size=2) as db:
        if not yes:
            await _compare(db, root)
            say(
                "`roadvault identity adopt --yes` accepts this database for this directory: both get a new identity,"
                f" new rows are numbered from {numbers.MARGIN} behind the highest that either side knows, and files"
                " that no row names go to quarantine. Where there is a newer dump or a binary log, restore that first;"
                " into a new, empty database `roadvault recover` brings the rows back instead."
            )
            raise typer.Exit(1)
        stamp = await identities.adopt(db, root)
        trusted = await asking.trust(db)
    say(f"database and data directory are {stamp.identity} now, at mark {stamp.mark}; services go on by themselves")
    if not trusted:
        say(
            "holds, and ends that were moved, are as they were in this database: `roadvault recover --catalogue` brings"
            " back what it lacks, and no archive ends before `roadvault retention allow`"
        )
    show("numbers", "Numbers go on behind", ("of", "number"), list(stamp.given_out.items()))


@blocking
async def _show() -> None:
    async with Database.open(OperatorSettings().database_url, size=2) as db:
        if not await _compare(db, data_dir()):
            raise typer.Exit(1)


async def _compare(db: Database, root: Path) -> bool:
    """Show both sides, and what keeps them apart; return whether nothing does."""
    row, highest = await store.read(db), await store.highest(db)
    try:
        stamp = await asyncio.to_thread(identities.read_stamp, root)
    except IdentityMismatch as error:
        say(brief(error))
        stamp = None
    there = stamp.given_out if stamp else {}
    known = [
        ("identity", row["identity"] if row else "none", stamp.identity if stamp else "none"),
        ("mark", row["mark"] if row else "", stamp.mark if stamp else ""),
        *((f"highest {name}", number, there.get(name, "")) for name, number in highest.items()),
    ]
    show("identity", "Identity", ("what", "database", "data directory"), known)
    trouble = identities.trouble_between(stamp, row)
    say("they belong together" if trouble is None else f"{trouble}; `roadvault identity adopt` says what can be done")
    return trouble is None


def data_dir() -> Path:
    """Return the data directory.

    Raises:
        SettingsError: It is not known.
    """
    root = OperatorSettings().data_dir
    if root is None:
        raise SettingsError("ROADVAULT_DATA_DIR is not set")
    return root
