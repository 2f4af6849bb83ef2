"""Reads what an archive says of itself, from the network or from the disk, and checks it: label, key, manifest."""

import asyncio
import os
from collections.abc import Mapping
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path as File

from roadvault_common.archive.crypto import ArchiveKey, MasterKeys, PeriodKey
from roadvault_common.archive.label import FORMAT, MOST_BYTES, Label
from roadvault_common.catalogue.records import ArchiveRecord
from roadvault_common.errors import IntegrityError, IpfsRotten, IpfsUnavailable, brief
from roadvault_common.ipfs.asking import Patience
from roadvault_common.ipfs.dag import BLOCK_BYTES, DAG_PB, RAW, Cid, cumulative_size, directory
from roadvault_common.ipfs.path import ARCHIVE, LABEL, Path, archive_path
from roadvault_common.ipfs.reading import Reader
from roadvault_operator.recover import unlabelled
from roadvault_operator.recover.manifest import Manifest, open_manifest, see_bounds


class NotAnArchive(IntegrityError):
    """What a CID names is no archive with a label: something else, or one of format 1."""


@dataclass(frozen=True)
class Place:
    """Where an archive is: on the network, on the disk, or both."""

    cid: str | None = None
    path: str | None = None
    """The local copy, relative to the data directory."""
    label: bytes | None = None
    """None of format 1, which has none."""
    node: bytes | None = None
    """The block of the directory on IPFS that links archive and label; None where only the disk was looked at."""


@dataclass(frozen=True)
class Archive:
    """An archive that is what it says. Sizes are bytes, times UTC."""

    place: Place
    format: int
    """Of what is on IPFS, or will be."""
    key: ArchiveKey
    size: int
    dag_size: int | None
    made: datetime
    manifest: Manifest
    period: PeriodKey | None = None
    """What wraps its key, of one that had an end when it was packed."""


async def look(reader: Reader, cid: str) -> Place:
    """Read the directory of an archive on the network, and its label.

    Raises:
        NotAnArchive: It is no such directory.
        IpfsUnavailable: It does not come.
    """
    try:
        root = Cid.parse(cid)
    except IpfsUnavailable as error:
        raise NotAnArchive(brief(error)) from None
    if root.codec != DAG_PB:
        raise NotAnArchive("it is no directory")
    gateway = reader.gateway
    patience = Patience(gateway.stall_seconds, None, partial(gateway.meet, root))

    async def ask() -> Place:
        async with gateway.car(Path(root, LABEL), 0, 1) as car:
            node = await car.block(root, BLOCK_BYTES)
            return Place(cid, label=await car.block(_label_of(node), MOST_BYTES), node=node)

    try:
        return await patience.insist(ask)
    except IpfsUnavailable as error:
        # Of what has no label a gateway gives no CAR; and of what breaks off in one the block alone tells why.
        node = await patience.insist(partial(gateway.block, root, BLOCK_BYTES))
        try:
            return Place(cid, label=await gateway.block(_label_of(node), MOST_BYTES), node=node)
        except IpfsRotten:
            raise
        except IpfsUnavailable:
            raise error from None


def _label_of(node: bytes) -> Cid:
    """Return the label's CID in an archive's directory."""
    try:
        links = directory(node)
    except IpfsUnavailable as error:
        raise NotAnArchive(f"it is no archive's directory: {error}") from None
    if set(links) != {ARCHIVE, LABEL} or len(node) > MOST_BYTES:
        raise NotAnArchive(f"it is a directory of other things than {ARCHIVE} and {LABEL}")
    return links[LABEL]


class Opener:
    """Opens archives, with the master keys, and those that have an end with period keys, by their ids."""

    def __init__(self, keys: MasterKeys, periods: Mapping[str, PeriodKey], reader: Reader, root: File) -> None:
        """Read through `reader` what is not below `root`, the data directory."""
        self.keys = keys
        self._periods = periods
        self._reader = reader
        self._root = root

    async def labelled(self, place: Place) -> Archive:
        """Read an archive's manifest, from the disk if it lies there, and see that it is the one that the label means.

        Raises:
            IntegrityError: The archive is not what its label says, or the label is none of ours.
            MasterKeyMissing: It is wrapped by a master key that is not there.
            IpfsUnavailable: It does not come.
            OSError: The disk does not give it out.
        """
        label = Label.parse(place.label or b"")
        see_bounds(label)
        period = self._periods.get(label.periodKey or "")
        key = label.open(period or self.keys)
        self._see_size(place, label.size)
        data = await self._bytes(place, FORMAT, label.manifest.offset, label.manifest.size)
        manifest = await asyncio.to_thread(open_manifest, label, key, data)
        if (found := self._size_on_ipfs(place)) not in {None, label.size}:
            raise IntegrityError(f"the archive has {found} bytes, its label says {label.size}")
        dag_size = None if place.node is None else cumulative_size(place.node)
        made = datetime.fromisoformat(label.made).astimezone(UTC)
        return Archive(place, FORMAT, key, label.size, dag_size, made, manifest, period)

    async def unlabelled(self, place: Place, record: ArchiveRecord) -> Archive:
        """Read the manifest of an archive of format 1, which the catalogue has the key of.

        Raises:
            IntegrityError, MasterKeyMissing, IpfsUnavailable, OSError: As `labelled` does.
        """
        key = self.keys.unwrap(record.key or "", record.iv or "", record.master_key)
        self._see_size(place, record.size)
        read = partial(self._bytes, place, record.format)
        manifest = await unlabelled.manifest(read, key, record.size, record.files)
        return Archive(place, record.format, key, record.size, record.dag_size, record.created, manifest)

    def _size_on_ipfs(self, place: Place) -> int | None:
        """Return how long an archive is on IPFS, by its directory and the node that was read last; None if unknown."""
        if place.node is None or place.label is None:
            return None
        archive = directory(place.node)[ARCHIVE]
        if archive.codec == RAW:
            return cumulative_size(place.node) - len(place.node) - len(place.label)
        node = self._reader.blocks.node(archive)
        return None if node is None else node.size

    def has(self, path: str) -> bool:
        """Tell whether a local copy is there."""
        return (self._root / path).exists()

    def _see_size(self, place: Place, size: int) -> None:
        if place.path is not None and (found := (self._root / place.path).lstat().st_size) != size:
            raise IntegrityError(f"{place.path} has {found} bytes, not {size}")

    async def _bytes(self, place: Place, format: int, offset: int, size: int) -> bytes:  # noqa: A002 - as the column is called
        if place.path is not None:
            return await asyncio.to_thread(_read, self._root / place.path, offset, size)
        path = archive_path(place.cid or "", format)
        async with aclosing(self._reader.read(path, offset, size)) as pieces:
            return b"".join([piece async for piece in pieces])


def _read(path: File, offset: int, size: int) -> bytes:
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), "rb", buffering=0) as file:
        data = os.pread(file.fileno(), size, offset)
    if len(data) != size:
        raise IntegrityError(f"{path.name} is shorter than it should be")
    return data
