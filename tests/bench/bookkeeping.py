"""Tiny files, so that only the work for each file counts: from the upload until the archive has them."""

import asyncio
import shutil
from itertools import count
from pathlib import Path

from bench.measure import OURS, Measure, Target, take_turns, timed
from bench.system import System

from roadvault_stack.ports import HOST

FILES_IN_FOLDER = 2_000
FILE_BYTES = -(-(1 << 20) // FILES_IN_FOLDER)
"""No folder is smaller than 1 MiB."""
_AT_ONCE = 64
_ALLOWED = "1 000 files/s"
_STAGES_SECONDS = 120
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
