"""What the command line can do, a page can: what waits for a person is decided by forms, without scripts."""

import asyncio
import hashlib
import re
from datetime import UTC, datetime, timedelta

import pytest
from servers_pages import fill
from servers_upkeep import Seat

from roadvault_common.access.scopes import Role
from roadvault_common.catalogue import left_out
from roadvault_common.catalogue.records import ArchiveRecord
from roadvault_common.custody import chainer, check, fault_store
from roadvault_common.events.bus import Bus
from roadvault_common.files import set_aside_store, sweep_store, whole
from roadvault_common.retention import asking, holding
from roadvault_ingest.access.routes import RULES
from roadvault_ingest.pages.upkeep import quarantine
from roadvault_ingest.pages.words import LANGUAGES

EN = LANGUAGES["en"]
POSTS = [
    path.replace("{zip_id}", "9").replace("{file_id}", "1")
    for (method, path), rule in RULES.items()
    if method == "POST" and rule.act and path.startswith(("/upkeep", "/access", "/zip", "/file"))
]


async def test_viewers_and_other_sites_do_nothing_of_it(seat: Seat) -> None:
    assert len(POSTS) > 20
    for path in POSTS:
        assert (await seat.post(path, site="cross-site", sure="yes"))[0] == 403, path
    await seat.enter("victor", Role.VIEWER)
    for path in ("/upkeep", "/upkeep/quarantine", "/upkeep/retention", "/access"):
        assert f'href="{path}"' not in await seat.get("/")
        assert (await seat.guarded.ask("GET", path, {"Accept": "text/html"}))[0] == 403, path
    for path in POSTS:
        status, page = await seat.post(path, sure="yes")
        assert (status, EN["forbidden"] in page) == (403, True), path
    assert await seat.acts() == []


async def test_ends_that_wait_are_allowed_as_they_were_shown(seat: Seat) -> None:
    await fill(seat.db)
    await seat.db.execute("UPDATE identity_info SET doubted_at = UTC_TIMESTAMP(6)")
    assert EN["upkeep_none"] in await seat.get("/upkeep")
    for zip_id in (8, 9):
        await seat.db.execute(
            "INSERT INTO retention_info (zip_id, ends_at, shred_due) VALUES (%s, UTC_TIMESTAMP(6) - INTERVAL 1 DAY,"
            " UTC_TIMESTAMP(6) + INTERVAL 1 HOUR)",
            (zip_id,),
        )
    assert 'name="archives" value="2"' in await seat.get("/upkeep")
    assert (await seat.post("/upkeep/ends", archives="2"))[0] == 400  # not ticked
    assert (await seat.post("/upkeep/ends", archives="1", sure="yes"))[0] == 409  # more than was shown
    assert await asking.in_doubt(seat.db)
    assert EN["ends_allowed"] in (await seat.post("/upkeep/ends", archives="2", sure="yes"))[1]
    assert not await asking.in_doubt(seat.db)
    due = await seat.db.fetch_value("SELECT COUNT(*) FROM retention_info WHERE shred_due <= UTC_TIMESTAMP(6)")
    assert (due, await seat.last()) == (2, ("anna: ends allowed", "2 archives", "done"))
    assert (await seat.post("/upkeep/ends", archives="2", sure="yes"))[0] == 409


async def test_a_sweep_that_asks_goes_on(seat: Seat) -> None:
    assert (await seat.post("/upkeep/sweep", directory="received"))[0] == 409
    await sweep_store.stop(seat.db, "received", 700, 7_000_000, 900)
    assert 'name="directory" value="received"' in await seat.get("/upkeep")
    assert EN["sweep_may"].format(700) in (await seat.post("/upkeep/sweep", directory="received"))[1]
    assert await sweep_store.allowed(seat.db, "received") == 700
    assert await seat.last() == ("anna: sweep allowed", "received: 700 files", "done")


async def aside(seat: Seat, *contents: bytes) -> None:
    """Set files aside, 1 and so on, whose uploads have these bytes."""
    await seat.db.execute(
        "INSERT INTO folder_info (folder_id, status, files, bytes, close_at) VALUES (1, 2, 9, 9, NOW())"
    )
    for number, content in enumerate(contents, 1):
        path = f"received/00/{number}"
        seat.vault.path(path).write_bytes(content)
        await seat.db.execute(
            "INSERT INTO file_upload_info (file_id, file_name, file_type, size, sha256, folder_id, path)"
            " VALUES (%s, %s, 'mp4', 1, %s, 1, %s)",
            (number, f"{number}.mp4", hashlib.sha256(b"whole").hexdigest(), path),
        )
    await seat.db.transact(lambda tx: set_aside_store.add(tx, {number + 1: "rot" for number in range(len(contents))}))


async def test_what_was_set_aside_is_packed_after_all_or_given_up(seat: Seat) -> None:
    await aside(seat, b"whole", b"rotten", b"rotten")
    page = await seat.get("/upkeep")
    assert all(f'value="{number}"' in page for number in (1, 2, 3))
    assert EN["aside_not_whole"] in (await seat.post("/upkeep/set-aside/retry", pick_1="1", pick_2="2"))[1]
    assert [row["file_id"] for row in await set_aside_store.waiting(seat.db, 9)] == [2, 3]
    assert await seat.last() == ("anna: set aside retried", "files 1, 2", "1 of 2 are whole")
    assert (await seat.post("/upkeep/set-aside/retry", pick_1="1"))[0] == 409  # not any more
    assert (await seat.post("/upkeep/set-aside/retry"))[0] == 400
    assert (await seat.post("/upkeep/set-aside/retry", pick_1="x"))[0] == 400
    assert (await seat.post("/upkeep/set-aside/give-up", pick_1="2"))[0] == 400  # not ticked
    assert EN["aside_given_up"] in (await seat.post("/upkeep/set-aside/give-up", pick_1="2", sure="yes"))[1]
    assert [row["file_id"] for row in await set_aside_store.waiting(seat.db, 9)] == [3]
    assert [entry.origin for entry in seat.vault.quarantine.entries("received")] == ["received/00/2"]
    assert await seat.last() == ("anna: file given up", "file 2", "done")


async def test_uploads_are_read_for_one_form_at_a_time(seat: Seat, monkeypatch: pytest.MonkeyPatch) -> None:
    await aside(seat, b"whole")
    reads, goes_on = asyncio.Event(), asyncio.Event()

    async def slowly(*_: object) -> None:
        reads.set()
        await goes_on.wait()

    monkeypatch.setattr(whole, "fault", slowly)
    first = asyncio.create_task(seat.post("/upkeep/set-aside/retry", pick_1="1"))
    await reads.wait()
    assert (await seat.post("/upkeep/set-aside/retry", pick_1="1"))[0] == 409
    goes_on.set()
    assert EN["aside_whole"] in (await first)[1]


async def test_quarantine_is_seen_restored_and_purged_but_for_what_a_row_names(seat: Seat) -> None:
    await aside(seat, b"named")
    for number in (1, 7, 8):
        seat.vault.path(f"received/00/{number}").write_bytes(b"x")
        seat.vault.set_aside([f"received/00/{number}"])
    entries = {entry.origin[-1]: entry.name for entry in seat.vault.quarantine.entries("received")}
    for language, texts in LANGUAGES.items():
        page = await seat.get("/upkeep/quarantine?from=received", language)
        assert texts["quarantine_count"].rpartition("|")[2].format("3", more="", size="3 bytes") in page
    assert EN["empty"] in await seat.get("/upkeep/quarantine?from=archives")
    assert EN["restored"] in (await seat.post("/upkeep/quarantine/restore", pick_1=entries["7"]))[1]
    assert seat.vault.path("received/00/7").read_bytes() == b"x"
    assert (await seat.post("/upkeep/quarantine/restore", pick_1=entries["7"]))[0] == 409  # gone from there
    assert (await seat.post("/upkeep/quarantine/restore", pick_1="received/../../etc-x"))[0] == 409
    assert (await seat.post("/upkeep/quarantine/purge", all="yes"))[0] == 400  # not ticked
    assert EN["purged_some"] in (await seat.post("/upkeep/quarantine/purge", all="yes", sure="yes"))[1]
    assert [entry.origin for entry in seat.vault.quarantine.entries("received")] == ["received/00/1"]
    assert (await seat.acts())[-1]["outcome"] == "1 done"
    assert EN["restored"] in (await seat.post("/upkeep/quarantine/restore", all="yes"))[1]  # those that a row names
    assert [*seat.vault.quarantine.entries("received")] == []
    await seat.db.execute("UPDATE identity_info SET identity = REPEAT('0', 32)")  # a database that is not its own
    assert (await seat.post("/upkeep/quarantine/purge", all="yes", sure="yes"))[0] == 409


async def test_where_ingest_can_not_write_the_page_names_the_command(
    seat: Seat, monkeypatch: pytest.MonkeyPatch
) -> None:
    seat.vault.path("archives/x").write_bytes(b"x")
    seat.vault.set_aside(["archives/x"])
    monkeypatch.setattr(quarantine, "writable", lambda _: ["received"])
    page = await seat.get("/upkeep/quarantine")
    assert EN["quarantine_shut"].format("archives, downloads, posters") in page
    (entry,) = seat.vault.quarantine.entries("archives")
    assert (await seat.post("/upkeep/quarantine/restore", pick_1=entry.name))[0] == 409
    assert EN["restored_none"] in (await seat.post("/upkeep/quarantine/restore", all="yes"))[1]


async def test_what_a_recovery_left_out_is_given_up(seat: Seat) -> None:
    record = ArchiveRecord(
        zip_id=6001, folder_id=1, zip_name="x", cid="bafyarchive", format=2, size=1, dag_size=1, files=1,
        created=datetime.now(UTC), key="wrapped",
    )  # fmt: skip
    await left_out.end(seat.db, [], {}, [(record, "no peer has it")])
    await holding.hold(seat.db, "case <7>", zip_id=6001)
    page = await seat.get("/upkeep")
    assert all(shown in page for shown in ("bafyarchive", EN["left_key"], "case &lt;7&gt;"))
    assert (await seat.post("/upkeep/left-out", pick_1="bafyarchive"))[0] == 400  # not ticked
    assert (await seat.post("/upkeep/left-out", pick_1="bafyother", sure="yes"))[0] == 409
    assert EN["left_given_up"] in (await seat.post("/upkeep/left-out", pick_1="bafyarchive", sure="yes"))[1]
    assert await left_out.count(seat.db) == 0
    assert await seat.last() == ("anna: left out given up", "bafyarchive", "done")


async def test_a_custody_log_that_was_changed_is_accepted(seat: Seat) -> None:
    assert (await seat.post("/upkeep/custody", reason="x", sure="yes"))[0] == 409  # nothing is wrong
    await aside(seat, b"x", b"x")
    await chainer.chain(seat.db)
    await seat.db.execute('UPDATE custody_info SET facts = \'{"reason": "other"}\' WHERE position = 0')
    assert await check.check_all(seat.db, None, lambda _: None)
    assert "was changed, moved or put in" in await seat.get("/upkeep")
    assert (await seat.post("/upkeep/custody", sure="yes"))[0] == 400  # why
    assert (await seat.post("/upkeep/custody", reason="a test"))[0] == 400  # not ticked
    assert EN["custody_accepted"] in (await seat.post("/upkeep/custody", reason="a test", sure="yes"))[1]
    assert await fault_store.count_faults(seat.db) == 0
    assert (await seat.last())[0] == "anna: custody accepted"


async def test_dead_letters_start_anew_or_go(seat: Seat) -> None:
    await fill(seat.db)
    await seat.db.execute("UPDATE zip_ipfs_info SET pin_failed_at = UTC_TIMESTAMP(6) WHERE zip_id = 9")
    async with Bus.open(seat.guarded.ingest.settings.redis_url, "test") as bus:
        await bus.dead_letter("pin", "it <failed>", row=9)
        await bus.dead_letter("?", "unreadable")
    page = await seat.get("/upkeep")
    assert "it &lt;failed&gt;" in page
    other, pin = re.findall(r'value="(\d+-\d+)"', page)  # the latest first
    assert (await seat.post("/upkeep/letters/retry", pick_1=other))[0] == 409
    assert EN["letters_retried"] in (await seat.post("/upkeep/letters/retry", pick_1=pin))[1]
    assert await seat.db.fetch_value("SELECT pin_failed_at IS NULL FROM zip_ipfs_info WHERE zip_id = 9") == 1
    assert (await seat.post("/upkeep/letters/discard", pick_1=other))[0] == 400  # not ticked
    assert EN["letters_discarded"] in (await seat.post("/upkeep/letters/discard", pick_1=other, sure="yes"))[1]
    assert (await seat.post("/upkeep/letters/discard", pick_1=other, sure="yes"))[0] == 409
    assert EN["upkeep_none"] in await seat.get("/upkeep")


async def test_folders_close_and_archives_are_pinned_again(seat: Seat) -> None:
    await fill(seat.db)  # folders 102, 105 and so on are open
    assert (await seat.post("/upkeep/seal", folder="1"))[0] == 409
    assert (await seat.post("/upkeep/seal", folder="x"))[0] == 400
    opened = await seat.db.fetch_value("SELECT MIN(folder_id) FROM folder_info WHERE status = 0")
    assert EN["sealed"] in (await seat.post("/upkeep/seal", folder=str(opened)))[1]
    assert await seat.last() == ("anna: folder closed", f"folders {opened}", "done")
    assert EN["sealed"] in (await seat.post("/upkeep/seal", folder=""))[1]
    assert EN["sealed_none"] in (await seat.post("/upkeep/seal"))[1]
    assert EN["pin_all_done"] in (await seat.post("/upkeep/pin"))[1]
    assert await seat.db.fetch_value("SELECT pin_due IS NOT NULL FROM zip_ipfs_info WHERE zip_id = 9") == 1


async def test_holds_and_ends_stand_on_a_page(seat: Seat) -> None:
    await fill(seat.db)
    assert (await seat.post("/upkeep/retention/hold", kind="archive", number="999", reason="x"))[0] == 409
    assert (await seat.post("/upkeep/retention/hold", kind="folder", number="9", reason="x"))[0] == 400
    assert EN["held"] in (await seat.post("/upkeep/retention/hold", kind="archive", number="9", reason="case <1>"))[1]
    assert EN["held"] in (await seat.post("/file/8/hold", reason="case 2"))[1]
    assert (await seat.post("/file/8/hold"))[0] == 400
    assert (await seat.post("/file/999/hold", reason="x"))[0] == 409
    await holding.set_end(seat.db, 7, datetime.now(UTC).replace(tzinfo=None) + timedelta(days=3))
    page = await seat.get("/upkeep/retention")
    assert all(shown in page for shown in ("case &lt;1&gt;", "case 2", 'href="/zip/7"', 'href="/file/8"'))
    first, second = sorted(row["hold_id"] for row in await holding.holds(seat.db, 9))
    assert (await seat.post("/upkeep/retention/release", hold=str(first)))[0] == 400
    assert EN["released"] in (await seat.post("/upkeep/retention/release", hold=str(first), reason="over"))[1]
    assert (await seat.post("/upkeep/retention/release", hold=str(first), reason="over"))[0] == 409
    assert [row["hold_id"] for row in await holding.holds(seat.db, 9)] == [second]


async def test_an_archives_end_is_moved(seat: Seat) -> None:
    await fill(seat.db)
    assert (await seat.post("/zip/9/end", until="2036-12-31"))[0] == 400  # not ticked
    assert (await seat.post("/zip/9/end", until="soon", sure="yes"))[0] == 400
    assert (await seat.post("/zip/9/end", until="2020-01-01", sure="yes"))[0] == 409
    assert (await seat.post("/zip/999/end", until="2036-12-31", sure="yes"))[0] == 409
    seat.guarded.http.cookie_jar.update_cookies({"zone": "Asia/Shanghai"})
    assert EN["end_no_period"] in (await seat.post("/zip/9/end", until="2036-12-31", sure="yes"))[1]
    ends = "SELECT ends_at FROM retention_info WHERE zip_id = 9"
    assert await seat.db.fetch_value(ends) == datetime(2036, 12, 31, 16)  # noqa: DTZ001 - as the database has it
    assert await seat.last() == ("anna: end moved", "archive 9: 2036-12-31 16:00 UTC", "done")
    await seat.db.execute(
        "INSERT INTO period_key_info (period_key, period, `key`) VALUES (REPEAT('1', 16), '2036-11', 'k')"
    )
    await seat.db.execute("UPDATE retention_info SET period_key = REPEAT('1', 16)")
    assert EN["end_longer"] in (await seat.post("/zip/9/end?ever=1"))[1]
    assert await seat.db.fetch_value(ends) is None
    assert EN["end_sooner"] in (await seat.post("/zip/9/end", until="2036-10-01", sure="yes"))[1]


async def test_an_archive_is_given_up_or_packed_again(seat: Seat) -> None:
    await aside(seat, b"whole")
    await seat.db.execute("DELETE FROM set_aside_info")
    await seat.db.execute(
        "INSERT INTO zip_ipfs_info (zip_id, folder_id, zip_name, path, `key`, iv, size, files, status, pin_due,"
        " pin_attempts) VALUES (5, 1, 'a', 'archives/a', 'k', 'i', 1, 1, 0, UTC_TIMESTAMP(6), 3)"
    )
    assert (await seat.post("/zip/5/give-up", stage="pack", reason="x"))[0] == 400
    assert (await seat.post("/zip/5/give-up", stage="drop", reason="x"))[0] == 409
    assert EN["gave_up"] in (await seat.post("/zip/5/give-up", stage="pin", reason="rot"))[1]
    assert await seat.last() == ("anna: given up", "pin 5: rot", "done")
    assert (await seat.post("/zip/5/pack"))[0] == 400  # not ticked
    content = seat.vault.path("received/00/1")
    content.write_bytes(b"rotten")
    assert (await seat.post("/zip/5/pack", sure="yes"))[0] == 409
    assert await seat.db.fetch_value("SELECT COUNT(*) FROM zip_ipfs_info") == 1
    content.write_bytes(b"whole")
    assert EN["packed_again"] in (await seat.post("/zip/5/pack", sure="yes"))[1]
    assert await seat.db.fetch_value("SELECT COUNT(*) FROM zip_ipfs_info") == 0
    assert await seat.db.fetch_value("SELECT pack_due IS NOT NULL FROM folder_info") == 1
    assert (await seat.post("/zip/5/pack", sure="yes"))[0] == 409


async def test_keys_stay_with_the_command_line_and_the_page_says_so(seat: Seat) -> None:
    await fill(seat.db)
    for language, texts in LANGUAGES.items():
        page = await seat.get("/upkeep", language)
        assert texts["console_keys"] in page
        assert all(f"roadvault {name}" in page for name in ("rewrap", "recovery-sheet", "recover", "verify"))
        assert texts["keys_console"] in await seat.get("/zip/9", language)
