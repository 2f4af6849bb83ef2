"""Local copies go by evidence that is valid, fresh and proven when they go; on a devnet and real Kubo nodes."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from evidence_rows import evidence
from servers_devnet import running_devnet
from servers_operator import Console
from servers_orderer import Desk, OpenDesk

from roadvault_common.ipfs.reading import Reader
from roadvault_common.ipfs.rpc import Ipfs
from roadvault_common.ipfs.witness import OthersGateway
from roadvault_common.work import backlog, repair
from roadvault_common.work import lease as leases
from roadvault_common.work.outcome import Done, Failed, Outcome, Wait
from roadvault_common.work.reasons import Reason
from roadvault_common.work.stages import DROP, PROVE, WATCH, Stage
from roadvault_crust_orderer.proof.proof import Prover
from roadvault_stack.kubo import Kubo

TERM_BLOCKS = 400
WEEKS = 20 * 86_400
ROOT = Path(__file__).parents[2]


@dataclass
class Yard:
    """An archive that is proven on the network, whose drop has not come about."""

    console: Console
    desk: Desk
    prover: Prover
    zip_id: int
    cid: str

    async def age(self, seconds: int) -> None:
        """Let time pass for the evidence."""
        await self.console.db.execute(
            "UPDATE evidence_info SET counted_at = counted_at - INTERVAL %s SECOND,"
            " proven_at = proven_at - INTERVAL %s SECOND",
            (seconds, seconds),
        )

    async def drop(self) -> Outcome:
        await self.console.db.execute("UPDATE zip_ipfs_info SET drop_due = UTC_TIMESTAMP(6)")
        outcome = await self.console.pinner.dropping.work(self.zip_id)
        assert outcome is not None
        return outcome

    async def due(self, stage: Stage) -> bool:
        return await backlog.due_rows(self.console.db, stage, 10) == [self.zip_id]

    def kept(self) -> bool:
        return any((self.console.vault.root / "archives").iterdir())

    async def is_pinned(self, node: Kubo) -> bool:
        return await asyncio.to_thread(node.rpc, f"pin/ls?arg={self.cid}&type=recursive") is not None


@asynccontextmanager
async def opened(console: Console, desk: Desk, network_kubo: Kubo) -> AsyncIterator[Yard]:
    zip_id = await console.archive()
    await console.pinner.pinning.work(zip_id)
    cid = (await desk.row(zip_id))["cid"]
    async with (
        Ipfs.open(network_kubo.rpc_url, 30) as network,
        Reader.open(network_kubo.gateway_url, 10, only_cached=True) as reader,
    ):
        await network.fetch_and_pin(cid, lambda: None)
        await desk.bought(zip_id)
        desk.devnet.turn(set_replicas={"cid": cid, "count": 60})
        desk.devnet.final()
        await desk.attend(zip_id)
        settings, keys = desk.orderer.buying._settings, console.pinner._keys
        prover = Prover(settings, desk.db, console.bus, keys, OthersGateway(reader), desk.chain)
        assert await prover.proving.work(zip_id) == Done()
        yield Yard(console, desk, prover, zip_id, cid)


@pytest.fixture
async def yard(console: Console, desk: Desk, network_kubo: Kubo) -> AsyncIterator[Yard]:
    async with opened(console, desk, network_kubo) as yard:
        yield yard


async def test_a_drop_that_is_retried_weeks_later_has_the_archive_proven_anew(yard: Yard) -> None:
    db = yard.console.db
    lease = await leases.claim(db, DROP, yard.zip_id, 60)
    assert lease is not None
    await db.transact(lambda tx: leases.close(tx, lease, Failed(Reason("", "the disk refused"))))
    await yard.age(WEEKS)
    assert await repair.retry(db, DROP, yard.zip_id)
    outcome = await yard.drop()
    assert isinstance(outcome, Wait)
    assert ("the proof is" in outcome.reason, yard.kept()) == (True, True)
    assert await yard.due(PROVE)
    before = (await evidence(db, yard.zip_id))[-1]
    yard.desk.devnet.blocks(1)
    assert await yard.prover.proving.work(yard.zip_id) == Done()
    after = (await evidence(db, yard.zip_id))[-1]
    assert (after["proven_at"] - before["proven_at"]).days >= 20
    assert after["block"] > before["block"]
    assert await yard.due(DROP)
    assert await yard.console.pinner.dropping.work(yard.zip_id) == Done()
    assert not yard.kept()


async def test_what_was_not_counted_of_late_is_counted_anew_first(yard: Yard, kubo: Kubo) -> None:
    await yard.age(3600)
    outcome = await yard.drop()
    assert isinstance(outcome, Wait)
    assert "the count of replicas is 36" in outcome.reason
    assert (yard.kept(), await yard.is_pinned(kubo), await yard.due(WATCH)) == (True, True, True)
    (before,) = await evidence(yard.console.db, yard.zip_id)
    assert await yard.desk.look_at_due() == 1
    (stale,) = await evidence(yard.console.db, yard.zip_id)
    assert stale["counted_at"] == before["counted_at"]  # a node that stands still tells nothing new
    yard.desk.devnet.blocks(1)
    await yard.desk.attend(yard.zip_id)
    (fresh,) = await evidence(yard.console.db, yard.zip_id)
    assert (fresh["block"] > before["block"], fresh["counted_at"] > before["counted_at"]) == (True, True)
    assert await yard.due(DROP)  # which has waited for this
    assert await yard.console.pinner.dropping.work(yard.zip_id) == Done()
    assert (yard.kept(), await yard.is_pinned(kubo)) == (False, False)


@pytest.mark.parametrize("devnet_server", [{"file_duration_blocks": TERM_BLOCKS}], indirect=True)
@pytest.mark.parametrize(
    ("what", "why"), [("closed", "does not know the CID"), ("lapsed", "ran out"), ("fewer", "50 replicas at block")]
)
async def test_evidence_is_void_once_the_market_does_not_say_so_any_more(yard: Yard, what: str, why: str) -> None:
    await yard.age(3600)
    devnet = yard.desk.devnet
    if what == "closed":
        devnet.turn(close_file=yard.cid)
    elif what == "lapsed":
        devnet.blocks(TERM_BLOCKS + 100)
    else:
        devnet.turn(set_replicas={"cid": yard.cid, "count": 50})
    devnet.final()
    assert isinstance(await yard.drop(), Wait)
    assert await yard.desk.look_at_due() == 1
    (voided,) = await evidence(yard.console.db, yard.zip_id)
    assert (voided["valid"], voided["void_at"] is not None, why in voided["void_reason"]) == (None, True, True)
    for _ in range(2):
        assert await yard.drop() == Done()
    assert yard.kept()


async def test_evidence_of_another_market_is_none(yard: Yard, open_desk: OpenDesk, tmp_path: Path) -> None:
    await yard.age(3600)
    assert isinstance(await yard.drop(), Wait)
    with running_devnet(tmp_path / "other") as other:
        async with open_desk(crust_url=other.server.url) as desk:
            await desk.attend(yard.zip_id)
            (voided,) = await evidence(desk.db, yard.zip_id)
            assert voided["valid"] is None
            assert await desk.chain.identity() in voided["void_reason"]
    assert await yard.drop() == Done()
    assert yard.kept()


async def test_evidence_that_comes_again_has_to_be_proven_again(yard: Yard) -> None:
    yard.desk.devnet.turn(set_replicas={"cid": yard.cid, "count": 50})
    yard.desk.devnet.final()
    await yard.desk.attend(yard.zip_id)
    yard.desk.devnet.turn(set_replicas={"cid": yard.cid, "count": 51})
    yard.desk.devnet.final()
    await yard.desk.attend(yard.zip_id)
    first, second = await evidence(yard.console.db, yard.zip_id)
    assert (first["valid"], second["valid"], second["proven_at"]) == (None, 1, None)
    assert await yard.due(PROVE)
    assert await yard.drop() == Done()
    assert yard.kept()


async def test_what_was_known_before_evidence_was_kept_is_carried_over(console: Console) -> None:
    zip_id = await console.archive()
    await console.db.execute(
        "UPDATE zip_ipfs_info SET replicas = 70, enough_at = '2026-01-02 03:04:05',"
        " replicated_at = '2026-01-03 03:04:05'"
    )
    await console.db.execute(
        "INSERT INTO order_info (zip_id, term, account, market, in_flight, status, cid, declared_size, nonce,"
        " era_birth, era_death, extrinsic_hash, extrinsic, price)"
        " VALUES (%s, 1, 'a', '0xgenesis', NULL, 1, 'c', 1, 0, 1, 2, 'h', 'x', 1)",
        (zip_id,),
    )
    migration = (ROOT / "schema" / "0009_evidence.sql").read_text()
    carried = re.search(r"^INSERT INTO evidence_info.*?;", migration, re.DOTALL | re.MULTILINE)
    assert carried is not None
    await console.db.execute(carried[0].rstrip(";"))
    (row,) = await evidence(console.db, zip_id)
    assert (row["valid"], row["market"], row["replicas"], row["block"]) == (1, "0xgenesis", 70, None)
    assert (row["counted_at"].day, row["proven_at"].day) == (2, 3)


async def test_the_columns_from_before_are_emptied_and_what_voids_evidence_needs_them_no_more(
    yard: Yard,
) -> None:
    db = yard.console.db
    migration = (ROOT / "schema" / "0029_evidence_alone.sql").read_text()
    emptied = re.search(r"^UPDATE zip_ipfs_info.*?;", migration, re.DOTALL | re.MULTILINE)
    assert emptied is not None
    await db.execute("UPDATE zip_ipfs_info SET enough_at = UTC_TIMESTAMP(6), replicated_at = UTC_TIMESTAMP(6)")
    await db.execute(emptied[0].rstrip(";"))
    assert await db.fetch_all("SELECT enough_at, replicated_at FROM zip_ipfs_info") == [
        {"enough_at": None, "replicated_at": None}
    ]
    await db.execute(  # as the contracting migration to come does, but so that the next test has them again
        "ALTER TABLE zip_ipfs_info RENAME COLUMN enough_at TO was_enough_at,"
        " RENAME COLUMN replicated_at TO was_replicated_at"
    )
    try:
        yard.desk.devnet.turn(set_replicas={"cid": yard.cid, "count": 50})
        yard.desk.devnet.final()
        await yard.desk.attend(yard.zip_id)
        (voided,) = await evidence(db, yard.zip_id)
        assert voided["valid"] is None
        assert await yard.drop() == Done()
    finally:
        await db.execute(
            "ALTER TABLE zip_ipfs_info RENAME COLUMN was_enough_at TO enough_at,"
            " RENAME COLUMN was_replicated_at TO replicated_at"
        )
    assert yard.kept()
