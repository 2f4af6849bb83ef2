"""The four numbers of a stage: what waits, runs, is tried again, and has failed are told apart."""

from lease_rows import new_folder

from roadvault_common.sql.db import Database
from roadvault_common.work import backlog
from roadvault_common.work import lease as leases
from roadvault_common.work.backlog import Numbers
from roadvault_common.work.outcome import Done, Failed, Outcome, Retry, Wait
from roadvault_common.work.reasons import Reason
from roadvault_common.work.stages import ORDER, PACK, PROVE

NO_FILES = Reason("no_files", "no files")


async def end(db: Database, outcome: Outcome | None) -> None:
    lease = await leases.claim(db, PACK, await new_folder(db), 60)
    assert lease is not None
    if outcome is not None:
        await db.transact(lambda tx: leases.close(tx, lease, outcome))


async def test_each_row_counts_as_one_of_four(db: Database) -> None:
    await new_folder(db)
    wait = Wait(Reason("market_closed", "the market is closed"), after=3600)
    for outcome in (None, None, wait, Retry(NO_FILES, after=3600), Failed(NO_FILES), Failed(NO_FILES), Done()):
        await end(db, outcome)
    await db.execute("UPDATE folder_info SET closed_at = UTC_TIMESTAMP(6) - INTERVAL folder_id HOUR")
    numbers = await backlog.numbers(db, PACK)
    assert (numbers.waiting, numbers.running, numbers.retrying, numbers.failed) == (2, 2, 1, 2)
    assert 5 * 3600 <= numbers.oldest_seconds < 5 * 3600 + 60  # the oldest that nobody works on
    dead = await leases.claim(db, PACK, 1, 60)
    await db.execute("UPDATE folder_info SET pack_due = UTC_TIMESTAMP(6) WHERE folder_id = 1")
    assert dead is not None
    numbers = await backlog.numbers(db, PACK)
    assert (numbers.waiting, numbers.running, numbers.retrying) == (1, 2, 2)  # a worker died


async def archive(db: Database, zip_id: int, **columns: str) -> None:
    named = {"zip_id": f"{zip_id}", "folder_id": f"{zip_id}", "zip_name": "'x'", "`key`": "'k'", "iv": "''"}
    named |= {"size": "1", "files": "1", **columns}
    await db.execute(f"INSERT INTO zip_ipfs_info ({', '.join(named)}) VALUES ({', '.join(named.values())})")  # noqa: S608


async def test_the_picture_of_a_files_way(db: Database) -> None:
    now = "UTC_TIMESTAMP(6)"
    empty = dict(await backlog.pipeline(db))
    assert list(empty) == list(backlog.STEPS)
    assert empty["pack"] == Numbers()
    await db.execute(
        "INSERT INTO folder_info (status, open_slot, files, close_at, create_time) VALUES (0, 'a', 3, UTC_TIMESTAMP(6),"
        " UTC_TIMESTAMP(6) - INTERVAL 1 HOUR), (0, 'b', 0, UTC_TIMESTAMP(6), UTC_TIMESTAMP(6) - INTERVAL 2 HOUR)"
    )
    await archive(db, 11)  # not on IPFS yet
    await archive(db, 12, pin_due=now)
    sent = "'the order is not final yet [not_final order=1]'"
    await archive(db, 13, pinned_at=f"{now} - INTERVAL 1 DAY", order_due=now, order_reason=sent)
    renewed_later = f"{now} + INTERVAL 90 DAY"
    await archive(db, 14, status="3", replicas="8", pinned_at=now, order_due=renewed_later, watch_due=now)
    await archive(db, 15, status="3", replicas="60", pinned_at=now, order_due=renewed_later, prove_due=now)
    await db.execute(
        "INSERT INTO evidence_info (zip_id, replicas, counted_at, create_time)"
        " VALUES (15, 60, UTC_TIMESTAMP(6), UTC_TIMESTAMP(6) - INTERVAL 2 HOUR)"
    )
    found = dict(await backlog.pipeline(db))
    waiting = {name: numbers.waiting for name, numbers in found.items() if numbers.waiting}
    assert waiting == {"receive": 3, "pin": 1, "order": 1, "replicate": 1, "prove": 1}
    assert not any(numbers.running or numbers.retrying or numbers.failed for numbers in found.values())
    hours = {name: round(numbers.oldest_seconds / 3600) for name, numbers in found.items() if numbers.oldest_seconds}
    assert (hours["receive"], hours["order"], hours["prove"]) == (1, 24, 2)
    replicate = found["replicate"]
    assert (replicate.least, replicate.most, replicate.need) == (8, 8, 50)
    assert (await backlog.numbers(db, ORDER)).waiting == (await backlog.numbers(db, PROVE)).waiting == 1
