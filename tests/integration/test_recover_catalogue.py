"""With a master key and nothing else: its name leads to the catalogue, and that to every archive."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import dumps
from cryptography.fernet import Fernet
from servers_estate import FILES, Estate, published

from roadvault_common.custody import chainer, tie, tying
from roadvault_common.files.identity import adopt
from roadvault_common.files.numbers import MARGIN
from roadvault_common.retention import holding
from roadvault_common.work.outcome import Done


async def test_the_master_key_alone_brings_all_back(estate: Estate) -> None:
    console, db = estate.console, estate.console.db
    before = await published(estate)
    assert {row["format"] for row in before} == {1, 2}
    said = await console.says("recover", "--rehearse")
    assert (
        f"rehearsed: {len(before)} files would come back as they are, 0 are newer than the catalogue, 0 differ" in said
    )

    cid = await db.fetch_value("SELECT cid FROM catalogue_info")
    await estate.lose(console.environment["ROADVAULT_DATABASE_URL"])
    key = console.environment["ROADVAULT_MASTER_KEYS"]
    console.environment["ROADVAULT_MASTER_KEYS"] = Fernet.generate_key().decode()
    refused = await console.refuses("recover", "--catalogue", "--pins")
    assert (
        "the catalogue can't be read, and nothing was changed: no catalogue is found by the first master key's name"
        in refused
    )
    console.environment["ROADVAULT_MASTER_KEYS"] += f",{key}"  # others may have an older key, and publish there
    assert f"leads to {cid}: use that if" in await console.refuses("recover", "--catalogue")
    assert await db.fetch_one("SELECT 1 FROM identity_info") is None
    console.environment["ROADVAULT_MASTER_KEYS"] = key
    said = await console.says("recover")
    assert f"3 archives recovered, with {len(before)} files; 0 were there already, 0 things could not be" in said
    assert await db.fetch_all(FILES) == before
    said = await console.says("verify", "--all", "--from", "network")
    assert "3 checked, 0 have no copy there, 0 things are wrong" in said
    assert await console.file() > MARGIN


async def test_the_custody_log_comes_back_and_the_holds_that_it_tells_of(estate: Estate) -> None:
    console, db = estate.console, estate.console.db
    files = await published(estate)
    await console.file()
    waiting = int(await db.fetch_value("SELECT MAX(file_id) FROM file_upload_info"))
    for reason, number in (("case 6", files[0]["file_id"]), ("case 7", waiting), ("case 8", files[0]["file_id"])):
        await holding.hold(db, reason, file_id=number)
    for number in (1, 3):
        await holding.release(db, number, "over")
    await chainer.chain(db)
    await db.execute("UPDATE catalogue_info SET publish_due = UTC_TIMESTAMP(6), ordered_at = NULL")
    await console.pinner.publishing.work(1)
    await estate.network.fetch_and_pin(str(await db.fetch_value("SELECT cid FROM catalogue_info")), lambda: None)
    columns = "act, file_id, zip_id, done_at, facts, position, follows, hash"
    lines = f"SELECT {columns} FROM custody_info WHERE position IS NOT NULL ORDER BY position"  # noqa: S608
    before, root = await db.fetch_all(lines), await tying.root(db)
    assert root is not None
    last = files[-1]
    receipt = await tying.tie(db, last["file_id"], last["zip_id"], root)

    await estate.lose(console.environment["ROADVAULT_DATABASE_URL"])
    assert "0 things could not be recovered" in await console.says("recover")
    assert (await db.fetch_all(lines), await tying.root(db)) == (before, root)
    held = "SELECT hold_id, zip_id, file_id, active, reason FROM hold_info"
    hold = {"hold_id": 2, "zip_id": None, "file_id": waiting, "active": 1, "reason": "case 7"}
    assert await db.fetch_all(held) == [hold]
    await chainer.chain(db)
    assert f"{root.size + 3} lines" in await console.says("custody", "--check")
    now = await tying.root(db)
    assert now is not None
    rows = tie.check(await tying.tie(db, last["file_id"], last["zip_id"], now), last["file_id"], last["zip_id"])
    assert [row["act"] for row in rows[-2:]] == ["pinned", "adopted"]
    assert rows[:-1] == tie.check(receipt, last["file_id"], last["zip_id"])
    assert await holding.hold(db, "case 9", file_id=files[0]["file_id"]) == (4, files[0]["zip_id"])
    await db.execute("UPDATE hold_info SET active = NULL WHERE hold_id = 2")
    after = await db.fetch_all(held)
    assert "3 were there already, 0 things could not be" in await console.says("recover", "--catalogue")
    assert (await db.fetch_all(held), (await db.fetch_all(lines))[: root.size]) == (after, before)


async def test_archives_of_format_1_on_the_disk_are_opened_by_the_catalogue(estate: Estate) -> None:
    console, db = estate.console, estate.console.db
    before = await published(estate)
    paths = await db.fetch_all("SELECT zip_id, path FROM zip_ipfs_info WHERE path IS NOT NULL ORDER BY zip_id")
    assert len(paths) == 3
    estate.new_database(console.environment["ROADVAULT_DATABASE_URL"])
    told = (await console.run("recover", "--archives", "--yes"))[1]
    assert told.count("it has no label beside it; what it opens with is in the catalogue, if anywhere") == 2
    estate.new_database(console.environment["ROADVAULT_DATABASE_URL"])
    await console.says("recover", "--catalogue", "--pins", "--archives", "--yes")
    assert await db.fetch_all(FILES) == before
    again = "SELECT zip_id, path FROM zip_ipfs_info WHERE path IS NOT NULL ORDER BY zip_id"
    assert await db.fetch_all(again) == paths
    for row in paths:
        assert await console.pinner.pinning.work(row["zip_id"]) == Done()
    assert await db.fetch_all(FILES) == before


async def test_holds_and_ends_that_are_newer_than_a_restored_dump_come_back(estate: Estate) -> None:
    """From the catalogue, and from the log in it, also where services have gone on with the older log meanwhile."""
    console, db = estate.console, estate.console.db
    url = console.environment["ROADVAULT_DATABASE_URL"]
    files = await published(estate)
    await console.file()
    waiting = int(await db.fetch_value("SELECT MAX(file_id) FROM file_upload_info"))
    one, two, three = sorted({row["zip_id"] for row in files})
    soon = datetime.now(UTC).replace(tzinfo=None, microsecond=0) + timedelta(hours=1)
    for zip_id in (one, two, three):
        await holding.set_end(db, zip_id, soon)
    await holding.hold(db, "from before", file_id=waiting)
    await chainer.chain(db)
    older = await dumps.dump(url)
    await holding.hold(db, "case 7", zip_id=one)
    await holding.hold(db, "case 8", file_id=waiting)
    await holding.hold(db, "case 9", file_id=next(row["file_id"] for row in files if row["zip_id"] == one))
    await holding.release(db, 1, "over")
    await holding.hold(db, "from before", file_id=waiting)
    await holding.set_end(db, two, None)
    await holding.set_end(db, three, soon - timedelta(minutes=9))
    await chainer.chain(db)
    await db.execute("UPDATE catalogue_info SET publish_due = UTC_TIMESTAMP(6), ordered_at = NULL")
    await console.pinner.publishing.work(1)
    await estate.network.fetch_and_pin(str(await db.fetch_value("SELECT cid FROM catalogue_info")), lambda: None)
    held = "SELECT hold_id, zip_id, file_id, active, reason FROM hold_info ORDER BY reason, active"
    newest = await db.fetch_all(held)

    await dumps.restore(url, older)
    assert "no archive ends before" in await console.says("identity", "adopt", "--yes")
    said = await console.says("recover", "--catalogue")
    assert f"on hold again: hold 2 on archive {one}, 'case 7', of archive {one}" in said
    assert f"by the custody log: hold 3 on file {waiting}, 'case 8' is in force again" in said
    assert f"by the catalogue: archive {two} ends never" in said
    assert (
        f"by the custody log: archive {three} ends on {soon - timedelta(minutes=9)} UTC, as a person had said" in said
    )
    # The hold that was released is in force, as in the dump: that is the safe side; the one that followed it is there.
    after = await db.fetch_all(held)
    assert [row for row in after if row["active"]] == [{**row, "active": 1} for row in newest if row["hold_id"] != 5]
    assert await db.fetch_value("SELECT ends_at FROM retention_info WHERE zip_id = %s", (two,)) is None
    assert await db.fetch_value("SELECT ends_at FROM retention_info WHERE zip_id = %s", (three,)) == soon
    said = await console.says("recover", "--catalogue")
    assert not any(one in said for one in ("on hold again", "is in force again"))
    assert await db.fetch_all(held) == after

    # Services go on with the older log: the catalogue's can't be brought back, and what it says is in force anyway.
    await dumps.restore(url, older)
    await adopt(db, console.vault.root)
    await holding.hold(db, "set since", file_id=waiting)
    await chainer.chain(db)
    code, out, _ = await console.run("recover", "--catalogue")
    assert (code, "not recovered: the custody log: " in out) == (1, True)
    reasons = {row["reason"] for row in await db.fetch_all(held) if row["active"]}
    assert reasons == {"from before", "case 7", "case 8", "case 9", "set since"}
    assert await db.fetch_value("SELECT ends_at FROM retention_info WHERE zip_id = %s", (two,)) is None


async def test_holds_find_archives_that_came_without_the_catalogue(estate: Estate, tmp_path: Path) -> None:
    """By a copy of the log: they have other numbers now."""
    console, db = estate.console, estate.console.db
    files = await published(estate)
    last = files[-1]
    zip_id, cid = last["zip_id"], last["cid"]
    await holding.hold(db, "case 7", zip_id=zip_id)
    await holding.hold(db, "case 8", file_id=last["file_id"])
    await chainer.chain(db)
    await console.says("custody", "--save", tmp_path)
    await estate.lose(console.environment["ROADVAULT_DATABASE_URL"])
    said = await console.says("custody", "--bring-back", tmp_path)
    assert f"hold 1 on archive {zip_id}, 'case 7' is kept; what it is on is not here" in said
    (tmp_path / "cids").write_text(f"{cid}\n")
    said = await console.says("recover", "--cids", tmp_path / "cids")
    assert "what it is on is not here" not in said
    now = await db.fetch_value("SELECT zip_id FROM zip_ipfs_info WHERE cid = %s", (cid,))
    assert now != zip_id
    held = await db.fetch_all("SELECT hold_id, zip_id, file_id FROM hold_info WHERE active = 1 ORDER BY hold_id")
    holds = [(row["hold_id"], row["zip_id"], row["file_id"]) for row in held]
    assert holds == [(1, now, None), (2, now, last["file_id"])]
