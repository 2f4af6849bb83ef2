"""Audits of what the network holds: again and again some of each archive is fetched, as for its proof, and checked.

Small files come whole, and are matched with their SHA-256; of large ones a range comes from anywhere in them, and of
the archive its end, without which 7z lists nothing. Each block is the one that the CID names, from the root down.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog

from roadvault_common.archive.crypto import MasterKeys
from roadvault_common.archive.verify import Member
from roadvault_common.errors import Domain, IntegrityError, IpfsUnavailable, Outage, brief
from roadvault_common.events.bus import Bus
from roadvault_common.ipfs.witness import Way
from roadvault_common.metrics import STAGE_BYTES
from roadvault_common.sql import audits
from roadvault_common.sql.audits import Audit, Place
from roadvault_common.sql.db import Database
from roadvault_common.work import reasons
from roadvault_common.work.audit_gauges import FAILURES, next_in
from roadvault_common.work.breakers import Breaker
from roadvault_common.work.lease import Lease
from roadvault_common.work.outcome import Done, Outcome, Retry, Wait
from roadvault_common.work.reasons import Reason
from roadvault_common.work.stages import AUDIT
from roadvault_common.work.worker import Worker
from roadvault_crust_orderer.config import OrdererSettings
from roadvault_crust_orderer.proof.audit_store import AuditStore
from roadvault_crust_orderer.proof.checking import check_member
from roadvault_crust_orderer.proof.proof_store import ProofStore, Sealed

log = structlog.get_logger()

_TRIES = 3
"""Audits that get nothing before the network counts as having lost something."""
_NO_WAY_SECONDS = _BLIND_SECONDS = 3600
_END_BYTES = 64 << 10
"""Of the archive's end: 7z's header is there."""
_pick = random.SystemRandom()
"""What is asked for must not be known before."""


@dataclass(frozen=True)
class Part:
    """Bytes of an archive to fetch; `member` is the file that they are the whole of, or None."""

    offset: int
    size: int
    member: Member | None = None


class Auditor:
    """Audits archives; `auditing` is the stage's worker. `on_need` is called when something has to be bought."""

    def __init__(
        self,
        settings: OrdererSettings,
        db: Database,
        bus: Bus,
        keys: MasterKeys,
        way: Way | None,
        needs: Sequence[Breaker],
        on_need: Callable[[], None],
        uses: Sequence[Breaker] = (),
    ) -> None:
        self._settings = settings
        self._db = db
        self._bus = bus
        self._keys = keys
        self._way = way
        self._on_need = on_need
        self._archives = ProofStore(db)
        self._store = AuditStore(db)
        self.auditing = Worker(
            AUDIT,
            self._audit,
            db,
            bus,
            lease_seconds=settings.lease_seconds,
            concurrency=settings.concurrency,
            needs=[breaker for breaker in needs if breaker.domain is not Domain.MARKET],
            uses=uses,
        )
        self.auditing.rests = self._rests

    async def _rests(self) -> float:
        return await audits.seconds_to_rest(self._db, Place.NETWORK, self._settings.audit_day_bytes)

    async def _audit(self, lease: Lease) -> Outcome:
        if self._way is None:
            words = "nothing is audited without a way past our own node: see the proof"
            return Wait(Reason("no_way", words), after=_NO_WAY_SECONDS)
        archive = await self._archives.archive(lease.row_id)
        members = await self._archives.members(lease.row_id)
        parts = picked(members, archive.size, self._settings)
        size = sum(part.size for part in parts)
        await audits.spend(self._db, Place.NETWORK, size)
        try:
            by = await self._read(self._way, archive, parts, lease)
        except Outage:
            raise
        except (IpfsUnavailable, IntegrityError) as error:
            return await self._missed(self._way, lease, error)
        STAGE_BYTES.labels(AUDIT.name).inc(size)
        whole = sum(part.member is not None for part in parts)
        await self._store.close_sound(lease, Audit(whole, size, by), next_in(self._settings))
        log.info("archive audited on the network", cid=archive.cid, bytes=size)
        return Done()

    async def _read(self, way: Way, archive: Sealed, parts: Sequence[Part], lease: Lease) -> str:
        """Fetch all parts and check them; return how they came."""
        key = self._keys.unwrap(archive.key, archive.iv, archive.master_key, archive.period_key)
        async with way.reading() as reader:
            lease.progress()
            for part in parts:
                if part.member is not None:
                    await check_member(reader, archive.path, key, part.member, lease)
                    continue
                async for piece in reader.read(archive.path, part.offset, part.size, lease.progress):
                    lease.progress(len(piece))
        return reader.way

    async def _missed(self, way: Way, lease: Lease, error: IpfsUnavailable | IntegrityError) -> Outcome:
        """Try again a few times; then the network has lost something, which our own node is to get wherever it is.

        Unless nothing comes of another archive either: nobody fetches and buys all of them again because the way to the
        network is in trouble.
        """
        absent = not isinstance(error, IntegrityError)
        if absent and lease.attempt < _TRIES:
            return Retry(reasons.of(error), after=self._settings.audit_retry_seconds)
        reason = reasons.of(error).again(f"tried {lease.attempt} times, the last: {brief(error)}")
        FAILURES.labels(Place.NETWORK).inc()
        other = await self._store.another(lease.row_id) if absent else None
        if other is not None and not await self._comes(way, other.path):
            blind = f"of archive {other.zip_id}, which was there before, nothing comes either: is the way there well?"
            log.error("an audit tells nothing", reason=blind)
            return Wait(Reason("audit_blind", f"{blind} {reason}", archive=other.zip_id), after=_BLIND_SECONDS)
        again = min(self._settings.audit_failed_seconds, next_in(self._settings))
        if await self._store.close_missed(lease, Audit(0, 0, "", reason), again):
            log.error("an audit failed; the archive is fetched back, ordered again, and proven anew", reason=reason)
            told = f"an audit failed: {reason}. The archive is fetched back and ordered again by itself"
            await self._bus.dead_letter(AUDIT.name, told, row=lease.row_id)
            self._on_need()
        return Done()

    async def _comes(self, way: Way, path: str) -> bool:
        """Tell whether the first byte of an archive comes."""
        try:
            async with way.reading() as reader:
                async for _ in reader.read(path, 0, 1):
                    pass
        except Outage:
            raise
        except IpfsUnavailable:
            return False
        return True


def picked(members: Sequence[Member], size: int, settings: OrdererSettings) -> list[Part]:
    """Return what to fetch of an archive of `size` bytes, in the order in which it lies there; no byte twice."""
    some = sorted(_pick.sample(members, min(settings.audit_members, len(members))), key=lambda member: member.offset)
    parts = [_part(member, settings.audit_sample_bytes) for member in some]
    behind = max((member.offset + member.size for member in members), default=0)
    end = max(behind, size - _END_BYTES)
    return [*parts, Part(end, size - end)] if end < size else parts


def _part(member: Member, most: int) -> Part:
    if member.size <= most:
        return Part(member.offset, member.size, member)
    return Part(member.offset + _pick.randrange(member.size - most + 1), most)
