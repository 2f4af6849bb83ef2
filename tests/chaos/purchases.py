"""Checks what was paid for: by the blocks of the chain, and by our rows."""

from collections import Counter
from collections.abc import Mapping, Sequence

from chaos.arena import Arena
from chaos.contents import Row
from chaos.history import History
from chaos.losses import Loss

from roadvault_crust_orderer.buying.renewals_store import BLOCKS_A_DAY
from roadvault_crust_orderer.markets.market import mebibytes

_LIVE = 3
"""An archive's status while its order runs."""


def archives(rows: Mapping[int, Row], orders: Sequence[Row], chain: History, losses: Sequence[Loss]) -> list[str]:
    """Every archive was bought once, by the chain's own blocks, and its order is still running.

    One order is all that an archive can need here: terms outlast every run, and replicas only ever grow. Of one from
    before a loss our rows need not have the order, since it is not made again.
    """
    wrong: list[str] = []
    bought = Counter(order["zip_id"] for order in orders if order["status"] == 1)
    known = {order["zip_id"] for order in orders}
    recovered = max((loss.height for loss in losses), default=0)
    for zip_id, archive in rows.items():
        cid = archive["cid"]
        blocks = chain.purchases.get(cid, [])
        forgotten = zip_id not in known and any(block <= recovered for block in blocks)
        if (len(blocks), bought[zip_id] + forgotten, archive["terms_wanted"]) != (1, 1, 1):
            wrong.append(f"archive {zip_id}: {len(blocks)} orders in the blocks, {bought[zip_id]} in our rows")
        expires = chain.expires.get(cid)
        if expires is None:
            wrong.append(f"archive {zip_id}: the network does not know {cid}")
        elif expires <= chain.head:
            wrong.append(f"archive {zip_id}: its order ended at block {expires}, and it is {chain.head} now")
        if (archive["status"], archive["expired_on"]) != (_LIVE, expires):
            wrong.append(f"archive {zip_id}: status {archive['status']}, until {archive['expired_on']}")
    return wrong


def others(cids: set[str], catalogues: set[str], chain: History, losses: Sequence[Loss]) -> list[str]:
    """Whatever else was ordered is a catalogue, or an archive that was lost; each was ordered once."""
    lost = {cid for loss in losses if loss.held is not None for cid in set(loss.archived.values()) - loss.held}
    wrong = []
    for cid, blocks in chain.purchases.items():
        if cid not in cids | catalogues | lost:
            wrong.append(f"{cid} was ordered, and is no archive that there is")
        elif len(blocks) > 1 and cid not in cids:
            wrong.append(f"{cid}: {len(blocks)} orders in the blocks")
    if chain.paid != (seen := sum(map(len, chain.purchases.values()))):
        wrong.append(f"{chain.paid} orders were paid, {seen} are of what we know")
    return wrong


def ends(arena: Arena) -> list[str]:
    """The summary of what ends when fits the rows, the catalogue's among them."""
    count: Counter[tuple[str, int]] = Counter()
    sizes: Counter[tuple[str, int]] = Counter()
    for row in arena.sql("SELECT payer, expired_on, dag_size FROM zip_ipfs_info WHERE expired_on IS NOT NULL"):
        day = row["payer"], row["expired_on"] // BLOCKS_A_DAY
        count[day] += 1
        sizes[day] += mebibytes(row["dag_size"])
    summary = arena.sql("SELECT payer, day, archives, mebibytes FROM renewal_info")
    wrong = []
    if (counted := {(row["payer"], row["day"]): row["archives"] for row in summary}) != count:
        wrong.append(f"by day of their end, {counted} orders are counted, and there are {dict(count)}")
    if (measured := {(row["payer"], row["day"]): row["mebibytes"] for row in summary}) != sizes:
        wrong.append(f"by day of their end, {measured} MiB are counted, and there are {dict(sizes)}")
    return wrong
