"""With a master key and nothing else: its name leads to the catalogue, and that to every archive."""

from cryptography.fernet import Fernet
from servers_estate import FILES, Estate, published

from roadvault_common.custody import chainer, tie
from roadvault_common.files.identity import MARGIN
from roadvault_common.work.outcome import Done
from roadvault_operator import retention_store


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
        await retention_store.hold(db, reason, file_id=number)
    for number in (1, 3):
        await retention_store.release(db, number, "over")
    await chainer.chain(db)
    await db.execute("UPDATE catalogue_info SET publish_due = UTC_TIMESTAMP(6), ordered_at = NULL")
    await console.pinner.publishing.work(1)
    await estate.network.fetch_and_pin(str(await db.fetch_value("SELECT cid FROM catalogue_info")), lambda: None)
    columns = "act, file_id, zip_id, done_at, facts, position, follows, hash"
    lines = f"SELECT {columns} FROM custody_info WHERE position IS NOT NULL ORDER BY position"  # noqa: S608
    before, root = await db.fetch_all(lines), await tie.root(db)
    assert root is not None
    last = files[-1]
    receipt = await tie.tie(db, last["file_id"], last["zip_id"], root)

    await estate.lose(console.environment["ROADVAULT_DATABASE_URL"])
    assert "0 things could not be recovered" in await console.says("recover")
    assert (await db.fetch_all(lines), await tie.root(db)) == (before, root)
    held = "SELECT hold_id, zip_id, file_id, active, reason FROM hold_info"
    hold = {"hold_id": 2, "zip_id": None, "file_id": waiting, "active": 1, "reason": "case 7"}
    assert await db.fetch_all(held) == [hold]
    await chainer.chain(db)
    assert f"{root.size + 3} lines" in await console.says("custody", "--check")
    now = await tie.root(db)
    assert now is not None
    rows = tie.check(await tie.tie(db, last["file_id"], last["zip_id"], now), last["file_id"], last["zip_id"])
    assert [row["act"] for row in rows[-2:]] == ["pinned", "adopted"]
    assert rows[:-1] == tie.check(receipt, last["file_id"], last["zip_id"])
    assert await retention_store.hold(db, "case 9", file_id=files[0]["file_id"]) == (4, files[0]["zip_id"])
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
