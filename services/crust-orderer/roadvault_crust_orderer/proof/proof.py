"""Proof that the network holds an archive: random members of it, fetched through a path that has no local copy.

Replica counts are what others report. Local copies go only after bytes came back from the network and were right, and
replicas were counted once more then: the drop that follows at once needs no other look at the market.
"""

import random
from collections.abc import Sequence
from functools import partial

import structlog

from roadvault_common.archive.crypto import MasterKeys
from roadvault_common.errors import Domain
from roadvault_common.events.bus import Bus
from roadvault_common.events.kinds import ZipReplicated
from roadvault_common.ipfs.witness import Way
from roadvault_common.metrics import STAGE_BYTES
from roadvault_common.sql.db import Database
from roadvault_common.sql.states import ArchiveKind
from roadvault_common.work.audit_gauges import next_in
from roadvault_common.work.breakers import Breaker
from roadvault_common.work.lease import Lease
from roadvault_common.work.outcome import Done, Failed, Outcome, Wait
from roadvault_common.work.reasons import Reason
from roadvault_common.work.stages import PROVE
from roadvault_common.work.worker import Worker
from roadvault_crust_orderer import readiness
from roadvault_crust_orderer.config import OrdererSettings
from roadvault_crust_orderer.markets.market import Market
from roadvault_crust_orderer.proof.checking import check_member
from roadvault_crust_orderer.proof.evidence_store import Count, Proof, close_proven, counted
from roadvault_crust_orderer.proof.proof_store import ProofStore

log = structlog.get_logger()

_NO_WAY_SECONDS = 3600
_pick = random.SystemRandom()
"""Which members are asked for must not be known before."""


class Prover:
    """Proves archives; `proving` is the stage's worker."""

    def __init__(
        self,
        settings: OrdererSettings,
        db: Database,
        bus: Bus,
        keys: MasterKeys,
        way: Way | None,
        market: Market,
        needs: Sequence[Breaker] | None = None,
    ) -> None:
        self.needs = [*(readiness.breakers(db, market) if needs is None else needs)]
        self.uses = list[Breaker]()
        """What keeps nothing from being begun: each proof first makes room on the witness's disk."""
        if way is not None:
            glance = partial(way.check, stores=False)
            self.needs += [
                Breaker(Domain.IPFS, way.check, glance=glance),
                Breaker(Domain.NETWORK, way.check_peers),
            ]
            self.uses = [Breaker(Domain.IPFS_DISK, way.check, glance=glance)]
        self._settings = settings
        self._db = db
        self._bus = bus
        self._market = market
        self._keys = keys
        self._way = way
        self._store = ProofStore(db)
        self.proving = Worker(
            PROVE,
            self._prove,
            db,
            bus,
            lease_seconds=settings.lease_seconds,
            concurrency=settings.concurrency,
            needs=self.needs,
            uses=self.uses,
        )

    async def _prove(self, lease: Lease) -> Outcome:
        if self._way is None:
            words = "nothing is dropped without a proof: set ROADVAULT_WITNESS_RPC_URL, or ROADVAULT_PROOF_GATEWAY_URL"
            return Wait(Reason("no_way", words), after=_NO_WAY_SECONDS)
        await self._market.ping()  # else what was fetched is fetched anew at each attempt until the market is back
        archive = await self._store.archive(lease.row_id)
        if archive.kind != ArchiveKind.ARCHIVE:
            return Done()  # of the catalogue nothing is dropped
        key = self._keys.unwrap(archive.key, archive.iv, archive.master_key, archive.period_key)
        members = await self._store.members(lease.row_id)
        if not members:
            words = "no file of the archive has a byte that could be fetched: nothing is proven, local copies stay"
            return Failed(Reason("nothing_to_prove", words))
        picked = _pick.sample(members, min(self._settings.proof_members, len(members)))
        async with self._way.reading() as reader:
            lease.progress()
            for member in picked:
                await check_member(reader, archive.path, key, member, lease)
                STAGE_BYTES.labels(PROVE.name).inc(member.size)
        proof = Proof(reader.way, len(picked), sum(member.size for member in picked))
        count = await self._count(archive.cid)
        if not await close_proven(self._db, lease, count, proof, next_in(self._settings)):
            log.warning("files came back, and yet nothing is proven", cid=archive.cid, reason=count.objection)
            return Done()
        log.info("archive proven on the network", cid=archive.cid, bytes=proof.bytes, block=count.block)
        await self._bus.emit(ZipReplicated(zip_id=lease.row_id), archive.store)
        return Done()

    async def _count(self, cid: str) -> Count:
        market, head = await self._market.identity(), await self._market.head()
        return counted(await self._market.file(cid, head), head, market, self._settings.replica_threshold)
