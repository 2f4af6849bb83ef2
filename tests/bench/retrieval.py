"""Files out of an archive that only the other IPFS node has: time from request to callback, and bytes moved."""

import asyncio
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.measure import OURS, Measure, Target, take_turns, timed
from bench.peers import find
from bench.system import System, random_file
from pydantic import SecretStr

from roadvault_common.archive.crypto import MasterKeys
from roadvault_common.ipfs.path import archive_path
from roadvault_stack.demo import network
from roadvault_stack.demo.client import Client, Uploaded

LONG_BYTES, MANY_BYTES = 50_000_000, 1_000_000
SHORT_BYTES = (100_000, 1_000_000, 8_000_000)
_UPLOADS_AT_ONCE = 4
_STAGES_SECONDS = 900
_CALLBACK_SECONDS = 300
_MEMORY = "150 MB"


@dataclass
class Stored:
    """An archive whose local copies are gone, and the files to ask for, each once."""

    system: System
    loop: asyncio.Runner
    client: Client
    path: str
    size: int
    inner_bytes: int
    offsets: dict[int, int]
    files: list[Uploaded]
    long: Iterator[Uploaded]
    short: dict[int, list[Uploaded]]
    many: Iterator[list[Uploaded]]
    scratch: Path

    @classmethod
    @contextmanager
    def open(
        cls, directory: Path, total_bytes: int, runs: int, many: int, sizes: Sequence[int] = ()
    ) -> Iterator["Stored"]:
        """Upload files of about `total_bytes` together to a new system, and wait until the network alone has them.

        If there are `sizes`, files of just these.
        """
        sizes = list(sizes) or [MANY_BYTES] * (2 * runs * many) + [size for size in SHORT_BYTES for _ in range(runs)]
        sizes += [] if not runs else [LONG_BYTES] * max(runs, (total_bytes - sum(sizes)) // LONG_BYTES)
        limits = {"folder_bytes": sum(sizes), "folder_age_seconds": 3600, "block_seconds": 1, "replicas_per_block": 20}
        (directory / "scratch").mkdir()
        with ExitStack() as stack:
            loop = stack.enter_context(asyncio.Runner())
            system = stack.enter_context(System.open(directory, **limits))
            opened = Client.open(system.url)
            client = loop.run(opened.__aenter__())
            stack.callback(lambda: loop.run(opened.__aexit__(None, None, None)))
            files = loop.run(_upload(client, sizes, directory / "scratch"))
            system.wait("SELECT COUNT(*) FROM zip_ipfs_info WHERE dropped_at IS NOT NULL", 1, _STAGES_SECONDS)
            (archive,) = system.sql("SELECT cid, format, size, dag_size FROM zip_ipfs_info")
            rows = system.sql("SELECT file_id, zip_offset FROM file_upload_info")
            first = 2 * runs * many
            yield cls(
                system, loop, client, archive_path(archive["cid"], archive["format"]), archive["size"],
                archive["dag_size"] - archive["size"],
                {row["file_id"]: row["zip_offset"] for row in rows},
                files,
                iter([file for file in files if file.size == LONG_BYTES]),
                {size: [file for file in files[first:] if file.size == size] for size in SHORT_BYTES},
                iter([files[begin : begin + many] for begin in range(0, first, many)]),
                directory / "scratch",
            )  # fmt: skip

    @property
    def rpc(self) -> tuple[str, str]:
        """Our node's RPC API, and the token that it asks for."""
        environment = self.system.environment()
        return environment["ROADVAULT_IPFS_RPC_URL"], environment["ROADVAULT_IPFS_RPC_TOKEN"]

    def forget(self) -> None:
        """Have our node hold nothing of the archive: each fetch begins cold."""
        self.loop.run(network.forget_fetched(*self.rpc))

    def moved(self) -> int:
        """Return the bytes of blocks that our node has received until now."""
        other = self.system.plan.environments.devnet()["ROADVAULT_DEVNET_KUBO_RPC_URL"]
        return self.loop.run(network.counters(*self.rpc, other)).received

    def ask(self, files: list[Uploaded]) -> list[str]:
        """Ask for files, all at once; return their links when each callback is there."""

        async def all_of_them() -> list[str]:
            return await asyncio.gather(*(self.client.ask(file.file_id, _CALLBACK_SECONDS) for file in files))

        return self.loop.run(all_of_them())

    def curl(self, target: Path, *arguments: str) -> None:
        """Fetch from our node's gateway."""
        gateway = self.system.environment()["ROADVAULT_IPFS_GATEWAY_URL"]
        # Now and then Kubo waits for a block in vain, for 30 s, and breaks off: who uses it that way has to try again.
        again = ["--retry", "3", "--retry-delay", "1", "--retry-all-errors"]
        command = [find("curl"), "-sS", "-f", "-o", str(target), *again, *arguments, f"{gateway}/ipfs/{self.path}"]
        subprocess.run(command, check=True)


async def _upload(client: Client, sizes: list[int], scratch: Path) -> list[Uploaded]:
    """Upload random files of these sizes in this order, so that neighbours here are neighbours in the archive."""
    slots = asyncio.Semaphore(_UPLOADS_AT_ONCE)

    async def send(number: int, size: int) -> Uploaded:
        async with slots:
            path = scratch / f"{number}.mp4"
            await asyncio.to_thread(random_file, path, size)
            uploaded = await client.upload(path, lambda _: None)
            path.unlink()
            return uploaded

    return list(await asyncio.gather(*(send(number, size) for number, size in enumerate(sizes))))


def measure(directory: Path, total_bytes: int, runs: int, many: int) -> list[Measure]:
    """Fetch one long file, short ones, and `many` at once; with the memory that the services took meanwhile."""
    with Stored.open(directory, total_bytes, runs, many) as stored:
        return [*_long(stored, runs), *_short(stored), *_many(stored, runs, many), *_memory(stored)]


def _long(stored: Stored, runs: int) -> list[Measure]:
    name = f"one 50 MB file out of a {stored.size / 1e9:.1f} GB archive on the other node, cold"
    took = Measure(
        f"{name}: request → callback",
        "s",
        more_is_better=False,
        targets=[
            Target("range by curl", 1.1, least=False),
            Target("whole, decrypted, extracted", 1 / 50, least=False),
        ],
    )
    blocks = "their blocks + inner nodes"
    moved = Measure(f"{name}: bytes moved", "MB", more_is_better=False, targets=[Target(blocks, 1, least=False)])
    key, iv = _key(stored)

    def ours() -> float:
        file = next(stored.long)
        before = stored.moved()
        with timed() as seconds:
            stored.ask([file])
        moved.add(OURS, (stored.moved() - before) / 1e6)
        moved.add(blocks, (_blocks_bytes(stored, [file]) + stored.inner_bytes) / 1e6)
        return seconds()

    def part() -> float:
        offset = stored.size // 2 + 12_345
        with timed() as seconds:
            stored.curl(stored.scratch / "range", "-r", f"{offset}-{offset + LONG_BYTES - 1}")
        return seconds()

    def whole() -> float:
        archive, plain = stored.scratch / "archive", stored.scratch / "archive.7z"
        with timed() as seconds:
            stored.curl(archive)
            subprocess.run(
                [find("openssl"), "enc", "-d", "-aes-256-ctr", "-K", key, "-iv", iv, "-in", archive, "-out", plain],
                check=True,
            )
            listed = subprocess.run(
                [find("7z"), "l", "-slt", "-ba", plain], stdout=subprocess.PIPE, text=True, check=True
            ).stdout
            member = next(line for line in listed.splitlines() if line.startswith("Path = ")).removeprefix("Path = ")
            out = f"-o{stored.scratch / 'extracted'}"
            subprocess.run([find("7z"), "x", out, plain, member], stdout=subprocess.DEVNULL, check=True)
        for path in (archive, plain):
            path.unlink()
        shutil.rmtree(stored.scratch / "extracted")
        return seconds()

    def cold(run: Callable[[], float]) -> Callable[[], float]:
        def forgotten() -> float:
            stored.forget()
            os.sync()
            return run()

        return forgotten

    contenders = {OURS: cold(ours), "range by curl": cold(part), "whole, decrypted, extracted": cold(whole)}
    take_turns(took, contenders, runs)
    return [took, moved]


def _key(stored: Stored) -> tuple[str, str]:
    (row,) = stored.system.sql("SELECT `key`, iv FROM zip_ipfs_info")
    keys = MasterKeys(SecretStr(stored.system.environment()["ROADVAULT_MASTER_KEYS"]))
    return keys.unwrap(row["key"], row["iv"]).key.hex(), row["iv"]


def _short(stored: Stored) -> list[Measure]:
    measures = []
    for size, files in stored.short.items():
        most = f"the file + 2 MiB + inner nodes ({stored.inner_bytes / 1e3:.0f} KB)"
        measure = Measure(
            f"one {size / 1e6:g} MB file, cold: bytes moved",
            "MB",
            more_is_better=False,
            targets=[Target(most, 1, least=False)],
        )
        for file in files:
            stored.forget()
            before = stored.moved()
            stored.ask([file])
            measure.add(OURS, (stored.moved() - before) / 1e6)
            measure.add(most, (size + network.READ_AHEAD_BYTES + stored.inner_bytes) / 1e6)
        measures.append(measure)
    return measures


def _many(stored: Stored, runs: int, many: int) -> list[Measure]:
    took = Measure(
        f"{many} neighbouring files of 1 MB out of one archive, cold, asked for at once",
        "files/s",
        more_is_better=True,
        targets=[Target("one after the other", 2)],
    )
    moved = Measure(
        f"the same {many} files: bytes moved",
        "MB",
        more_is_better=False,
        targets=[Target("their blocks", 1, least=False)],
    )

    def run(*, at_once: bool) -> float:
        files = next(stored.many)
        stored.forget()
        before = stored.moved()
        started = time.perf_counter()
        for asked in [files] if at_once else [[file] for file in files]:
            stored.ask(asked)
        seconds = time.perf_counter() - started
        if at_once:
            moved.add(OURS, (stored.moved() - before) / 1e6)
            moved.add("their blocks", (_blocks_bytes(stored, files) + stored.inner_bytes) / 1e6)
        return len(files) / seconds

    contenders = {OURS: lambda: run(at_once=True), "one after the other": lambda: run(at_once=False)}
    take_turns(took, contenders, runs)
    return [took, moved]


def _memory(stored: Stored) -> list[Measure]:
    """Return the most memory that each service ever had, by the kernel's count, until now."""
    measures = []
    for service, most in stored.system.peak_memory().items():
        measure = Measure(
            f"peak memory of {service}, a {stored.size / 1e9:.1f} GB archive and the files above through it",
            "MB",
            more_is_better=False,
            targets=[Target(_MEMORY, 1, least=False)],
        )
        measure.add(OURS, most / 1e6)
        measure.add(_MEMORY, 150)
        measures.append(measure)
    return measures


def _blocks_bytes(stored: Stored, files: list[Uploaded]) -> int:
    """Return the bytes of all the leaves that hold a byte of the files, each counted once."""
    leaves = set[int]()
    for file in files:
        begin = stored.offsets[file.file_id]
        leaves.update(range(begin >> 20, (begin + file.size - 1 >> 20) + 1))
    return sum(min(1 << 20, stored.size - (leaf << 20)) for leaf in leaves)
