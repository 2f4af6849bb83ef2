"""`roadvault recover`: which sources are there, and what came of them."""

from typing import Annotated

import typer
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from roadvault_common.errors import SettingsError
from roadvault_common.files.vault import Vault
from roadvault_common.sql.db import Database
from roadvault_common.sql.migrate import check_schema
from roadvault_operator.config import OperatorSettings
from roadvault_operator.identity import data_dir
from roadvault_operator.recover.received import Adoption, Report
from roadvault_operator.shell import blocking, console, say


@blocking
async def recover(
    received: Annotated[bool, typer.Option("--received", help="uploads that wait to be packed")] = False,  # noqa: FBT002 - typer
    yes: Annotated[bool, typer.Option("--yes", help="take the data directory from the database it belongs to")] = False,  # noqa: FBT002
) -> None:
    """Bring back into a new database what outlived the one that was lost, under the old numbers."""
    if not received:
        raise SettingsError("name what to recover: --received")
    async with Database.open(OperatorSettings().database_url, size=2) as db:
        await check_schema(db)
        adoption = Adoption(db, Vault(data_dir()))
        owner = await adoption.owner()
        if owner is not None and not yes:
            say(
                f"the data directory belongs to the database {owner}. If that one is lost, add --yes: the directory is"
                " this one's from then on. If it lives, its services would be refused: nothing was changed"
            )
            raise typer.Exit(1)
        uploads = await adoption.begin()
        with _bars() as bars:
            bar = bars.add_task("uploads", total=sum(tag.size for _, tag in uploads))
            await adoption.adopt(uploads, lambda size: bars.advance(bar, size))
        await adoption.end()
    _tell(adoption.report)


def _tell(report: Report) -> None:
    for line in report.set_aside:
        say(f"set aside: {line}")
    for line in report.left:
        say(f"left where it is: {line}")
    say(
        f"{report.adopted} uploads adopted under their old numbers, in {len(report.folders)} folders that are due to be"
        f" packed; {report.known} were there already, {len(report.set_aside)} are not what they were,"
        f" {len(report.left)} were left"
    )
    if report.set_aside or report.left:
        say(
            "`roadvault set-aside list` has those that are not what they were. What was left goes to quarantine after"
            " hours, as nothing names it: copy it elsewhere if it matters"
        )
        raise typer.Exit(1)


def _bars() -> Progress:
    columns = TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn()
    return Progress(*columns, console=console, transient=True)
