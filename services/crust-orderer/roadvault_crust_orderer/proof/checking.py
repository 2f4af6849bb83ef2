"""One file of an archive, fetched and matched with its SHA-256."""

import asyncio
import hashlib

from roadvault_common.archive.crypto import ArchiveKey
from roadvault_common.archive.verify import Member
from roadvault_common.errors import IntegrityError
from roadvault_common.ipfs.reading import Reader
from roadvault_common.work.lease import Lease


async def check_member(reader: Reader, path: str, key: ArchiveKey, member: Member, lease: Lease) -> None:
    """Fetch a file of the archive `path` and check it.

    Raises:
        IntegrityError: It is not what was archived.
        IpfsUnavailable: Nobody gives it, or not now.
    """
    digest, cipher = hashlib.sha256(), key.stream(member.offset)

    def take(data: bytes) -> None:
        digest.update(cipher.update(data))
        lease.progress(len(data))

    async for data in reader.read(path, member.offset, member.size, lease.progress):
        await asyncio.to_thread(take, data)
    if digest.hexdigest() != member.sha256:
        raise IntegrityError(f"the network's copy of file {member.file_id} does not have its SHA-256")
