"""The SQL of evidence that the network holds an archive: only crust-orderer writes it.

Evidence is a count of replicas over the threshold at a finalized block, and the proof that followed. Whatever ends it
makes it void, with the reason, and lets the next count begin anew: the archive is proven again before anything goes.

Whatever is given a lease raises LeaseLost if another worker has the row, and has then written nothing.
"""

from dataclasses import dataclass

from roadvault_common.sql import audits
from roadvault_common.sql.audits import Audit, Place
from roadvault_common.sql.custody_lines import Act, Line, record
from roadvault_common.sql.db import Database, Transaction
from roadvault_common.work import batches
from roadvault_common.work import lease as leases
from roadvault_common.work.lease import Lease
from roadvault_common.work.outcome import Done
from roadvault_common.work.reasons import Reason
from roadvault_common.work.stages import AUDIT, DROP, PROVE, WATCH
from roadvault_crust_orderer.markets.market import FileInfo, Head

_REASON_LENGTH = 500
"""Characters of `evidence_info.void_reason`."""


@dataclass(frozen=True)
class Count:
    """What a market counts of an archive at a finalized block; `objection` is why that is no evidence, or None."""

    market: str
    block: int
    replicas: int
    objection: Reason | None


@dataclass(frozen=True)
class Proof:
    """How an archive was proven: `by` is the gateway's host and the way; `bytes` is the length of its `members`."""

    by: str
    members: int
    bytes: int


def counted(info: FileInfo | None, head: Head, market: str, threshold: int) -> Count:
    """Return what a market's answer comes to: evidence is an order that runs, with more than `threshold` replicas."""
    replicas = 0 if info is None else info.replicas
    if info is None:
        objection: Reason | None = Reason("market_forgot", f"the market does not know the CID at block {head.height}")
    elif info.expires is not None and info.expires <= head.height:
        objection = Reason("order_over", f"the order ran out at block {info.expires}", block=info.expires)
    elif replicas <= threshold:
        words = f"{replicas} replicas at block {head.height}, more than {threshold} are needed"
        objection = Reason("few_replicas", words, have=replicas, need=threshold)
    else:
        objection = None
    return Count(market, head.height, replicas, objection)


async def void(tx: Transaction, zip_id: int, reason: str) -> bool:
    """Take an archive's evidence back; False if it has none that is valid."""
    voided = await tx.execute(
        "UPDATE evidence_info SET valid = NULL, void_at = UTC_TIMESTAMP(6), void_reason = %s"
        " WHERE zip_id = %s AND valid = 1",
        (str(reason)[:_REASON_LENGTH], zip_id),
    )
    return voided == 1


async def note(tx: Transaction, zip_id: int, count: Count) -> bool:
    """Write down what a market counts; True if that is evidence where there was none: then the proof is due.

    The caller holds a lease on the archive. A height that is not new tells nothing new, so that a node which stands
    still or lags can keep no evidence fresh.
    """
    known = await tx.fetch_one(
        "SELECT market, block FROM evidence_info WHERE zip_id = %s AND valid = 1 FOR UPDATE", (zip_id,)
    )
    if known is not None and known["market"] not in (None, count.market):
        await void(tx, zip_id, f"counted at another market than {count.market}, where archives are ordered now")
        known = None
    if known is not None and known["block"] is not None and count.block <= known["block"]:
        return False
    if count.objection is not None:
        await void(tx, zip_id, count.objection)
        return False
    if known is not None:
        await tx.execute(
            "UPDATE evidence_info SET market = %s, block = %s, replicas = %s, counted_at = UTC_TIMESTAMP(6)"
            " WHERE zip_id = %s AND valid = 1",
            (count.market, count.block, count.replicas, zip_id),
        )
        await leases.hasten(tx, DROP, zip_id)  # it may wait for this
        return False
    await tx.execute(
        "INSERT INTO evidence_info (zip_id, market, block, replicas, counted_at)"
        " VALUES (%s, %s, %s, %s, UTC_TIMESTAMP(6))",
        (zip_id, count.market, count.block, count.replicas),
    )
    await leases.make_due(tx, PROVE, zip_id)
    return True


async def note_counted(db: Database, lease: Lease, count: Count) -> bool:
    """As `note`, in a transaction of its own, for whoever has a lease on the archive."""

    async def write(tx: Transaction) -> bool:
        await leases.hold(tx, lease)
        return await note(tx, lease.row_id, count)

    return await db.transact(write)


async def plan_audit(tx: Transaction, zip_id: int, seconds: float) -> None:
    """Have the first audit of an archive be due in so many seconds, unless one is planned or has failed.

    Who is proven plans it anew; others are audited, too: what never has replicas enough, and what was recovered.
    """
    await tx.execute(
        "UPDATE zip_ipfs_info SET audit_due = UTC_TIMESTAMP(6) + INTERVAL %s SECOND WHERE zip_id = %s"
        " AND folder_id > 0 AND audit_due IS NULL AND audit_token IS NULL AND audit_failed_at IS NULL",
        (seconds, zip_id),
    )


async def close_proven(db: Database, lease: Lease, count: Count, proof: Proof, audit_in: float) -> bool:
    """Close the lease of a proof whose files came back; False if the network is not to be believed any more.

    A proof is an audit, too: the next is due in `audit_in` seconds.

    Then nothing is proven: the evidence is void by now, and the orderer looks again. Else local copies may go.
    """

    async def write(tx: Transaction) -> bool:
        await leases.hold(tx, lease)
        await note(tx, lease.row_id, count)
        await leases.close(tx, lease, Done())
        proven = await tx.execute(
            "UPDATE evidence_info SET proven_at = UTC_TIMESTAMP(6), proven_by = %s, members = %s, bytes = %s"
            " WHERE zip_id = %s AND valid = 1",
            (proof.by, proof.members, proof.bytes, lease.row_id),
        )
        if proven:
            facts = {"by": proof.by, "files": proof.members, "bytes": proof.bytes, "replicas": count.replicas}
            where = {"market": count.market, "block": count.block}
            await record(tx, Line(Act.PROVEN, {**facts, **where}, zip_id=lease.row_id))
        await audits.note(tx, lease.row_id, Place.NETWORK, Audit(proof.members, proof.bytes, proof.by))
        await batches.schedule(tx, AUDIT, lease.row_id, audit_in)
        # A drop that is at work looks at the evidence again when it closes.
        await leases.make_due(tx, DROP if proven else WATCH, lease.row_id, hurry=bool(proven))
        return proven == 1

    return await db.transact(write)
