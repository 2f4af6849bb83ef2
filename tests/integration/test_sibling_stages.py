"""What one stage makes due for another does not cut short who works on it, and is not lost either."""

from servers_operator import Console

from roadvault_common.work import backlog, repair
from roadvault_common.work import lease as leases
from roadvault_common.work.lease import Lease
from roadvault_common.work.outcome import Done, Failed, Wait
from roadvault_common.work.reasons import Reason
from roadvault_common.work.stages import DROP, ORDER, PROVE, Stage
from roadvault_crust_orderer.buying.purchase_store import PurchaseStore
from roadvault_crust_orderer.proof.evidence_store import Count, Proof, close_proven
from roadvault_pinner.store import PinnerStore

COUNT, PROOF = Count("here", 7, 60, None), Proof("by hand", 1, 1)


async def claimed(console: Console, stage: Stage, zip_id: int) -> Lease:
    await console.db.transact(lambda tx: leases.make_due(tx, stage, zip_id))
    lease = await leases.claim(console.db, stage, zip_id, 60)
    assert lease is not None
    return lease


async def test_a_proof_leaves_a_drop_that_is_at_work_its_lease(console: Console) -> None:
    zip_id = await console.archive()
    await console.pinner.pinning.work(zip_id)
    drop, proof = await claimed(console, DROP, zip_id), await claimed(console, PROVE, zip_id)
    assert await close_proven(console.db, proof, COUNT, PROOF, 60)
    assert await leases.claim(console.db, DROP, zip_id, 60) is None
    await PinnerStore(console.db).close_dropped(drop, archive=False)
    assert await backlog.due_rows(console.db, DROP, 10) == [zip_id]  # there is the archive to drop now


async def test_a_proof_makes_a_drop_due_that_nobody_works_on(console: Console) -> None:
    zip_id = await console.archive()
    await console.pinner.pinning.work(zip_id)
    await claimed(console, DROP, zip_id)
    await console.db.execute("UPDATE zip_ipfs_info SET drop_due = UTC_TIMESTAMP(6)")  # its worker died
    assert await close_proven(console.db, await claimed(console, PROVE, zip_id), COUNT, PROOF, 60)
    assert await backlog.due_rows(console.db, DROP, 10) == [zip_id]
    lease = await claimed(console, DROP, zip_id)
    await PinnerStore(console.db).note_uploads_dropped(lease)
    await PinnerStore(console.db).close_dropped(lease, archive=True)
    assert await backlog.due_rows(console.db, DROP, 10) == []
    assert await close_proven(console.db, await claimed(console, PROVE, zip_id), COUNT, PROOF, 60)
    assert await backlog.due_rows(console.db, DROP, 10) == [zip_id]


async def test_pinning_again_leaves_an_order_that_is_at_work_its_lease(console: Console) -> None:
    zip_id = await console.archive()
    await console.pinner.pinning.work(zip_id)
    order = await claimed(console, ORDER, zip_id)
    assert await repair.pin_again(console.db, zip_id)
    assert await console.pinner.pinning.work(zip_id) == Done()
    assert await leases.claim(console.db, ORDER, zip_id, 60) is None
    assert await leases.extend(console.db, order)


async def test_what_has_failed_waits_for_a_person(console: Console) -> None:
    """To pin all archives again does not send an order again that had asked a person."""
    zip_id = await console.archive()
    await console.pinner.pinning.work(zip_id)
    for stage in (ORDER, DROP):
        lease = await claimed(console, stage, zip_id)
        await console.db.transact(lambda tx, lease=lease: leases.close(tx, lease, Failed(Reason("", "ask a person"))))  # type: ignore[misc]
    assert await repair.pin_again(console.db, zip_id)
    assert await console.pinner.pinning.work(zip_id) == Done()
    await close_proven(console.db, await claimed(console, PROVE, zip_id), COUNT, PROOF, 60)
    for stage in (ORDER, DROP):
        row = await backlog.failure(console.db, stage, zip_id)
        assert row is not None
        assert (row["reason"], row["failed_at"] is not None) == ("ask a person", True)
        assert await backlog.due_rows(console.db, stage, 10) == []
        assert await leases.claim(console.db, stage, zip_id, 60) is None
        assert await repair.retry(console.db, stage, zip_id)
        assert await backlog.due_rows(console.db, stage, 10) == [zip_id]


async def test_to_pin_again_does_not_cut_short_an_orders_rest(console: Console) -> None:
    """After a refusal in a block each try costs a fee."""
    zip_id = await console.archive()
    await console.pinner.pinning.work(zip_id)
    rest = Wait(Reason("", "the account can't pay"), after=3600)
    lease = await claimed(console, ORDER, zip_id)
    await console.db.transact(lambda tx: leases.close(tx, lease, rest))
    assert await repair.pin_again(console.db, zip_id)
    assert await console.pinner.pinning.work(zip_id) == Done()
    assert await backlog.due_rows(console.db, ORDER, 10) == []


async def test_a_folder_whose_packing_failed_is_packed_again_when_a_person_asks_for_it(console: Console) -> None:
    zip_id = await console.archive()
    await console.db.execute("UPDATE folder_info SET pack_failed_at = UTC_TIMESTAMP(6), pack_attempts = 8")
    closed = await repair.pack_again(console.db, zip_id)
    row = await console.db.fetch_one("SELECT pack_failed_at, pack_attempts FROM folder_info WHERE status = 1")
    assert row == {"pack_failed_at": None, "pack_attempts": 0}
    assert await console.packer.packing.work(closed.folder_id) == Done()


async def test_an_order_that_turns_out_to_be_bought_is_watched_again_and_only_then(console: Console) -> None:
    """Another archive's turn may settle it, after its own order had asked a person."""
    zip_id, store = await console.archive(), PurchaseStore(console.db)
    await console.pinner.pinning.work(zip_id)
    await console.db.execute(
        "INSERT INTO order_info (zip_id, term, account, cid, declared_size, nonce, era_birth, era_death,"
        " extrinsic_hash, extrinsic, price) VALUES (%s, 1, 'a', 'c', 1, 0, 1, 65, 'h', 'x', 1)",
        (zip_id,),
    )
    purchase = await store.unsettled(zip_id)
    assert purchase is not None
    for settled in (True, False):
        lease = await claimed(console, ORDER, zip_id)
        await console.db.transact(lambda tx, lease=lease: leases.close(tx, lease, Failed(Reason("", "ask a person"))))  # type: ignore[misc]
        assert await store.settle_bought(purchase, 2) == settled
        assert (await backlog.due_rows(console.db, ORDER, 10) == [zip_id]) == settled
