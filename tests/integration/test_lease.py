"""Leases and stages on a real database: who may work on a row, and how each attempt ends."""

import asyncio

import pytest
from lease_rows import let_time_pass, new_folder, row, worker

from roadvault_common.errors import LeaseLost, PermanentError, TransientError
from roadvault_common.events.bus import Bus
from roadvault_common.events.kinds import FolderSealed
from roadvault_common.sql.db import Database
from roadvault_common.work import backlog
from roadvault_common.work import lease as leases
from roadvault_common.work.lease import Lease
from roadvault_common.work.outcome import Done, Failed, Outcome, Retry, Wait
from roadvault_common.work.reasons import Reason
from roadvault_common.work.stages import PACK
from roadvault_common.work.worker import Worker


@pytest.fixture
async def folder(db: Database) -> int:
    return await new_folder(db)


async def test_only_one_of_many_claims(db: Database, folder: int) -> None:
    claims = await asyncio.gather(*(leases.claim(db, PACK, folder, 60) for _ in range(20)))
    assert sum(claim is not None for claim in claims) == 1
    assert (await row(db, folder))["pack_attempts"] == 1


async def test_a_lease_that_ran_out_is_taken_and_the_late_worker_writes_nothing(db: Database, folder: int) -> None:
    late = await leases.claim(db, PACK, folder, 60)
    await let_time_pass(db, folder)
    second = await leases.claim(db, PACK, folder, 60)
    assert late is not None
    assert second is not None
    assert second.attempt == 2
    assert not await leases.extend(db, late)
    with pytest.raises(LeaseLost):
        async with db.transaction() as tx:
            await tx.execute("UPDATE folder_info SET status = 2 WHERE folder_id = %s", (folder,))
            await leases.close(tx, late, Done())
    assert (await row(db, folder))["status"] == 1
    with pytest.raises(LeaseLost):
        late.progress()


@pytest.mark.parametrize(
    ("ending", "due", "attempts", "failed"),
    [
        (Done(), False, 0, False),
        (Done(again_after=60), True, 0, False),
        (Retry(Reason("", "later")), True, 1, False),
        (Wait(Reason("", "nobody's fault")), True, 0, False),
        (Failed(Reason("", "never")), False, 1, True),
        (TransientError("later"), True, 1, False),
        (PermanentError("never"), False, 1, True),
        (ZeroDivisionError("a bug"), True, 1, False),
    ],
    ids=repr,
)
async def test_each_ending_stands_on_the_row(
    db: Database, bus: Bus, folder: int, ending: Outcome | Exception, *, due: bool, attempts: int, failed: bool
) -> None:
    async def do(_: Lease) -> Outcome:
        if isinstance(ending, Exception):
            raise ending
        return ending

    await db.execute(
        "UPDATE folder_info SET pack_failed_at = UTC_TIMESTAMP(6)"
    )  # a failure that is over leaves no trace
    assert await worker(db, bus, do).work(folder) is not None
    after = await row(db, folder)
    assert (after["pack_due"] is not None, after["pack_attempts"], after["pack_failed_at"] is not None) == (
        due,
        attempts,
        failed,
    )
    assert after["pack_token"] is None
    reason = getattr(ending, "reason", str(ending) if isinstance(ending, Exception) else None)
    assert (reason or "") in (after["pack_reason"] or "")


async def test_a_crash_loop_ends(db: Database, bus: Bus, folder: int) -> None:
    async def never(_: Lease) -> Outcome:
        raise AssertionError("a row that killed its workers is not given to another")

    for _ in range(PACK.max_attempts):
        assert await leases.claim(db, PACK, folder, 60) is not None  # the worker dies: nothing is closed
        await let_time_pass(db, folder)
    outcome = await worker(db, bus, never).work(folder)
    assert isinstance(outcome, Failed)
    assert "the worker died each time" in str((await row(db, folder))["pack_reason"])


async def test_a_failed_row_can_be_revived(db: Database, bus: Bus, folder: int) -> None:
    async def do(_: Lease) -> Outcome:
        return Failed(Reason("", "never"))

    await worker(db, bus, do).work(folder)
    assert await backlog.count_failed(db, PACK) == 1
    assert await backlog.due_rows(db, PACK, 10) == []
    async with db.transaction() as tx:
        assert await leases.revive(tx, PACK, folder)
    assert await backlog.due_rows(db, PACK, 10) == [folder]
    async with db.transaction() as tx:
        assert not await leases.revive(tx, PACK, folder)


async def test_progress_keeps_the_lease_and_silence_loses_it(db: Database, bus: Bus, folder: int) -> None:
    stolen = asyncio.Event()

    async def do(lease: Lease) -> Outcome:
        for _ in range(20):  # two lease lengths of steady progress
            lease.progress()
            assert await leases.claim(db, PACK, folder, 60) is None
            await asyncio.sleep(0.1)
        await let_time_pass(db, folder)
        assert await leases.claim(db, PACK, folder, 60) is not None
        stolen.set()
        while True:  # progress on a row that is not ours any more ends the work
            await asyncio.sleep(0.02)
            lease.progress()

    outcome = await worker(db, bus, do, lease_seconds=1).work(folder)
    assert stolen.is_set()
    assert isinstance(outcome, Retry)
    assert (await row(db, folder))["pack_attempts"] == 2


async def test_a_shutdown_hands_the_row_back(db: Database, bus: Bus, folder: int) -> None:
    begun = asyncio.Event()

    async def do(_: Lease) -> Outcome:
        begun.set()
        await asyncio.Event().wait()
        return Done()

    task = asyncio.create_task(worker(db, bus, do).work(folder))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    after = await row(db, folder)
    assert after["pack_attempts"] == 0
    assert await backlog.due_rows(db, PACK, 10) == [folder]


async def test_a_row_that_waits_for_a_slot_is_not_begun_once_the_service_closes(db: Database, bus: Bus) -> None:
    first, second = await new_folder(db), await new_folder(db)
    begun, finish, closing = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def do(_: Lease) -> Outcome:
        begun.set()
        await finish.wait()
        return Done()

    one = Worker(PACK, do, db, bus, lease_seconds=60, concurrency=1)

    async def heard(event: FolderSealed) -> None:
        await one.work(event.zip_id)

    await bus.emit(FolderSealed(zip_id=second))
    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        group.create_task(one.work(first))
        await begun.wait()
        group.create_task(one.sweep(closing, seconds=10))
        group.create_task(bus.listen({FolderSealed: heard}, closing, concurrency=4))
        while len(one._slots._waiters or ()) < 2:  # the sweep's task and the event's
            await asyncio.sleep(0.01)
        closing.set()
        finish.set()
    after = await row(db, second)
    assert (after["pack_attempts"], after["pack_token"], after["pack_failed_at"]) == (0, None, None)
    assert await backlog.due_rows(db, PACK, 10) == [second]
    assert (await bus._redis.xpending("folder.sealed", "test"))["pending"] == 1


async def test_the_sweep_works_off_what_is_due_in_order(db: Database, bus: Bus) -> None:
    folders = [await new_folder(db) for _ in range(30)]
    closing, seen = asyncio.Event(), list[int]()

    async def do(lease: Lease) -> Outcome:
        seen.append(lease.row_id)
        if len(seen) == len(folders) + 1:
            closing.set()
        return (
            Retry(Reason("", "once more"), after=0.05)
            if seen.count(folders[0]) == 1 and lease.row_id == folders[0]
            else Done()
        )

    async with asyncio.timeout(20):
        await worker(db, bus, do).sweep(closing, seconds=10)
    assert seen[0] in folders[:2]  # two at once
    assert sorted(seen) == sorted([*folders, folders[0]])
    assert await backlog.seconds_to_next(db, PACK) is None
