"""`roadvault recover`: which sources are there, and what came of them."""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from roadvault_common.errors import SettingsError
from roadvault_common.files.tags import Tag
from roadvault_common.files.vault import Vault
from roadvault_common.retention import asking
from roadvault_common.sql.db import Database
from roadvault_common.sql.migrate import check_schema
from roadvault_operator.config import OperatorSettings
from roadvault_operator.identity import data_dir
from roadvault_operator.recover import custody_log, rehearsal, sources
from roadvault_operator.recover import received as uploading
from roadvault_operator.recover.alone import alone
from roadvault_operator.recover.candidates import Report
from roadvault_operator.recover.chain import Blocks
from roadvault_operator.recover.giving_up import give_up
from roadvault_operator.recover.received import Adoption
from roadvault_operator.recover.run import Recovery, Sources
from roadvault_operator.recover.takeover import Takeover
from roadvault_operator.shell import blocking, console, say

_POOL = 4


@blocking
async def recover(  # noqa: PLR0913, PLR0917 - an argument for each option
    catalogue: Annotated[bool, typer.Option("--catalogue", help="the newest, by the first master key")] = False,  # noqa: FBT002 - typer
    catalogue_cid: Annotated[str | None, typer.Option("--catalogue-cid", help="a catalogue, by its CID")] = None,
    cids: Annotated[Path | None, typer.Option("--cids", help="archives by their CIDs: a file, one a line")] = None,
    pins: Annotated[bool, typer.Option("--pins", help="archives that our own IPFS node pins")] = False,  # noqa: FBT002
    pinning_service: Annotated[bool, typer.Option("--pinning-service", help="what the pinning service lists")] = False,  # noqa: FBT002
    chain: Annotated[bool, typer.Option("--chain", help="what the account ordered: reads blocks")] = False,  # noqa: FBT002
    account: Annotated[
        str | None, typer.Option("--account", help="whose orders; else the seed's in the settings")
    ] = None,
    chain_from: Annotated[
        int | None, typer.Option("--chain-from", help="the lowest block to read", metavar="HEIGHT")
    ] = None,
    chain_to: Annotated[int | None, typer.Option("--chain-to", help="the highest", metavar="HEIGHT")] = None,
    archives: Annotated[bool, typer.Option("--archives", help="archives in the data directory")] = False,  # noqa: FBT002
    keyring: Annotated[
        Path | None, typer.Option("--keyring", help="period keys: a keyring, or lines off a sheet")
    ] = None,
    received: Annotated[bool, typer.Option("--received", help="uploads that wait to be packed")] = False,  # noqa: FBT002
    without: Annotated[
        list[str] | None, typer.Option("--without", help="give up what was left out, by its CID", metavar="CID")
    ] = None,
    rehearse: Annotated[bool, typer.Option("--rehearse", help="into a scratch database, to compare")] = False,  # noqa: FBT002
    yes: Annotated[bool, typer.Option("--yes", help="take the directory from its database; give up holds")] = False,  # noqa: FBT002
) -> None:
    """Bring back into a new database what outlived the one that was lost, under the old numbers.

    Without a source: --catalogue --pins --archives --received. May be killed and run again at any time. With
    --rehearse nothing is changed: archives are recovered into a scratch database, from the catalogue if no source is
    named, and compared with this one. Archives that have an end open with --keyring alone. What does not come back
    stays noted, and in the catalogue, until a later run brings it back, or --without gives it up.
    """
    listed = tuple(sources.listed(cids)) if cids else ()
    blocks = Blocks(account, chain_from, chain_to)
    if blocks != Blocks() and not chain:
        raise SettingsError("--account, --chain-from and --chain-to go with --chain")
    wanted = Sources(catalogue, catalogue_cid, listed, pins, archives, pinning_service, blocks if chain else None)
    if without:
        if wanted.any or received or rehearse:
            raise SettingsError("--without stands alone: it recovers nothing")
        await give_up(without, yes=yes)
        return
    if rehearse:
        await _rehearse(wanted if wanted.any else Sources(catalogue=True), keyring)
        return
    if not (wanted.any or received):
        wanted, received = Sources(catalogue=True, pins=True, archives=True), True
    async with AsyncExitStack() as stack:
        db = await stack.enter_async_context(Database.open(OperatorSettings().database_url, size=_POOL))
        await check_schema(db)
        await stack.enter_async_context(alone(OperatorSettings().database_url.get_secret_value(), "recovery"))
        vault = Vault(data_dir())
        takeover, adoption = Takeover(db, vault.root), Adoption(db, vault)
        await _ask(takeover, yes=yes)
        recovery = await stack.enter_async_context(_open(wanted, vault.root, keyring)) if wanted.any else None
        known = await _given_out(recovery, notes=True) if recovery else {}
        uploads = await adoption.uploads() if received else []
        await takeover.begin(known, uploading.highest(uploads))
        whole = await _archives(recovery, db) if recovery else True
        whole = (await _received(adoption, uploads) if received else True) and whole
        _tell_held(await recovery.hold(db) if recovery else await custody_log.bring_back_holds(db))
        await takeover.end()
        if not await asking.trust(db):
            say("no archive ends here before `roadvault retention allow`: are all holds there, and ends as they were?")
    if not whole:
        raise typer.Exit(1)


def _open(wanted: Sources, root: Path, keyring: Path | None) -> AbstractAsyncContextManager[Recovery]:
    """Open a recovery.

    Raises:
        SettingsError: The keyring can't be read.
    """
    try:
        return Recovery.open(wanted, root, keyring.read_text(encoding="utf-8", errors="replace") if keyring else "")
    except OSError as error:
        raise SettingsError(f"--keyring: {keyring} can't be read: {error.strerror}") from error


async def _rehearse(wanted: Sources, keyring: Path | None) -> None:
    url = OperatorSettings().database_url
    async with AsyncExitStack() as stack:
        db = await stack.enter_async_context(Database.open(url, size=2, read_only=True))
        await check_schema(db)
        recovery = await stack.enter_async_context(_open(wanted, data_dir(), keyring))
        await _given_out(recovery, notes=False)
        scratch = await stack.enter_async_context(rehearsal.scratch(url.get_secret_value()))
        whole = await _archives(recovery, scratch, changes=False)
        await recovery.hold(scratch)
        found = await rehearsal.compare(db, scratch, recovery.made, set(recovery.shredded))
    for line in found.told:
        say(f"differs: {line}")
    say(
        f"rehearsed: {found.same} files would come back as they are, {found.newer} are newer than the catalogue,"
        f" {found.differences} differ, {found.ended} are of archives that have ended; the scratch database is dropped"
    )
    if found.sealed:
        say(f"{found.sealed} files are of archives that have an end, and need --keyring")
    if recovery.made is not None:
        say(
            f"{found.archives} archives would have their times, ends and purchases, and {found.holds} holds be in"
            f" force; {found.since} of these have changed since the catalogue was made"
        )
    if found.differences or not whole:
        raise typer.Exit(1)


async def _ask(takeover: Takeover, *, yes: bool) -> None:
    owner = await takeover.owner()
    if owner is not None and not yes:
        say(
            f"the data directory belongs to the database {owner}. If that one is lost, add --yes: the directory is"
            " this one's from then on. If it lives, its services would be refused: nothing was changed"
        )
        raise typer.Exit(1)


async def _given_out(recovery: Recovery, *, notes: bool) -> dict[str, int]:
    """Return the highest numbers that the sources know; show how far blocks of the chain are read."""
    with _bars(MofNCompleteColumn(), _Rate()) as bars:
        bar, total = bars.add_task("blocks", total=0, visible=False), 0

        def advance(more: int, done: int) -> None:
            nonlocal total
            total += more
            bars.update(bar, total=total, advance=done, visible=True)

        known = await recovery.given_out(advance, notes=notes)
    for line in recovery.told:
        say(line)
    return known


async def _archives(recovery: Recovery, db: Database, *, changes: bool = True) -> bool:
    """Bring archives back; tell whether all came."""
    with _bars(MofNCompleteColumn()) as bars:
        bar, total = bars.add_task("archives", total=0), 0

        def advance(more: int, done: int) -> None:
            nonlocal total
            total += more
            bars.update(bar, total=total, advance=done)

        report = await recovery.run(db, advance, changes=changes)
    if report.archives and recovery.made is None:
        say("without the catalogue nobody knows what was on hold, and when archives end: --catalogue adds it later")
    return _tell_archives(report)


def _tell_archives(report: Report) -> bool:
    for row in report.destroyed:
        key = f"the period key {row['period_key']}, of {row['period']}, was destroyed on {row['destroyed_at']:%Y-%m-%d}"
        say(
            f"{key}, and lives here: it goes after `roadvault retention allow`, once nothing here needs it"
            if row["lives"]
            else f"{key}: it was not taken. Destroy this copy of it by hand: what was given as --keyring, and the"
            " recovery sheet, or the disk, that it is from"
        )
    for line in report.strange:
        say(f"no archive: {line}")
    for line in report.spoilt:
        say(f"a local copy is spoilt, and goes to quarantine after hours: {line}")
    for line in report.failed:
        say(f"not recovered: {line}")
    for line in report.held:
        say(f"on hold again: {line}")
    for line in report.ends:
        say(f"by the catalogue: {line}")
    for line in report.over:
        say(f"has ended: {line}")
    say(
        f"{report.archives} archives recovered, with {report.files} files; {len(report.known)} were there already,"
        f" {len(report.failed)} things could not be recovered, {len(report.strange)} are no archives,"
        f" {report.ended} had ended",
        archives=report.archives,
        files=report.files,
        there_already=len(report.known),
        failed=len(report.failed),
    )
    if report.completed:
        say(f"{len(report.completed)} that were there lacked what was found now: CID, purchase, end, or local copy")
    return not report.failed


def _tell_held(told: Sequence[str]) -> None:
    for line in told:
        say(f"by the custody log: {line}")


async def _received(adoption: Adoption, uploads: Sequence[tuple[str, Tag]]) -> bool:
    """Adopt uploads; tell whether all are well."""
    with _bars(DownloadColumn()) as bars:
        bar = bars.add_task("uploads", total=sum(tag.size for _, tag in uploads))
        await adoption.adopt(uploads, lambda size: bars.advance(bar, size))
    return _tell_uploads(adoption.report)


def _tell_uploads(report: uploading.Report) -> bool:
    for line in report.set_aside:
        say(f"set aside: {line}")
    for line in report.left:
        say(f"left where it is: {line}")
    say(
        f"{report.adopted} uploads adopted under their old numbers, in {len(report.folders)} folders that are due to be"
        f" packed; {report.known} were there already, {len(report.set_aside)} are not what they were,"
        f" {len(report.left)} were left"
    )
    if report.kept:
        say(f"{report.kept} of those that were there are kept beside archives that the network is not proven to hold")
    if report.set_aside or report.left:
        say(
            "`roadvault set-aside list` has those that are not what they were. What was left goes to quarantine after"
            " hours, as nothing names it: copy it elsewhere if it matters"
        )
        return False
    return True


class _Rate(ProgressColumn):
    """How many are done in a second."""

    def render(self, task: Task) -> Text:
        """Return it as text."""
        return Text(f"{task.finished_speed or task.speed or 0:.0f}/s")


def _bars(*own: ProgressColumn) -> Progress:
    columns = TextColumn("{task.description}"), BarColumn(), *own, TimeRemainingColumn()
    return Progress(*columns, console=console, transient=True)
