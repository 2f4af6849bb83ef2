"""Each act of the services is a line of the custody log, which a person sees on the API, a page and a terminal."""

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import statements_work
from filled import fill
from servers_ingest import Door
from servers_operator import Console

from roadvault_common.custody import chainer, note
from roadvault_common.errors import LeaseLost
from roadvault_common.sql.custody_lines import Act, Line, record
from roadvault_common.sql.db import Database, Row
from roadvault_common.work import lease as leases
from roadvault_common.work.outcome import Done
from roadvault_common.work.stages import PIN
from roadvault_pinner.store import PinnerStore


async def lines(db: Database) -> list[Row]:
    return await db.fetch_all("SELECT * FROM custody_info ORDER BY line_id")


async def test_every_act_has_its_line(database_url: str) -> None:
    async with Database.open(database_url, size=1) as db:
        filled = await fill(db, 2000, 10, 10)
        await db.execute("DELETE FROM custody_node_info WHERE (number + 1) << level > 2000")  # not complete yet
        before = len(await lines(db))
        for statement in statements_work.work(filled):
            await statement.run(db)
        rows = [row for row in await lines(db) if row["position"] != 1 << 40][before:]
        assert {row["act"] for row in rows} == {*Act} - {Act.REWRAPPED}
        for row in rows:
            facts = json.loads(row["facts"])
            about = (row["file_id"], row["zip_id"]).count(None)
            whole = (
                row["act"] == Act.ACCEPTED or facts.get("kind", "archive") != "archive"
            )  # of the log, or of a catalogue
            assert about == (2 if whole else 1)
            assert not any("https://" in str(value) for value in facts.values()), facts
        archive_acts = {row["act"] for row in rows if row["zip_id"] is not None}
        assert archive_acts == {
            "adopted",
            "packed",
            "pinned",
            "bought",
            "proven",
            "audited",
            "dropped",
            "restored",
            "given up",
            "hold",
            "end moved",
            "shredded",
        }


async def test_an_act_whose_lease_was_lost_has_no_line(console: Console) -> None:
    zip_id = await console.archive()
    before = await lines(console.db)
    stale = await leases.claim(console.db, PIN, zip_id, 60)
    assert stale is not None
    await console.db.execute("UPDATE zip_ipfs_info SET pin_token = REPEAT('t', 32)")
    with pytest.raises(LeaseLost):
        await PinnerStore(console.db).close_pinned(stale, "bafy", 1, inspect_in=60)
    assert await lines(console.db) == before


async def test_a_files_life_is_told_on_the_terminal_and_a_change_is_named(console: Console) -> None:
    zip_id = await console.archive()
    assert await console.pinner.pinning.work(zip_id) == Done()
    console.environment["TZ"] = "Asia/Shanghai"
    (file,) = await console.db.fetch_all("SELECT * FROM file_upload_info ORDER BY file_id LIMIT 1")
    told = await console.says("custody", file["file_id"])
    assert told.index("received") < told.index("packed") < told.index("pinned")
    assert file["sha256"][:30] in told
    here = file["create_time"].replace(tzinfo=UTC).astimezone(ZoneInfo("Asia/Shanghai"))
    assert f"{here:%Y-%m-%d %H:%M:%S} +0800" in told
    assert "there is no file 99" in await console.refuses("custody", 99)
    assert "name a file, or" in await console.refuses("custody", 1, "--check")

    await chainer.chain(console.db)
    await note.move_on(console.db, console.vault.root)
    head = note.read(Path(console.environment["ROADVAULT_DATA_DIR"]))
    assert head is not None
    told = await console.says("custody", "--check")
    assert "4 lines" in told
    assert head.hash.hex() in told
    (packed,) = [row for row in await lines(console.db) if row["act"] == "packed"]
    await console.db.execute("UPDATE custody_info SET facts = '[x]\\n' WHERE act = 'packed'")
    code, told, errors = await console.run("custody", "--check")
    assert code == 1
    assert f"position {packed['position']}: the line `packed` of archive {zip_id} is not what was chained" in told
    assert "1 faults" in errors
    assert "[x]" in await console.says("custody", file["file_id"])
    assert "accepted" in await console.says("custody", "--accept", "a disk was lost")


async def test_a_copy_of_the_log_brings_it_back_into_an_empty_database(console: Console, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    assert "is no directory" in await console.refuses("custody", "--save", copy)
    copy.mkdir()
    assert "no copy of a custody log" in await console.refuses("custody", "--bring-back", copy)
    for lines_then in (4, 8):  # the second time it has what is new
        await console.archive()
        await chainer.chain(console.db)
        before = await lines(console.db)
        assert f"all {len(before)} lines" in await console.says("custody", "--save", copy)
        assert len(list(copy.iterdir())) == lines_then / 4
    assert f"all {len(before)} lines" in await console.says("custody", "--save", copy)
    assert len(list(copy.iterdir())) == 2
    for statement in (
        "DELETE FROM custody_info",
        "DELETE FROM custody_node_info",
        "UPDATE custody_head_info SET size = 0, hash = REPEAT(CHAR(0), 32)",
    ):
        await console.db.execute(statement)
    first, second = sorted(copy.iterdir())
    second.rename(tmp_path / second.name)
    spoilt = copy / second.name
    spoilt.write_bytes(b"?")
    assert "no slice of a custody log" in await console.refuses("custody", "--bring-back", copy)
    (tmp_path / second.name).rename(spoilt)
    assert f"has {len(before)} lines" in await console.says("custody", "--bring-back", copy)
    after = await lines(console.db)
    kept = ("act", "file_id", "zip_id", "done_at", "facts", "position", "follows", "hash")
    assert [[row[name] for name in kept] for row in after] == [[row[name] for name in kept] for row in before]
    assert "is what was chained" in await console.says("custody", "--check")
    first.unlink()
    await console.db.execute("UPDATE custody_head_info SET size = 0, hash = REPEAT(CHAR(0), 32)")
    assert "come behind the first" in await console.refuses("custody", "--bring-back", copy)


async def test_a_files_lines_are_on_the_api_a_page_at_a_time(door: Door) -> None:
    status, body = await door.upload(os.urandom(1000))
    assert status == 200
    file_id = body["result"]["fileID"]

    async def custody(path: str) -> tuple[int, list[dict[str, Any]]]:
        async with door.http.get(f"{door.url}/api/open/file/{path}") as response:
            answer = await response.json()
            return response.status, answer["result"]["lines"] if response.status == 200 else []

    _, (told,) = await custody(f"{file_id}/custody")
    file = (await door.file(file_id))["result"]
    assert told["facts"] == {"from": "127.0.0.1", "sha256": file["sha256"], "size": 1000}
    assert (told["act"], told["of"], told["line"], told["hash"]) == ("received", "file", None, None)
    assert datetime.fromisoformat(told["at"]).tzinfo is not None
    asked = [Line(Act.ASKED, {"request": number}, file_id) for number in range(250)]
    await door.db.transact(lambda tx: record(tx, *asked))
    await chainer.chain(door.db)
    seen, before = list[int](), ""
    while True:
        status, page = await custody(f"{file_id}/custody{before}")
        assert status == 200
        if not page:
            break
        assert len(page) <= 100
        seen = [one["line"] for one in page] + seen
        before = f"?before={seen[0]}"
    assert seen == list(range(251))
    assert (await custody("99/custody"))[0] == 404
    assert (await custody(f"{file_id}/custody?before=x"))[0] == 400
