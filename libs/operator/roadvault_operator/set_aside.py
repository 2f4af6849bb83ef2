"""`roadvault set-aside`: uploads that rotted before they were packed; a person mends them, or gives them up."""

import asyncio
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.filesize import decimal
from rich.progress import Progress

from roadvault_common.errors import SettingsError
from roadvault_common.files import set_aside
from roadvault_common.files import set_aside_store as store
from roadvault_common.files.identity import Identity, read_stamp
from roadvault_common.files.vault import Vault
from roadvault_common.sql.db import Database, Row
from roadvault_common.stores import MAIN
from roadvault_operator.config import OperatorSettings
from roadvault_operator.identity import data_dir
from roadvault_operator.mend import ring
from roadvault_operator.shell import blocking, console, say, show, size, utc, why
from roadvault_operator.verify import Verifier

app = typer.Typer(no_args_is_help=True, help="Uploads that had rotted before they were packed: list, retry or give up.")


@app.command(name="list")
@blocking
async def list_files(limit: Annotated[int, typer.Option(min=1, help="files shown, the first first")] = 50) -> None:
    """Show the uploads that were set aside and wait for a decision."""
    async with Database.open(OperatorSettings().database_url, size=1) as db:
        rows, count = await store.waiting(db, limit), await store.count(db)
    show(
        "set_aside",
        "Set aside",
        ("file", "name", "size", "folder", "since", "reason"),
        [
            (
                row["file_id"],
                row["file_name"],
                size(row["size"]),
                row["folder_id"],
                utc(row["found_at"]),
                why(row["reason"]),
            )
            for row in rows
        ],
    )
    say(f"{count} uploads were set aside and wait for a decision", set_aside=count)


@app.command()
@blocking
async def retry(
    file_ids: Annotated[list[int] | None, typer.Argument(help="files, by their ids")] = None,
    everything: Annotated[bool, typer.Option("--all", help="every upload that was set aside")] = False,  # noqa: FBT002 - typer
) -> None:
    """Have uploads packed after all that are whole again: their bytes were brought back to where they lay."""
    if bool(file_ids) == everything:
        raise SettingsError("name files, or --all")
    vault = Vault(data_dir())
    async with Database.open(OperatorSettings().database_url, size=1) as db:
        with Progress(console=console, transient=True) as bars:
            verifier = Verifier(db, vault, None, bars)
            own = None if file_ids else await asyncio.to_thread(_store_of, vault.root)
            whole, closed = await set_aside.pack_whole(db, file_ids or [], partial(_is_whole, verifier, own))
    await ring(closed)
    say(
        f"{whole} uploads are whole and due to be packed, {verifier.wrong} are not, and stay aside",
        whole=whole,
    )
    if verifier.wrong:
        raise typer.Exit(1)


def _store_of(root: Path) -> str:
    """Return whose data directory it is: what was set aside at another store is not looked for here."""
    stamp = read_stamp(root)
    return MAIN if stamp is None else stamp.store


async def _is_whole(verifier: Verifier, own: str | None, row: Row) -> bool:
    if own not in {None, row["at_store"]}:
        return False
    wrong = verifier.wrong
    await verifier.upload(row)
    return verifier.wrong == wrong


@app.command()
@blocking
async def give_up(
    file_ids: Annotated[list[int], typer.Argument(help="files, by their ids")],
    yes: Annotated[bool, typer.Option("--yes", help="do it; without this, say what would be given up")] = False,  # noqa: FBT002 - typer
) -> None:
    """Close files as lost; what is left of their bytes goes to quarantine."""
    vault = Vault(data_dir())
    async with Database.open(OperatorSettings().database_url, size=1) as db:
        await Identity(db, vault.root, only_looks=True).look()
        rows = [row async for row in set_aside.wanted(db, file_ids)]
        if not yes:
            say(f"{len(rows)} files, {decimal(sum(row['size'] for row in rows))}, would be closed as lost: add --yes")
            raise typer.Exit(1)
        for row in rows:
            await set_aside.give_up(db, vault, row["file_id"])
            say(f"file {row['file_id']} is lost; what is left of it is in quarantine")
