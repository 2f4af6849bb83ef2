"""`roadvault store`: stores are listed, drained, written off with exactly what is lost, and taken back."""

import asyncio
import csv
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import aiohttp
import pytest
from download_rows import download_row
from evidence_rows import prove
from rich.progress import Progress
from servers_operator import Console
from servers_pages import Office
from servers_services import Services
from tus_requests import TYPE, Client
from yarl import URL

from roadvault_common.errors import IdentityMismatch
from roadvault_common.files.identity import Identity
from roadvault_common.files.vault import Vault
from roadvault_common.sql.db import Database, Row, Transaction
from roadvault_common.videos import pictures
from roadvault_common.work import batches, reasons
from roadvault_common.work.outcome import Done
from roadvault_common.work.stages import WATCH
from roadvault_crust_orderer.markets.market import FileInfo, Head
from roadvault_crust_orderer.proof.evidence_store import counted
from roadvault_crust_orderer.store import OrdererStore
from roadvault_crust_orderer.watching.watching_store import Look, Seen, WatchingStore
from roadvault_ingest.pages.words import LANGUAGES
from roadvault_ingest.problems import Draining
from roadvault_operator.stores import draining, report
from roadvault_operator.stores.losing import Losing

SOUTH = "south"
T = TypeVar("T")


async def south(db: Database) -> None:
    await db.execute("INSERT INTO store_info (name, heard_at) VALUES (%s, UTC_TIMESTAMP(6))", (SOUTH,))
    await db.execute("INSERT INTO picture_info (one) SELECT number FROM store_info WHERE name = %s", (SOUTH,))


async def archive_row(db: Database, zip_id: int) -> Row:
    (row,) = await db.fetch_all(
        "SELECT zip.*, (SELECT COUNT(*) FROM lost_zip_info WHERE zip_id = zip.zip_id) AS lost FROM zip_ipfs_info AS zip"
        " WHERE zip_id = %s",
        (zip_id,),
    )
    return row


async def files_of(db: Database, zip_id: int) -> set[int]:
    rows = await db.fetch_all("SELECT file_id FROM file_upload_info WHERE zip_id = %s", (zip_id,))
    return {row["file_id"] for row in rows}


class Estate:
    """A store with a bit of everything: archives by how far they have come, files that wait, requests, an upload."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.db = console.db
        self.archives: dict[str, int] = {}
        self.loose: set[int] = set()
        self.requests: dict[str, int] = {}

    async def fill(self) -> None:
        for name in ("packed", "pinned", "ordered", "held", "proven", "dropped"):
            self.archives[name] = await self.console.archive()
        for name in ("pinned", "ordered", "held", "proven", "dropped"):
            assert await self.console.pinner.pinning.work(self.archives[name]) == Done()
        await self.db.execute(
            "INSERT INTO order_info (zip_id, term, account, status, cid, declared_size, nonce, era_birth, era_death,"
            " extrinsic_hash, extrinsic, price, in_flight) SELECT zip_id, 1, '5F', 1, cid, 1, zip_id, 1, 2, zip_id, '',"
            " 1, NULL FROM zip_ipfs_info WHERE zip_id IN (%s, %s)",
            (self.archives["ordered"], self.archives["held"]),
        )
        await self.db.execute(
            "UPDATE zip_ipfs_info SET watch_due = UTC_TIMESTAMP(6) WHERE zip_id IN (%s, %s)",
            (self.archives["ordered"], self.archives["held"]),
        )
        await self.db.execute("UPDATE zip_ipfs_info SET replicas = 3 WHERE zip_id = %s", (self.archives["held"],))
        for name in ("proven", "dropped"):
            await prove(self.db, self.archives[name])
        assert await self.console.pinner.dropping.work(self.archives["dropped"]) == Done()
        folder = await self.console.file()
        assert folder == await self.console.file()
        rows = await self.db.fetch_all("SELECT file_id FROM file_upload_info WHERE folder_id = %s", (folder,))
        self.loose = {row["file_id"] for row in rows}
        aside = min(self.loose)
        await self.db.execute(
            "INSERT INTO set_aside_info (file_id, reason) VALUES (%s, 'it rotted [damaged]')", (aside,)
        )
        await self.db.execute(
            "INSERT INTO upload_info (upload_id, path, size, came, metadata, held_until, expires_at) VALUES"
            " (REPEAT('a', 32), 'received/00/a', 100, 60, 'filename YS5tcDQ=', UTC_TIMESTAMP(6),"
            " UTC_TIMESTAMP(6) + INTERVAL 1 DAY)"
        )
        await self.db.execute(
            "INSERT INTO upload_key_info (upload_key, path, file_id, expires_at)"
            " SELECT file_id, path, file_id, UTC_TIMESTAMP(6) + INTERVAL 1 DAY FROM file_upload_info WHERE path > ''"
        )
        for name, zip_id in (("lost", self.archives["packed"]), ("held", self.archives["held"])):
            await self._request(f"{name} fetching", zip_id, "fetch_due = UTC_TIMESTAMP(6), fetch_token = 'x'")
            extracted = "path = CONCAT('downloads/', download_id), expire_due = UTC_TIMESTAMP(6) + INTERVAL 1 HOUR"
            await self._request(f"{name} calling", zip_id, f"{extracted}, status = 1, callback_due = UTC_TIMESTAMP(6)")
            linked = "status = 2, link_expires_at = UTC_TIMESTAMP(6) + INTERVAL 1 HOUR"
            await self._request(f"{name} linked", zip_id, f"{extracted}, {linked}")
        await self._request("over", self.archives["held"], "status = 4")

    async def _request(self, name: str, zip_id: int, values: str) -> None:
        file_id = min(await files_of(self.db, zip_id))
        await self.db.execute("INSERT INTO download_info (file_id, cb_url) VALUES (%s, '')", (file_id,))
        self.requests[name] = await self.db.fetch_value("SELECT MAX(download_id) FROM download_info")
        await self.db.execute(f"UPDATE download_info SET {values} WHERE download_id = {self.requests[name]}")  # noqa: S608

    async def lost(self) -> set[int]:
        archives = [await files_of(self.db, self.archives[name]) for name in ("packed", "pinned", "ordered")]
        return self.loose.union(*archives)


@pytest.fixture
async def estate(console: Console) -> Estate:
    made = Estate(console)
    await made.fill()
    await south(made.db)
    return made


async def test_stores_are_listed_with_what_they_have_in_hand(estate: Estate) -> None:
    told = await estate.console.tells("store", "list")
    first, second = told["tables"]["stores"]
    assert (first["store"], first["state"], second["store"], second["state"]) == ("main", "open", SOUTH, "open")
    hand, none = told["tables"]["in_hand"]
    assert (hand["closed"], hand["files"], hand["archives"], hand["requests"]) == (1, 2, 5, 2)
    assert (hand["extractions"], hand["uploads"], hand["set_aside"]) == (4, 1, 1)
    assert {value for name, value in none.items() if name != "store"} == {0}


async def test_exactly_what_the_network_had_not_is_lost_with_a_store_and_the_rest_moves(
    estate: Estate, tmp_path: Path
) -> None:
    console, db, archives = estate.console, estate.db, estate.archives
    lost, list_at = await estate.lost(), tmp_path / "lost.csv"
    before = await db.fetch_all("SELECT * FROM zip_ipfs_info")
    assert "Add --yes" in (await console.run("store", "lost", "main"))[1].replace("\n", " ")
    assert before == await db.fetch_all("SELECT * FROM zip_ipfs_info")
    assert "there is no store" in await console.refuses("store", "lost", "north", "--yes")
    told = await console.tells("store", "lost", "main", "--yes", "--report", list_at)
    facts = told["facts"]
    assert (facts["files"], facts["uploads"], facts["perhaps"], facts["to"]) == (len(lost), 1, 2, SOUTH)
    with list_at.open(newline="") as file:
        *files, upload = csv.DictReader(file)
    assert {int(one["fileID"]) for one in files} == lost
    assert (upload["fileID"], upload["name"], upload["size"]) == ("", "a.mp4", "100")
    assert {one["why"].partition(": ")[2] for one in files} == {
        "received, not packed", "it had been set aside: it rotted", "packed, not on IPFS", "on IPFS, not ordered",
        "ordered, and no replica was seen",
    }  # fmt: skip
    rows = {name: await archive_row(db, zip_id) for name, zip_id in archives.items()}
    assert {row["store"] for row in rows.values()} == {SOUTH}
    assert {name for name, row in rows.items() if row["lost"]} == {"packed", "pinned", "ordered"}
    assert {row["path"] for row in rows.values()} == {None}
    due = {
        name: {stage for stage in ("pin", "order", "watch", "prove", "restore", "drop") if row[f"{stage}_due"]}
        for name, row in rows.items()
    }
    assert due["held"] == {"order", "watch", "restore"}
    assert due["ordered"] == {"order", "watch"}
    assert (due["packed"], due["pinned"], due["proven"] - {"order"}) == (set(), set(), set())
    reason = reasons.parse(rows["packed"]["pin_reason"])
    assert reason is not None
    assert (reason.code, dict(reason.params)) == ("store_lost", {"store": "main"})
    seen = {one.zip_id: one for one in await OrdererStore(db).archives([*archives.values()], "here")}
    assert {name for name, zip_id in archives.items() if zip_id in seen and seen[zip_id].lost} == {"pinned", "ordered"}
    still = await db.fetch_all("SELECT file_id FROM file_upload_info WHERE path IS NOT NULL")
    keys = await db.fetch_all("SELECT file_id FROM upload_key_info")
    assert not still
    assert not {row["file_id"] for row in keys} & lost
    acts = await db.fetch_all("SELECT file_id FROM custody_info WHERE act = 'given up'")
    assert sorted(row["file_id"] for row in acts) == sorted(lost)
    with pytest.raises(IdentityMismatch, match="written off"):
        await Identity(db, console.vault.root).look()


async def test_requests_of_a_lost_store_are_asked_anew_elsewhere_or_fail(estate: Estate) -> None:
    await estate.console.says("store", "lost", "main", "--to", SOUTH, "--yes")
    rows = {name: await download_row(estate.db, download_id) for name, download_id in estate.requests.items()}
    assert {row["store"] for row in rows.values()} == {SOUTH}
    assert {row["path"] for row in rows.values()} == {None}
    for name in ("fetching", "calling", "linked"):
        held, lost = rows[f"held {name}"], rows[f"lost {name}"]
        assert (held["status"], held["fetch_token"], held["callback_due"], held["expire_due"]) == (0, None, None, None)
        assert held["fetch_due"] is not None
        assert (lost["status"], lost["fetch_due"], lost["callback_due"], lost["expire_due"]) == (3, None, None, None)
        assert "[store_lost store=main]" in lost["fetch_reason"]
    assert rows["over"]["status"] == 4


async def test_the_page_of_the_system_shows_stores_in_both_languages(pages: Office) -> None:
    await south(pages.db)
    await pages.db.execute("UPDATE store_info SET state = 1, changed_at = UTC_TIMESTAMP(6) WHERE name = %s", (SOUTH,))
    facts = '{"store": "south", "disk_free_bytes": 5000000000, "disk_total_bytes": 9000000000}'
    await pages.db.execute(
        "INSERT INTO heartbeat_info (service, instance, version, started_at, heard_at, facts)"
        " VALUES ('packer', 'x-1', '1', UTC_TIMESTAMP(6), UTC_TIMESTAMP(6) - INTERVAL 7 SECOND, %s)",
        (facts,),
    )
    await pages.db.execute(
        "INSERT INTO folder_info (store, status, files, bytes, close_at) VALUES (%s, 1, 3, 5, UTC_TIMESTAMP(6))",
        (SOUTH,),
    )
    page = await pages.get("/system")
    rows = [" ".join(row.split()) for row in page.split("<tr>") if "</span> main</td>" in row or SOUTH in row]
    main, drained, *_ = rows  # and its processes, further down
    assert 'class="dot red"' in main  # in use, and nothing is heard of it
    assert all(shown in drained for shown in ('class="mark amber">being drained', "5.0 GB free of 9.0 GB", "1 folders"))
    assert LANGUAGES["zh"]["store_1"] in await pages.get("/system", "zh")


class Killed(Exception):
    """The process was killed."""


class Mortal(Database):
    """A database whose client dies after so many transactions, as it were."""

    def __init__(self, db: Database, lives: int) -> None:
        self.__dict__.update(db.__dict__)
        self._lives = lives

    async def transact(self, work: Callable[[Transaction], Awaitable[T]]) -> T:
        result = await super().transact(work)
        self._lives -= 1
        if self._lives < 0:
            raise Killed
        return result


async def test_whoever_is_killed_while_it_writes_a_store_off_goes_on_and_nothing_is_told_twice(estate: Estate) -> None:
    lost = await estate.lost()
    for lives in range(100):
        try:
            await Losing(Mortal(estate.db, lives), "main", SOUTH).run(Progress(disable=True), 0)
        except Killed:
            continue
        break
    told = await report.write(estate.db, "main", None)
    assert (told.files, told.uploads) == (len(lost), 1)
    acts = await estate.db.fetch_all("SELECT file_id FROM custody_info WHERE act = 'given up'")
    assert sorted(row["file_id"] for row in acts) == sorted(lost)
    left = await estate.db.fetch_all("SELECT zip_id FROM zip_ipfs_info WHERE store = 'main'")
    assert not left


async def test_a_store_whose_disk_came_back_has_what_was_lost_again(estate: Estate) -> None:
    console, db, archives = estate.console, estate.db, estate.archives
    rotten, gone = max(estate.loose), min(await files_of(db, archives["pinned"]))
    paths = {row["file_id"]: row["path"] for row in await db.fetch_all("SELECT file_id, path FROM file_upload_info")}
    await console.says("store", "lost", "main", "--yes")
    (lay,) = await db.fetch_all("SELECT path FROM lost_zip_info WHERE zip_id = %s", (archives["pinned"],))
    console.vault.path(lay["path"]).unlink()
    console.vault.path(paths[gone]).unlink()
    console.vault.path(paths[rotten]).write_bytes(b"rot" * 100)
    told = await console.tells("store", "adopt", "main", code=1)
    facts = told["facts"]
    # Of the archive whose file is gone one upload is there; of the loose ones one has rotted.
    assert (facts["archives"], facts["uploads"], facts["whole"], facts["wrong"], facts["lost"]) == (2, 3, 2, 1, 1)
    await Identity(db, console.vault.root, moves_on=True).look()
    for name in ("packed", "ordered"):
        row = await archive_row(db, archives[name])
        assert (row["store"], row["lost"], row["dropped_at"], row["pin_reason"]) == ("main", 0, None, None)
        assert await console.pinner.pinning.work(archives[name]) == Done()
    for name in ("held", "proven", "dropped"):
        assert (await archive_row(db, archives[name]))["store"] == SOUTH
    (aside,) = await db.fetch_all("SELECT file_id FROM set_aside_info WHERE lost_at IS NULL")
    assert aside["file_id"] == rotten
    (still,) = await db.fetch_all("SELECT file_id FROM set_aside_info WHERE lost_at IS NOT NULL")
    assert still["file_id"] == gone
    (folder,) = await db.fetch_all("SELECT folder_id, files FROM folder_info WHERE pack_due <= UTC_TIMESTAMP(6)")
    assert folder["files"] == 2
    assert await console.packer.packing.work(folder["folder_id"]) == Done()
    again = await console.tells("store", "adopt", "main", code=1)
    assert (again["facts"]["archives"], again["facts"]["whole"], again["facts"]["wrong"]) == (0, 0, 1)


async def test_a_directory_of_another_store_is_not_adopted(estate: Estate) -> None:
    assert "is the data directory of main, not of south" in await estate.console.refuses("store", "adopt", SOUTH)


async def test_an_archive_of_which_the_market_finds_a_replica_after_all_is_lost_no_more(estate: Estate) -> None:
    db, zip_id = estate.db, estate.archives["ordered"]
    await estate.console.says("store", "lost", "main", "--yes")
    files = await files_of(db, zip_id)
    for replicas in (0, 2):
        await db.execute("UPDATE zip_ipfs_info SET watch_due = UTC_TIMESTAMP(6) WHERE zip_id = %s", (zip_id,))
        leases = await batches.claim(db, WATCH, 10, 60)
        info, head = FileInfo(1, replicas, 100_000, replicas), Head(10 + replicas, "")
        seen = Seen(info, head, counted(info, head, "here", 50), 300)
        await WatchingStore(db).close([Look(lease, Done(), seen) for lease in leases if lease.row_id == zip_id])
        rows = await db.fetch_all("SELECT file_id FROM set_aside_info WHERE lost_at IS NOT NULL")
        assert ({row["file_id"] for row in rows} >= files) == (replicas == 0)
    row = await archive_row(db, zip_id)
    assert (row["store"], row["lost"], row["restore_due"] is not None) == (SOUTH, 0, True)
    assert (await report.write(db, "main", None)).perhaps == 0


async def test_pictures_of_another_store_are_made_anew_only_if_that_is_no_more(db: Database, tmp_path: Path) -> None:
    await south(db)
    await db.execute(
        "INSERT INTO video_info (file_id, store, looked_at, path, picture_bytes, bytes)"
        " VALUES (1, %s, UTC_TIMESTAMP(6), 'posters/1', '10', 10)",
        (SOUTH,),
    )
    vault = Vault(tmp_path)
    for state, store in ((0, SOUTH), (1, SOUTH), (2, "main")):
        await db.execute("UPDATE store_info SET state = %s WHERE name = %s", (state, SOUTH))
        assert await pictures.picture(db, vault, 1, 0) is None
        (row,) = await db.fetch_all("SELECT store, path, look_due IS NOT NULL AS due FROM video_info")
        assert (row["store"], row["path"], bool(row["due"])) == (
            (store, None, True) if store == "main" else (store, "posters/1", False)
        )


async def test_no_folder_is_opened_at_a_store_that_was_drained_or_lost(console: Console) -> None:
    for state in (0, 1, 2, 3):
        await console.db.execute("UPDATE folder_info SET open_slot = NULL, status = 1")
        await console.db.execute("UPDATE store_info SET state = %s WHERE name = 'main'", (state,))
        if state in {0, 1}:
            await console.file()
            continue
        with pytest.raises(Draining):
            await console.file()


@dataclass
class Two:
    """Two stores, each with an ingest; the services of main besides."""

    main: Client
    north: Client
    http: aiohttp.ClientSession

    async def put(self, client: Client) -> aiohttp.ClientResponse:
        answer = await self.http.put(f"{client.url}/api/open/upload/a.mp4", data=b"a video" * 100)
        await answer.read()
        return answer


@pytest.fixture
async def two(services: Services, tmp_path: Path) -> AsyncIterator[Two]:
    first = services("ingest", store_upload_url="http://main.example:81", folder_age_seconds=3600)
    (tmp_path / "north").mkdir()
    second = services("ingest", store="north", data_dir=tmp_path / "north")
    others = [services(name) for name in ("packer", "pinner", "retriever")]
    await asyncio.gather(*(one.start() for one in (first, second, *others)))
    async with aiohttp.ClientSession() as http:
        yield Two(Client(http, first.url), Client(http, second.url), http)


async def test_an_upload_goes_on_at_its_own_store_alone(two: Two) -> None:
    begun = await two.main.begin(10, b"begin")
    assert begun.status == 201
    location = URL(begun.headers["Location"])
    assert str(location.origin()) == "http://main.example:81"
    for method, headers, data in (
        ("HEAD", {}, None), ("PATCH", {"Upload-Offset": "5", "Content-Type": TYPE}, b"end.."), ("DELETE", {}, None),
    ):  # fmt: skip
        answer = await two.north.ask(method, f"{two.north.url}{location.path}", headers, data)
        assert answer.status == 423
        assert method == "HEAD" or "goes on at the store main (http://main.example:81)" in answer.text
    assert (await two.main.ask("HEAD", f"{two.main.url}{location.path}")).offset == 5


async def test_a_store_is_drained_until_it_is_empty_and_opened_again(
    two: Two, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(draining, "_SETTLED", 1.0)
    monkeypatch.setattr(draining, "_EVERY", 0.1)
    for name, value in console.environment.items():
        monkeypatch.setenv(name, value)
    db = console.db
    begun = await two.main.begin(10, b"begin")
    there = f"{two.main.url}{URL(begun.headers['Location']).path}"
    assert (await two.put(two.main)).status == 200
    assert "is being drained: 1 uploads, " in await console.says("store", "drain", "main", "--no-wait")
    async with asyncio.timeout(10):
        while (refused := await two.put(two.main)).status == 200:
            await asyncio.sleep(0.1)
    told = await refused.json()
    assert (refused.status, told["error"]) == (503, "draining")
    assert int(refused.headers["Retry-After"]) > 0
    again = await two.main.begin(10)
    assert again.status == 503
    assert (await two.put(two.north)).status == 200
    going_on = {"Upload-Offset": "5", "Content-Type": TYPE}
    assert (await two.main.ask("PATCH", there, going_on, b"end..")).status == 204
    emptying = asyncio.create_task(draining.Draining(db, "main", "north").until_empty())
    async with asyncio.timeout(40):
        while not emptying.done():
            await db.execute("UPDATE zip_ipfs_info SET status = 3, replicas = 60 WHERE pinned_at IS NOT NULL")
            pinned = await db.fetch_all("SELECT zip_id FROM zip_ipfs_info WHERE pinned_at IS NOT NULL AND path > ''")
            for row in pinned:
                await prove(db, row["zip_id"])
            await asyncio.sleep(0.5)
    assert (await emptying).left == 0
    assert await draining.Draining(db, "main", "north").finish()
    listed = await console.tells("store", "list")
    assert [row["state"] for row in listed["tables"]["stores"]] == ["drained", "open"]
    assert not await db.fetch_all("SELECT zip_id FROM zip_ipfs_info WHERE store = 'main'")
    (catalogue,) = await db.fetch_all("SELECT store, publish_due IS NOT NULL AS due FROM catalogue_info")
    assert (catalogue["store"], catalogue["due"]) == ("north", 1)
    assert "can be switched off" in await console.says("store", "drain", "main")
    assert "takes uploads again" in await console.says("store", "drain", "main", "--undo")
    async with asyncio.timeout(10):
        while (await two.put(two.main)).status != 200:
            await asyncio.sleep(0.1)
