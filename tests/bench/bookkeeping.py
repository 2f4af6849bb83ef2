"""Tiny files, so that only the work for each file counts: from the upload until the archive has them."""

import asyncio
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import count
from pathlib import Path

from bench.measure import OURS, Measure, Target, take_turns, timed
from bench.system import System

from roadvault_common.custody import chainer
from roadvault_stack import plan
from roadvault_stack.plan import Plan
from roadvault_stack.ports import HOST
from roadvault_stack.settings import StackSettings

FILES_IN_FOLDER = 2_000
FILE_BYTES = -(-(1 << 20) // FILES_IN_FOLDER)
"""No folder is smaller than 1 MiB."""
_AT_ONCE = 64
_ALLOWED = "1 000 files/s"
_STAGES_SECONDS = 120
_SETTLE_SECONDS = chainer.CHAIN_SECONDS + 3
_WITHOUT = "without the custody log"
_NOTHING_RECORDED = """
from roadvault_common.sql import custody_lines

async def nothing(_, *lines):
    pass

custody_lines.record = nothing
"""
"""Runs when Python starts, before a service has taken the function."""
_CHAINED = "SELECT COUNT(*) = 0 FROM custody_info WHERE position IS NULL"
_PACKED = "SELECT COUNT(*) FROM file_upload_info WHERE zip_id IS NOT NULL"


def measure(directory: Path, files: int, runs: int) -> Measure:
    """Upload whole folders of tiny files; figures are files for each second, until all are packed."""
    result = Measure(
        f"bookkeeping: {files} files of {FILE_BYTES} bytes, from the first upload until all are packed",
        "files/s",
        more_is_better=True,
        targets=[Target(_ALLOWED, 1)],
    )
    folder_bytes = FILES_IN_FOLDER * FILE_BYTES
    done = 0
    # Each run fills whole folders, so that no folder's age is waited for.
    with System.open(directory, folder_bytes=folder_bytes, folder_age_seconds=3600) as system:

        def run() -> float:
            nonlocal done
            done += files
            with timed() as seconds:
                asyncio.run(_upload(system.settings.ingest_port, files, bytes(FILE_BYTES)))
                system.wait(_PACKED, done, _STAGES_SECONDS)
            result.add(_ALLOWED, 1000)
            return files / seconds()

        take_turns(result, {OURS: run}, runs)
    shutil.rmtree(directory)
    return result


def custody(directory: Path, files: int, runs: int) -> list[Measure]:
    """Do the same with the custody log and, in a second stack beside it, without.

    Figures are files for each second, and processor time of all programs, with what they do for some seconds more: all
    lines have their places then, and archives are on IPFS.
    """
    rate = Measure(
        f"the same, with the custody log and without: {files} files",
        "files/s",
        more_is_better=True,
        targets=[Target(_WITHOUT, 0.95)],
    )
    cost = Measure(
        "processor time of all programs until all are packed, and all lines chained",
        "ms/file",
        more_is_better=False,
        targets=[Target(_WITHOUT, 1.05, least=False)],
    )
    folders = {"folder_bytes": FILES_IN_FOLDER * FILE_BYTES, "folder_age_seconds": 3600}
    ours, without = directory / "ours", directory / "without"
    for one in (ours, without):
        one.mkdir()
    with System.open(ours, **folders) as system, System.open(without, _recording_nothing, **folders) as other:
        take_turns(rate, {OURS: _run(system, files, cost, OURS), _WITHOUT: _run(other, files, cost, _WITHOUT)}, runs)
        if other.count("SELECT COUNT(*) FROM custody_info") or not system.count("SELECT COUNT(*) FROM custody_info"):
            raise RuntimeError("what was to be left out was not")
    return [rate, cost]


def _run(system: System, files: int, cost: Measure, name: str) -> Callable[[], float]:
    done = 0

    def run() -> float:
        nonlocal done
        done += files
        before = system.processor_seconds()
        with timed() as seconds:
            asyncio.run(_upload(system.settings.ingest_port, files, bytes(FILE_BYTES)))
            system.wait(_PACKED, done, _STAGES_SECONDS)
        time.sleep(_SETTLE_SECONDS)
        system.wait(_CHAINED, 1, _STAGES_SECONDS)
        cost.add(name, (system.processor_seconds() - before) / files * 1000)
        return files / seconds()

    return run


def _recording_nothing(settings: StackSettings) -> Plan:
    """Plan a stack whose services write no line of the custody log."""
    (settings.dir / "sitecustomize.py").write_text(_NOTHING_RECORDED)
    made = plan.make(settings)
    *groups, services = made.groups
    path = {"PYTHONPATH": str(settings.dir)}
    programs = [replace(one, environment={**one.environment, **path}) for one in services.programs]
    return replace(made, groups=[*groups, replace(services, programs=programs)])


async def _upload(port: int, files: int, content: bytes) -> None:
    """Upload over kept connections, with as little work for each request as can be: it shares the cores."""
    body = (
        b'--x\r\nContent-Disposition: form-data; name="filename"\r\n\r\na.mp4\r\n'
        b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.mp4"\r\n\r\n' + content + b"\r\n--x--\r\n"
    )
    request = (
        f"POST /api/open/upload HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: {len(body)}\r\n"
        "Content-Type: multipart/form-data; boundary=x\r\n\r\n"
    ).encode() + body
    numbers = count()

    async def client() -> None:
        reader, writer = await asyncio.open_connection(HOST, port)
        while next(numbers) < files:
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            if not head.startswith(b"HTTP/1.1 200"):
                raise RuntimeError(f"an upload was refused: {head[:100]!r}")
            length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            await reader.readexactly(length)
        writer.close()
        await writer.wait_closed()

    await asyncio.gather(*(client() for _ in range(_AT_ONCE)))
