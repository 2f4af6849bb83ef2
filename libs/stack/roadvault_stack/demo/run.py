"""The demo's steps, in order."""

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import DownloadColumn, MofNCompleteColumn, TransferSpeedColumn

from roadvault_common.sql.db import Database
from roadvault_stack.demo import by_hand, network, timeline, videos
from roadvault_stack.demo.client import Client, Uploaded
from roadvault_stack.demo.commands import Commands
from roadvault_stack.demo.drill import Drill
from roadvault_stack.demo.errors import DemoError
from roadvault_stack.demo.follow import Folder, folders_of, follow
from roadvault_stack.demo.loss import Loss, kept_by_us_alone
from roadvault_stack.demo.machine import Machine
from roadvault_stack.demo.screen import Screen
from roadvault_stack.plan import Plan
from roadvault_stack.ports import HOST
from roadvault_stack.settings import CHECKOUT
from roadvault_stack.up import Stack

_UPLOADS_AT_ONCE = 4
_LEAST_FOLDERS = 3
_ASKED = 3
_FOLLOW_SECONDS = 180
_CALLBACK_SECONDS = 60
_CHAIN_SECONDS = 60
_LOOK_SECONDS = 0.3
_SIZES_MB = (1.2, 2.5, 4.0, 5.5, 7.8, 6.4, 3.1)
"""Sizes of the generated videos, in turn: all between 1 and 8 MB, about 4.4 on average."""
_LARGEST_FOLDER = 256 << 20
_CHECK_RECEIPT = CHECKOUT / "tools" / "check_receipt.py"


class Demo:
    """One run against a stack that is up."""

    def __init__(self, stack: Stack, plan: Plan, console: Console, scratch: Path, *, was_up: bool) -> None:
        self._settings = stack.settings
        self._stack = stack
        self._was_up = was_up
        self._plan = plan
        self._console = console
        self._screen = Screen(console)
        self._scratch = scratch
        values = plan.environments.everything()
        self._commands = Commands(self._screen, values, scratch)
        self._database = values["ROADVAULT_DATABASE_URL"]
        self._ours = values["ROADVAULT_IPFS_RPC_URL"], values["ROADVAULT_IPFS_RPC_TOKEN"]
        self._network = plan.environments.devnet()["ROADVAULT_DEVNET_KUBO_RPC_URL"]
        self._devnet = f"http://{HOST}:{stack.settings.devnet_port}"
        self._witness = values["ROADVAULT_WITNESS_RPC_URL"], values["ROADVAULT_WITNESS_RPC_TOKEN"]

    async def run(self, own: list[Path] | None, count: int) -> None:
        """Run all steps, with files of the user's own or `count` generated videos.

        Raises:
            DemoError: A check failed.
        """
        if self._settings.folder_bytes > _LARGEST_FOLDER:
            raise DemoError(
                "the stack's folders are too large for a demo: set ROADVAULT_LOCAL_FOLDER_BYTES to 33554432"
            )
        paths = own or await self._make(count)
        async with Client.open(f"http://{HOST}:{self._settings.ingest_port}") as client:
            files = await self._upload(client, paths)
            folders = await self._archive(client, files, own_files=own is not None)
            fetched = _three_of(folders[:-1] or folders)
            async with self._one_lost(client, folders[-1], meanwhile=len(folders) > 1):
                for file in fetched:
                    await self._fetch(client, file, generated=own is None)
                await self._open_by_hand(folders[0])
            shown = fetched[0]
            if await self._may_lose_machine():
                await self._lose_machine(client, folders)
                shown = next((file for file in files if file not in fetched), shown)
                await self._fetch(client, shown, generated=own is None)
            await self._check_receipt(client, shown)
        timeline.show(self._screen.steps, folders, self._console)

    async def _make(self, count: int) -> list[Path]:
        paths = [self._scratch / f"camera-{number:02d} 北环路.mp4" for number in range(count)]
        sizes = [int(_SIZES_MB[number % len(_SIZES_MB)] * 1e6) for number in range(count)]
        with self._screen.step("make videos") as step, self._screen.bar("making videos", MofNCompleteColumn()) as bar:
            task = bar.add_task("making videos", total=count)
            for number, (path, size) in enumerate(zip(paths, sizes, strict=True)):
                await asyncio.to_thread(videos.make, path, size, time.time_ns() + number)
                bar.advance(task)
            step.size = _total(paths)
        return paths

    async def _upload(self, client: Client, paths: list[Path]) -> list[Uploaded]:
        total = _total(paths)
        slots = asyncio.Semaphore(_UPLOADS_AT_ONCE)
        with (
            self._screen.step("upload", total),
            self._screen.bar("uploading", DownloadColumn(), TransferSpeedColumn()) as bar,
        ):
            task = bar.add_task("uploading", total=total)

            async def send(path: Path) -> Uploaded:
                async with slots:
                    return await client.upload(path, lambda sent: bar.advance(task, sent))

            return list(await asyncio.gather(*(send(path) for path in paths)))

    async def _archive(self, client: Client, files: list[Uploaded], *, own_files: bool) -> list[Folder]:
        folders = await folders_of(client, files)
        if len(folders) < _LEAST_FOLDERS and not own_files:
            raise DemoError(f"the files went to {len(folders)} folders; at least {_LEAST_FOLDERS} were expected")
        with self._screen.step("pack … drop", sum(folder.size for folder in folders)):
            async with Database.open(self._database, size=1) as db:
                await follow(client, db, folders, self._console, _FOLLOW_SECONDS)
        self._console.print()
        await self._see_how_proven(folders)
        return folders

    async def _see_how_proven(self, folders: list[Folder]) -> None:
        """Say how the network was proven to hold each archive; the witness must not be connected to our node."""
        for folder in folders:
            self._console.print(f"archive {folder.archive['zipID']}: proven by {folder.archive['provenBy']}")
        if await network.are_peers(*self._witness, *self._ours):
            raise DemoError("the witness is connected to our own node: what it fetches proves nothing")

    async def _fetch(self, client: Client, file: Uploaded, *, generated: bool) -> None:
        state = await client.state(file.file_id)
        if state["uploadKept"] or state["archive"]["localCopyKept"]:
            raise DemoError(f"file {file.file_id} still has a local copy; its way over the network can't be shown")
        await network.forget_fetched(*self._ours)
        before = await network.counters(*self._ours, self._network)
        with self._screen.step(f"fetch file {file.file_id}", file.size) as step:
            link = await client.ask(file.file_id, _CALLBACK_SECONDS)
            target = self._fetched(file)
            if await client.api.download(link, target) != file.sha256:
                raise DemoError(f"file {file.file_id} came back with another SHA-256")
        moved = (await network.counters(*self._ours, self._network)).since(before)
        inner = state["archive"]["dagSize"] - state["archive"]["size"]
        most = file.size + network.READ_AHEAD_BYTES + inner
        if not file.size <= moved.received <= most or moved.sent < file.size:
            raise DemoError(
                f"file {file.file_id}: {file.size} bytes; our node received {moved.received} (at most {most} expected),"
                f" the network's node sent {moved.sent}"
            )
        step.moved = moved.received
        plays = f", plays: {await asyncio.to_thread(videos.frames_of, target)} frames" if generated else ""
        self._console.print(
            f"file {file.file_id}: same SHA-256{plays}; {file.size / 1e6:.2f} MB long,"
            f" {moved.received / 1e6:.2f} MB came from the other node (at most {most / 1e6:.2f} allowed)"
        )

    async def _open_by_hand(self, folder: Folder) -> None:
        zip_id = folder.archive["zipID"]
        directory = self._scratch / "by-hand"
        directory.mkdir()
        with self._screen.step("openssl + 7z", folder.archive["size"]):
            commands = await self._commands.roadvault("archive-key", str(zip_id))
            environment = await asyncio.to_thread(self._strangers, directory)
            hashes = await asyncio.to_thread(by_hand.open_archive, commands, directory, environment)
        wrong = [file.file_id for file in folder.files if hashes.get(file.file_id) != file.sha256]
        if wrong:
            raise DemoError(f"archive {zip_id} opened by hand lacks, or has other bytes for, the files {wrong}")
        self._console.print(
            f"archive {zip_id}: opened with ipfs, openssl, 7z and the master key: {len(hashes)} files, all as uploaded"
        )

    def _strangers(self, directory: Path) -> dict[str, str]:
        """Return the environment of somebody who has the network's node and the master key, and nothing of ours."""
        node = directory / "node"
        node.mkdir()
        (node / "api").write_text(_multiaddr(self._network))  # `ipfs` takes the node that this names
        programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
        key = self._plan.environments.everything()["ROADVAULT_MASTER_KEYS"].split(",")[0]
        return {"PATH": programs, "IPFS_PATH": str(node), "MASTER_KEY": key}

    @asynccontextmanager
    async def _one_lost(self, client: Client, folder: Folder, *, meanwhile: bool) -> AsyncIterator[None]:
        """Have the network lose an archive, and see that an audit finds that, and that it is mended.

        That takes a while, in which other archives may be looked at; `meanwhile` says that there are some.
        """
        log = self._stack.layout.log("crust-orderer")
        drill = Drill(client, folder, self._ours, self._network, self._devnet, log)
        if not meanwhile:
            yield
        with self._screen.step("lose, find, mend", folder.archive["size"]):
            async with Database.open(self._database, size=1) as db:
                begun = await drill.begin(db)
                archive = f"archive {folder.archive['zipID']}"
                self._console.print(f"{archive}: lost by the network's node, which goes on reporting it")
                if meanwhile:
                    yield
                with self._screen.waiting("waiting for an audit to find that, and for what follows"):
                    found, mended = await drill.end(db, begun)
        self._console.print(
            f"{archive}: its loss was found by an audit in {found:.1f} s;"
            f"\n  fetched back, ordered again, pulled again and proven in {mended:.1f} s"
        )

    async def _may_lose_machine(self) -> bool:
        """Tell whether all that this stack has, from before the demo, too, would come back from the network."""
        async with Database.open(self._database, size=1) as db:
            kept = "it ran already" if self._was_up else await kept_by_us_alone(db, self._network)
        if kept is not None:
            self._console.print(
                f"this machine is not thrown away, for what the stack has from before ({kept}): for the demo's last act"
                " set ROADVAULT_LOCAL_DIR to a directory of its own, or `make stop`"
            )
        return kept is None

    async def _lose_machine(self, client: Client, folders: list[Folder]) -> None:
        """Throw away all that is on this machine but the network, and see that it comes back with the master key."""
        machine = Machine(self._stack, self._plan, self._console)
        loss = Loss(machine, self._commands, self._screen, self._database, self._network)
        await loss.run(client, folders)

    async def _check_receipt(self, client: Client, file: Uploaded) -> None:
        """Have a file's receipt checked by the command, which looks into the order's block, and by the script."""
        receipt, fetched = self._scratch / f"receipt-{file.file_id}.json", self._fetched(file)
        with self._screen.step("check receipt"):
            with self._screen.waiting("waiting until the file's custody lines are chained"):
                await _chained(client, file)
            receipt.write_bytes(await client.api.receipt(file.file_id))
            node = f"ws://{HOST}:{self._settings.devnet_port}"
            await self._commands.shown("check-receipt", receipt.name, fetched.name, "--node", node)
            await self._commands.script(_CHECK_RECEIPT, receipt.name, fetched.name)

    def _fetched(self, file: Uploaded) -> Path:
        return self._scratch / f"fetched-{file.file_id}.mp4"


def _total(paths: list[Path]) -> int:
    return sum(path.stat().st_size for path in paths)


def _three_of(folders: list[Folder]) -> list[Uploaded]:
    """Return three files from as many archives as there are: the smallest, the largest, and one between."""
    pools = [sorted(folder.files, key=lambda file: file.size) for folder in folders]
    picked = [pools[0][0], pools[1 % len(pools)][-1], pools[2 % len(pools)][len(pools[2 % len(pools)]) // 2]]
    return list({file.file_id: file for file in picked}.values())[:_ASKED]


async def _chained(client: Client, file: Uploaded) -> None:
    """Wait until all that the custody log says of a file has its place in the chain: so much a receipt shows."""
    deadline = time.monotonic() + _CHAIN_SECONDS
    while any(line["line"] is None for line in await client.custody(file.file_id)):
        if time.monotonic() > deadline:
            raise DemoError(f"file {file.file_id}: its custody lines were not chained within {_CHAIN_SECONDS} s")
        await asyncio.sleep(_LOOK_SECONDS)


def _multiaddr(rpc_url: str) -> str:
    host, port = rpc_url.removeprefix("http://").rstrip("/").split(":")
    return f"/ip4/{host}/tcp/{port}"
