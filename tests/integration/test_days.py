"""A row a day: what came in and what was done is summed on the day on which it was, also across midnight."""

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest

from roadvault_common.history import days
from roadvault_common.history.days import Day
from roadvault_common.sql.db import Database

MIDNIGHT = "CAST(UTC_DATE() AS DATETIME(6))"


async def folder(db: Database, closed: str | None, *files: tuple[str, int]) -> int:
    """Add a folder with files of a size, each received at a time (SQL)."""
    status, slot = (0, "CONCAT('w', UUID())") if closed is None else (1, "NULL")
    folder_id = await db.transact(
        lambda tx: tx.insert(
            "INSERT INTO folder_info (status, open_slot, files, bytes, close_at, closed_at)"  # noqa: S608
            f" VALUES ({status}, {slot}, %s, %s, UTC_TIMESTAMP(6), {closed or 'NULL'})",
            (len(files), sum(size for _, size in files)),
        )
    )
    for came, size in files:
        await db.execute(
            "INSERT INTO file_upload_info (file_name, file_type, size, sha256, path, folder_id, create_time)"  # noqa: S608
            f" VALUES ('a.mp4', 'mp4', %s, REPEAT('0', 64), UUID(), %s, {came})",
            (size, folder_id),
        )
    return folder_id


async def seen(db: Database, directory: Path) -> dict[int, Day]:
    """Have the days summed; return them by how many days ago they are."""
    await days.add_up(db, directory)
    today = await db.fetch_value("SELECT UTC_DATE()")
    return {(today - day.day).days: day for day in await days.last(db, 400)}


def came(day: Day) -> tuple[int, int]:
    return day.bytes_in, day.files_in


async def test_a_folder_over_midnight_counts_on_both_days(db: Database, tmp_path: Path) -> None:
    before, after = f"{MIDNIGHT} - INTERVAL 1 MINUTE", f"{MIDNIGHT} + INTERVAL 1 SECOND"
    first = await folder(db, None, (before, 100), (before, 200), (after, 1000))
    await folder(db, after, (before, 10), (after, 20))
    await folder(db, before, (before, 1), (before, 2))
    found = await seen(db, tmp_path)
    assert (came(found[1]), came(found[0])) == ((313, 5), (1020, 2))
    await db.execute(
        "UPDATE folder_info SET status = 1, open_slot = NULL, closed_at = UTC_TIMESTAMP(6) WHERE folder_id = %s",
        (first,),
    )
    await folder(db, None, ("UTC_TIMESTAMP(6)", 5000))
    found = await seen(db, tmp_path)
    assert (came(found[1]), came(found[0])) == ((313, 5), (6020, 3))  # nothing is counted twice, or moves
    assert sum(day.bytes_in for day in found.values()) == 6333


async def test_today_goes_on_where_yesterday_ended(db: Database, tmp_path: Path) -> None:
    """The day turns while a folder is open: what was today becomes yesterday, and keeps what had come by then."""
    open_one = await folder(db, None, ("UTC_TIMESTAMP(6)", 100))
    assert came((await seen(db, tmp_path))[0]) == (100, 1)
    for table, column in (("file_upload_info", "create_time"), ("day_info", "day")):
        await db.execute(f"UPDATE {table} SET {column} = {column} - INTERVAL 1 DAY ORDER BY {column}")  # noqa: S608
    await db.execute(
        "INSERT INTO file_upload_info (file_name, file_type, size, sha256, path, folder_id)"
        " VALUES ('b.mp4', 'mp4', 7, REPEAT('0', 64), UUID(), %s)",
        (open_one,),
    )
    await db.execute("UPDATE folder_info SET files = 2, bytes = 107 WHERE folder_id = %s", (open_one,))
    found = await seen(db, tmp_path)
    assert (came(found[1]), came(found[0])) == ((100, 1), (7, 1))


@pytest.mark.parametrize(("away", "then"), [(3, (100, 1)), (10, (0, 0))])
async def test_a_folder_that_was_open_while_nothing_ran_is_counted_once(
    db: Database, tmp_path: Path, away: int, then: tuple[int, int]
) -> None:
    open_one = await folder(db, None, ("UTC_TIMESTAMP(6)", 100))
    await seen(db, tmp_path)
    await db.execute("DELETE FROM day_info WHERE day < UTC_DATE()")
    for table, column in (("file_upload_info", "create_time"), ("day_info", "day")):
        await db.execute(f"UPDATE {table} SET {column} = {column} - INTERVAL %s DAY", (away,))  # noqa: S608
    await db.execute(
        "UPDATE folder_info SET status = 1, open_slot = NULL, closed_at = UTC_TIMESTAMP(6) WHERE folder_id = %s",
        (open_one,),
    )
    found = await seen(db, tmp_path)
    assert sorted(found) == list(range(away + 1))
    assert came(found[away]) == then
    assert sum(day.bytes_in for day in found.values()) == 100
    assert sum(day.bytes_in for day in (await seen(db, tmp_path)).values()) == 100


async def test_archives_orders_replicas_and_the_disk(db: Database, tmp_path: Path) -> None:
    for number, (pinned, kind, status, replicas) in enumerate(
        [
            (f"{MIDNIGHT} + INTERVAL 1 SECOND", "archive", 3, 60),
            (f"{MIDNIGHT} - INTERVAL 1 MICROSECOND", "archive", 3, 8),
            (f"{MIDNIGHT}", "catalogue", 3, 70),
            ("NULL", "archive", 0, 0),
            (f"{MIDNIGHT} - INTERVAL 2 DAY", "archive", 1, 0),
            (f"{MIDNIGHT} - INTERVAL 3 DAY", "archive", 1, 60),  # as of a pinning service: without an end
        ],
        1,
    ):
        await db.execute(
            "INSERT INTO zip_ipfs_info (zip_id, folder_id, zip_name, kind, `key`, iv, size, files, status, replicas,"  # noqa: S608
            f" pinned_at) VALUES (%s, %s, 'x', %s, 'k', '', %s, 1, %s, %s, {pinned})",
            (number, 1000 + number, kind, 10**number, status, replicas),
        )
    await db.execute("INSERT INTO renewal_info (day, archives) VALUES (1, 2), (2, 1)")
    huge = 10**30 + 1
    for number, (status, price, when) in enumerate(
        [(1, huge, "0"), (0, 5, "0"), (3, 9, "0"), (2, 7, "86400"), (1, huge, "86400")], 1
    ):
        await db.execute(
            "INSERT INTO order_info (zip_id, term, account, in_flight, status, cid, declared_size, nonce, era_birth,"  # noqa: S608
            " era_death, extrinsic_hash, extrinsic, price, create_time) VALUES (%s, 1, 'a', NULL, %s, 'c', 1, 0, 1, 65,"
            f" %s, '', %s, {MIDNIGHT} + INTERVAL 1 SECOND - INTERVAL {when} SECOND)",
            (number, status, f"0x{number}", price),
        )
    found = await seen(db, tmp_path)
    today, yesterday = found[0], found[1]
    assert (today.archives, today.bytes_archived) == (1, 10)
    assert (yesterday.archives, yesterday.bytes_archived) == (1, 100)
    assert (found[2].archives, found[2].bytes_archived) == (1, 100_000)
    assert (today.spent_planck, yesterday.spent_planck) == (huge + 5, huge + 7)
    assert (today.replicas_enough, today.replicas_short) == (3, 2)
    assert today.disk_total_bytes is not None
    assert 0 < (today.disk_free_bytes or 0) <= today.disk_total_bytes
    assert yesterday.disk_total_bytes is None


async def test_days_that_nobody_summed_are_made_up_for(db: Database, tmp_path: Path) -> None:
    await folder(db, f"{MIDNIGHT} - INTERVAL 20 DAY", (f"{MIDNIGHT} - INTERVAL 20 DAY", 40))
    found = await seen(db, tmp_path)
    assert sorted(found) == list(range(91))
    assert came(found[20]) == (40, 1)
    await db.execute("DELETE FROM day_info WHERE day > UTC_DATE() - INTERVAL 5 DAY")
    assert sorted(await seen(db, tmp_path)) == list(range(91))
    today = await db.fetch_value("SELECT UTC_DATE()")
    assert [day.day for day in await days.last(db, 3)] == [today - timedelta(days=ago) for ago in (2, 1, 0)]


async def test_one_at_a_time_sums(db: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    working, go_on, turns = asyncio.Event(), asyncio.Event(), 0
    sum_up = days._sum_up

    async def slow(*args: object) -> None:
        nonlocal turns
        turns += 1
        working.set()
        await go_on.wait()
        await sum_up(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(days, "_sum_up", slow)
    first = asyncio.create_task(days.add_up(db, tmp_path))
    await working.wait()
    await days.add_up(db, tmp_path)
    assert turns == 1
    go_on.set()
    await first
    await days.add_up(db, tmp_path)
    assert turns == 2


async def test_who_fails_gives_up_its_turn(db: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*_: object) -> None:
        raise ZeroDivisionError

    with monkeypatch.context() as patch:
        patch.setattr(days, "_sum_up", fail)
        for _ in range(2):
            with pytest.raises(ZeroDivisionError):
                await days.add_up(db, tmp_path)
    assert 0 in await seen(db, tmp_path)
