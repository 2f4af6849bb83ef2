"""The demo's steps, in order."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TransferSpeedColumn,
)

from roadvault_common.sql.db import Database
from roadvault_stack.demo import by_hand, network, timeline, videos
from roadvault_stack.demo.client import Client, Uploaded
from roadvault_stack.demo.drill import Drill
from roadvault_stack.demo.errors import DemoError
from roadvault_stack.demo.follow import Folder, folders_of, follow
from roadvault_stack.demo.timeline import Step
from roadvault_stack.environment import Environments
from roadvault_stack.ports import HOST
from roadvault_stack.settings import StackSettings

_UPLOADS_AT_ONCE = 4
_LEAST_FOLDERS = 3
_ASKED = 3
_FOLLOW_SECONDS = 180
_CALLBACK_SECONDS = 60
_SIZES_MB = (1.2, 2.5, 4.0, 5.5, 7.8, 6.4, 3.1)
"""Sizes of the generated videos, in turn: all between 1 and 8 MB, about 4.4 on average."""
_LARGEST_FOLDER = 256 << 20


class Demo:
    """One run against a stack that is up."""

    def __init__(self, settings: StackSettings, environments: Environments, console: Console, scratch: Path) -> None:
        self._settings = settings
        self._environments = environments
        self._console = console
        self._scratch = scratch
        self._steps: list[Step] = []
        values = environments.everything()
        self._ours = values["ROADVAULT_IPFS_RPC_URL"], values["ROADVAULT_IPFS_RPC_TOKEN"]
        self._network = environments.devnet()["ROADVAULT_DEVNET_KUBO_RPC_URL"]
        self._devnet = f"http://{HOST}:{settings.devnet_port}"
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
            for file in _three_of(folders):
                await self._fetch(client, file, generated=own is None)
            await self._open_by_hand(folders[0])
            await self._lose(client, folders[-1])
        timeline.show(self._steps, folders, self._console)

    async def _make(self, count: int) -> list[Path]:
        paths = [self._scratch / f"camera-{number:02d} 北环路.mp4" for number in range(count)]
        sizes = [int(_SIZES_MB[number % len(_SIZES_MB)] * 1e6) for number in range(count)]
        with self._step("make videos") as step, self._bar("making videos", MofNCompleteColumn()) as bar:
            task = bar.add_task("making videos", total=count)
            for number, (path, size) in enumerate(zip(paths, sizes, strict=True)):
                await asyncio.to_thread(videos.make, path, size, time.time_ns() + number)
                bar.advance(task)
            step.size = _total(paths)
        return paths

    async def _upload(self, client: Client, paths: list[Path]) -> list[Uploaded]:
        total = _total(paths)
        slots = asyncio.Semaphore(_UPLOADS_AT_ONCE)
        with self._step("upload", total), self._bar("uploading", DownloadColumn(), TransferSpeedColumn()) as bar:
            task = bar.add_task("uploading", total=total)

            async def send(path: Path) -> Uploaded:
                async with slots:
                    return await client.upload(path, lambda sent: bar.advance(task, sent))

            return list(await asyncio.gather(*(send(path) for path in paths)))

    async def _archive(self, client: Client, files: list[Uploaded], *, own_files: bool) -> list[Folder]:
        folders = await folders_of(client, files)
        if len(folders) < _LEAST_FOLDERS and not own_files:
            raise DemoError(f"the files went to {len(folders)} folders; at least {_LEAST_FOLDERS} were expected")
        url = self._environments.everything()["ROADVAULT_DATABASE_URL"]
        with self._step("pack … drop", sum(folder.size for folder in folders)):
            async with Database.open(url, size=1) as db:
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
        with self._step(f"fetch file {file.file_id}", file.size) as step:
            link = await client.ask(file.file_id, _CALLBACK_SECONDS)
            target = self._scratch / f"fetched-{file.file_id}.mp4"
            if await client.download(link, target) != file.sha256:
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
        with self._step("openssl + 7z", folder.archive["size"]):
            commands = await asyncio.to_thread(self._key_commands, zip_id)
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
        key = self._environments.everything()["ROADVAULT_MASTER_KEYS"].split(",")[0]
        return {"PATH": programs, "IPFS_PATH": str(node), "MASTER_KEY": key}

    async def _lose(self, client: Client, folder: Folder) -> None:
        """Have the network lose an archive, and see that an audit finds that, and that it is mended."""
        drill = Drill(client, folder, self._ours, self._network, self._devnet)
        with self._step("lose, find, mend", folder.archive["size"]):
            async with Database.open(self._environments.everything()["ROADVAULT_DATABASE_URL"], size=1) as db:
                found, mended = await drill.run(db)
        lost = f"archive {folder.archive['zipID']}: lost by the network's node, found by an audit in {found:.1f} s,"
        self._console.print(f"{lost}\n  fetched back, ordered again, pulled again and proven in {mended:.1f} s")

    def _key_commands(self, zip_id: int) -> str:
        admin = [str(Path(sys.executable).with_name("roadvault")), "archive-key", str(zip_id)]
        environment = {"PATH": os.environ.get("PATH", os.defpath), **self._environments.everything()}
        return _run(admin, self._scratch, environment)

    @contextmanager
    def _step(self, name: str, size: int | None = None) -> Iterator[Step]:
        step = Step(name, size)
        started = time.monotonic()
        yield step
        step.seconds = time.monotonic() - started
        self._steps.append(step)

    @contextmanager
    def _bar(self, name: str, *columns: ProgressColumn) -> Iterator[Progress]:
        if not self._console.is_terminal:
            self._console.print(name)
        with Progress(
            TextColumn("{task.description}"), BarColumn(), *columns, console=self._console, transient=True
        ) as progress:
            yield progress


def _total(paths: list[Path]) -> int:
    return sum(path.stat().st_size for path in paths)


def _three_of(folders: list[Folder]) -> list[Uploaded]:
    """Return three files from as many archives as there are: the smallest, the largest, and one between."""
    pools = [sorted(folder.files, key=lambda file: file.size) for folder in folders]
    picked = [pools[0][0], pools[1 % len(pools)][-1], pools[2 % len(pools)][len(pools[2 % len(pools)]) // 2]]
    return list({file.file_id: file for file in picked}.values())[:_ASKED]


def _run(command: list[str], directory: Path, environment: dict[str, str] | None = None) -> str:
    done = subprocess.run(  # noqa: S603 - our own programs
        command, cwd=directory, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise DemoError(f"{Path(command[0]).name} failed: {done.stderr.strip()}")
    return done.stdout


def _multiaddr(rpc_url: str) -> str:
    host, port = rpc_url.removeprefix("http://").rstrip("/").split(":")
    return f"/ip4/{host}/tcp/{port}"
