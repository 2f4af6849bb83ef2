"""The log of events: it says how attempts ended, in the same transaction, and only what is new."""

import asyncio

import pytest
from lease_rows import let_time_pass, new_folder, row, worker

from roadvault_common.errors import DiskFull, LeaseLost
from roadvault_common.events.bus import Bus
from roadvault_common.history import event_log
from roadvault_common.history.event_log import Event
from roadvault_common.sql.db import Database
from roadvault_common.tracing import spans
from roadvault_common.work import backlog, batches
from roadvault_common.work import lease as leases
from roadvault_common.work.lease import Lease
from roadvault_common.work.outcome import Done, Failed, Outcome, Retry, Wait
from roadvault_common.work.reasons import Reason
from roadvault_common.work.stages import PACK, PIN

WAITS = Wait(Reason("market_closed", "the market is closed"), after=0)


@pytest.fixture
async def folder(db: Database) -> int:
    return await new_folder(db)


async def events(db: Database, folder: int) -> list[Event]:
    return (await event_log.of_row(db, [(PACK, folder)], 100))[::-1]


async def work(db: Database, bus: Bus, folder: int, *outcomes: Outcome) -> None:
    for outcome in outcomes:

        async def do(_: Lease, outcome: Outcome = outcome) -> Outcome:
            return outcome

        await let_time_pass(db, folder)
        assert await worker(db, bus, do).work(folder) == outcome


async def test_each_outcome_is_a_line(db: Database, bus: Bus, folder: int) -> None:
    retries, failed = Retry(Reason("hung", "no progress", seconds=60)), Failed(Reason("no_files", "no files"))
    await work(db, bus, folder, retries, WAITS, retries, failed)
    found = await events(db, folder)
    attempts = [(event.outcome, event.attempt) for event in found]
    assert attempts == [
        ("retry", 1),
        ("wait", 2),
        ("retry", 2),
        ("failed", 3),
    ]
    first = found[0].reason
    assert first is not None
    assert (first.code, first.words, dict(first.params)) == ("hung", "no progress", {"seconds": 60})
    assert all(event.stage == "pack" and event.row_id == folder for event in found)
    assert (await row(db, folder))["pack_reason"] == "no files [no_files]"


async def test_a_line_names_the_trace_that_it_belongs_to_if_there_is_one(
    db: Database, bus: Bus, folder: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    await work(db, bus, folder, Failed(Reason("no_files", "no files")))
    monkeypatch.setattr(spans, "current", lambda: f"00-{trace}-00f067aa0ba902b7-01")
    await work(db, bus, folder, Retry(Reason("hung", "no progress", seconds=60)))
    assert [event.trace_id for event in await events(db, folder)] == [None, trace]


async def test_what_recurs_and_what_goes_on_waiting_writes_nothing(db: Database, bus: Bus, folder: int) -> None:
    looked = Done(again_after=60)
    await work(db, bus, folder, *[looked] * 5)
    assert await events(db, folder) == []
    more = Wait(Reason("requests_open", "2 of 5", open=2, files=5), after=0)
    less = Wait(Reason("requests_open", "1 of 5", open=1, files=5), after=0)
    await work(db, bus, folder, WAITS, WAITS, WAITS, more, less, less, looked, looked, Done())
    assert [event.outcome for event in await events(db, folder)] == ["wait", "wait", "done", "done"]


async def test_who_is_away_and_the_turn_with_it_are_one_wait(db: Database, bus: Bus, folder: int) -> None:
    away = Wait(Reason("client_away", "no answer", host="c:443"), after=0)
    turn = Wait(Reason("client_waits", "waiting for the client's host", host="c:443"), after=0)
    await work(db, bus, folder, *[away, turn] * 3, Done())
    assert [event.outcome for event in await events(db, folder)] == ["wait", "done"]


async def test_plain_words_of_an_older_service_are_compared_by_the_words(db: Database, bus: Bus, folder: int) -> None:
    await db.execute("UPDATE folder_info SET pack_reason = 'the market is closed' WHERE folder_id = %s", (folder,))
    await work(db, bus, folder, WAITS)
    plain = [Wait(Reason("", words), after=0) for words in ("x", "x", "y")]
    await work(db, bus, folder, *plain)
    assert [event.reason for event in await events(db, folder)] == ["the market is closed", "x", "y"]


async def test_a_line_goes_with_its_transaction(db: Database, folder: int) -> None:
    lease = await leases.claim(db, PACK, folder, 60)
    assert lease is not None
    held = lease

    class Refused(Exception):
        pass

    with pytest.raises(Refused):
        async with db.transaction() as tx:
            await leases.close(tx, held, Failed(Reason("no_files", "no files")))
            raise Refused
    assert await events(db, folder) == []
    assert (await row(db, folder))["pack_token"] == lease.token


async def test_who_lost_the_lease_writes_no_line(db: Database, folder: int) -> None:
    late = await leases.claim(db, PACK, folder, 60)
    await let_time_pass(db, folder)
    assert late is not None
    assert await leases.claim(db, PACK, folder, 60) is not None
    with pytest.raises(LeaseLost):
        await db.transact(lambda tx: leases.close(tx, late, Done()))
    assert await events(db, folder) == []


async def test_leases_that_were_taken_together_know_what_the_rows_waited_for(db: Database) -> None:
    folders = [await new_folder(db) for _ in range(3)]
    for _ in range(2):
        for lease in await batches.claim(db, PACK, 10, 60):
            await db.transact(lambda tx, lease=lease: leases.close(tx, lease, WAITS))  # type: ignore[misc]
    assert [len(await events(db, folder)) for folder in folders] == [1, 1, 1]


async def test_what_another_row_did_for_it_is_a_line_as_well(db: Database, folder: int) -> None:
    assert await db.transact(lambda tx: leases.settle(tx, PACK, folder))
    assert not await db.transact(lambda tx: leases.settle(tx, PACK, folder))
    assert [event.outcome for event in await events(db, folder)] == ["done"]


async def test_an_error_tells_its_code_on_the_row(db: Database, bus: Bus, folder: int) -> None:
    async def do(_: Lease) -> Outcome:
        raise DiskFull("no room", code="no_room", need_bytes=10, free_bytes=5)

    outcome = await worker(db, bus, do).work(folder)
    assert isinstance(outcome, Wait)
    assert (await row(db, folder))["pack_reason"] == "no room [no_room need_bytes=10 free_bytes=5]"


async def test_a_long_reason_keeps_its_code(db: Database, bus: Bus, folder: int) -> None:
    await work(db, bus, folder, Failed(Reason("no_files", "文" * 600)))
    (failed,) = await backlog.failures(db, PACK, 1)
    assert len(failed["reason"]) == 500
    assert failed["reason"].endswith("… [no_files]")


async def test_lines_are_read_by_row_and_by_age_and_removed_when_old(db: Database, bus: Bus, folder: int) -> None:
    other = await new_folder(db)
    for one in (folder, other):
        await work(db, bus, one, Retry(Reason("hung", "x", seconds=1)), Done())
    both = await event_log.of_row(db, [(PACK, folder), (PACK, other), (PIN, folder)], 3)
    assert [(event.row_id, event.outcome) for event in both] == [(other, "done"), (other, "retry"), (folder, "done")]
    newest = await event_log.latest(db, 2)
    assert [event.row_id for event in newest] == [other, other]
    assert [event.row_id for event in await event_log.latest(db, 10, newest[-1].event_id)] == [folder, folder]
    await db.execute("UPDATE event_log SET create_time = create_time - INTERVAL 91 DAY WHERE row_id = %s", (folder,))
    await asyncio.gather(event_log.trim(db, 90), event_log.trim(db, 90))
    assert [event.row_id for event in await event_log.latest(db, 10)] == [other, other]


async def test_more_than_one_statement_removes_are_removed(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_log, "_AT_ONCE", 10)
    await db.execute(
        "INSERT INTO event_log (stage, row_id, outcome, attempt, create_time)"
        " SELECT 'pack', seq, 'done', 1, UTC_TIMESTAMP(6) - INTERVAL IF(seq <= 35, 100, 1) DAY FROM seq_1_to_40"
    )
    await event_log.trim(db, 90)
    assert {event.row_id for event in await event_log.latest(db, 100)} == set(range(36, 41))
