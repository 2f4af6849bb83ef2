"""The custody log on a real database: chained in any weather, and whatever is done to it behind our back is found."""

import asyncio
import itertools
import json
import random
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
from custody_rows import LINES, at_position, faults
from pydantic import SecretStr
from redis.asyncio import Redis

from roadvault_common.custody import chainer, fault_store, note, store, tree, tying
from roadvault_common.custody.accepting import accept
from roadvault_common.custody.chain import Head
from roadvault_common.custody.check import FAULTS, Checker
from roadvault_common.events.bus import Bus
from roadvault_common.events.kinds import DEAD_LETTERS
from roadvault_common.sql.custody_lines import Act, Line, record
from roadvault_common.sql.db import Database

CHILD = Path(__file__).parents[1] / "custody_child.py"


TAMPERED = {
    "act": ["act = 'received'"],
    "file": ["file_id = file_id + 1"],
    "archive": ["file_id = NULL", "zip_id = 1"],
    "time": ["done_at = done_at + INTERVAL 1 MICROSECOND"],
    "no time": ["done_at = 0"],
    "facts": ["facts = REPLACE(facts, '192', '193')"],
    "the same facts otherwise": ["facts = REPLACE(facts, ':', ': ')"],
    "no facts": ["facts = 'nonsense'"],
    "what it follows": ["follows = follows + 1"],
    "that it follows": ["follows = NULL"],
    "what it follows, nowhere": ["follows = 100000"],
    "hash": ["hash = UNHEX(REPEAT('ab', 32))"],
    "salt": ["salt = UNHEX(REPEAT('ab', 16))"],
    "that it is salted": ["salt = NULL"],
}


async def test_a_changed_column_is_found_and_its_line_named(log: Database) -> None:
    whole = await at_position(log, 300)
    assert {*whole} - {"line_id", "position"} <= {change.split()[0] for part in TAMPERED.values() for change in part}
    for name, changes in TAMPERED.items():
        async with log.transaction() as tx:
            await tx.execute("SET SESSION sql_mode = ''")
            assert await tx.execute(f"UPDATE custody_info SET {', '.join(changes)} WHERE position = 300")  # noqa: S608
            await tx.execute("SET SESSION sql_mode = 'TRADITIONAL'")
        assert await faults(log) == [300], name
        back = ", ".join(f"{column} = %s" for column in whole)
        await log.execute(f"UPDATE custody_info SET {back} WHERE position = 300", tuple(whole.values()))  # noqa: S608
        assert await faults(log) == [], name


async def test_a_line_that_is_taken_out_moved_or_put_in_is_named(log: Database) -> None:
    await log.execute("DELETE FROM custody_info WHERE position = 300")
    assert await faults(log) == [300]
    await log.execute("UPDATE custody_info SET position = position - 1 WHERE position > 300 ORDER BY position")
    first, *others = await faults(log)
    assert first == 300
    assert others  # each line behind it is at another place than it says
    await log.execute("UPDATE custody_info SET position = position + 1 WHERE position >= 300 ORDER BY position DESC")
    await log.execute(
        "INSERT INTO custody_info (act, file_id, facts, position, hash) VALUES ('asked', 7, '{}', 300, REPEAT('x', 32))"
    )
    assert await faults(log) == [300]


async def test_a_line_missing_in_the_stretch_that_is_being_filled_keeps_nobody_from_chaining(
    log: Database, tmp_path: Path
) -> None:
    await log.execute("DELETE FROM custody_info WHERE position = 590")  # the tree has no node above it yet
    for _ in range(2):
        await log.transact(lambda tx: record(tx, *[Line(Act.ASKED, {"n": number}, 7) for number in range(700)]))
        await chainer.chain(log)
    head = await store.head(log)
    assert head is not None
    assert head.size == LINES + 1400
    assert await faults(log) == [590]
    await accept(log, tmp_path, "it is lost")
    await chainer.chain(log)
    rows = await log.fetch_all("SELECT position FROM custody_fault_info WHERE accepted_at IS NULL")
    assert rows == []


async def test_two_lines_that_changed_places_are_named(log: Database) -> None:
    for old, new in ((300, -1), (400, 300), (-1, 400)):
        await log.execute("UPDATE custody_info SET position = %s WHERE position = %s", (new, old))
    assert await faults(log) == [300, 400]


async def test_what_stands_behind_the_head_is_found_and_keeps_nobody_from_chaining_for_long(log: Database) -> None:
    await log.execute("INSERT INTO custody_info (act, facts, position) VALUES ('asked', '{}', %s)", (LINES,))
    assert await faults(log) == [LINES]
    await log.transact(lambda tx: record(tx, Line(Act.ASKED, {}, 7)))
    await chainer.chain(log)  # says so in the log, and the line waits
    assert await store.unchained_seconds(log) > 0
    await log.execute("DELETE FROM custody_info WHERE position = %s", (LINES,))
    await chainer.chain(log)
    assert await store.unchained_seconds(log) == 0
    assert await faults(log) == []


async def test_a_changed_head_and_a_changed_node_are_found(log: Database) -> None:
    await log.execute("UPDATE custody_node_info SET hash = REPEAT('x', 32) WHERE level = 8 AND number = 1")
    assert await faults(log) == [0, 256]  # and the node above it, over the first 512
    await log.execute("DELETE FROM custody_node_info WHERE level = 9")
    assert await faults(log) == [0, 256]
    head = await store.head(log)
    assert head is not None
    await log.execute("UPDATE custody_head_info SET hash = REPEAT('x', 32)")
    assert await faults(log) == [0, 256, LINES - 1]
    await log.execute("DELETE FROM custody_head_info")
    assert await faults(log) == [0]
    await chainer.chain(log)


async def test_a_tail_that_was_cut_off_is_found_by_what_was_noted_elsewhere(log: Database, tmp_path: Path) -> None:
    assert await note.move_on(log, tmp_path)
    published = await tying.root(log)
    assert published is not None
    await log.execute("DELETE FROM custody_info WHERE position >= %s", (LINES - 5,))
    assert await faults(log, tmp_path) == list(range(LINES - 5, LINES))
    # Whoever cuts it with care has the head say so, too.
    last = (await at_position(log, LINES - 6))["hash"]
    await log.execute("UPDATE custody_head_info SET size = %s, hash = %s", (LINES - 5, last))
    assert await faults(log) == []
    assert await faults(log, tmp_path) == [LINES - 5]
    assert await note.trouble(log, Head(published.size, bytes.fromhex(published.hash))) is not None
    # What is noted is not written over, however long the new tail has grown.
    for number in range(10):
        await log.transact(lambda tx, number=number: record(tx, Line(Act.ASKED, {"n": number}, 7)))  # type: ignore[misc]
    await chainer.chain(log)
    assert not await note.move_on(log, tmp_path)
    assert await faults(log, tmp_path) == [LINES - 1]


async def test_a_person_may_go_on_from_what_is_there_and_the_log_says_so(log: Database, tmp_path: Path) -> None:
    await note.move_on(log, tmp_path)
    await log.execute("UPDATE custody_info SET facts = '{}' WHERE position = 300")
    assert await faults(log, tmp_path) == [300]
    old = await accept(log, tmp_path, "restored from the backup of Tuesday")
    assert old == await store.head(log)
    await chainer.chain(log)
    assert json.loads((await at_position(log, LINES))["facts"]) == {
        "hash": old.hash.hex(),
        "lines": LINES,
        "notedHash": old.hash.hex(),
        "notedLines": LINES,
        "reason": "restored from the backup of Tuesday",
        "where": "300",
    }
    assert await faults(log, tmp_path) == [300]  # it stays wrong
    assert await fault_store.count_faults(log) == 0  # and is accepted
    await log.execute("UPDATE custody_info SET facts = '{}' WHERE position = 310")
    await faults(log, tmp_path)
    assert await fault_store.count_faults(log) == 1


async def test_the_sweep_finds_it_tells_once_and_comes_round(
    log: Database, redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("roadvault_common.custody.check._PART", tree.BLOCK)
    monkeypatch.setattr("roadvault_common.custody.check._TAIL", 50)
    redis: Any = Redis.from_url(redis_url)

    async def letters() -> list[str]:
        return [json.loads(entry[b"letter"])["reason"] for _, entry in await redis.xrange(DEAD_LETTERS)]

    async with Bus.open(SecretStr(redis_url), "packer") as bus:
        checker = Checker(log, bus, tmp_path)

        async def sweep() -> int:
            """Return how far it has come on its way."""
            await log.execute("UPDATE custody_head_info SET check_due = UTC_TIMESTAMP(6)")
            await checker.sweep()
            (row,) = await log.fetch_all("SELECT checked FROM custody_head_info")
            return int(row["checked"])

        assert [await sweep() for _ in range(4)] == [256, 512, 0, 256]
        assert note.read(tmp_path) == await store.head(log)
        await log.execute("UPDATE custody_info SET act = 'handed' WHERE position IN (50, 590)")
        await checker.sweep()  # it is not its turn
        assert await letters() == []
        assert await sweep() == 512
        assert len(await letters()) == 1  # of the tail, which is looked at each time
        for _ in range(4):
            await sweep()
        tail, changed = await letters()
        assert "position 590" in tail
        assert "position 50" in changed
        assert "`handed` of file 51" in changed
        await checker.measure()
        assert FAULTS._value.get() == 2
    await redis.aclose()


async def test_acts_of_8_writers_are_chained_once_by_2_chainers_that_are_killed(
    db: Database, database_url: str
) -> None:
    killed = asyncio.Event()

    async def write(writer: int) -> None:
        while not killed.is_set():
            async with db.transaction() as tx:
                lines = [Line(Act.ASKED, {"by": writer}, file_id=writer) for _ in range(random.randint(1, 5))]
                await record(tx, *lines, Line(Act.PINNED, {"by": writer}, zip_id=1))
                await asyncio.sleep(random.uniform(0, 0.1))  # others' lines with higher ids are committed before

    async def chain_and_die() -> None:
        for _ in range(2):
            child = await asyncio.create_subprocess_exec(
                sys.executable, CHILD, database_url, stdout=asyncio.subprocess.PIPE
            )
            assert child.stdout is not None
            for _ in range(random.randint(1, 10)):
                assert await child.stdout.readline() == b"chained\n"
            await asyncio.sleep(random.uniform(0, 0.02))
            child.send_signal(signal.SIGKILL)
            await child.communicate()
            assert child.returncode == -signal.SIGKILL

    async with asyncio.TaskGroup() as group:
        for writer in range(1, 9):
            group.create_task(write(writer))
        await asyncio.gather(chain_and_die(), chain_and_die())
        killed.set()
    await chainer.chain(db)
    rows = await db.fetch_all("SELECT position, line_id FROM custody_info ORDER BY position")
    assert [row["position"] for row in rows] == list(range(len(rows)))
    assert any(one["line_id"] > other["line_id"] for one, other in itertools.pairwise(rows)), "none committed late"
    assert await faults(db) == []


async def test_a_line_committed_late_gets_a_later_place(db: Database) -> None:
    async with db.transaction() as early:
        await record(early, Line(Act.RECEIVED, {"from": "192.0.2.1"}, 1))
        await db.transact(lambda tx: record(tx, Line(Act.RECEIVED, {"from": "192.0.2.2"}, 2)))
        await chainer.chain(db)
    await chainer.chain(db)
    rows = await db.fetch_all("SELECT file_id, line_id FROM custody_info ORDER BY position")
    assert [(row["file_id"], row["line_id"]) for row in rows] == [(2, 2), (1, 1)]
    assert await faults(db) == []


async def test_an_act_that_did_not_take_place_has_no_line(db: Database) -> None:
    with pytest.raises(ZeroDivisionError):
        async with db.transaction() as tx:
            await record(tx, Line(Act.RECEIVED, {}, 1))
            raise ZeroDivisionError
    assert await db.fetch_all("SELECT * FROM custody_info") == []
