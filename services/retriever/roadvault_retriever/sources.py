"""Where a file's bytes can come from: the upload, the archive on disk, the archive on IPFS; and writing them out."""

import asyncio
import hashlib
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path

from roadvault_common.archive.crypto import ArchiveKey
from roadvault_common.errors import IntegrityError, RoadVaultError, TransientError
from roadvault_common.files.new_file import NewFile
from roadvault_common.work.lease import Lease
from roadvault_retriever.store import Made, Wanted

_READ_BYTES = 1 << 20


class Missing(RoadVaultError):
    """The file is not at this source: not an error, the next one is tried."""


class Unreadable(TransientError):
    """The disk does not give the file out: the next source is tried, and if there is none, this one later."""

    code = "unreadable"


async def from_disk(path: Path, offset: int, size: int) -> AsyncGenerator[bytes, None]:
    """Yield `size` bytes of a local file from `offset` on, as far as they are there.

    Raises:
        Missing: There is no such file.
        Unreadable: It can't be opened or read.
    """
    try:
        # What its taker raises, such as a full disk, does not come by here.
        with await asyncio.to_thread(path.open, "rb", buffering=0) as file:
            await asyncio.to_thread(file.seek, offset)
            while size > 0 and (data := await asyncio.to_thread(file.read, min(size, _READ_BYTES))):
                size -= len(data)
                yield data
    except FileNotFoundError as error:
        raise Missing(f"{path.name} is not on the disk") from error
    except OSError as error:
        raise Unreadable(f"{path.name} can't be read: {error.strerror or error}") from error


async def extract(
    pieces: AsyncGenerator[bytes, None], key: ArchiveKey | None, wanted: Wanted, target: Path, lease: Lease
) -> None:
    """Write a file's bytes, decrypted with `key` if there is one, to the new file `target`; check them.

    Raises:
        IntegrityError: They are not the file that the row names; nothing is left behind, as after any other error.
        DiskFull: There was no room.
    """
    file = NewFile(target)
    cipher = None if key is None else key.stream(wanted.zip_offset or 0)

    def take(data: bytes) -> None:
        file.write(data if cipher is None else cipher.update(data))
        lease.progress(len(data))

    try:
        async with aclosing(pieces):
            async for data in pieces:
                await asyncio.to_thread(take, data)
        _check(file, wanted)
        await asyncio.to_thread(file.finish)
    except BaseException:
        await asyncio.shield(asyncio.to_thread(file.discard))
        raise


def _check(file: NewFile, wanted: Wanted) -> None:
    if (file.size, file.sha256) != (wanted.size, wanted.sha256):
        raise IntegrityError(f"file {wanted.file_id}: {file.size} bytes came that do not have its SHA-256")


async def is_whole(path: Path, wanted: Wanted | Made, lease: Lease) -> bool:
    """Tell whether an extraction is still the file that the row names, or the clip: it is read once more.

    Raises:
        LeaseLost: As for all work on a row.
    """

    def check() -> bool:
        digest, size = hashlib.sha256(), 0
        with path.open("rb", buffering=0) as file:
            while data := file.read(_READ_BYTES):
                digest.update(data)
                size += len(data)
                lease.progress(len(data))
        return (size, digest.hexdigest()) == (wanted.size, wanted.sha256)

    try:
        return await asyncio.to_thread(check)
    except OSError:
        return False
