"""Work that hangs, and servers in trouble: the row comes free, and what is not the row's fault does not count."""

import asyncio
import threading

import pytest
from lease_rows import let_time_pass, new_folder, row, worker

from roadvault_common.errors import DiskFull, Domain, IpfsAway, TransientError
from roadvault_common.events.bus import Bus
from roadvault_common.sql.db import Database
from roadvault_common.work import backlog
from roadvault_common.work import lease as leases
from roadvault_common.work.breakers import Breaker
from roadvault_common.work.lease import Lease
from roadvault_common.work.outcome import Done, Outcome, Retry, Wait
from roadvault_common.work.reasons import Reason
from roadvault_common.work.stages import PACK
from roadvault_common.work.worker import Worker


@pytest.fixture
async def folder(db: Database) -> int:
    return await new_folder(db)


async def test_work_that_hangs_ends_in_an_outcome_within_its_lease(db: Database, bus: Bus, folder: int) -> None:
    stopped = threading.Event()

    async def do(lease: Lease) -> Outcome:
        lease.progress()
        try:
            await asyncio.to_thread(stopped.wait, 30)  # as a read from a dead disk would
        finally:
            stopped.set()
        return Done()

    async with asyncio.timeout(10):
        outcome = await worker(db, bus, do, lease_seconds=1).work(folder)
    assert outcome == Retry(Reason("", "no progress for 1 s"))
    state = await row(db, folder)
    assert (state["pack_token"], state["pack_attempts"]) == (None, 1)
    assert state["pack_reason"] == "no progress for 1 s [hung seconds=1]"


async def test_work_whose_clean_up_hangs_too_ends_in_an_outcome_while_the_row_is_ours(
    db: Database, bus: Bus, folder: int
) -> None:
    recovered, successors = threading.Event(), list[Lease | None]()

    async def do(_: Lease) -> Outcome:
        try:
            await asyncio.to_thread(recovered.wait, 30)
        finally:
            successors.append(await leases.claim(db, PACK, folder, 60))
            await asyncio.shield(asyncio.to_thread(recovered.wait, 30))  # the same disk
        return Done()

    try:
        async with asyncio.timeout(20):
            outcome = await worker(db, bus, do, lease_seconds=1).work(folder)
    finally:
        recovered.set()
    assert (outcome, successors) == (Retry(Reason("", "no progress for 1 s")), [None])
    assert (await row(db, folder))["pack_token"] is None


async def test_a_shutdown_of_work_that_hangs_hands_the_row_back(db: Database, bus: Bus, folder: int) -> None:
    told = asyncio.Semaphore(0)

    async def do(_: Lease) -> Outcome:
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                told.release()
                own = asyncio.current_task()
                if own is not None and own.cancelling() == 3:  # twice because it hangs, once because the service stops
                    raise

    task = asyncio.create_task(worker(db, bus, do, lease_seconds=1).work(folder))
    async with asyncio.timeout(20):
        await told.acquire()
        await told.acquire()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await row(db, folder))["pack_attempts"] == 0
    assert await backlog.due_rows(db, PACK, 10) == [folder]


@pytest.mark.parametrize("error", [TransientError("no answer"), ZeroDivisionError("a bug")], ids=repr)
async def test_an_attempt_counts_unless_its_server_is_in_trouble(
    db: Database, bus: Bus, folder: int, error: Exception
) -> None:
    trouble = True

    async def do(_: Lease) -> Outcome:
        raise error

    async def well() -> None:
        if trouble:
            raise IpfsAway("Kubo can't store a block")

    node = Breaker(Domain.IPFS, well, first=0)
    tried = Worker(PACK, do, db, bus, lease_seconds=60, concurrency=2, needs=[node])
    for attempts in (0, 0, 1, 2):
        trouble = attempts == 0
        await let_time_pass(db, folder)
        await tried.work(folder)
        assert (await row(db, folder))["pack_attempts"] == attempts


async def test_an_outage_counts_against_no_row(db: Database, bus: Bus, folder: int) -> None:
    async def do(_: Lease) -> Outcome:
        raise DiskFull("no room")

    for _ in range(2 * PACK.max_attempts):
        await let_time_pass(db, folder)
        outcome = await worker(db, bus, do).work(folder)
        assert isinstance(outcome, Wait)
        assert 5 <= (outcome.after or 0) <= 15
    state = await row(db, folder)
    assert (state["pack_attempts"], state["pack_failed_at"], state["pack_reason"]) == (0, None, "no room [disk_full]")
