"""Publishes the catalogue, when something has changed: its segments that did, a head, their directory, under its name.

One at a time, by the lease of the one row of `catalogue_info`. All of it is on our node, pinned, before the name says
so, and the one before is unpinned only then: whenever this is cut short, what the name says is a whole catalogue.
"""

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import structlog

from roadvault_common.archive.crypto import MasterKeys
from roadvault_common.archive.ipns import ipns_key
from roadvault_common.catalogue import left_out
from roadvault_common.catalogue.log import LOG
from roadvault_common.catalogue.records import (
    CUSTODY,
    HEAD,
    SEGMENTS,
    ArchiveRecord,
    CustodyHead,
    DestroyedKey,
    Head,
    Sealed,
    encode_segment,
    seal_head,
    seal_segment,
)
from roadvault_common.custody import check, tie, tying
from roadvault_common.errors import IntegrityError, brief
from roadvault_common.events.bus import Bus
from roadvault_common.events.kinds import ZipPinned
from roadvault_common.ipfs.dag import DAG_PB, RAW, Cid, directory, encode_directory
from roadvault_common.ipfs.publishing import import_blocks, publish_name
from roadvault_common.ipfs.rpc import Ipfs
from roadvault_common.retention import periods
from roadvault_common.sql.db import Database
from roadvault_common.work.lease import Lease
from roadvault_common.work.outcome import Done, Outcome, Wait
from roadvault_common.work.reasons import Reason
from roadvault_pinner.catalogue import before, record_store
from roadvault_pinner.catalogue.catalogue_store import CatalogueStore, New, Published, Segment
from roadvault_pinner.catalogue.log_parts import Link, LogParts, Parts

log = structlog.get_logger()

_SEGMENTS_AT_ONCE = 50
"""Changed segments in one publication, so that what is held of them is bounded; more of them are the next one's."""
_BLOCKS_AT_ONCE = 16
"""Segments in one import."""
_NAME_SECONDS = 12 * 3600
"""How old the record of the name may be: a DHT forgets one after 48 hours. Kubo sees to it, too, as long as it runs."""


@dataclass
class Draft:
    """A catalogue in the making."""

    segments: dict[int, Segment]
    whole: bool
    """Whether every segment has to be stored: our node lacks the last catalogue, or it is sealed under another key."""
    compared: list[Segment] = field(default_factory=list)
    gone: list[int] = field(default_factory=list)
    fresh: dict[int, str] = field(default_factory=dict)
    """Marks of archives of which it says something new, by their numbers."""
    carried: list[str] = field(default_factory=list)
    """CIDs of archives that a recovery left out, and that it goes on naming."""
    blocks: list[tuple[Cid, bytes]] = field(default_factory=list)
    """What was not stored yet."""
    custody: bytes | None = None
    """How far the custody log has come."""
    log: Parts | None = None
    """The log itself."""
    destroyed: list[DestroyedKey] = field(default_factory=list)
    """Period keys, all that ever were."""
    changed: bool = False
    to_name: bool = True
    """Whether the name is to say it."""


class Publisher:
    """Publishes the catalogue; `publish` is the work of its stage. Times are seconds."""

    def __init__(
        self, db: Database, bus: Bus, keys: MasterKeys, ipfs: Ipfs, *, look_every: float, order_every: float
    ) -> None:
        self._db = db
        self._bus = bus
        self._keys = keys
        self._ipfs = ipfs
        self._look_every = look_every
        self._order_every = order_every
        self._store = CatalogueStore(db)
        self._log = LogParts(db, keys)

    async def publish(self, lease: Lease) -> Outcome:
        """Publish what has changed, if anything has, and have it bought when its time has come."""
        began = await self._store.now()
        last = await self._store.published(self._order_every)
        await left_out.forget_recovered(self._db)
        numbers = await self._store.stale(_SEGMENTS_AT_ONCE)
        await self._look_before(last, lease)
        # The next catalogue takes the place of the one that names what is in there.
        if (unread := await left_out.unread(self._db)) is not None:
            if last.named is not None and not await left_out.passed_by(self._db):
                await self._name_again(last)
            await self._store.close(lease, waits := Wait(Reason("catalogue_unread", unread), self._look_every), None)
            return waits
        complete = len(numbers) < _SEGMENTS_AT_ONCE
        draft = Draft(await self._store.segments(), whole=lease.attempt > 1 or await self._lost(last))
        # One that does not seem to have changed is looked at all the same: in time each is.
        unchecked = await self._store.unchecked()
        every = draft.segments if draft.whole else () if unchecked is None else (unchecked,)
        for number in sorted({*numbers, *every}):
            await self._compare(draft, number)
            await self._import(draft)
            lease.progress()
        draft.destroyed, lately = await periods.gone(self._db)
        draft.changed |= bool(draft.segments and lately)
        trouble = await check.trouble(self._db)
        # The log moves on with each act: that alone is published when it can be bought, and so be proven by a block.
        if draft.segments and trouble is None and (last.may_order or last.accepted):
            draft.changed |= await self._has_news(last)
        # Under a name that this database never had published only all of its archives take the place of what is there.
        draft.to_name = complete or last.named is not None
        new = await self._publish_new(draft, last, trouble, lease) if draft.changed else None
        await self._store.write(lease, new, draft.compared, draft.gone, draft.log.fresh if draft.log else ())
        await self._store.note_catalogued(draft.fresh)
        await left_out.note_catalogued(self._db, draft.carried)
        await periods.note_catalogued(self._db, lately if new is not None else ())
        if new is None and draft.to_name:
            await self._name_again(last)
        if draft.to_name:
            await self._order(lease)
        await self._unpin_superseded()
        outcome = Done(again_after=self._look_every if complete else 0)
        await self._store.close(lease, outcome, began if complete else None)
        return outcome

    async def _look_before(self, last: Published, lease: Lease) -> None:
        """Note the catalogue that our name leads to, if it is not from here, nor what was recovered from.

        Once we had the name, that is one that is newer: the network may still give the record of one of ours of before.
        """
        known = {last.cid, last.follows, *await self._store.pinned()}
        found = await before.unknown(self._ipfs, self._keys, known, lease.progress)
        lease.progress()
        if found is None:
            return
        cid, head = found
        if last.made is None or last.name is None or head.made > last.made:
            log.warning("our name leads to a catalogue that this database knows nothing of", cid=cid, made=head.made)
            await self._store.note_newer(cid, sum(one.archives for one in head.segments), head.given_out)

    async def _name_again(self, last: Published) -> None:
        if last.cid is None or last.master_key != self._keys.ids[0]:
            return
        if last.named is None or last.named >= _NAME_SECONDS:
            await self._store.note_named(await self._name(last.cid))

    async def _lost(self, last: Published) -> bool:
        """Tell whether our node lacks the last catalogue, or it is sealed under another key than the first by now."""
        if last.cid is None or last.master_key != self._keys.ids[0]:
            return True
        return not await self._ipfs.has_pinned(last.cid)

    async def _compare(self, draft: Draft, number: int) -> None:
        """Read what a segment is to say; take it into the draft if it said something else so far."""
        records, fresh, carried = await record_store.records(self._db, number)
        draft.fresh |= fresh
        draft.carried += carried
        if not records:
            if draft.segments.pop(number, None) is not None:
                draft.gone.append(number)
                draft.changed = True
            return
        known = draft.segments.get(number)
        segment, sealed = await asyncio.to_thread(self._sealed, number, records)
        draft.compared.append(segment)
        if known != segment or draft.whole:
            draft.blocks.append((sealed.cid, sealed.data))
            draft.segments[number] = segment
            draft.changed = True

    def _sealed(self, number: int, records: list[ArchiveRecord]) -> tuple[Segment, Sealed]:
        encoded = encode_segment(records)
        try:
            sealed = seal_segment(number, encoded, self._keys)
        except IntegrityError:  # very many holds, with long reasons
            encoded = encode_segment([one.without_holds() for one in records])
            sealed = seal_segment(number, encoded, self._keys)
        digest = hashlib.sha256(encoded).hexdigest()
        return Segment(number, len(records), digest, self._keys.ids[0], str(sealed.cid), len(sealed.data)), sealed

    async def _import(self, draft: Draft) -> None:
        """Store segments before there are too many; a garbage collection may take them, and then the pin fails."""
        if len(draft.blocks) >= _BLOCKS_AT_ONCE:
            await import_blocks(self._ipfs, draft.blocks, pin=False)
            draft.blocks.clear()

    async def _has_news(self, last: Published) -> bool:
        """Tell whether the custody log has more than was published, besides the purchase of that very catalogue."""
        size = 0 if last.custody is None else tie.Published.read(last.custody).size
        return bool(last.accepted) or await self._store.has_acts(size)

    async def _take_log(self, draft: Draft, last: Published, trouble: str | None, lease: Lease) -> bool:
        """Have the custody log in the catalogue; False: what was published before, since there is trouble with it."""

        async def keep(cid: Cid, block: bytes) -> None:
            draft.blocks.append((cid, block))
            await self._import(draft)
            lease.progress()

        root, whole = None, draft.whole
        try:
            if trouble is None and (root := await tying.root(self._db)) is not None:
                draft.log = await self._log.add(root.size, keep, whole=whole)
        except check.Faulty as error:
            await check.note_fault(self._db, self._bus, error.fault)
            trouble = brief(error)
        except IntegrityError as error:
            trouble = brief(error)
        if trouble is None:
            draft.custody = None if root is None else (await tying.published(self._db, root)).encode()
            return True
        # What was proven once is not taken back, and archives don't wait until a person has looked.
        log.error("the catalogue has the custody log of before", reason=trouble)
        draft.custody = last.custody
        draft.log = await self._log_of_before(last) or await self._log.add(None, keep, whole=whole, up_to_fault=True)
        return False

    async def _log_of_before(self, last: Published) -> Parts | None:
        """Return the log as the last catalogue has it; None if our node has it no more."""
        if last.cid is None or last.node is None or not await self._ipfs.has_pinned(last.cid):
            return None
        cid = directory(last.node).get(LOG)
        return Parts([], [], link=None if cid is None else (LOG, cid, await self._ipfs.dag_size(str(cid))))

    async def _publish_new(self, draft: Draft, last: Published, trouble: str | None, lease: Lease) -> New:
        taken = await self._take_log(draft, last, trouble, lease)
        segments = [draft.segments[number] for number in sorted(draft.segments)]
        made = await self._store.now()
        given_out, identity, account, market = await self._store.head()
        head = Head(
            made=made, identity=identity, given_out=given_out, account=account, market=market,
            custody=None if draft.custody is None else _custody_head(draft.custody),
            destroyed=draft.destroyed or None, segments=[segment.link for segment in segments],
        )  # fmt: skip
        sealed = await asyncio.to_thread(seal_head, head, self._keys)
        more = [] if draft.log is None or draft.log.link is None else [draft.log.link]
        node, size, blocks = _directory(sealed, draft.custody, segments, more)
        cid = str(blocks[0][0])
        await self._store.note_pin(cid)
        await import_blocks(self._ipfs, [*blocks, *draft.blocks], pin=True)
        lease.progress()
        await self._store.hold(lease)  # else somebody else may have published a newer one
        name = await self._name(cid) if draft.to_name else None
        archives = sum(one.archives for one in segments)
        lines = 0 if draft.log is None else draft.log.lines
        log.info("catalogue published", cid=cid, archives=archives, segments=len(segments), lines=lines, bytes=size)
        accepted = taken and bool(last.accepted)
        return New(cid, size, node, draft.custody, accepted, archives, self._keys.ids[0], name, made)

    async def _name(self, cid: str) -> str:
        return await publish_name(self._ipfs, f"roadvault-{self._keys.ids[0]}", ipns_key(self._keys), cid)

    async def _order(self, lease: Lease) -> None:
        zip_id = await self._store.order(lease, self._keys.ids[0], self._order_every)
        if zip_id is not None:
            log.info("catalogue to be ordered", zip_id=zip_id)
            await self._bus.emit(ZipPinned(zip_id=zip_id))

    async def _unpin_superseded(self) -> None:
        for cid in await self._store.superseded():
            await self._ipfs.unpin(cid)
            await self._store.forget_pin(cid)


def _custody_head(content: bytes) -> CustodyHead:
    return CustodyHead(**tie.Published.read(content).bare.model_dump())


def _directory(
    head: Sealed, custody: bytes | None, segments: Sequence[Segment], more: Sequence[Link]
) -> tuple[bytes, int, list[tuple[Cid, bytes]]]:
    """Return the directory's block, the size of all that is in it, and all blocks but the segments', its own first.

    The segments are in a directory of their own: so a receipt, which needs the first, stays small. `more` are links of
    what is stored already.
    """
    listed = encode_directory([(str(one.number), Cid.parse(one.cid), one.size) for one in segments])
    listed_size = len(listed) + sum(one.size for one in segments)
    files = [(HEAD, head.cid, head.data), *([] if custody is None else [(CUSTODY, Cid.of(RAW, custody), custody)])]
    links = [*more, *((name, cid, len(data)) for name, cid, data in files)]
    node = encode_directory([*links, (SEGMENTS, Cid.of(DAG_PB, listed), listed_size)])
    size = len(node) + listed_size + sum(size for _, _, size in links)
    blocks = [(Cid.of(DAG_PB, node), node), (Cid.of(DAG_PB, listed), listed)]
    return node, size, [*blocks, *((cid, data) for _, cid, data in files)]
