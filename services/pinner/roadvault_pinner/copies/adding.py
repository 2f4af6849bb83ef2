"""Adding archives to IPFS: each in a directory with its label, every file in it checked on the way."""

import asyncio
import hashlib
from pathlib import Path

from roadvault_common.archive.crypto import MasterKeys
from roadvault_common.archive.label import Label
from roadvault_common.archive.local import beside
from roadvault_common.archive.verify import VerifiedStream
from roadvault_common.errors import IntegrityError, IpfsUnavailable
from roadvault_common.files.new_file import create, write_all
from roadvault_common.files.vault import Vault
from roadvault_common.ipfs import own_blocks
from roadvault_common.ipfs.dag import RAW, Cid, directory
from roadvault_common.ipfs.path import ARCHIVE, LABEL
from roadvault_common.ipfs.rpc import Ipfs, New
from roadvault_common.work.lease import Lease
from roadvault_pinner.store import Archive, PinnerStore

_SIGNATURE = b"7z\xbc\xaf\x27\x1c"
"""What a 7z container begins with (7zFormat.txt, SignatureHeader)."""


class Adding:
    """Adds archives to our node, whose filestore refers to them where they lie, or copies them."""

    def __init__(self, vault: Vault, keys: MasterKeys, ipfs: Ipfs, store: PinnerStore, *, filestore: bool) -> None:
        self._vault = vault
        self._keys = keys
        self._ipfs = ipfs
        self._store = store
        self.filestore = filestore

    async def add(self, archive: Archive, lease: Lease) -> tuple[str, bytes | None]:
        """Send an archive to Kubo, with its label if it has one; return its CID, and the directory's block then.

        Raises:
            IntegrityError: The archive is not, or not any more, what its rows say.
            IpfsUnavailable: Kubo is away, or what it made is not what it was given.
        """
        stream = await self._stream(archive, lease)
        referred = self._vault.path(archive.path or "") if self.filestore else None
        try:
            if not archive.labelled or archive.label is None:
                return await self._ipfs.add(stream, referred), None
            return await self._add_labelled(archive, New(ARCHIVE, stream, referred), archive.label)
        except IpfsUnavailable:
            if stream.failure is not None:
                raise stream.failure from None
            raise

    async def is_whole(self, archive: Archive, lease: Lease) -> bool:
        """Read the archive's file; tell whether it is there, and what its rows say."""
        if archive.path is None:
            return False
        try:
            async for _ in await self._stream(archive, lease):
                pass
            return await asyncio.to_thread(self._begins_well, archive)
        except (IntegrityError, OSError):
            return False

    def _begins_well(self, archive: Archive) -> bool:
        """Tell whether the archive's file begins as a 7z container does: its members say nothing of that."""
        key = self._keys.unwrap(archive.key, archive.iv, archive.master_key, archive.period_key)
        with self._vault.path(archive.path or "").open("rb") as file:
            return key.stream().update(file.read(len(_SIGNATURE))) == _SIGNATURE

    async def _stream(self, archive: Archive, lease: Lease) -> VerifiedStream:
        path = self._vault.path(archive.path or "")
        members = await self._store.members(archive.zip_id)
        key = self._keys.unwrap(archive.key, archive.iv, archive.master_key, archive.period_key)
        return VerifiedStream(path, archive.size, key, members, lease.progress)

    async def _add_labelled(self, archive: Archive, file: New, label: bytes) -> tuple[str, bytes]:
        read = Label.parse(label)
        if (read.size, read.iv, read.files) != (archive.size, archive.iv, archive.files):
            raise IntegrityError(f"the label of archive {archive.zip_id} is another archive's, or its row is damaged")
        await self.keep_label(archive)
        beside_it = None if file.path is None else self._vault.path(beside(archive.path or ""))
        cid = await self._ipfs.add_directory([file, New(LABEL, label, beside_it)])
        node = await own_blocks.held(self._ipfs, cid) or b""
        links = directory(node)
        if set(links) != {ARCHIVE, LABEL} or links[LABEL] != Cid(RAW, hashlib.sha256(label).digest()):
            raise IpfsUnavailable(f"Kubo made a directory of {sorted(links)}, or of another label: {cid}")
        # Where a garbage collection waits for an add, Kubo pins what it has when the next file comes, that is the
        # archive by itself, and never unpins that (0.43, core/coreunix/add.go: tempRoot): no drop would be one.
        await self._ipfs.unpin(str(links[ARCHIVE]))
        return cid, node

    async def keep_label(self, archive: Archive) -> None:
        """See that the label lies beside the archive, as it was: the filestore refers to it, and a disk may lose it."""
        if archive.path is not None and archive.label is not None:
            path = self._vault.path(beside(archive.path))
            await asyncio.to_thread(_keep, path, archive.label)


def _keep(path: Path, label: bytes) -> None:
    try:
        if path.read_bytes() == label:
            return
        path.unlink()
    except FileNotFoundError:
        pass
    with create(path) as file:
        write_all(file, label)
