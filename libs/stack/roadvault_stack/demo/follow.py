"""Follows the archives live until the network has them and the local copies are gone."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.table import Table

from roadvault_common.sql.db import Database
from roadvault_common.work import backlog, reasons
from roadvault_common.work.stages import DROP, ORDER, PACK, PIN, PROVE
from roadvault_stack.demo.client import Client, Uploaded
from roadvault_stack.demo.errors import DemoError

_LOOK_SECONDS = 0.3
_FAILING = (PIN, ORDER, PROVE, DROP)
"""What an archive has to come through."""
STAGES = ("packed", "pinned", "ordered", "replicated", "proven", "dropped")


@dataclass
class Folder:
    """One folder: its files, and what the API says of the first of them. Sizes are bytes."""

    folder_id: int
    files: list[Uploaded] = field(default_factory=list)
    state: dict[str, Any] = field(default_factory=dict)

    @property
    def archive(self) -> dict[str, Any]:
        """What is known of the folder's archive; empty before it is packed."""
        return self.state.get("archive") or {}

    @property
    def size(self) -> int:
        """The bytes of its files."""
        return sum(file.size for file in self.files)

    @property
    def gone(self) -> bool:
        """Whether neither the uploads nor the archive are on the local disk."""
        return bool(self.archive) and not self.archive["localCopyKept"] and not self.state["uploadKept"]


async def folders_of(client: Client, files: Sequence[Uploaded]) -> list[Folder]:
    """Return the folders that the files went to."""
    folders: dict[int, Folder] = {}
    for file in files:
        state = await client.state(file.file_id)
        folder = folders.setdefault(state["folderID"], Folder(state["folderID"]))
        folder.files.append(file)
        folder.state = state
    return list(folders.values())


async def follow(client: Client, db: Database, folders: list[Folder], console: Console, seconds: float) -> None:
    """Show where each folder's archive stands until all local copies are gone; `db` tells what has failed for good.

    Raises:
        DemoError: Something failed, or it took longer than `seconds`.
    """
    deadline = time.monotonic() + seconds
    shown: dict[int, str] = {}
    with Live(console=console, refresh_per_second=8) as live:
        while not all(folder.gone for folder in folders):
            for folder in folders:
                if not folder.gone:
                    folder.state = await client.state(folder.files[0].file_id)
                    await _refuse_failures(folder, db)
            live.update(table(folders))
            if not console.is_terminal:
                _print_changes(folders, shown, console)
            if time.monotonic() > deadline:
                waiting = [f"folder {folder.folder_id}: {_words(folder)}" for folder in folders if not folder.gone]
                raise DemoError(f"not all local copies were gone after {seconds:.0f} s: {'; '.join(waiting)}")
            await asyncio.sleep(_LOOK_SECONDS)
        live.update(table(folders))


def table(folders: list[Folder]) -> Table:
    """Return the live view."""
    view = Table("folder", "files", "MB", "archive", "CID", "block", "replicas", "local")
    for folder in folders:
        archive = folder.archive
        view.add_row(
            str(folder.folder_id),
            str(len(folder.files)),
            f"{folder.size / 1e6:.1f}",
            str(archive["zipID"]) if archive else "-",
            f"…{archive['cid'][-12:]}" if archive.get("cid") else "-",
            str(archive["orderedOnBlock"]) if archive.get("orderedOnBlock") else "-",
            str(archive.get("replicas", "-")),
            "dropped" if folder.gone else "kept",
        )
    return view


def _print_changes(folders: list[Folder], shown: dict[int, str], console: Console) -> None:
    for folder in folders:
        words = _words(folder)
        if shown.get(folder.folder_id) != words:
            shown[folder.folder_id] = words
            console.print(f"  folder {folder.folder_id}: {words}")


def _words(folder: Folder) -> str:
    archive = folder.archive
    if not archive:
        return str(folder.state.get("state", "unknown"))
    done = [stage for stage in STAGES if archive.get(stage)]
    return f"archive {archive['zipID']} {done[-1] if done else 'packed'}" + (
        f", order on block {archive['orderedOnBlock']}" if archive.get("orderedOnBlock") else ""
    )


async def _refuse_failures(folder: Folder, db: Database) -> None:
    # The API gives the reason of a failure, and of what will be tried again, too.
    for stage in _FAILING if folder.archive else (PACK,):
        failure = await backlog.failure(db, stage, folder.archive.get("zipID", folder.folder_id))
        if failure is not None and failure["failed_at"] is not None:
            raise DemoError(
                f"folder {folder.folder_id}: {_words(folder)}: {stage.name} failed: {reasons.words(failure['reason'])}"
            )
