"""Database and data directory belong together, or nothing is served and nothing removed."""

import asyncio
import os
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from chaos.crowd import upload
from dumps import dump, restore
from servers_operator import Console
from servers_services import Service, Services

from roadvault_common.errors import IdentityMismatch, Outage
from roadvault_common.files import identity_store as store
from roadvault_common.files.identity import FILE, Identity, NoDirectory, Stamp, adopt, read_stamp
from roadvault_common.files.numbers import MARGIN, MOST_A_SECOND, keep_ahead
from roadvault_common.files.sweep import Sweeper
from roadvault_common.files.vault import Vault
from roadvault_common.retention import asking
from roadvault_common.sql.db import Database
from roadvault_operator.recover.takeover import Takeover
from roadvault_pinner.catalogue.catalogue_store import CatalogueStore


@pytest.fixture
def vault(data_dir: Path) -> Vault:
    made = Vault(data_dir)
    made.prepare()
    return made


def files(root: Path) -> set[Path]:
    return {path for name in ("received", "archives") for path in (root / name).rglob("*") if path.is_file()}


async def readyz(service: Service, wanted: int) -> dict[str, Any]:
    """Wait until /readyz has this status; return its checks."""
    async with asyncio.timeout(60), aiohttp.ClientSession() as http:
        while True:
            try:
                async with http.get(f"{service.url}/readyz") as response:
                    checks: dict[str, Any] = (await response.json())["checks"]
                    if response.status == wanted and checks["identity"] != "not yet seen":
                        return checks
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(0.05)


@pytest.mark.timeout(180)
async def test_after_a_restored_dump_nothing_is_served_or_swept_until_it_is_adopted(
    services: Services, console: Console, database_url: str
) -> None:
    db, root = console.db, console.vault.root
    ingest = services("ingest")
    await ingest.start()
    mark = Identity(db, root, moves_on=True)
    async with aiohttp.ClientSession() as http:
        before = await upload(http, ingest.url, os.urandom(1000))
        await mark.move_on()
        older = await dump(database_url)
        lost = await upload(http, ingest.url, os.urandom(1000))
        await mark.move_on()
        kept, path = files(root), await _path(db, lost)
        await db.execute("UPDATE identity_info SET mark = mark - 1")
        assert (await ingest.ended(60))[0] == 1
        assert "IdentityMismatch: the database went back in time" in ingest.log.read_text()

        await restore(database_url, older)
        # Their sweeps have no patience at all: whatever they may touch is moved at once.
        ingest, packer = (services(name, orphan_hours=1e-9) for name in ("ingest", "packer"))
        await asyncio.gather(ingest.launch(), packer.launch())
        for service in (ingest, packer):
            said = (await readyz(service, 503))["identity"]
            assert "went back in time: the data directory has seen it at mark" in said
            assert "`roadvault identity adopt`" in said
        async with http.post(f"{ingest.url}/api/open/upload", data=b"x") as response:
            assert response.status == 503
        async with http.get(f"{ingest.url}/") as response:
            assert response.status == 503
        async with http.get(f"{packer.url}/metrics") as response:
            assert "roadvault_identity_mismatch 1.0" in await response.text()
        assert files(root) == kept

        code, out, _ = await console.run("identity")
        assert (code, "went back in time" in out, str(lost) in out) == (1, True, True)
        code, out, _ = await console.run("identity", "adopt")
        assert (code, "`roadvault identity adopt --yes` accepts this database" in out) == (1, True)
        assert "went back in time" in (await readyz(ingest, 503))["identity"]
        assert "services go on by themselves" in await console.says("identity", "adopt", "--yes")
        for service in (ingest, packer):
            await readyz(service, 200)
        assert "they belong together" in await console.says("identity")
        after = await upload(http, ingest.url, os.urandom(1000))
    assert (before, lost) == (1, 2)
    assert after > lost + MARGIN - 1
    # The upload that no row names is in quarantine, whole.
    async with asyncio.timeout(30):
        while not (found := [one for one in console.vault.quarantine.entries("received") if one.origin == path]):
            await asyncio.sleep(0.05)
    assert [one.size for one in found] == [1000]


async def test_the_numbers_of_a_database_go_on_behind_what_the_directory_knows(db: Database, vault: Vault) -> None:
    await Identity(db, vault.root).settle()
    stamp = read_stamp(vault.root)
    assert stamp is not None
    given_out = dict(zip(store.COUNTED.values(), (70, 7, 6, 50, 5), strict=True))
    (vault.root / FILE).write_text(stamp.model_copy(update={"mark": 9, "given_out": given_out}).model_dump_json())
    with pytest.raises(IdentityMismatch, match="went back in time"):
        await Identity(db, vault.root).look()
    adopted = await adopt(db, vault.root)
    await Identity(db, vault.root).look()
    assert (adopted.mark, adopted.identity != stamp.identity) == (10, True)
    columns = {
        "file_upload_info": "file_name, file_type, size, sha256, folder_id",
        "folder_info": "close_at",
        "zip_ipfs_info": "folder_id, zip_name, `key`, iv, size, files",
        "download_info": "file_id, cb_url",
        "order_info": "zip_id, account, cid, declared_size, nonce, era_birth, era_death, extrinsic_hash, extrinsic,"
        " price",
    }
    for table, names in columns.items():
        values = ", ".join("NOW()" if name == "close_at" else "1" for name in names.split(", "))
        sql = f"INSERT INTO {table} ({names}) VALUES ({values})"  # noqa: S608 - names in this test
        new = await db.transact(lambda tx, sql=sql: tx.insert(sql))  # type: ignore[misc]
        assert new == given_out[store.COUNTED[table]] + MARGIN + 1
    # The mark moves on with them, and stands still while nothing is recorded.
    for _ in range(2):
        await Identity(db, vault.root, moves_on=True).move_on()
        stamp = read_stamp(vault.root)
        assert stamp is not None
        assert (stamp.mark, stamp.given_out["file_id"]) == (11, 70 + MARGIN + 1)


async def test_numbers_that_were_left_out_stay_known_to_the_directory_and_the_catalogue(
    db: Database, vault: Vault
) -> None:
    """Else a second loss would begin with numbers that were given out before the first."""
    await Identity(db, vault.root).settle()
    await _row(db, "received/00/a")
    await store.go_on_behind(db, "file_upload_info", 5000)
    await Identity(db, vault.root, moves_on=True).move_on()
    stamp = read_stamp(vault.root)
    assert stamp is not None
    assert (stamp.given_out["file_id"], (await CatalogueStore(db).head())[0].file_id) == (5000, 5000)


async def test_several_services_that_start_at_once_make_one_identity(database_url: str, vault: Vault) -> None:
    async def start() -> str:
        async with Database.open(database_url, size=2) as db:
            await Identity(db, vault.root).settle()
            stamp, row = read_stamp(vault.root), await store.read(db)
            assert stamp is not None
            assert row is not None
            assert row["identity"] == stamp.identity
            return stamp.identity

    assert len(set(await asyncio.gather(*(start() for _ in range(6))))) == 1
    assert [path.name for path in vault.root.glob(f"{FILE}*")] == [FILE]


async def _path(db: Database, file_id: int) -> str:
    row = await db.fetch_one("SELECT path FROM file_upload_info WHERE file_id = %s", (file_id,))
    assert row is not None
    return str(row["path"])


async def _row(db: Database, path: str | None) -> None:
    await db.execute("INSERT IGNORE INTO folder_info (folder_id, status, close_at) VALUES (1, 0, UTC_TIMESTAMP(6))")
    await db.execute(
        "INSERT INTO file_upload_info (file_name, file_type, size, sha256, path, folder_id)"
        " VALUES ('a', '', 1, '', %s, 1)",
        (path,),
    )


async def test_an_installation_from_before_is_adopted_and_a_wrong_mount_is_not(db: Database, vault: Vault) -> None:
    path, other = vault.root / "received/00/a", "a" * 32

    async def refused(why: str) -> None:
        with pytest.raises(IdentityMismatch, match=why):
            await Identity(db, vault.root).settle()

    async def forget() -> None:
        await db.execute("DELETE FROM identity_info")
        (vault.root / FILE).unlink(missing_ok=True)

    path.write_bytes(b"an upload")
    await refused("the database has nothing of the store main")  # an empty schema beside files
    await _row(db, "received/00/b")
    await refused("is it mounted")  # rows, and nothing of what they name
    await _row(db, "received/00/a")
    await Identity(db, vault.root).settle()  # from before there was an identity
    await Identity(db, vault.root, moves_on=True).move_on()
    stamp = read_stamp(vault.root)
    assert stamp is not None
    assert (stamp.mark, stamp.given_out["file_id"]) == (1, 2)

    (vault.root / FILE).unlink()
    await refused("it is not this database's, or not mounted")
    (vault.root / FILE).write_text(stamp.model_copy(update={"identity": other}).model_dump_json())
    await refused(f"belongs to the database {other}")
    (vault.root / FILE).write_text("{}")
    await refused("can't be understood")
    await db.execute("UPDATE identity_info SET mark = 3")
    (vault.root / FILE).write_text(stamp.model_dump_json())
    await refused("an old copy")
    await db.execute("DELETE FROM identity_info")
    await refused("the data directory has an identity, the database has none")

    await forget()  # a process was killed between the two writes
    await store.make(db, other)
    await Identity(db, vault.root).settle()
    assert read_stamp(vault.root) == Stamp(identity=other, mark=0)
    await forget()  # all local copies have gone
    await db.execute("UPDATE file_upload_info SET path = NULL")
    path.unlink()
    await Identity(db, vault.root).settle()
    await forget()  # a reader makes nothing, and on a first start it waits for who does
    reader = Identity(db, vault.root, only_looks=True)
    with pytest.raises(Outage, match="no identity yet"):
        await reader.settle()
    await store.make(db, other)
    with pytest.raises(Outage, match="no identity yet"):
        await reader.settle()
    await db.execute("UPDATE identity_info SET mark = 1")
    with pytest.raises(IdentityMismatch, match="the data directory has no identity"):
        await reader.settle()
    assert not (vault.root / FILE).exists()


async def test_no_service_begins_with_a_database_that_is_being_recovered_into(db: Database, vault: Vault) -> None:
    for moment in ("under way", "and the directory has another's identity"):
        await Takeover(db, vault.root).begin({"file_id": 7})
        for only_looks in (False, True):
            with pytest.raises(IdentityMismatch, match="a recovery into this database is under way, or was cut off"):
                await Identity(db, vault.root, only_looks=only_looks).settle()
        with pytest.raises(IdentityMismatch, match="was cut off"):
            await NoDirectory(db).settle()
        await Takeover(db, vault.root).end()
        await Identity(db, vault.root).settle()
        await NoDirectory(db).look()
        stamp = read_stamp(vault.root)
        assert stamp is not None, moment
        await db.execute("DELETE FROM identity_info")  # lost again


async def test_where_nobody_knows_what_was_given_out_numbers_go_on_by_the_clock(db: Database, vault: Vault) -> None:
    given = []
    for _ in range(2):  # the machine is lost again before a catalogue was published
        await Takeover(db, vault.root).begin({})
        await _row(db, "received/00/a")
        given.append(await db.fetch_value("SELECT file_id FROM file_upload_info"))
        await Takeover(db, vault.root).end()
        await db.execute("DELETE FROM identity_info")
        await db.execute("TRUNCATE TABLE file_upload_info")
        (vault.root / FILE).unlink()
    assert given[1] > given[0] > MARGIN + 28_000_000_000  # 330 days of 2026


async def test_recovering_where_services_have_begun_raises_numbers_that_a_source_knows_to_be_higher(
    db: Database, vault: Vault
) -> None:
    await Identity(db, vault.root).settle()
    await _row(db, "received/00/a")
    await Takeover(db, vault.root).begin({"file_id": 1})
    await _row(db, "received/00/b")  # nothing that it did not know
    await Takeover(db, vault.root).begin({"file_id": 70, "folder_id": 7})
    await _row(db, "received/00/c")
    await Takeover(db, vault.root).end()
    await Identity(db, vault.root).settle()
    files = await db.fetch_all("SELECT file_id FROM file_upload_info ORDER BY file_id")
    assert [row["file_id"] for row in files] == [1, 2, 70 + MARGIN + 1]
    assert await asking.in_doubt(db)


async def test_a_sweep_looks_at_the_identity_before_it_moves_anything(console: Console) -> None:
    stray = console.vault.root / "archives/9-nobodys.7z.enc"
    stray.write_bytes(b"good, in the database that is lost")
    console.packer._sweeper._settings.orphan_hours = 1e-12
    await console.packer.sweep_orphans()
    real, looks = Sweeper._find, 0

    async def find(sweeper: Sweeper, most: int) -> object:
        nonlocal looks
        looks += 1
        found = await real(sweeper, most)
        await console.db.execute("DELETE FROM identity_info")  # restored while the sweep walks
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Sweeper, "_find", find)
        with pytest.raises(IdentityMismatch):
            await console.packer.sweep_orphans()
    with pytest.raises(IdentityMismatch):
        await console.packer.sweep_orphans()
    assert (looks, stray.exists()) == (1, True)


DAY = 86_400


async def test_a_machine_that_is_yesterdays_in_all_its_parts_gives_no_number_twice(
    services: Services, console: Console, database_url: str
) -> None:
    stamp = console.vault.root / FILE
    ingest = services("ingest")
    await ingest.start()
    async with aiohttp.ClientSession() as http:
        await upload(http, ingest.url, os.urandom(1000))
        await Identity(console.db, console.vault.root, moves_on=True).move_on()
        dumped, stamped = await dump(database_url), stamp.read_bytes()
        since = [await upload(http, ingest.url, os.urandom(1000)) for _ in range(3)]
        ingest.terminate()
        await ingest.ended(60)
        await restore(database_url, dumped)
        stamp.write_bytes(stamped)
        await console.db.execute("UPDATE identity_info SET seen_at = seen_at - INTERVAL 1 DAY")
        ingest = services("ingest")
        await ingest.start()
        after = await upload(http, ingest.url, os.urandom(1000))
        ingest.terminate()
        await ingest.ended(60)
        ingest = services("ingest")  # that was a moment: nothing is left out for it
        await ingest.start()
        assert (since, await upload(http, ingest.url, os.urandom(1000))) == ([2, 3, 4], after + 1)
    assert DAY < after < (DAY + 3600) * MOST_A_SECOND


async def test_after_a_time_without_services_numbers_go_on_once_however_many_start(
    db: Database, database_url: str, vault: Vault
) -> None:
    async def start() -> None:
        async with Database.open(database_url, size=2) as mine:
            await NoDirectory(mine).look()

    await Identity(db, vault.root).settle()
    before = await store.given_out(db)
    for unseen in ("NULL", "UTC_TIMESTAMP(6) - INTERVAL 100 SECOND", "UTC_TIMESTAMP(6) + INTERVAL 1 YEAR"):
        await db.execute(f"UPDATE identity_info SET seen_at = {unseen}")  # noqa: S608 - of this test
        await keep_ahead(db)
        assert await store.given_out(db) == before
        seen = await store.unseen(db)
        assert seen is not None
        assert seen.seconds in range(10)
    await db.execute("UPDATE identity_info SET seen_at = UTC_TIMESTAMP(6) - INTERVAL 1 DAY")
    await asyncio.gather(*(start() for _ in range(6)))
    for number in (await store.given_out(db)).values():
        assert DAY <= number < DAY + 60  # none was given out before: one for each second
    # What is brought back before any service runs goes by it, too.
    for begin in (lambda: adopt(db, vault.root), lambda: Takeover(db, vault.root).begin({})):
        there = await store.given_out(db)
        await db.execute("UPDATE identity_info SET seen_at = UTC_TIMESTAMP(6) - INTERVAL 1 DAY")
        await begin()
        for name, number in (await store.given_out(db)).items():
            assert number >= there[name] + DAY


async def test_a_busy_system_leaves_more_numbers_out_but_never_more_than_a_thousand_a_second(
    db: Database, vault: Vault
) -> None:
    await Identity(db, vault.root).settle()
    await store.go_on_behind(db, "file_upload_info", 864_000)
    await store.go_on_behind(db, "folder_info", 864_000_000)
    await db.execute(
        "UPDATE identity_info SET create_time = UTC_TIMESTAMP(6) - INTERVAL 2 DAY,"
        " seen_at = UTC_TIMESTAMP(6) - INTERVAL 1 DAY"
    )
    await keep_ahead(db)
    there = await store.given_out(db)
    assert there["file_id"] == pytest.approx(864_000 + DAY * 20 * 10, rel=0.01)
    assert there["folder_id"] == pytest.approx(864_000_000 + DAY * MOST_A_SECOND, rel=0.01)


async def test_numbers_are_left_out_all_the_same_after_a_kill_in_the_midst(
    db: Database, vault: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def killed(db: Database, table: str, number: int) -> None:
        if table == "zip_ipfs_info":
            raise ArithmeticError
        await go_on_behind(db, table, number)

    go_on_behind = store.go_on_behind
    await Identity(db, vault.root).settle()
    await db.execute("UPDATE identity_info SET seen_at = UTC_TIMESTAMP(6) - INTERVAL 1 DAY")
    with monkeypatch.context() as patched, pytest.raises(ArithmeticError):
        patched.setattr(store, "go_on_behind", killed)
        await keep_ahead(db)
    await keep_ahead(db)
    assert all(number >= DAY for number in (await store.given_out(db)).values())
