"""`roadvault retry`, `give-up`, `pin-again`, `pack-again` and `seal`: what a person decides."""

from typing import Annotated

import typer
from rich.progress import Progress, track

from roadvault_common.errors import PermanentError, SettingsError
from roadvault_common.events.bus import Bus
from roadvault_common.events.kinds import FileReceived
from roadvault_common.files.vault import Vault
from roadvault_common.sql.db import Database
from roadvault_common.sql.folders import Closed, close_folder, open_folders
from roadvault_common.work import repair
from roadvault_common.work.backlog import count_failed
from roadvault_operator import acts
from roadvault_operator.config import OperatorSettings
from roadvault_operator.shell import STAGE_HELP, blocking, console, say, stage_named
from roadvault_operator.verify import Verifier

StageName = Annotated[str, typer.Argument(help=STAGE_HELP)]


@blocking
async def retry(
    stage: StageName,
    row_id: Annotated[int | None, typer.Argument(help="the row's id")] = None,
    everything: Annotated[bool, typer.Option("--all", help="every row that has failed in this stage")] = False,  # noqa: FBT002 - typer
) -> None:
    """Give what has failed a new start."""
    one = stage_named(stage)
    if (row_id is None) != everything:
        raise SettingsError("name a row's id, or --all")
    async with Database.open(OperatorSettings().database_url, size=1) as db:
        if row_id is not None:
            if not await repair.retry(db, one, row_id):
                raise PermanentError(f"{one.name} {row_id} has not failed; nothing was changed")
            await acts.noted(db, "retry", f"{one.name} {row_id}")
            say(f"{one.name} {row_id} is due again", rows=1)
            return
        count = 0
        with Progress(console=console, transient=True) as bars:
            bar = bars.add_task(f"retrying {one.name}", total=await count_failed(db, one))
            async for failed in repair.failed_so_far(db, one):
                count += await repair.retry(db, one, failed["id"])
                bars.advance(bar)
        await acts.noted(db, "retry", f"{one.name}: {count} rows")
    say(f"{count} rows of {one.name} are due again", rows=count)


@blocking
async def give_up(
    stage: StageName,
    row_id: Annotated[int, typer.Argument(help="the row's id")],
    reason: Annotated[str, typer.Option(help="what to write on the row")],
) -> None:
    """Take a row that is tried again and again out of its stage, as failed."""
    one = stage_named(stage)
    async with Database.open(OperatorSettings().database_url, size=1) as db:
        if not await repair.give_up(db, one, row_id, f"given up by the operator: {reason}"):
            raise PermanentError(
                f"{one.name} {row_id} waits for nothing, or is worked on right now; nothing was changed"
            )
        await acts.noted(db, "given up", f"{one.name} {row_id}: {reason}")
    say(f"{one.name} {row_id} has failed: given up by the operator: {reason}")


@blocking
async def pin_again(
    zip_id: Annotated[int | None, typer.Argument(help="the archive's id")] = None,
    everything: Annotated[bool, typer.Option("--all", help="every archive that has a local copy")] = False,  # noqa: FBT002
) -> None:
    """Add archives to IPFS once more from their local copies: for a node that has lost its data."""
    if (zip_id is None) != everything:
        raise SettingsError("name an archive's id, or --all")
    async with Database.open(OperatorSettings().database_url, size=1) as db:
        wanted = await repair.kept_archives(db) if zip_id is None else [zip_id]
        count = 0
        for one in track(wanted, "archives", console=console, transient=True):
            count += await repair.pin_again(db, one)
    if zip_id is not None and not count:
        raise PermanentError(
            f"archive {zip_id} has no CID or no local copy, or waits to be pinned; nothing was changed"
        )
    say(f"{count} archives are due to be pinned again", archives=count)


@blocking
async def pack_again(zip_id: Annotated[int, typer.Argument(help="the archive's id")]) -> None:
    """Pack an archive's files once more from their uploads: for one that rotted on the disk before it was pinned."""
    settings = OperatorSettings()
    if settings.data_dir is None:
        raise SettingsError("ROADVAULT_DATA_DIR is not set: the uploads can't be checked first")
    async with Database.open(settings.database_url, size=1) as db:
        files = await _check_uploads(db, Vault(settings.data_dir), zip_id)
        closed = await repair.pack_again(db, zip_id)
    await ring([closed])
    say(
        f"archive {zip_id} was given up; folder {closed.folder_id} is due to be packed again:"
        f" {files} uploads, all whole",
        folder=closed.folder_id,
        uploads=files,
    )


async def _check_uploads(db: Database, vault: Vault, zip_id: int) -> int:
    """Read the uploads that an archive was packed from, and return how many there are.

    Raises:
        PermanentError: Some of them are not whole: the archive may hold the only good copy, and its key must stay.
    """
    uploads = await db.transact(lambda tx: repair.uploads_to_pack(tx, zip_id))
    with Progress(console=console, transient=True) as bars:
        verifier = Verifier(db, vault, None, bars)
        for upload in uploads:
            await verifier.upload(upload)
    if verifier.wrong:
        raise PermanentError(f"{verifier.wrong} uploads of archive {zip_id} are not whole; nothing was changed")
    return len(uploads)


@blocking
async def seal(
    folder: Annotated[int | None, typer.Option(help="the folder's id")] = None,
    everything: Annotated[bool, typer.Option("--all", help="every folder that is open")] = False,  # noqa: FBT002 - typer
) -> None:
    """Close open folders now, however little is in them, so that they are packed."""
    if (folder is None) != everything:
        raise SettingsError("name a folder with --folder, or --all")
    async with Database.open(OperatorSettings().database_url, size=1) as db:
        wanted = await open_folders(db) if folder is None else [folder]
        bars = track(wanted, "folders", console=console, transient=True)
        closed = [done for folder_id in bars if (done := await close_folder(db, folder_id))]
    if folder is not None and not closed:
        raise PermanentError(f"folder {folder} is not open; nothing was changed")
    await ring(closed)
    folders = [one.folder_id for one in closed]
    say(f"closed: {', '.join(map(str, folders)) or 'no folder was open'}", folders=folders)


async def ring(closed: list[Closed]) -> None:
    """Tell packer, if Redis is known; its sweep finds the folders in any case."""
    url = OperatorSettings().redis_url
    if url is None:
        return
    async with Bus.open(url, "operator") as bus:
        for one in closed:
            await bus.emit(FileReceived(file_id=one.file_id, folder_id=one.folder_id), one.store)
