"""The custody log as the catalogue has it: what is full is never written again, the lines behind it each time."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

import structlog

from roadvault_common.archive.crypto import MasterKeys
from roadvault_common.catalogue.log import GROUP_SLICES, LOG, SLICE_LINES, seal_slice
from roadvault_common.custody import slices
from roadvault_common.custody.check import Faulty
from roadvault_common.errors import brief
from roadvault_common.ipfs.dag import DAG_PB, Cid, encode_directory
from roadvault_common.sql.db import Database
from roadvault_pinner.catalogue import log_store
from roadvault_pinner.catalogue.log_store import GROUP, SLICE, Part

log = structlog.get_logger()

_LINES_AT_ONCE = 200 * SLICE_LINES
"""New lines in one publication, some 100 MB, so that its blocks are pinned soon; more of them are the next one's."""

Keep = Callable[[Cid, bytes], Awaitable[None]]
"""Takes a block that is to be stored."""
Link = tuple[str, Cid, int]
"""A name in a directory, what it stands for, and how many bytes that has in all."""


@dataclass
class Parts:
    """The log as far as it is in the catalogue in the making."""

    groups: list[Part]
    """Directories that are full."""
    slices: list[Part]
    """Behind them."""
    fresh: list[Part] = field(default_factory=list)
    """What was made and is full."""
    link: Link | None = None
    """The directory of all, if there is a line."""

    @property
    def lines(self) -> int:
        """How many lines it has."""
        return max((part.last for part in (*self.groups[-1:], *self.slices[-1:])), default=0)


class LogParts:
    """Makes slices of the log, and their directories."""

    def __init__(self, db: Database, keys: MasterKeys) -> None:
        self._db = db
        self._keys = keys

    async def add(self, size: int | None, keep: Keep, *, whole: bool, up_to_fault: bool = False) -> Parts:
        """Return the parts of a log of `size` lines; what is new of them is given to `keep`, or all, if `whole`.

        Without a size no more is taken than what was published before, as far as it is still there; with `up_to_fault`
        no more than what comes before the first line that is not what was chained.

        Raises:
            Faulty: A line is not what was chained, or is missing.
        """
        parts = Parts(*await log_store.parts(self._db, GROUP_SLICES))
        most = parts.lines if size is None else min(parts.lines + _LINES_AT_ONCE, size)
        if whole:
            parts = Parts([], [])
        while parts.lines < most:
            try:
                await self._slice(parts, most, keep)
            except Faulty as error:
                if not up_to_fault:
                    raise
                most = max(error.fault.position, parts.lines)
                log.error("the catalogue has no more of the custody log", lines=most, reason=brief(error))  # noqa: TRY400
        await self._link(parts, keep)
        return parts

    async def _slice(self, parts: Parts, most: int, keep: Keep) -> None:
        """Add the next slice, as long as it may be."""
        first, number = parts.lines, len(parts.groups) * GROUP_SLICES + len(parts.slices)
        lines = min(SLICE_LINES, most - first)
        full = lines == SLICE_LINES
        while True:
            content = await slices.export(self._db, first, first + lines)
            sealed = await asyncio.to_thread(seal_slice, number, content, self._keys)
            if sealed is not None:
                break
            lines, full = lines // 2, True
        last_hash = slices.last_hash(content)
        part = Part(SLICE, number, first + lines, self._keys.ids[0], str(sealed.cid), len(sealed.data), last_hash)
        await keep(sealed.cid, sealed.data)
        parts.slices.append(part)
        if not full:
            return
        parts.fresh.append(part)
        if len(parts.slices) == GROUP_SLICES:
            cid, total = await _directory(_links(parts.slices), keep)
            group = Part(GROUP, len(parts.groups), part.last, part.master_key, str(cid), total, last_hash)
            parts.groups.append(group)
            parts.fresh.append(group)
            parts.slices.clear()

    async def _link(self, parts: Parts, keep: Keep) -> None:
        links = _links(parts.groups)
        if parts.slices:
            cid, total = await _directory(_links(parts.slices), keep)
            links.append((str(len(parts.groups)), cid, total))
        if links:
            parts.link = LOG, *await _directory(links, keep)


def _links(parts: Sequence[Part]) -> list[Link]:
    return [(str(part.number), Cid.parse(part.cid), part.size) for part in parts]


async def _directory(links: Sequence[Link], keep: Keep) -> tuple[Cid, int]:
    """Give a directory to `keep`; return its CID, and the size of all that is below it and its own."""
    block = encode_directory(links)
    cid = Cid.of(DAG_PB, block)
    await keep(cid, block)
    return cid, len(block) + sum(size for _, _, size in links)
