"""The machine is lost, and RoadVault comes back on another from the network, with nothing but the master key."""

import asyncio
from dataclasses import dataclass

from rich.progress import MofNCompleteColumn

from roadvault_common.sql.db import Database
from roadvault_stack.demo import network, published
from roadvault_stack.demo.client import Client, Uploaded
from roadvault_stack.demo.commands import Commands
from roadvault_stack.demo.errors import DemoError
from roadvault_stack.demo.follow import Folder
from roadvault_stack.demo.machine import Machine
from roadvault_stack.demo.screen import Screen


@dataclass
class Loss:
    """What is lost, and how it is seen to come back."""

    machine: Machine
    commands: Commands
    screen: Screen
    database: str
    """Its URL."""
    network_rpc_url: str
    """Of the network's node."""

    async def run(self, client: Client, folders: list[Folder]) -> None:
        """Lose all but the network, and recover.

        Raises:
            DemoError: It did not come back as it was.
        """
        async with Database.open(self.database, size=1) as db:
            cid = await self._published(db, len(folders))
            with self.screen.step("stop"), self.screen.waiting("stopping RoadVault"):
                await asyncio.to_thread(self.machine.stop_services)
            if await published.whole(db) != cid:
                raise DemoError("an archive, or the catalogue, changed while RoadVault stopped: run the demo again")
        with self.screen.step("throw away"), self.screen.waiting("throwing all away but the network"):
            await asyncio.to_thread(self.machine.throw_away)
        self.screen.console.print(
            "thrown away: the database, Redis, our IPFS node, the witness, RoadVault's data directory;"
            "\n  there are left: the network's node, the chain, and the master key"
        )
        with self.screen.step("begin anew"):
            await asyncio.to_thread(self.machine.begin_anew)
        with self.screen.step("recover"):
            await self.commands.shown("migrate")
            await self.commands.shown("recover")
        with self.screen.step("start"):
            await asyncio.to_thread(self.machine.start_services)
        await self._see_all(client, folders)

    async def _published(self, db: Database, archives: int) -> str:
        with self.screen.step("catalogue"), self.screen.bar("publishing the catalogue", MofNCompleteColumn()) as bar:
            task = bar.add_task("publishing the catalogue", total=archives)
            cid = await published.wait(db, self.network_rpc_url, lambda done: bar.update(task, completed=done))
        self.screen.console.print(f"the network holds the catalogue of all archives: {cid}")
        return cid

    async def _see_all(self, client: Client, folders: list[Folder]) -> None:
        """See that each file is known by its old number, as it was uploaded, in the archive in which it was."""
        for folder in sorted(folders, key=lambda one: int(one.archive["zipID"])):
            for file in folder.files:
                await _see(client, folder, file)
            numbers = ", ".join(map(str, sorted(file.file_id for file in folder.files)))
            self.screen.console.print(f"archive {folder.archive['zipID']} is there again, with its files {numbers}")
        files = sum(len(folder.files) for folder in folders)
        self.screen.console.print(f"{len(folders)} archives and {files} files came back under their old numbers")


async def _see(client: Client, folder: Folder, file: Uploaded) -> None:
    state = await client.state(file.file_id)
    archive = state["archive"] or {}
    found = [state["filename"], state["size"], state["sha256"], archive.get("zipID"), archive.get("cid")]
    expected = [file.name, file.size, file.sha256, folder.archive["zipID"], folder.archive["cid"]]
    if found != expected:
        raise DemoError(f"file {file.file_id} came back as {found}, not as {expected}")


async def kept_by_us_alone(db: Database, network_rpc_url: str) -> str | None:
    """Return what is here and not on the network, so that it would be lost with this machine; None if nothing is."""
    kept = await db.fetch_one(
        "SELECT (SELECT COUNT(*) FROM file_upload_info WHERE zip_id IS NULL) AS uploads,"
        " (SELECT COUNT(*) FROM zip_ipfs_info WHERE kind = 'archive' AND dropped_at IS NULL) AS archives,"
        " (SELECT COUNT(*) FROM period_key_info WHERE `key` IS NOT NULL) AS `period keys`,"
        " (SELECT COUNT(*) FROM hold_info WHERE active = 1) AS holds"
    )
    found = [f"{count} {what}" for what, count in (kept or {}).items() if count]
    cids = await db.fetch_all("SELECT cid FROM zip_ipfs_info WHERE kind = 'archive' AND cid IS NOT NULL")
    found += [row["cid"] for row in cids if not await network.has_pinned(network_rpc_url, row["cid"])]
    return ", ".join(found) or None
