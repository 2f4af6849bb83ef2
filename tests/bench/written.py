"""Bytes written to disk for each byte archived, from the upload to `zip.pinned`, as the kernel counts them."""

import asyncio
import os
import resource
import shutil
import subprocess
from pathlib import Path

from bench.measure import OURS, Measure, Target, take_turns
from bench.peers import find
from bench.system import System, random_file

from roadvault_stack.demo.client import Client

FILES = 20
NAIVE = "file, zip, encrypted zip, IPFS copy"
_ALLOWED = "2.05 bytes"
_STAGES_SECONDS = 600
_STAND_IN = {"devnet", "network-ipfs"}
"""Programs of the stack that play the network: what they write is not written here."""
_COUNTED_BYTES = 512
"""The unit of `ru_oublock` (getrusage(2); Linux derives it from the same counter as `write_bytes` in /proc)."""


def measure(directory: Path, total_bytes: int, runs: int) -> Measure:
    """Archive folders of `total_bytes`, one in each run, with the whole stack; figures are bytes for each byte."""
    result = Measure(
        f"bytes written for each byte archived, folders of {total_bytes / 1e9:g} GB",
        "bytes",
        more_is_better=False,
        targets=[Target(_ALLOWED, 1, least=False), Target(NAIVE, 2.05 / 4, least=False)],
    )
    source = directory / "source"
    source.mkdir()
    paths = [source / f"{number}.mp4" for number in range(FILES)]
    for path in paths:
        random_file(path, total_bytes // FILES)
    amount = total_bytes // FILES * FILES
    with System.open(directory, folder_bytes=amount, folder_age_seconds=3600) as system:
        done = 0

        def ours() -> float:
            nonlocal done
            before = _written(system)
            asyncio.run(_upload(system.url, paths))
            done += 1
            system.wait(
                "SELECT COUNT(*) FROM zip_ipfs_info WHERE uploads_dropped_at IS NOT NULL", done, _STAGES_SECONDS
            )
            result.add(_ALLOWED, 2.05)
            return (_written(system) - before) / amount

        take_turns(result, {OURS: ours, NAIVE: lambda: _naive(directory / "naive", source) / amount}, runs)
    shutil.rmtree(source)
    return result


def _written(system: System) -> int:
    return sum(count for name, count in system.written().items() if name not in _STAND_IN)


async def _upload(url: str, paths: list[Path]) -> None:
    async with Client.open(url) as client:
        for path in paths:
            await client.upload(path, lambda _: None)


def _naive(directory: Path, source: Path) -> int:
    """Do the four steps with stock programs; return the bytes that these wrote."""
    directory.mkdir()
    environment = {**os.environ, "IPFS_PATH": str(directory / "ipfs")}
    subprocess.run([find("ipfs"), "init", "--empty-repo"], env=environment, stdout=subprocess.DEVNULL, check=True)
    received, packed, encrypted = directory / "received", directory / "folder.7z", directory / "folder.7z.enc"
    key = ["-K", os.urandom(32).hex(), "-iv", os.urandom(16).hex()]
    commands: list[list[str | Path]] = [
        [find("cp"), "-r", "--reflink=never", source, received],
        [find("7z"), "a", "-mx0", packed, received],
        [find("openssl"), "enc", "-aes-256-ctr", *key, "-in", packed, "-out", encrypted],
        [find("ipfs"), "add", "--quieter", "--progress=false", "--cid-version=1", encrypted],
    ]
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_oublock
    for command in commands:
        subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=True)
    wrote = resource.getrusage(resource.RUSAGE_CHILDREN).ru_oublock - before
    shutil.rmtree(directory)
    return wrote * _COUNTED_BYTES
