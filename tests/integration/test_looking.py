"""The stage look: pictures and facts of what comes, while it is here, in nobody's way; and who shows them."""

import asyncio
import os
import time
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from servers_retriever import Bench, opened
from videos_made import made

from roadvault_common.errors import TransientError
from roadvault_common.files.identity import Identity
from roadvault_common.files.vault import Vault
from roadvault_common.sql.db import Row
from roadvault_common.videos.enrolling import enrol
from roadvault_common.videos.pictures import look_for, picture
from roadvault_common.work import lease as leases
from roadvault_common.work.outcome import Done, Outcome
from roadvault_common.work.stages import LOOK
from roadvault_retriever.looking import machine
from roadvault_retriever.looking.looker import Looker
from roadvault_retriever.looking.machine import Machine
from roadvault_retriever.looking.store import LookStore
from roadvault_retriever.streaming.source import Source
from roadvault_stack.kubo import Kubo
from roadvault_video.looking import Found, Look


def contents() -> dict[str, bytes]:
    with TemporaryDirectory() as directory:
        video = made(Path(directory) / "a.mp4", metadata={"creation_time": "2026-05-01T07:15:00Z"}).read_bytes()
    return {"video": video, "page": b"<!doctype html><title>no video</title>", "other": video + bytes(1 << 20)}


@dataclass
class Scene:
    """A looker over a retriever's archive."""

    bench: Bench
    looker: Looker
    store: LookStore

    async def look(self, name: str) -> Outcome | None:
        return await self.looker.looking.work(self.bench.file_ids[name])

    async def row(self, name: str) -> Row:
        row = await self.bench.db.fetch_one("SELECT * FROM video_info WHERE file_id = %s", (self.bench.file_ids[name],))
        assert row is not None
        return row

    async def shown(self, name: str, number: int = 0) -> bytes | None:
        return await picture(self.bench.db, self.bench.vault, self.bench.file_ids[name], number)

    def kept(self) -> list[Path]:
        return [path for path in (self.bench.vault.root / "posters").rglob("*") if path.is_file()]

    async def bytes(self) -> tuple[int, int]:
        """The bytes of pictures, as counted and as they are."""
        return await self.store.picture_bytes(), sum(path.stat().st_size for path in self.kept())


@pytest.fixture
async def scene(
    database_url: str, redis_url: str, data_dir: Path, kubo: Kubo, network_kubo: Kubo
) -> AsyncIterator[Scene]:
    async with opened(database_url, redis_url, data_dir, (kubo, network_kubo), contents()) as bench:
        yield await over(bench)


async def over(bench: Bench) -> Scene:
    own = bench.retriever
    looker = Looker(own._settings, bench.db, own._bus, bench.vault, own.sources, own.local)
    store = LookStore(bench.db)
    assert await store.enrol(0) == 3
    return Scene(bench, looker, store)


async def test_a_video_is_looked_at_while_its_upload_is_here(scene: Scene) -> None:
    assert await scene.look("video") == Done()
    row = await scene.row("video")
    assert (row["look_due"], row["look_token"], row["unreadable"]) == (None, None, None)
    assert (row["container"], row["video_codec"], row["width"], row["height"]) == ("mov", "h264", 192, 108)
    assert (row["recorded_at"], row["recorded_by"]) == (datetime(2026, 5, 1, 7, 15), "metadata")  # noqa: DTZ001
    pictures = [await scene.shown("video", number) for number in range(4)]
    assert [found is not None and found.startswith(b"\xff\xd8\xff") for found in pictures] == [True, True, True, False]
    assert row["picture_bytes"] == ",".join(str(len(found)) for found in pictures if found)
    assert len(row["picture_places"].split(",")) == 3
    counted, there = await scene.bytes()
    assert counted == there == row["bytes"] > 0
    assert await scene.bench.db.fetch_value("SELECT COUNT(*) FROM event_log") == 0, "nobody has to read of it"


async def test_a_file_that_is_no_video_is_done_with(scene: Scene) -> None:
    assert await scene.look("page") == Done()
    row = await scene.row("page")
    assert (row["look_due"], row["look_failed_at"], row["path"]) == (None, None, None)
    assert "InvalidData" in row["unreadable"]
    assert await scene.shown("page") is None
    assert (await scene.row("page"))["look_due"] is None, "nor is it asked for in vain"


async def test_files_are_found_by_their_numbers_some_time_after_they_came(scene: Scene) -> None:
    db = scene.bench.db
    assert await scene.store.enrol(0) == 0
    await db.execute(
        "INSERT INTO file_upload_info (file_id, file_name, file_type, size, sha256, folder_id, status)"
        " VALUES (7, 'a', 'a', 1, '', 1, 1)"
    )
    assert await scene.store.enrol(60) == 0
    await db.execute("UPDATE file_upload_info SET create_time = create_time - INTERVAL 61 SECOND WHERE file_id = 7")
    assert await scene.store.enrol(60) == 1
    due = await db.fetch_value("SELECT look_due FROM video_info WHERE file_id = 7")
    assert due is None, "its upload is gone: it is looked at if somebody asks"


async def test_a_file_that_a_recovery_brought_back_hides_none_that_comes_meanwhile(scene: Scene) -> None:
    db = scene.bench.db
    insert = (
        "INSERT INTO file_upload_info (file_id, file_name, file_type, size, sha256, folder_id, status, create_time)"
        " VALUES (%s, 'a', 'a', 1, '', 1, 1, UTC_TIMESTAMP(6) - INTERVAL %s SECOND)"
    )
    for file_id, age in ((7, 1), (9, 100_000)):
        await db.execute(insert, (file_id, age))
    await db.transact(lambda tx: enrol(tx, [9]))
    assert await scene.store.enrol(60) == 0
    await db.execute("UPDATE file_upload_info SET create_time = create_time - INTERVAL 61 SECOND WHERE file_id = 7")
    assert await scene.store.enrol(60) == 2
    assert await db.fetch_value("SELECT COUNT(*) FROM video_info WHERE file_id IN (7, 9)") == 2
    assert await scene.store.enrol(60) == 0


@pytest.mark.parametrize(
    ("camera", "recorded", "known"),
    [
        (None, None, ("GoPro", "2026-05-01")),
        ("gate", None, ("gate", "2026-05-01")),
        (None, "2025-01-01", ("GoPro", "2025-01-01")),
        ("gate", "2025-01-01", (None, None)),
    ],
)
async def test_lists_find_by_what_was_found_where_the_client_said_nothing(
    scene: Scene, camera: str | None, recorded: str | None, known: tuple[str | None, str | None]
) -> None:
    db, file_id = scene.bench.db, scene.bench.file_ids["video"]
    await db.execute(
        "UPDATE file_upload_info SET camera = %s, recorded_at = %s WHERE file_id = %s", (camera, recorded, file_id)
    )
    lease = await leases.claim(db, LOOK, file_id, 60)
    assert lease is not None
    found = Look(Found(container="mov"), camera="GoPro", recorded_at=datetime(2026, 5, 1, tzinfo=UTC))
    await scene.store.close_looked(lease, found, None)
    row = await scene.row("video")
    when = None if row["known_at"] is None else f"{row['known_at']:%Y-%m-%d}"
    assert (row["known_camera"], when) == known
    assert (row["camera"], row["recorded_at"]) == ("GoPro", datetime(2026, 5, 1))  # noqa: DTZ001 - as rows have times


async def test_nothing_is_fetched_that_nobody_asked_for_but_made_anew_for_who_does(scene: Scene) -> None:
    await scene.bench.db.execute("UPDATE file_upload_info SET path = NULL")
    assert await scene.look("other") == Done()
    assert (await scene.row("other"))["path"] is not None, "out of the archive that is here"

    await scene.bench.db.execute("UPDATE zip_ipfs_info SET path = NULL")
    assert await scene.look("video") == Done()
    row = await scene.row("video")
    assert (row["path"], row["unreadable"], row["look_due"]) == (None, None, None)
    assert await scene.shown("video") is None
    assert (await scene.row("video"))["look_due"] is None, "it was looked at just now"
    await scene.bench.db.execute("UPDATE video_info SET looked_at = looked_at - INTERVAL 2 HOUR")
    assert await scene.shown("video") is None
    assert await scene.look("video") == Done()
    assert await scene.shown("video") is not None


async def test_who_opens_the_page_of_a_video_that_had_gone_before_its_look_has_it_looked_at(scene: Scene) -> None:
    db, file_id = scene.bench.db, scene.bench.file_ids["video"]
    await db.execute("UPDATE file_upload_info SET path = NULL")
    await db.execute("UPDATE zip_ipfs_info SET path = NULL")
    await db.execute("UPDATE video_info SET look_due = NULL")  # as a file gets its row whose copies here have gone
    await look_for(db, file_id)
    assert (await scene.row("video"))["look_due"] is not None
    await look_for(db, file_id)
    assert await scene.look("video") == Done()
    assert await scene.shown("video") is not None
    before = await scene.row("video")
    await look_for(db, file_id)
    assert await scene.row("video") == before, "it was found"
    await look_for(db, 999)


async def test_pictures_that_were_lost_are_made_anew(scene: Scene) -> None:
    await scene.look("video")
    await scene.bench.db.execute("UPDATE video_info SET looked_at = looked_at - INTERVAL 2 HOUR")
    (path,) = scene.kept()
    path.write_bytes(bytes(path.stat().st_size))  # as after a crash of the machine
    assert await scene.shown("video") is None
    assert (await scene.bytes())[0] == 0
    assert await scene.look("video") == Done()
    assert await scene.shown("video") is not None


async def test_the_longest_unseen_go(scene: Scene) -> None:
    await scene.look("video")
    await scene.look("other")
    await scene.bench.db.execute(
        "UPDATE video_info SET seen_at = seen_at - INTERVAL file_id DAY WHERE path IS NOT NULL"
    )
    assert await scene.shown("other") is not None  # which was unseen for longer
    size = (await scene.row("other"))["bytes"]
    settings = scene.looker._settings.model_copy(update={"poster_bytes": size + 10})
    scene.looker._settings = settings
    await scene.looker.keep_bound()
    assert [path.name.split("-")[0] for path in scene.kept()] == [str(scene.bench.file_ids["other"])]
    assert await scene.bytes() == (size, size)
    assert (await scene.row("video"))["video_codec"] == "h264", "what was found stays"


async def test_it_rests_while_packing_waits_or_the_disk_is_short(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Machine, "is_busy", lambda _: False)
    assert await scene.looker._rests() == 0
    await scene.bench.db.execute("INSERT INTO folder_info (status, close_at, pack_due) VALUES (1, NOW(), '2020-01-01')")
    assert await scene.looker._rests() > 0
    scene.looker._began = time.monotonic()
    packs = "UPDATE folder_info SET pack_due = UTC_TIMESTAMP(6) + INTERVAL 60 SECOND, pack_token = 'a'"
    await scene.bench.db.execute(packs)
    assert 5 < await scene.looker._rests() <= 15, "while somebody packs, now and then"
    await scene.bench.db.execute("DELETE FROM folder_info WHERE pack_due IS NOT NULL")
    scene.looker._settings = scene.looker._settings.model_copy(update={"disk_margin_bytes": 1 << 30})
    with monkeypatch.context() as short:
        short.setattr(Vault, "free_bytes", lambda _: 1 << 29)
        assert await scene.looker._rests() > 0
    assert await scene.looker._rests() == 0


async def test_on_a_busy_machine_it_looks_now_and_then(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Machine, "is_busy", lambda _: True)
    assert await scene.looker._rests() <= 0
    before = time.monotonic()
    await scene.look("page")
    assert scene.looker._began >= before
    scene.looker._began = time.monotonic()  # the look itself may have taken long
    assert 0 < await scene.looker._rests() <= 15
    scene.looker._began -= 15
    assert await scene.looker._rests() <= 0


def test_a_machine_is_busy_by_what_others_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(machine, "_PROCESSORS", tmp_path / "stat")
    second = os.sysconf("SC_CLK_TCK") * (os.cpu_count() or 1)
    told = Counter[str]()

    def passes(seconds: float, **shares: float) -> None:
        for name, share in {**shares, "idle": 1 - sum(shares.values())}.items():
            told[name] += round(share * seconds * second)
        names = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal", "guest", "guest_nice")
        (tmp_path / "stat").write_text(f"cpu  {' '.join(str(told[name]) for name in names)}\ncpu0 1 2 3\n")

    passes(1000)
    one = Machine()
    passes(2, user=0.1, nice=0.8)
    assert not one.is_busy(), "what gives way is in nobody's way"
    passes(2, user=0.2, system=0.1)
    assert one.is_busy()
    passes(0.1)
    assert one.is_busy(), "so little time tells nothing"
    passes(2)
    assert not one.is_busy()
    passes(2, iowait=0.5)
    assert one.is_busy()


async def test_no_pictures_are_kept_of_a_file_that_ends_meanwhile(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    close = LookStore.close_looked

    async def later(*args: object) -> object:
        await scene.bench.db.execute(
            "INSERT INTO retention_info (zip_id, ends_at, shredded_at)"
            " SELECT MAX(zip_id), NOW(), NOW() FROM zip_ipfs_info"
        )
        return await close(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(LookStore, "close_looked", later)
    assert await scene.look("video") == Done()
    assert (await scene.row("video"))["path"] is None
    assert await scene.bytes() == (0, 0)


async def test_a_file_at_which_workers_die_is_given_up_and_asks_nobody(scene: Scene) -> None:
    file_id = scene.bench.file_ids["video"]
    for _ in range(3):
        assert await leases.claim(scene.bench.db, LOOK, file_id, 60) is not None
        await scene.bench.db.execute("UPDATE video_info SET look_due = '2020-01-01' WHERE file_id = %s", (file_id,))
    assert await scene.look("video") == Done()
    row = await scene.row("video")
    assert (row["look_due"], row["look_failed_at"]) == (None, None)
    assert row["unreadable"] == "its workers died, 3 times"


async def test_a_file_whose_bytes_can_not_be_had_is_looked_at_when_asked_for(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object) -> bytes:
        raise TransientError("the disk is slow today")

    with monkeypatch.context() as trouble:
        trouble.setattr(Source, "read", broken)
        for _ in range(4):
            await scene.look("video")
            await scene.bench.db.execute("UPDATE video_info SET look_due = '2020-01-01' WHERE look_due IS NOT NULL")
    row = await scene.row("video")
    assert (row["look_due"], row["unreadable"], row["look_failed_at"]) == (None, None, None)
    await scene.bench.db.execute("UPDATE video_info SET looked_at = looked_at - INTERVAL 2 HOUR")
    assert await scene.shown("video") is None
    assert await scene.look("video") == Done()
    assert await scene.shown("video") is not None


async def test_a_file_whose_key_can_not_be_read_is_no_concern_of_looks(scene: Scene) -> None:
    await scene.bench.db.execute("UPDATE file_upload_info SET path = NULL")
    await scene.bench.db.execute("UPDATE zip_ipfs_info SET `key` = 'gAAAAA'")
    assert await scene.look("video") == Done()
    row = await scene.row("video")
    assert (row["look_due"], row["look_failed_at"], row["unreadable"]) == (None, None, None)


async def test_who_lost_the_lease_leaves_nothing_behind(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    async def meanwhile(*_: object) -> Look:
        await scene.bench.db.execute("UPDATE video_info SET look_token = 'another'")
        return Look(pictures=[(0.0, b"\xff\xd8\xff")])

    monkeypatch.setattr("roadvault_retriever.looking.looker.look", meanwhile)
    await scene.look("video")
    assert scene.kept() == []
    assert await scene.bytes() == (0, 0)


async def test_pictures_that_no_row_names_go_to_quarantine(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scene.looker._settings, "orphan_hours", 1e-12)
    await Identity(scene.bench.db, scene.bench.vault.root).settle()
    await scene.look("video")
    (named,) = scene.kept()
    stray = named.with_name("stray")
    stray.write_bytes(b"x")
    for _ in range(2):  # it has an age once it was seen before
        await scene.looker.sweep_orphans()
    assert scene.kept() == [named]
    (entry,) = scene.bench.vault.quarantine.entries("posters")
    assert entry.origin == str(stray.relative_to(scene.bench.vault.root))


async def test_it_stops_at_once_and_hands_the_row_back(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    begun = asyncio.Event()

    async def slow(*_: object) -> Look:
        begun.set()
        await asyncio.sleep(600)
        raise AssertionError

    monkeypatch.setattr("roadvault_retriever.looking.looker.look", slow)
    working = asyncio.create_task(scene.look("video"))
    await begun.wait()
    working.cancel()
    with pytest.raises(asyncio.CancelledError):
        await working
    row = await scene.row("video")
    assert (row["look_token"], row["look_attempts"]) == (None, 0)
    assert row["look_due"] is not None
