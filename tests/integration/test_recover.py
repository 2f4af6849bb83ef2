"""Archives outlive database, data directory and IPFS node: what the network holds is recovered, numbers and all."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from evidence_rows import prove
from pydantic import SecretStr
from servers_pinning import TOKEN, PinningService
from servers_recovery import ARCHIVES, FILES, Archived
from sites import site

from roadvault_common.archive.crypto import MasterKeys
from roadvault_common.archive.keyring import period_keys
from roadvault_common.archive.local import beside
from roadvault_common.catalogue import left_out
from roadvault_common.catalogue.records import ArchiveRecord, Hold, Purchase
from roadvault_common.files import tags
from roadvault_common.files.identity import Identity
from roadvault_common.files.numbers import MARGIN
from roadvault_common.ipfs.rpc import Ipfs, New
from roadvault_common.retention import asking, periods
from roadvault_common.retention.periods import UNKNOWN
from roadvault_common.work import backlog
from roadvault_common.work.outcome import Done, Wait
from roadvault_common.work.reasons import Reason
from roadvault_common.work.stages import INSPECT
from roadvault_operator.config import OperatorSettings
from roadvault_operator.recover import pinning, rehearsal
from roadvault_packer.config import PackerSettings
from roadvault_packer.service import Packer
from roadvault_stack.kubo import Kubo

STATE = (
    "SELECT COUNT(*) AS n, SUM(path IS NOT NULL) AS kept, SUM(dropped_at IS NOT NULL) AS dropped,"
    " SUM(restored_at IS NOT NULL) AS restored, SUM(uploads_dropped_at IS NOT NULL) AS uploads_dropped,"
    " SUM(pin_due IS NOT NULL) AS pin, SUM(watch_due IS NOT NULL) AS watch, SUM(order_due IS NOT NULL) AS `order`,"
    " SUM(status = 0) AS not_ordered FROM zip_ipfs_info"
)

RECORD = ("zip_id", "zip_name", "folder_id", "cid", "size", "dag_size", "files")


async def state(archived: Archived) -> dict[str, int]:
    (row,) = await archived.console.db.fetch_all(STATE)
    return {name: int(value) for name, value in row.items()}


async def test_a_list_of_cids_is_enough(archived: Archived) -> None:
    console = archived.console
    await archived.lose_machine()
    said = await archived.recover("--cids", archived.listed)
    assert "3 archives recovered, with 6 files; 0 were there already, 0 things could not be recovered" in said
    assert await console.db.fetch_all(FILES) == archived.files
    assert await console.db.fetch_all(ARCHIVES) == archived.archives
    gone = {"kept": 0, "dropped": 3, "restored": 0, "uploads_dropped": 3, "pin": 0, "watch": 3}
    assert await state(archived) == {"n": 3, **gone, "order": 0, "not_ordered": 3}
    await archived.answers()

    before = await archived.rows()
    assert "0 archives recovered, with 0 files; 3 were there already" in await archived.recover(
        "--cids", archived.listed
    )
    assert await archived.rows() == before

    await Identity(console.db, console.vault.root).look()  # services would go on
    folder_id = await console.file()
    (newest,) = await console.db.fetch_all("SELECT MAX(file_id) AS file_id FROM file_upload_info")
    assert newest["file_id"] > archived.files[-1]["file_id"] + MARGIN
    assert folder_id > archived.files[-1]["folder_id"] + MARGIN


async def test_the_catalogue_gives_numbers_and_purchases_back(archived: Archived, network_kubo: Kubo) -> None:
    console, db = archived.console, archived.console.db
    await db.execute(
        "INSERT INTO order_info (zip_id, term, account, market, in_flight, status, cid, declared_size, nonce,"
        " era_birth, era_death, extrinsic_hash, extrinsic, price, block, settled_at)"
        " SELECT zip_id, 2, '5F', '0xa', NULL, 1, cid, dag_size, 0, 0, 0, SHA2(cid, 256), CONCAT('0x', cid),"
        " 12345678901234567890, 77, create_time FROM zip_ipfs_info WHERE zip_id < 3"
    )
    await db.execute("UPDATE order_info SET settled_at = create_time")
    zips = "SELECT zip_id, zip_name, folder_id, cid, size, dag_size, files, create_time FROM zip_ipfs_info ORDER BY 1"
    before, orders = await db.fetch_all(zips), await db.fetch_all("SELECT * FROM order_info ORDER BY order_id")
    records = []
    for row in before:
        bought = [order for order in orders if order["zip_id"] == row["zip_id"]]
        one = {name: value for name, value in row.items() if name != "create_time"}
        purchase = None
        if bought:
            names = ("order_id", "market", "account", "term", "block", "extrinsic_hash", "extrinsic")
            purchase = Purchase(
                **{name: bought[0][name] for name in names}, price=str(int(bought[0]["price"])), expires=900,
                made=bought[0]["create_time"].replace(tzinfo=UTC),
            )  # fmt: skip
        records.append(
            ArchiveRecord(**one, format=2, created=row["create_time"].replace(tzinfo=UTC), purchase=purchase)
        )
    async with Ipfs.open(network_kubo.rpc_url, 30) as network:
        cid = await archived.catalogue(*records, network=network)
        await archived.lose_machine()
        said = await archived.recover("--catalogue-cid", cid, "--cids", archived.listed)
        # A machine that is lost before it has published anything: what it gave out nobody knows, and it stays so.
        given_out = await console.file()
        await archived.lose_machine()
        assert said == await archived.recover("--catalogue-cid", cid, "--cids", archived.listed)
        assert await console.file() > given_out
        await network.unpin(cid)
    assert "3 archives recovered, with 6 files; 0 were there already, 0 things could not be recovered" in said
    # A label says the second in which it was made; a row the moment after.
    same = [{name: value for name, value in row.items() if name != "create_time"} for row in before]
    after = await db.fetch_all(zips)
    assert [{name: value for name, value in row.items() if name != "create_time"} for row in after] == same
    looks = await db.fetch_all("SELECT video.file_id FROM video_info AS video JOIN file_upload_info USING (file_id)")
    assert len(looks) == 6, "what came back under old numbers can be looked at"
    later = await db.fetch_all("SELECT * FROM order_info ORDER BY order_id")
    for row in (*orders, *later):
        del row["update_time"]
    assert later == orders
    await archived.answers()
    (next_id,) = await db.fetch_all(
        "SELECT auto_increment AS n FROM information_schema.tables WHERE table_schema = DATABASE()"
        " AND table_name = 'download_info'"
    )
    assert next_id["n"] > 200 + MARGIN
    assert await console.file() > 400 + MARGIN


async def test_local_copies_and_our_nodes_pins_are_taken_up(archived: Archived) -> None:
    """Of the first archive there is a local copy, of the second a spoilt one, of the third our node's, as fetched."""
    console, (_, second_cid, third_cid) = archived.console, archived.cids
    rows = await console.db.fetch_all("SELECT path FROM zip_ipfs_info ORDER BY zip_id")
    first, second, third = (console.vault.root / row["path"] for row in rows)
    async with Ipfs.open(archived.kubo.rpc_url, 30) as ours:
        await ours.unpin(second_cid)
        await ours.unpin(third_cid)
        await ours.collect_garbage()
        third.unlink()
        await ours.fetch_and_pin(third_cid, lambda: None)
        stranger = await ours.add_directory([New("another", b"thing", None)])
        second.write_bytes(second.read_bytes()[:-1])
        archived.lose_database()
        said = await archived.recover("--pins", "--archives", "--cids", archived.listed, "--yes")
        await ours.unpin(stranger)
    assert "3 archives recovered, with 6 files; 0 were there already, 0 things could not be recovered" in said
    assert f"no archive: {stranger}: it is a directory of other things" in said
    assert f"goes to quarantine after hours: archives/{second.name}: archives/{second.name} has " in said
    assert await console.db.fetch_all(FILES) == archived.files
    assert await console.db.fetch_all(ARCHIVES) == archived.archives
    those = {"kept": 1, "dropped": 2, "restored": 1, "uploads_dropped": 3, "pin": 1, "watch": 3}
    assert await state(archived) == {"n": 3, **those, "order": 0, "not_ordered": 3}
    (of_node,) = await console.db.fetch_all("SELECT zip_id FROM zip_ipfs_info WHERE restored_at IS NOT NULL")
    assert await backlog.due_rows(console.db, INSPECT, 10) == [of_node["zip_id"]]
    (row,) = await console.db.fetch_all("SELECT zip_id, path FROM zip_ipfs_info WHERE path IS NOT NULL")
    assert console.vault.root / row["path"] == first
    assert await console.pinner.pinning.work(row["zip_id"]) == Done()
    assert await console.db.fetch_all(ARCHIVES) == archived.archives
    await archived.answers()


async def test_what_the_network_lost_comes_from_the_disk_with_its_number(
    archived: Archived, network_kubo: Kubo
) -> None:
    console, db = archived.console, archived.console.db
    rows = await db.fetch_all(
        "SELECT zip_id, zip_name, folder_id, cid, size, dag_size, files, create_time, path FROM zip_ipfs_info"
    )
    records = [
        ArchiveRecord(
            **{name: row[name] for name in row.keys() - {"create_time", "path"}}, format=2,
            created=row["create_time"].replace(tzinfo=UTC),
        )
        for row in rows
    ]  # fmt: skip
    console.environment["ROADVAULT_IPFS_STALL_SECONDS"] = "3"
    async with Ipfs.open(network_kubo.rpc_url, 30) as network, Ipfs.open(archived.kubo.rpc_url, 30) as ours:
        cid = await archived.catalogue(*records, network=network)
        for node in (network, ours):
            await node.unpin(archived.cids[2])
            await node.collect_garbage()
        archived.lose_database()
        said = await archived.recover("--catalogue-cid", cid, "--archives", "--yes")
        await network.unpin(cid)
    assert "3 archives recovered, with 6 files; 0 were there already, 0 things could not be recovered" in said
    again = await db.fetch_all("SELECT zip_id, zip_name, folder_id, path FROM zip_ipfs_info ORDER BY zip_id")
    assert again == [{name: row[name] for name in again[0]} for row in rows]
    assert await console.pinner.pinning.work(rows[2]["zip_id"]) == Done()
    assert await db.fetch_all(FILES) == archived.files
    assert await db.fetch_all(ARCHIVES) == archived.archives


async def test_what_is_on_hold_comes_back_on_hold(archived: Archived, network_kubo: Kubo) -> None:
    """Its end is over when it comes back: nothing ends, for the hold is there with the archive."""
    db = archived.console.db
    rows = await db.fetch_all("SELECT zip_id, zip_name, folder_id, cid, size, dag_size, files FROM zip_ipfs_info")
    ends, files = datetime(2026, 1, 1, tzinfo=UTC), await db.fetch_all("SELECT file_id, zip_id FROM file_upload_info")
    of = {row["zip_id"]: row["file_id"] for row in files}
    one, two, three = (
        ArchiveRecord(**row, format=2, created=ends, ends=datetime.now(UTC) + timedelta(seconds=1)) for row in rows
    )
    holds = [
        Hold(hold_id=7, reason="case 7", made=ends),
        Hold(hold_id=9, file_id=of[two.zip_id], reason="8", made=ends),
    ]
    held = one.model_copy(update={"holds": holds[:1]}), two.model_copy(update={"holds": holds[1:], "more_holds": 3})
    async with Ipfs.open(network_kubo.rpc_url, 30) as network:
        cid = await archived.catalogue(*held, three, network=network)
        archived.lose_database()
        await db.execute("INSERT INTO hold_info (hold_id, file_id, reason) VALUES (7, 5000, 'set anew')")
        for known in (0, 3):
            said = await archived.recover("--catalogue-cid", cid, "--yes")
            assert f"{3 - known} archives recovered, with {6 - 2 * known} files; {known} were there already" in said
        await network.unpin(cid)
    found = await db.fetch_all("SELECT zip_id, file_id, reason, create_time FROM hold_info WHERE zip_id IS NOT NULL")
    then = ends.replace(tzinfo=None)
    assert [(row["zip_id"], row["file_id"], row["reason"][:6]) for row in found] == [
        (one.zip_id, None, "case 7"), (two.zip_id, of[two.zip_id], "8"), (two.zip_id, None, "3 hold")
    ]  # fmt: skip
    assert [row["create_time"] for row in found[:2]] == [then, then]
    await db.execute("UPDATE retention_info SET ends_at = %s, shred_due = UTC_TIMESTAMP(6)", (then,))
    await asking.allow(db)
    outcomes = [await archived.console.pinner.shredding.work(record.zip_id) for record in (one, two, three)]
    assert outcomes == [*[Wait(Reason("", "on hold"), after=86_400)] * 2, Done()]


async def test_archives_that_have_ended_are_counted_and_no_failure(archived: Archived, network_kubo: Kubo) -> None:
    db = archived.console.db
    rows = await db.fetch_all(f"SELECT {', '.join(RECORD)}, create_time FROM zip_ipfs_info")  # noqa: S608
    then = datetime(2026, 1, 1, tzinfo=UTC)
    one, *others = (
        ArchiveRecord(**{name: row[name] for name in RECORD}, format=2, created=row["create_time"].replace(tzinfo=UTC))
        for row in rows
    )
    await db.execute(
        "INSERT INTO retention_info (zip_id, ends_at, shredded_at) VALUES (%s, UTC_TIMESTAMP(6), UTC_TIMESTAMP(6))",
        (one.zip_id,),
    )
    async with Ipfs.open(network_kubo.rpc_url, 30) as network:
        ended = one.model_copy(update={"ends": then, "ended": then})
        cid = await archived.catalogue(ended, *others, network=network)
        said = await archived.recover("--rehearse", "--catalogue-cid", cid)
        assert (
            "rehearsed: 4 files would come back as they are, 0 are newer than the catalogue, 0 differ, 2 are of" in said
        )
        archived.lose_database()
        said = await archived.recover("--catalogue-cid", cid, "--cids", archived.listed, "--yes")
        await network.unpin(cid)
    assert "2 archives recovered, with 4 files; 0 were there already, 0 things could not be recovered" in said
    assert "1 had ended" in said


async def test_the_disk_alone_is_enough(archived: Archived) -> None:
    console = archived.console
    archived.lose_database()
    said = await archived.recover("--archives", "--yes")
    assert "3 archives recovered, with 6 files; 0 were there already, 0 things could not be recovered" in said
    assert "0 archives recovered, with 0 files; 3 were there already" in await archived.recover("--archives")
    for row in await console.db.fetch_all("SELECT zip_id FROM zip_ipfs_info"):
        assert await console.pinner.pinning.work(row["zip_id"]) == Done()
    assert await console.db.fetch_all(ARCHIVES) == archived.archives  # the same bytes give the same CIDs
    await archived.answers()


ENDS = datetime(2099, 1, 1, tzinfo=UTC)


async def bought_and_held(archived: Archived) -> list[ArchiveRecord]:
    """Return records of the archives, which have an end; the first was bought, and is on hold."""
    rows = await archived.console.db.fetch_all(f"SELECT {', '.join(RECORD)} FROM zip_ipfs_info ORDER BY folder_id")  # noqa: S608
    made = datetime(2026, 1, 1, tzinfo=UTC)
    purchase = Purchase(order_id=70, account="5F", term=2, block=3, extrinsic_hash="0xa", price="1", made=made)
    first, *others = (ArchiveRecord(**row, format=2, created=made, ends=ENDS) for row in rows)
    holds = [Hold(hold_id=4, reason="case 7", made=made)]
    return [first.model_copy(update={"purchase": purchase, "holds": holds}), *others]


async def test_the_catalogue_adds_purchase_end_and_hold_to_what_came_without_it(
    archived: Archived, network_kubo: Kubo
) -> None:
    db, records = archived.console.db, await bought_and_held(archived)
    async with Ipfs.open(network_kubo.rpc_url, 30) as network:
        cid = await archived.catalogue(*records, network=network)
        archived.lose_database()
        said = await archived.recover("--cids", archived.listed, "--yes")
        assert "without the catalogue nobody knows what was on hold" in said
        for completed in (3, 0):
            said = await archived.recover("--catalogue-cid", cid)
            assert ("3 that were there lacked what was found now" in said) == bool(completed)
            assert ("on hold again: hold 4 on archive" in said) == bool(completed)
        await network.unpin(cid)
    orders = await db.fetch_all("SELECT order_id, folder_id FROM order_info JOIN zip_ipfs_info USING (zip_id)")
    assert orders == [{"order_id": 70, "folder_id": 1}]
    assert await db.fetch_value("SELECT COUNT(*) FROM retention_info WHERE shred_due = ends_at") == 3
    assert await db.fetch_value("SELECT COUNT(*) FROM hold_info JOIN zip_ipfs_info USING (zip_id)") == 1


async def test_what_was_taken_up_from_the_disk_gets_its_cid_and_purchase_later(
    archived: Archived, network_kubo: Kubo
) -> None:
    """In its row, whichever source it is that knows them: it is not put on IPFS, nor bought, as if it were new."""
    console, db = archived.console, archived.console.db
    records, path = await bought_and_held(archived), await db.fetch_value("SELECT path FROM zip_ipfs_info LIMIT 1")
    async with Ipfs.open(network_kubo.rpc_url, 30) as network, Ipfs.open(archived.kubo.rpc_url, 30) as ours:
        cid = await archived.catalogue(*records, network=network)
        archived.lose_database()
        await archived.recover("--archives", "--yes")
        said = await archived.recover("--pins")
        assert "3 were there already, 0 things could not be recovered" in said
        assert "3 that were there lacked what was found now" in said
        assert await db.fetch_all(ARCHIVES) == archived.archives
        taken_up = await state(archived)
        assert taken_up == {**taken_up, "kept": 3, "dropped": 0, "pin": 3, "watch": 3, "order": 0, "not_ordered": 3}

        archived.lose_database()
        await archived.recover("--archives", "--yes")
        numbers = [row["zip_id"] for row in await db.fetch_all("SELECT zip_id FROM zip_ipfs_info ORDER BY folder_id")]
        for completed in (3, 0):
            said = await archived.recover("--catalogue-cid", cid)
            assert "0 archives recovered, with 0 files; 3 were there already, 0 things could not be recovered" in said
            assert ("3 that were there lacked" in said) == bool(completed)
        await network.unpin(cid)
        assert await db.fetch_all(ARCHIVES) == archived.archives
        assert (await state(archived))["not_ordered"] == 2
        orders = await db.fetch_all("SELECT order_id, zip_id, term, cid, status FROM order_info")
        assert orders == [{"order_id": 70, "zip_id": numbers[0], "term": 2, "cid": archived.cids[0], "status": 1}]
        held = await db.fetch_all("SELECT hold_id, zip_id, file_id, reason FROM hold_info")
        assert held == [{"hold_id": 4, "zip_id": numbers[0], "file_id": None, "reason": "case 7"}]
        found = await db.fetch_all("SELECT zip_id, ends_at, shred_due FROM retention_info ORDER BY zip_id")
        end = ENDS.replace(tzinfo=None)
        assert found == [{"zip_id": number, "ends_at": end, "shred_due": end} for number in sorted(numbers)]
        for number in numbers:
            assert await console.pinner.pinning.work(number) == Done()
        assert await db.fetch_all(ARCHIVES) == archived.archives

        # Of the first the row has neither CID nor, any more, a file: a dump from before it was bought and dropped.
        await db.execute("UPDATE zip_ipfs_info SET cid = NULL, status = 0, pin_due = UTC_TIMESTAMP(6)")
        await ours.unpin(archived.cids[0])
        await ours.collect_garbage()
        (console.vault.root / path).unlink()
        await archived.recover("--cids", archived.listed)
        after = await state(archived)
        assert after == {**after, "kept": 2, "dropped": 1, "restored": 0, "pin": 2, "watch": 3}


async def test_local_copies_are_taken_up_whichever_source_their_archives_come_from(archived: Archived) -> None:
    """Else nothing would name them, and our node, whose filestore reads them, would lose the archives with them."""
    console, db = archived.console, archived.console.db
    of = "SELECT path FROM zip_ipfs_info ORDER BY folder_id"
    paths = await db.fetch_all(of)
    archived.lose_database()
    await archived.recover("--cids", archived.listed, "--yes")
    assert await db.fetch_all(of) == paths
    await db.execute(
        "UPDATE zip_ipfs_info SET path = NULL, dropped_at = UTC_TIMESTAMP(6), restored_at = UTC_TIMESTAMP(6),"
        " pin_due = NULL, status = IF(folder_id = 3, 5, 0)"  # the third has ended
    )
    for completed in (2, 0):
        said = await archived.recover("--cids", archived.listed)
        assert "0 archives recovered, with 0 files; 3 were there already, 0 things could not be recovered" in said
        assert ("2 that were there lacked what was found now" in said) == bool(completed)
    assert await db.fetch_all(of) == [*paths[:2], {"path": None}]
    taken_up = await state(archived)
    assert taken_up == {**taken_up, "kept": 2, "dropped": 1, "restored": 1, "pin": 2}
    await db.execute("UPDATE zip_ipfs_info SET status = 0")
    assert "1 that were there lacked what was found now" in await archived.recover("--archives")
    for row in await db.fetch_all("SELECT zip_id FROM zip_ipfs_info"):
        assert await console.pinner.pinning.work(row["zip_id"]) == Done()
    assert await db.fetch_all(ARCHIVES) == archived.archives


async def test_what_is_gone_from_the_disk_comes_from_the_network_though_our_node_believes_to_have_it(
    archived: Archived,
) -> None:
    """Its filestore refers to files that are lost: it asks nobody for their blocks. Of the third a part is there."""
    console, db, (_, _, third) = archived.console, archived.console.db, archived.cids
    paths = [row["path"] for row in await db.fetch_all("SELECT path FROM zip_ipfs_info ORDER BY folder_id")]
    archived.lose_database()
    for path in paths:
        (console.vault.root / beside(path)).unlink()
        archive = console.vault.root / path
        archive.unlink() if path != paths[2] else archive.rename(archive.with_suffix(".other"))
    (console.vault.root / paths[2]).with_suffix(".other").rename(console.vault.root / paths[2])
    said = await archived.recover("--cids", archived.listed, "--yes", code=1)
    assert "2 archives recovered, with 4 files; 0 were there already, 1 things could not be recovered" in said
    assert f"not recovered: {third}: " in said
    assert "our IPFS node has some of it whole, and some not any more" in said
    taken_up = await state(archived)
    assert taken_up == {**taken_up, "kept": 0, "dropped": 2, "restored": 0}
    async with Ipfs.open(archived.kubo.rpc_url, 30) as ours:
        assert {cid async for cid in ours.pins()} & set(archived.cids) == {third}


async def test_uploads_are_kept_beside_archives_that_are_not_proven(archived: Archived) -> None:
    console, db, root = archived.console, archived.console.db, archived.console.vault.root
    uploads = await db.fetch_all(
        "SELECT path, file_id, file_name, size, sha256, folder_id, create_time FROM file_upload_info ORDER BY file_id"
    )
    assert tags.write(root, uploads) == []
    (root / uploads[-1]["path"]).write_bytes(b"rotten")
    archived.lose_database()
    await archived.recover("--cids", archived.listed, "--yes")
    of = {row["folder_id"]: row["zip_id"] for row in await db.fetch_all("SELECT folder_id, zip_id FROM zip_ipfs_info")}
    await prove(db, of[1])
    for kept in (3, 0):
        said = await archived.recover("--received")
        assert "0 uploads adopted under their old numbers" in said
        assert "6 were there already, 0 are not what they were, 0 were left" in said
        assert ("3 of those that were there are kept beside archives" in said) == bool(kept)
    paths = await db.fetch_all("SELECT path FROM file_upload_info ORDER BY file_id")
    assert [row["path"] for row in paths] == [None, None, *(row["path"] for row in uploads[2:5]), None]
    dropped = "SELECT zip_id FROM zip_ipfs_info WHERE uploads_dropped_at IS NOT NULL"
    assert await db.fetch_all(dropped) == [{"zip_id": of[1]}]
    for zip_id in (of[2], of[3]):  # and go as others do: here as soon as our node pins the archive
        assert await console.pinner.pinning.work(zip_id) == Done()
        assert await console.pinner.dropping.work(zip_id) == Done()
    assert [path for path in uploads[2:5] if (root / path["path"]).exists()] == []


async def test_a_rehearsal_compares_and_changes_nothing(archived: Archived) -> None:
    console, db = archived.console, archived.console.db
    name = console.environment["ROADVAULT_DATABASE_URL"].rpartition("/")[2]
    before = await archived.rows()
    listed = ("--rehearse", "--cids", archived.listed)
    assert "rehearsed: 6 files would come back as they are, 0 are newer than the catalogue, 0 differ" in (
        await archived.recover(*listed)
    )
    assert await archived.rows() == before

    await db.execute("UPDATE file_upload_info SET sha256 = REPEAT('0', 64) WHERE file_id = 2")
    await db.execute("UPDATE file_upload_info SET zip_id = NULL WHERE file_id = 3")
    archived.listed.write_text("\n".join(archived.cids[:2]))
    out = await archived.recover(*listed, code=1)
    assert "differs: file 2: sha256 is " in out
    assert "differs: file 3 was recovered, and is in no archive of the database" in out
    assert "differs: file 5, of archive 3, is missing" in out
    assert "rehearsed: 2 files would come back as they are, 0 are newer than the catalogue, 4 differ" in out

    with archived.mariadb.server.connect() as connection, connection.cursor() as cursor:
        cursor.execute("SHOW DATABASES LIKE %s", (f"{name}%",))
        assert [row[0] for row in cursor.fetchall()] == [name]
        async with rehearsal.scratch(console.environment["ROADVAULT_DATABASE_URL"]) as scratch:
            told = await console.refuses("recover", *listed)
            assert f"another rehearsal is under way in {name}: wait for its end" in told
            assert await scratch.fetch_all("SELECT 1 FROM zip_ipfs_info") == []  # nobody dropped it
        cursor.execute(f"CREATE DATABASE {name}_rehearsal")
        cursor.execute(f"CREATE TABLE {name}_rehearsal.precious (one INT)")
        assert f"there is a database {name}_rehearsal, which is no rehearsal's" in await console.refuses(
            "recover", *listed
        )
        cursor.execute(f"DROP DATABASE {name}_rehearsal")


@pytest.mark.parametrize("like_crusts", [False, True])
async def test_what_a_pinning_service_lists_is_recovered(
    archived: Archived, monkeypatch: pytest.MonkeyPatch, *, like_crusts: bool
) -> None:
    service = PinningService(like_crusts=like_crusts)
    listed = [*archived.cids, *(f"bafkreistranger{number}" for number in range(5))]
    for number, cid in enumerate(listed):
        body = {"cid": cid, "name": cid, "origins": [], "meta": {}}
        service._take(body)["created"] = f"2026-11-27T08:00:00.{number // 2:03}Z"  # two in each moment
    service.set_status("pinned")
    async with site(service.routes()) as url:
        console = archived.console
        console.environment |= {"ROADVAULT_PINNING_URL": url, "ROADVAULT_PINNING_TOKEN": TOKEN}
        with monkeypatch.context() as patched:
            patched.setattr(pinning, "_PAGE", 3)
            settings = OperatorSettings.model_validate(
                {"database_url": "mysql://h/n", "pinning_url": url, "pinning_token": TOKEN}
            )
            assert sorted(await pinning.listed(settings)) == sorted(listed)
        await archived.lose_machine()
        said = await archived.recover("--pinning-service")
        assert "3 archives recovered, with 6 files; 0 were there already, 0 things could not be recovered, 5" in said
        assert await console.db.fetch_all(FILES) == archived.files
        console.environment["ROADVAULT_PINNING_TOKEN"] = "another"
        said = await archived.recover("--pinning-service", code=1)
        assert "not recovered: the pinning service answers 401" in said


async def test_archives_that_have_an_end_come_back_with_the_keyring_alone(
    archived: Archived, network_kubo: Kubo, tmp_path: Path
) -> None:
    console, ring = archived.console, tmp_path / "roadvault.keyring"
    settings = {**console.settings, "retention_days": 400, "keyring_paths": str(ring)}
    keys = MasterKeys(SecretStr(console.environment["ROADVAULT_MASTER_KEYS"]))
    packer = Packer(PackerSettings.model_validate(settings), console.db, console.bus, console.vault, keys)
    zip_id = await replace(console, packer=packer).archive()
    assert await console.pinner.pinning.work(zip_id) == Done()
    (row,) = await console.db.fetch_all("SELECT cid FROM zip_ipfs_info WHERE zip_id = %s", (zip_id,))
    archived.cids.append(row["cid"])
    async with Ipfs.open(network_kubo.rpc_url, 30) as network:
        await network.fetch_and_pin(row["cid"], lambda: None)
    archived.listed.write_text("".join(f"{cid}\n" for cid in archived.cids))
    archived.files = await console.db.fetch_all(FILES)
    await archived.lose_machine()
    assert "has an end" in await archived.recover("--cids", archived.listed, code=1)
    # The packer of the new system tends a keyring whose keys its database does not have: nothing else has them now.
    held = ring.read_text()
    packer = Packer(PackerSettings.model_validate(settings), console.db, console.bus, console.vault, keys)
    await packer.periods.tend()
    assert (UNKNOWN._value.get(), ring.read_text()) == (1, held)
    archived.listed.write_text(archived.cids[0])  # none that they open: the period keys come back by themselves
    await archived.recover("--cids", archived.listed, "--keyring", ring)
    assert [one.id for one in await periods.living(console.db, keys)] == [*period_keys(held, keys)]
    await packer.periods.tend()
    assert (UNKNOWN._value.get(), ring.read_text()) == (0, held)
    archived.listed.write_text("".join(f"{cid}\n" for cid in archived.cids))
    said = await archived.recover("--cids", archived.listed, "--keyring", ring)
    assert "1 archives recovered, with 2 files; 3 were there already" in said
    assert await console.db.fetch_all(FILES) == archived.files
    (end,) = await console.db.fetch_all(
        "SELECT ends_at, period_key = master_key AS opens FROM retention_info JOIN zip_ipfs_info USING (zip_id)"
    )
    assert end == {"ends_at": None, "opens": 1}  # the list does not say when: it is kept until somebody does
    await archived.answers()
    assert "--keyring" in (await console.run("recover", "--cids", archived.listed, "--keyring", tmp_path / "none"))[2]


async def test_a_local_copy_that_can_not_be_opened_stays_until_it_is_opened_or_given_up(
    archived: Archived, tmp_path: Path
) -> None:
    console, ring = archived.console, tmp_path / "roadvault.keyring"
    settings = {**console.settings, "retention_days": 400, "keyring_paths": str(ring)}
    keys = MasterKeys(SecretStr(console.environment["ROADVAULT_MASTER_KEYS"]))
    packer = Packer(PackerSettings.model_validate(settings), console.db, console.bus, console.vault, keys)
    zip_id = await replace(console, packer=packer).archive()  # the disk alone has it
    path = str(await console.db.fetch_value("SELECT path FROM zip_ipfs_info WHERE zip_id = %s", (zip_id,)))
    damaged = console.vault.root / "archives/90-saved.7z.enc"
    damaged.write_bytes(b"footage")
    archived.lose_database()

    async def swept() -> None:
        console.packer._sweeper._settings.orphan_hours = console.packer._sweeper._settings.quarantine_days = 1e-12
        for _ in range(3):
            await console.packer.sweep_orphans()

    told = await archived.recover("--archives", "--received", "--yes", code=1)
    assert "not recovered: archives/90-saved.7z.enc: it has no label beside it" in told
    assert told.count("it stays where it is, until a later run opens it") == 2
    await swept()
    assert (console.vault.root / path).exists()
    assert (console.vault.root / beside(path)).exists()
    assert "archives/90-saved.7z.enc" in await console.says("status")
    assert await left_out.unread(console.db) is None  # the catalogue is published all the same
    said = await archived.recover("--archives", "--keyring", ring, code=1)
    assert "1 archives recovered, with 2 files" in said
    assert await console.db.fetch_value("SELECT COUNT(*) FROM zip_ipfs_info WHERE path = %s", (path,)) == 1
    (row,) = await left_out.listed(console.db, 9)
    assert (row["cid"], row["kind"]) == ("archives/90-saved.7z.enc", "copy")
    await console.says("recover", "--without", row["cid"])
    await swept()
    assert ((console.vault.root / path).exists(), damaged.exists()) == (True, False)
