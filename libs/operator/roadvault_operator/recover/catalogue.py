"""Reads the catalogue from the network: the newest, by the first master key's IPNS name, or one by its CID."""

from collections.abc import AsyncGenerator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path as File
from typing import NamedTuple

from roadvault_common.archive.crypto import MasterKeys
from roadvault_common.archive.ipns import ipns_name
from roadvault_common.catalogue.log import LOG, open_slice
from roadvault_common.catalogue.records import (
    HEAD,
    MOST_BYTES,
    ArchiveRecord,
    Head,
    SegmentLink,
    open_head,
    open_segment,
)
from roadvault_common.errors import IntegrityError, RoadVaultError, brief
from roadvault_common.files.identity import read_stamp
from roadvault_common.files.numbers import MARGIN, MOST_A_SECOND
from roadvault_common.ipfs.asking import Patience
from roadvault_common.ipfs.dag import BLOCK_BYTES, Cid, directory
from roadvault_common.ipfs.path import Path
from roadvault_common.ipfs.publishing import resolve
from roadvault_common.ipfs.reading import Reader
from roadvault_common.ipfs.rpc import Ipfs

_RECOVERIES = 10
"""Databases that may have been recovered, or adopted, since a catalogue was made: each left numbers out."""


class Unread(NamedTuple):
    """A segment that can't be read, and why."""

    segment: SegmentLink
    reason: str

    def __str__(self) -> str:
        """Return it as it stands in a report."""
        return f"segment {self.segment.number} of the catalogue, {self.segment.archives} archives: {self.reason}"


@dataclass(frozen=True)
class Catalogue:
    """A catalogue whose head was read."""

    cid: str
    head: Head
    log: Cid | None = None
    """The directory of the custody log's slices; None: it has none."""

    def given_out(self, root: File, now: datetime) -> dict[str, int]:
        """Return the highest numbers that may have been given out, by the names of their columns. Blocks.

        The data directory, `root`, knows what came after the catalogue; if it is lost, too, or is another's, or an old
        copy, that is a guess: however often the same catalogue is recovered from, each time goes on behind what the
        time before can have given out.
        """
        known, stamp = self.head.given_out.model_dump(), read_stamp(root)
        if stamp is not None and stamp.identity == self.head.identity:
            there = stamp.given_out
            if all(there.get(name, 0) >= number for name, number in known.items()):
                return known
        seconds = max((now - self.head.made).total_seconds(), 0)
        more = _RECOVERIES * MARGIN + int(seconds * MOST_A_SECOND)
        return {name: number + more for name, number in known.items()}

    @property
    def archives(self) -> int:
        """How many there are in it."""
        return sum(segment.archives for segment in self.head.segments)

    async def records(self, reader: Reader, keys: MasterKeys) -> AsyncGenerator[ArchiveRecord | Unread, None]:
        """Yield the record of each archive; and each segment that can't be read."""
        for segment in self.head.segments:
            try:
                records = await self._segment(reader, keys, segment)
            except RoadVaultError as error:
                yield Unread(segment, brief(error))
                continue
            for record in records:
                yield record

    async def _segment(self, reader: Reader, keys: MasterKeys, link: SegmentLink) -> list[ArchiveRecord]:
        return open_segment(link, await self._block(reader, Cid.parse(link.cid)), keys)

    async def slices(self, reader: Reader, keys: MasterKeys) -> AsyncGenerator[bytes, None]:
        """Yield the slices of the custody log, the first first.

        Raises:
            IpfsUnavailable: One does not come.
            IntegrityError: One is damaged, or missing.
            MasterKeyMissing: One is sealed by a master key that is not there.
        """
        number = 0
        for _, group in _numbered(await self._block(reader, self.log)) if self.log else ():
            for found, cid in _numbered(await self._block(reader, group)):
                if found != number:
                    raise IntegrityError(f"slice {number} of the custody log is missing in the catalogue")
                yield open_slice(number, await self._block(reader, cid), keys)
                number += 1

    async def _block(self, reader: Reader, cid: Cid) -> bytes:
        gateway, root = reader.gateway, Cid.parse(self.cid)
        patience = Patience(gateway.stall_seconds, None, partial(gateway.meet, root))
        return await patience.insist(partial(gateway.block, cid, MOST_BYTES))


def _numbered(block: bytes) -> list[tuple[int, Cid]]:
    """Return what is in a directory whose names are numbers, in the order of these."""
    return sorted((int(name), cid) for name, cid in directory(block).items() if name.isdecimal())


async def newest(reader: Reader, node: Ipfs, keys: MasterKeys) -> Catalogue:
    """Return the catalogue that was published under the first master key's name.

    Those of older keys are only told: such a key may have been retired because others have it, who can publish there.

    Raises:
        RoadVaultError: The name leads to none that can be read.
    """
    first, *older = keys.ids
    name = ipns_name(keys, first)
    try:
        return await read(reader, await resolve(node, name), keys)
    except RoadVaultError as error:
        trouble = f"{name}: {brief(error)}"
    for master_key in older:
        with suppress(RoadVaultError):
            cid = await resolve(node, ipns_name(keys, master_key))
            trouble += f"; the older master key {master_key} leads to {cid}: use that if nobody else can have had it"
    raise IntegrityError(f"no catalogue is found by the first master key's name: {trouble}")


async def read(reader: Reader, cid: str, keys: MasterKeys) -> Catalogue:
    """Read a catalogue's head.

    Raises:
        IpfsUnavailable: It does not come.
        IntegrityError: It is no catalogue, or damaged.
        MasterKeyMissing: It is sealed by a master key that is not there.
    """
    gateway, root = reader.gateway, Cid.parse(cid)
    patience = Patience(gateway.stall_seconds, None, partial(gateway.meet, root))

    async def ask() -> tuple[bytes, Cid | None]:
        async with gateway.car(Path(root, HEAD), 0, 1) as car:
            links = directory(await car.block(root, BLOCK_BYTES))
            if HEAD not in links:
                raise IntegrityError(f"{cid} is no catalogue: there is no {HEAD} in it")
            return await car.block(links[HEAD], MOST_BYTES), links.get(LOG)

    sealed, log = await patience.insist(ask)
    return Catalogue(cid, open_head(sealed, keys), log)
