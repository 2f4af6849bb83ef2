"""`roadvault quarantine`: what no row names lies there for days; a person may bring it back, or let it go."""

from collections.abc import Callable
from enum import StrEnum
from typing import Annotated

import typer
from rich.filesize import decimal
from rich.progress import Progress, track

from roadvault_common.errors import PermanentError, SettingsError
from roadvault_common.files import sweep_store as store
from roadvault_common.files.identity import Identity
from roadvault_common.files.quarantine import Entry, Quarantine
from roadvault_common.files.vault import ARCHIVES, DOWNLOADS, POSTERS, RECEIVED, SWEPT, Vault
from roadvault_common.sql.db import Database
from roadvault_common.work import quarantined
from roadvault_operator.config import OperatorSettings
from roadvault_operator.identity import data_dir
from roadvault_operator.shell import blocking, console, say, show, size, utc

app = typer.Typer(no_args_is_help=True, help="Files that no row names: list, restore or purge them; let a sweep go on.")


class Directory(StrEnum):
    """Where files came from."""

    RECEIVED = RECEIVED
    ARCHIVES = ARCHIVES
    DOWNLOADS = DOWNLOADS
    POSTERS = POSTERS


Names = Annotated[list[str] | None, typer.Argument(help="entries, as `list` shows them")]
From = Annotated[Directory | None, typer.Option("--from", help="only what came from there")]


@app.command(name="list")
@blocking
async def list_entries(
    source: From = None, limit: Annotated[int, typer.Option(min=1, help="entries shown, the latest first")] = 50
) -> None:
    """Show what is in quarantine, and which sweeps have stopped to ask."""
    entries = _entries(source)
    latest = sorted(entries, key=lambda entry: entry.since, reverse=True)[:limit]
    show(
        "quarantine",
        "Quarantine",
        ("entry", "since", "size"),
        [(entry.name, utc(entry.since), size(entry.size)) for entry in latest],
    )
    amount = sum(entry.size for entry in entries)
    say(f"{len(entries)} files are in quarantine, {decimal(amount)}", files=len(entries), bytes=amount)
    async with Database.open(OperatorSettings().database_url, size=1) as db:
        stopped = await store.stopped(db)
    show(
        "stopped_sweeps",
        "Sweeps that would move more than is usual, and have stopped",
        ("directory", "would move", "size", "of files there", "since", "next sweep may move"),
        [
            (row["directory"], row["files"], size(row["bytes"]), row["seen"], utc(row["stopped_at"]), row["allowed"])
            for row in stopped
        ],
    )


@app.command()
@blocking
async def restore(
    names: Names = None,
    everything: Annotated[bool, typer.Option("--all", help="everything in quarantine")] = False,  # noqa: FBT002 - typer
    named: Annotated[bool, typer.Option("--named", help="what a row names (again)")] = False,  # noqa: FBT002 - typer
    source: From = None,
) -> None:
    """Move files back to where they came from; over nothing that is there."""
    if bool(names) + everything + named != 1:
        raise SettingsError("name entries, or --all, or --named")
    quarantine, entries = _quarantine(), _wanted(names, source)
    if named:
        entries = await _named(entries)
    count = _each(entries, "restoring", quarantine.restore)
    say(f"{count} of {len(entries)} files are back where they came from", files=count)
    if count < len(entries):
        raise typer.Exit(1)


@app.command()
@blocking
async def purge(
    names: Names = None,
    everything: Annotated[bool, typer.Option("--all", help="everything in quarantine")] = False,  # noqa: FBT002 - typer
    source: From = None,
    yes: Annotated[bool, typer.Option("--yes", help="do it; without this, say what would be removed")] = False,  # noqa: FBT002 - typer
) -> None:
    """Remove files from quarantine for good, but for those that a row names."""
    if bool(names) == everything:
        raise SettingsError("name entries, or --all")
    quarantine, entries = _quarantine(), _wanted(names, source)
    async with Database.open(OperatorSettings().database_url, size=1) as db:
        await Identity(db, data_dir(), only_looks=True).look()  # what rows name is asked of the right database
    kept = set(await _named(entries))
    going = [entry for entry in entries if entry not in kept]
    if kept:
        say(f"{len(kept)} files are named by rows and stay; `roadvault quarantine restore --named` brings them back")
    if not yes:
        say(f"{len(going)} files, {decimal(sum(entry.size for entry in going))}, would be removed for good: add --yes")
        raise typer.Exit(1)
    say(f"{_each(going, 'removing', quarantine.purge)} files were removed")


@app.command()
@blocking
async def allow(directory: Annotated[Directory, typer.Argument(help="whose sweep has stopped")]) -> None:
    """Let a sweep that has stopped go on, once, and up to the number of files that it has shown."""
    async with Database.open(OperatorSettings().database_url, size=1) as db:
        files = await store.allow(db, directory)
    if not files:
        raise PermanentError(f"the sweep of {directory} has not stopped; nothing was changed")
    say(f"the next sweep of {directory}, within the hour, may move {files} files to quarantine")


def _quarantine() -> Quarantine:
    return Vault(data_dir()).quarantine


def _entries(source: Directory | None) -> list[Entry]:
    """Return what is in quarantine."""
    quarantine, found = _quarantine(), list[Entry]()
    with Progress("{task.description}", "{task.completed} files", console=console, transient=True) as bars:
        task = bars.add_task("reading the quarantine", total=None)
        for directory in SWEPT if source is None else [source]:
            for entry in quarantine.entries(directory):
                found.append(entry)
                bars.advance(task)
    return found


def _wanted(names: list[str] | None, source: Directory | None) -> list[Entry]:
    return [_quarantine().entry(name) for name in names] if names else _entries(source)


async def _named(entries: list[Entry]) -> list[Entry]:
    """Return those that a row names by the path that they had."""
    async with Database.open(OperatorSettings().database_url, size=1) as db:
        return await quarantined.named(db, entries)


def _each(entries: list[Entry], what: str, act: Callable[[str], object]) -> int:
    """Do something to each entry, and say where it can't be done; return how often it was."""
    done, troubles = quarantined.each(track(entries, what, console=console, transient=True), act)
    for trouble in troubles:
        say(trouble)
    return done
