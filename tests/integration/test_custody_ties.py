"""What ties a file's lines of the custody log to a published head, and slices that bring the log back."""

import gzip
import json
import os
import re
from pathlib import Path

import pytest
from custody_rows import LINES, faults

from roadvault_common.archive import merkle
from roadvault_common.custody import chainer, slices, store, tie, tying
from roadvault_common.custody.chain import Head, link, parse, text
from roadvault_common.errors import IntegrityError, PermanentError
from roadvault_common.sql.custody_lines import Act, Line, record
from roadvault_common.sql.db import Database, Transaction


async def test_a_files_lines_are_tied_to_a_head_and_a_stranger_finds_what_was_done_to_them(log: Database) -> None:
    published = await tying.root(log)
    assert published is not None
    hashes = await store.hashes(log, 0, LINES)
    assert published.root == merkle.root([hashes[at] for at in range(LINES)]).hex()
    for number in range(400):  # the log goes on, and what was published of it stays
        await log.transact(lambda tx, number=number: record(tx, Line(Act.ASKED, {"n": number}, 7)))  # type: ignore[misc]
    await chainer.chain(log)
    assert await tying.root(log, LINES) == published

    content = (await tying.tie(log, 7, 1, published)).model_dump_json().encode()
    assert len(content) < 12_000
    rows = tie.check(tie.Tie.read(content), 7, 1)
    acts = [row["act"] for row in rows]
    assert acts[0] == "received"
    assert {"packed", "asked"} <= set(acts)
    for file_id, zip_id in ((8, 1), (7, 2)):
        with pytest.raises(IntegrityError, match="is not of this"):
            tie.check(tie.Tie.read(content), file_id, zip_id)

    def refused(change: tie.Tie, words: str) -> None:
        with pytest.raises(IntegrityError, match=words):
            tie.check(change, 7, 1)

    whole = tie.Tie.read(content)
    own, archive = whole.chains
    for at, shown in enumerate(own.lines):
        left = [*own.lines[:at], *own.lines[at + 1 :]]
        behind = own.lines[at + 1] if at + 1 < len(own.lines) else own.lines[at - 1]
        named = f"custody line {json.loads(behind.line)['line']}\\b"
        refused(whole.model_copy(update={"chains": [own.model_copy(update={"lines": left}), archive]}), named)
        front = {"after": shown.hash, "lines": own.lines[at + 1 :] or own.lines}
        refused(whole.model_copy(update={"chains": [own.model_copy(update=front), archive]}), "are left out")
        for part in ("line", "before", "hash"):
            text = getattr(shown, part).replace("2", "3", 1) if part == "line" else "00" * 32
            if text == getattr(shown, part):
                continue  # the first line of all has no hash before it
            lines = [*own.lines[:at], shown.model_copy(update={part: text}), *own.lines[at + 1 :]]
            changed = whole.model_copy(update={"chains": [own.model_copy(update={"lines": lines}), archive]})
            refused(
                changed, f"custody line {json.loads(shown.model_copy(update={part: text}).line)['line']}\\b|no line"
            )
    moved = [own.lines[1], own.lines[0], *own.lines[2:]]
    refused(whole.model_copy(update={"chains": [own.model_copy(update={"lines": moved}), archive]}), "was changed or")
    path = ["00" * 32, *own.path[1:]]
    refused(whole.model_copy(update={"chains": [own.model_copy(update={"path": path}), archive]}), "not in the log")
    refused(whole.model_copy(update={"head": published.model_copy(update={"root": "00" * 32})}), "not in the log")
    refused(whole.model_copy(update={"chains": [archive, own]}), "is not of this")
    refused(whole.model_copy(update={"chains": []}), "are not those of a file")
    for nonsense in (b"", b"{}", content.replace(b'"of":"file"', b'"of":"folder"'), content[:-1]):
        with pytest.raises(IntegrityError, match="can't be understood"):
            tie.Tie.read(nonsense)


async def test_a_file_with_very_many_lines_shows_the_oldest(log: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("roadvault_common.custody.tying.MOST_LINES", 3)
    published = await tying.root(log)
    assert published is not None
    shown = await tying.tie(log, 7, None, published)
    rows = tie.check(shown, 7, None)
    assert rows == [parse(one.line.encode()) for one in shown.chains[0].lines]
    assert (len(rows), rows[0]["act"]) == (3, "received")
    assert tie.position(shown.chains[0].lines[-1]) == rows[-1]["position"]


async def test_a_line_or_a_node_that_is_missing_is_told_wherever_it_is(log: Database) -> None:
    head = await tying.root(log)
    assert head is not None
    rows = await log.fetch_all("SELECT position FROM custody_info WHERE file_id = 7 ORDER BY position")
    told = list[str]()
    near = {row["position"] + beside for row in rows for beside in (-1, 0, 1)}
    for at in sorted(near | {LINES - 1, LINES - 2}):
        moved = await log.execute("UPDATE custody_info SET position = position + 1000000 WHERE position = %s", (at,))
        try:
            whole = await tying.tie(log, 7, 1, head)
            await tying.root(log)
            tie.check(whole, 7, 1)
        except IntegrityError as error:
            told.append(str(error))
        finally:
            if moved:
                await log.execute("UPDATE custody_info SET position = %s WHERE position = %s", (at, at + 1_000_000))
    assert len(told) >= len(rows)
    assert all(re.search("missing|left out|was changed", one) for one in told)
    await log.execute("DELETE FROM custody_node_info")
    for work in (tying.root(log), tying.tie(log, 7, 1, head)):
        with pytest.raises(IntegrityError, match="is missing"):
            await work


async def test_slices_bring_the_log_back_into_an_empty_database(
    log: Database, another_database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = [await slices.export(log, first, min(first + 250, LINES)) for first in range(0, LINES, 250)]
    assert sum(map(len, parts)) < LINES * 150
    head, published = await store.head(log), await tying.root(log)
    async with Database.open(another_database_url) as fresh:
        for part in parts[1:]:
            with pytest.raises(PermanentError, match="not there"):
                await slices.bring_back(fresh, part)
        other = await slices.export(log, 0, 249)
        for spoilt in (b"", parts[0][:-9], parts[0][:50] + b"\0" + parts[0][51:], os.urandom(100)):
            with pytest.raises(IntegrityError):
                await slices.bring_back(fresh, spoilt)
        assert await store.head(fresh) == Head(0, bytes(32))
        for part in [parts[0], *parts]:  # again, after it was killed: nothing twice
            found = await slices.bring_back(fresh, part)
        assert found == head
        assert await slices.bring_back(fresh, other) == head
        assert await tying.root(fresh) == published
        assert await faults(fresh, tmp_path) == []
        columns = "act, file_id, zip_id, done_at, facts, position, follows, hash, salt"
        for side in (fresh, log):
            await side.transact(lambda tx: record(tx, Line(Act.ASKED, {}, 7)))
            await side.execute("UPDATE custody_info SET done_at = '2026-11-27' WHERE position IS NULL")
            with monkeypatch.context() as patch:
                patch.setattr(chainer, "token_bytes", bytes)
                await chainer.chain(side)
        mine, theirs = [
            await side.fetch_all(f"SELECT {columns} FROM custody_info ORDER BY position")  # noqa: S608
            for side in (fresh, log)
        ]
        assert mine == theirs


async def test_a_slice_of_a_log_that_was_changed_is_not_brought_back(log: Database, another_database_url: str) -> None:
    part = await slices.export(log, 0, LINES)
    lines = gzip.decompress(part).replace(b'"request":300}', b'"request":301}')
    part = gzip.compress(lines)
    await log.execute("UPDATE custody_info SET facts = '{}' WHERE position = 300")
    with pytest.raises(PermanentError, match="not what was chained, at position 300"):
        await slices.export(log, 0, LINES)
    async with Database.open(another_database_url) as fresh:
        with pytest.raises(IntegrityError, match="not what was chained"):
            await slices.bring_back(fresh, part)
        assert await store.head(fresh) == Head(0, bytes(32))
    await log.execute("DELETE FROM custody_info WHERE position = 290")
    for first in (0, 291):
        with pytest.raises(PermanentError, match="at position 290: the line is missing"):
            await slices.export(log, first, LINES)


async def _chain_unsalted(db: Database) -> None:
    """Give lines their places as it was done before there were salts."""
    rows = await db.fetch_all("SELECT * FROM custody_info WHERE position IS NULL ORDER BY line_id")
    await db.execute("DELETE FROM custody_info WHERE position IS NULL")

    async def work(tx: Transaction) -> None:
        head = await store.lock_head(tx)
        assert head is not None
        await store.insert(tx, rows, await chainer.place_behind(tx, head, rows))

    await db.transact(work)


async def test_what_a_receipt_shows_of_other_lines_confirms_no_guess_at_them(db: Database, tmp_path: Path) -> None:
    """Who holds the receipt of the files 1 and 4 knows all that the line of another file says but its salt."""
    for own, chain in ((1, _chain_unsalted), (4, chainer.chain)):  # the log of before goes on
        acts = [Line(Act.RECEIVED, {"from": "192.0.2.1", "size": 7}, own + which) for which in (0, 1)]
        acts.append(Line(Act.ASKED, {}, own))
        await db.transact(lambda tx, acts=acts: record(tx, *acts))  # type: ignore[misc]
        await chain(db)
        head = await tying.root(db)
        assert head is not None
        told = await tying.tie(db, own, None, head)
        tie.check(tie.Tie.read(told.model_dump_json().encode()), own, None)
        first, asked = told.chains[0].lines
        row = parse(first.line.encode())
        beside = await db.fetch_one("SELECT done_at FROM custody_info WHERE file_id = %s", (own + 1,))
        guess = text({**row, **(beside or {}), "file_id": own + 1, "salt": None}, row["position"] + 1)
        confirmed = link(bytes.fromhex(first.hash), None, guess).hex() == asked.before
        assert confirmed == (own == 1)
        assert ("salt" in json.loads(first.line)) == (own == 4)
    assert await faults(db, tmp_path) == []
    head, part = await tying.root(db), await slices.export(db, 0, 6)
    salts = await db.fetch_all("SELECT DISTINCT salt FROM custody_info")
    assert len(salts) == 4
    await db.execute("DELETE FROM custody_info")
    await db.execute("UPDATE custody_head_info SET size = 0, hash = ''")
    await db.execute("DELETE FROM custody_node_info")
    await slices.bring_back(db, part)
    assert await tying.root(db) == head
    assert await db.fetch_all("SELECT DISTINCT salt FROM custody_info") == salts
