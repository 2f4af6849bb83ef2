"""`roadvault recovery-sheet` and `roadvault master-key join`."""

import sys
from collections.abc import Iterator
from getpass import getpass
from pathlib import Path
from typing import Annotated

import typer
from pydantic import SecretStr

from roadvault_common.archive import keyring
from roadvault_common.archive.crypto import MasterKeys
from roadvault_common.errors import SettingsError
from roadvault_common.retention import periods
from roadvault_common.settings.archives import KeySettings
from roadvault_common.sql.db import Database
from roadvault_operator import store
from roadvault_operator.config import OperatorSettings
from roadvault_operator.sheet import contents, printing
from roadvault_operator.sheet.contents import Sheet
from roadvault_operator.sheet.shares import Joining, ShareRefused, Split
from roadvault_operator.shell import blocking, put

app = typer.Typer(no_args_is_help=True, help="Master keys that were split into shares.")


@blocking
async def recovery_sheet(
    shares: Annotated[int | None, typer.Option(help="shares to split each master key into, a page for each")] = None,
    threshold: Annotated[int | None, typer.Option(help="shares of a master key that give it back")] = None,
    html: Annotated[Path | None, typer.Option(help="a new file: the sheet to print, with QR codes")] = None,
    text: Annotated[bool, typer.Option("--text", help="print it here, also besides --html")] = False,  # noqa: FBT002 - typer
) -> None:
    """Print what opens and finds all archives again: the master keys or shares of them, and what to do with them."""
    split = _split(shares, threshold)
    async with Database.open(OperatorSettings().database_url, size=1) as db:
        account, catalogue = await store.paying_account(db), await store.catalogue(db)
        keys = MasterKeys(KeySettings().master_keys)
        ends = keyring.lines(keys, await periods.living(db, keys))
    cid = catalogue["cid"] if catalogue else None
    sheet = Sheet(contents.pages(KeySettings().master_keys, split), account, catalogue=cid, keyring=ends)
    if html is not None:
        printing.write_private(html, printing.as_html(sheet))
        typer.echo(f"{html}: {len(sheet.pages)} pages; print it where no copy is kept, then remove the file", err=True)
    if text or html is None:
        put(printing.as_text(sheet), "sheet")


def _split(shares: int | None, threshold: int | None) -> Split | None:
    if (shares is None) != (threshold is None):
        raise SettingsError("--shares and --threshold belong together, as in --shares 3 --threshold 2")
    if shares is None or threshold is None:
        return None
    split = Split(shares, threshold)
    split.check()
    return split


@app.callback()
def _about() -> None:
    """Hold the command's name: an application of one command has none."""


@app.command()
def join() -> None:
    """Read shares of a master key, a line each, and print the key."""
    joining = Joining()
    asking = sys.stdin.isatty()
    for line in _asked(joining) if asking else sys.stdin:
        try:
            if line.strip():
                number = joining.add(line)
                typer.echo(f"share {number}: {joining.taken} of {joining.needed}", err=True)
        except ShareRefused as error:
            if not asking:
                raise
            typer.echo(f"{error}; try again", err=True)
    key = joining.master_key()
    typer.echo(f"this is the master key {MasterKeys(SecretStr(key)).ids[0]}", err=True)
    put(key, "master_key")


def _asked(joining: Joining) -> Iterator[str]:
    """Ask at the terminal, which shows nothing of it, until there are enough shares."""
    while not joining.complete:
        try:
            line = getpass("words of a share (not shown): ")
        except EOFError:  # that was all
            return
        yield line
