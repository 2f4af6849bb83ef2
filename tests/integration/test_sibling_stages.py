"""What one stage makes due for another does not cut short who works on it, and is not lost either."""

from servers_operator import Console

from roadvault_common import lease as leases
from roadvault_common import repair
from roadvault_common.lease import DROP, ORDER, PROVE, Lease, Stage
from roadvault_common.outcome import Done
from roadvault_crust_orderer.proof_store import ProofStore
from roadvault_pinner.store import PinnerStore


async def claimed(console: Console, stage: Stage, zip_id: int) -> Lease:
    await console.db.transact(lambda tx: leases.make_due(tx, stage, zip_id))
    lease = await leases.claim(console.db, stage, zip_id, 60)
    assert lease is not None
    return lease


async def test_a_proof_leaves_a_drop_that_is_at_work_its_lease(console: Console) -> None:
    zip_id = await console.archive()
    await console.pinner.pinning.work(zip_id)
    drop, proof = await claimed(console, DROP, zip_id), await claimed(console, PROVE, zip_id)
    await ProofStore(console.db).close_proven(proof)
    assert await leases.claim(console.db, DROP, zip_id, 60) is None
    await PinnerStore(console.db).close_dropped(drop, uploads=True, archive=False)
    assert await leases.due_rows(console.db, DROP, 10) == [zip_id]  # there is the archive to drop now


async def test_a_proof_makes_a_drop_due_that_nobody_works_on(console: Console) -> None:
    zip_id = await console.archive()
    await console.pinner.pinning.work(zip_id)
    await claimed(console, DROP, zip_id)
    await console.db.execute("UPDATE zip_ipfs_info SET drop_due = UTC_TIMESTAMP(6)")  # its worker died
    await ProofStore(console.db).close_proven(await claimed(console, PROVE, zip_id))
    assert await leases.due_rows(console.db, DROP, 10) == [zip_id]
    lease = await claimed(console, DROP, zip_id)
    await PinnerStore(console.db).close_dropped(lease, uploads=True, archive=True)
    assert await leases.due_rows(console.db, DROP, 10) == []
    await ProofStore(console.db).close_proven(await claimed(console, PROVE, zip_id))
    assert await leases.due_rows(console.db, DROP, 10) == [zip_id]


async def test_pinning_again_leaves_an_order_that_is_at_work_its_lease(console: Console) -> None:
    zip_id = await console.archive()
    await console.pinner.pinning.work(zip_id)
    order = await claimed(console, ORDER, zip_id)
    assert await repair.pin_again(console.db, zip_id)
    assert await console.pinner.pinning.work(zip_id) == Done()
    assert await leases.claim(console.db, ORDER, zip_id, 60) is None
    assert await leases.extend(console.db, order)
