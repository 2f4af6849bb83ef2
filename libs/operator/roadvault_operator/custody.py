"""`roadvault custody`: what was done to a file, and whether the log that says so is what it was."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import orjson
import typer
from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn

from roadvault_common.custody import accepting, check, history, store, tie, tying
from roadvault_common.custody.chain import Head
from roadvault_common.errors import IntegrityError, PermanentError, SettingsError, brief
from roadvault_common.plain import plain
from roadvault_common.sql.db import Database, Row
from roadvault_common.work import lease as leases
from roadvault_common.work.stages import PUBLISH
from roadvault_operator import custody_copy
from roadvault_operator.config import OperatorSettings
from roadvault_operator.identity import data_dir
from roadvault_operator.recover.custody_log import bring_back_holds
from roadvault_operator.shell import blocking, console, local, say, show

_SHOWN = 20
"""Faults that are printed."""


@blocking
async def custody(
    file_id: Annotated[int | None, typer.Argument(help="the file's id", show_default=False)] = None,
    check_all: Annotated[bool, typer.Option("--check", help="check the whole log")] = False,  # noqa: FBT002 - typer
    accept: Annotated[
        str | None, typer.Option(help="go on from what is there, for this reason, which becomes a line of the log")
    ] = None,
    save: Annotated[Path | None, typer.Option(help="add what is new to a copy of the log in this directory")] = None,
    bring_back: Annotated[Path | None, typer.Option(help="write a copy's lines into a new database's log")] = None,
) -> None:
    """Show what was done to a file, who had it and when; or check the log of that, or accept what is wrong with it."""
    if sum((file_id is not None, check_all, accept is not None, save is not None, bring_back is not None)) != 1:
        raise SettingsError("name a file, or --check, or --accept REASON, or --save or --bring-back DIRECTORY")
    async with Database.open(OperatorSettings().database_url, size=1) as db:
        if file_id is not None:
            await _show(db, file_id)
        elif accept is not None:
            old = await accepting.accept(db, data_dir(), accept)
            await db.transact(lambda tx: leases.make_due(tx, PUBLISH, 1))
            say(f"accepted; the log goes on. {old.size} lines had been noted: {old.hash.hex()}. That is a line itself.")
        elif save is not None:
            await _save(db, save)
        elif bring_back is not None:
            head = await custody_copy.bring_back(db, bring_back)
            say(f"the custody log has {head.size} lines; its head: {head.hash.hex()}", lines=head.size)
            for line in await bring_back_holds(db):
                say(line)
        else:
            await _check(db)


async def _show(db: Database, file_id: int) -> None:
    archive = await store.archive_of(db, file_id)
    if archive is None:
        raise PermanentError(f"there is no file {file_id}")
    rows = [row async for row in history.whole(db, file_id, archive["zip_id"])][::-1]
    show(
        "custody",
        f"Custody of file {file_id}",
        ("line", "when", "act", "of", "facts"),
        [(row["position"], local(row["done_at"]), row["act"], _of(row), facts(row)) for row in rows],
    )
    if not rows:
        say(f"the log has nothing of file {file_id}: it is from before there was a log")
    wrong = await _wrong(db, file_id, archive["zip_id"])
    if wrong:
        raise PermanentError(
            f"the custody log is not what was chained: {'; '.join(wrong)}; `roadvault custody --check`"
        )


async def _wrong(db: Database, file_id: int, zip_id: int | None) -> list[str]:
    """Return what is wrong with the lines of a file, its archive's, and the log's head."""
    root = OperatorSettings().data_dir
    found = [f"position {fault.position}, {fault.reason}" for fault in await check.check_head(db, root)]
    try:
        head = await tying.root(db)
        tied = None if head is None else await tying.tie(db, file_id, zip_id, head)
        if tied is not None and tied.chains and tied.chains[0].of == "file":
            tie.check(tied, file_id, zip_id)
    except IntegrityError as error:
        found.append(brief(error))
    return found


def _of(row: Row) -> str:
    return f"file {row['file_id']}" if row["zip_id"] is None else f"archive {row['zip_id']}"


def facts(row: Row) -> str:
    """Return what a line says besides, in one line; as it stands if it is no JSON any more."""
    try:
        return plain(", ".join(f"{name} {value}" for name, value in orjson.loads(row["facts"]).items()))
    except (ValueError, AttributeError):
        return plain(str(row["facts"]))


async def _save(db: Database, directory: Path) -> None:
    with _bar(await store.head(db)) as advance:
        lines = await custody_copy.save(db, directory, advance)
    say(f"{directory} has all {lines} lines of the custody log that have a place in it")


@contextmanager
def _bar(head: Head | None) -> Iterator[Callable[[int], None]]:
    columns = *Progress.get_default_columns()[:2], MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=console, transient=True) as bars:
        bar = bars.add_task("lines", total=head.size if head else 0)
        yield lambda lines: bars.advance(bar, lines)


async def _check(db: Database) -> None:
    root = OperatorSettings().data_dir
    if root is None:
        say("ROADVAULT_DATA_DIR is not set: the head that is noted there is not compared, a cut tail may not be found")
    head = await store.head(db)
    with _bar(head) as advance:
        found = await check.check_all(db, root, advance)
    for fault in found[:_SHOWN]:
        say(f"position {fault.position}: {fault.reason}")
    if found:
        raise PermanentError(f"the custody log is not what was chained: {len(found)} faults")
    say(f"the custody log is what was chained: {head.size if head else 0} lines", lines=head.size if head else 0)
    if head is not None:
        say(f"its head: {head.hash.hex()}", head=head.hash.hex())
