"""Packing and encrypting a folder to durable disk, beside 7z with a password, restic, and a raw copy."""

import os
import shutil
import subprocess
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from bench.measure import OURS, Measure, Target, take_turns, timed
from bench.peers import find
from cryptography.fernet import Fernet
from pydantic import SecretStr

from roadvault_common.archive.crypto import MasterKeys
from roadvault_common.files.new_file import sync_directory
from roadvault_packer.archive import pack
from roadvault_packer.uploads import Upload

FILE_BYTES = 100_000_000
PASSWORD = "benchmark"
_KEYS = MasterKeys(SecretStr(Fernet.generate_key().decode()))


def measure(directory: Path, total_bytes: int, runs: int, *, warm: bool) -> Measure:
    """Pack `total_bytes` of random files, from the page cache or from disk; figures are MB of input for each second."""
    source = directory / "source"
    members = _members(source, total_bytes)
    result = Measure(
        f"pack + encrypt {total_bytes / 1e9:.0f} GB to durable disk, {'warm' if warm else 'cold'}",
        "MB/s",
        more_is_better=True,
        targets=[Target("7z -mx0 -p", 2.0), Target("restic backup", 1.3), Target("copy + fsync", 0.5)],
    )
    amount = sum(member.size for member in members)
    out = directory / "out"

    def run(work: Callable[[], None]) -> Callable[[], float]:
        def timed_run() -> float:
            shutil.rmtree(out, ignore_errors=True)
            out.mkdir()
            os.sync()  # what earlier runs left to be written is not this run's
            for path in source.iterdir():
                (_read if warm else _forget)(path)
            with timed() as seconds:
                work()
            figure = amount / 1e6 / seconds()
            shutil.rmtree(out)
            return figure

        return timed_run

    contenders = {
        OURS: run(lambda: _pack(members, source, out)),
        "7z -mx0 -p": run(lambda: _seven_zip(source, out)),
        "restic backup": run(lambda: _restic(source, out)),
        "copy + fsync": run(lambda: _copy(source, out)),
    }
    take_turns(result, contenders, runs)
    shutil.rmtree(source)
    return result


def _members(source: Path, total_bytes: int) -> list[Upload]:
    import hashlib  # noqa: PLC0415 - only the preparation needs it

    source.mkdir()
    members = []
    for number in range(1, total_bytes // FILE_BYTES + 1):
        content = os.urandom(FILE_BYTES)
        (source / f"{number}").write_bytes(content)
        digest = hashlib.sha256(content).hexdigest()
        members.append(Upload(number, f"{number}.mp4", FILE_BYTES, digest, f"{number}", datetime.now(UTC)))
    return members


def _read(path: Path) -> None:
    with path.open("rb", buffering=0) as file:
        while file.read(1 << 20):
            pass


def _forget(path: Path) -> None:
    with path.open("rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _pack(members: list[Upload], source: Path, out: Path) -> None:
    pack(1, members, source, out / uuid.uuid4().hex, _KEYS, lambda _: None)


def _seven_zip(source: Path, out: Path) -> None:
    target = out / "archive.7z"
    subprocess.run(
        [find("7z"), "a", "-mx0", f"-p{PASSWORD}", str(target), str(source)], stdout=subprocess.DEVNULL, check=True
    )
    sync(target)


def _restic(source: Path, out: Path) -> None:
    environment = {**os.environ, "RESTIC_PASSWORD": PASSWORD, "RESTIC_REPOSITORY": str(out / "repository")}
    for command in (["init"], ["backup", "--no-cache", str(source)]):
        subprocess.run([find("restic"), *command], env=environment, stdout=subprocess.DEVNULL, check=True)
    for path in (out / "repository").rglob("*"):
        if path.is_file():
            sync(path)


def _copy(source: Path, out: Path) -> None:
    for path in source.iterdir():
        target = out / path.name
        subprocess.run([find("cp"), "--reflink=never", str(path), str(target)], check=True)
        sync(target)


def sync(path: Path) -> None:
    """Make a file and its name durable."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    sync_directory(path.parent)
